//! Packages, SBOMs and vulnerability matching, over bytes that somebody else fetched.
//!
//! This crate is pure and blocking: no network, no clock, no files.

pub mod sbom;

pub mod report;
pub mod severity;

pub use report::{FindingSummary, ReportSummary};
pub use sbom::SbomSummary;
pub use severity::Severity;
