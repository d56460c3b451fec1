//! Packages, SBOMs and vulnerability matching, over bytes that somebody else fetched.
//!
//! This crate is pure and blocking: no network, no clock, no files.

pub mod files;

pub mod catalog;
pub mod licence;
pub mod package;

pub mod sbom;

pub mod report;
pub mod severity;

pub use catalog::{Catalog, Distro, catalog};
pub use files::{FileView, ImageFiles, Layer};
pub use package::{Ecosystem, Package};
pub use report::{FindingSummary, ReportSummary};
pub use sbom::SbomSummary;
pub use severity::Severity;
