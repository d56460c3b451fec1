//! Packages, SBOMs and vulnerability matching, over bytes that somebody else fetched.
//!
//! The way through: layers → [`ImageFiles`] → [`catalog()`] → an [`Sbom`] document and, against
//! [`Advisories`], a [`Report`]. [`image::scan_layers`] does the first half in one call. The gate
//! reads documents back with [`sbom::parse`] and [`ReportSummary::parse`].
//!
//! This crate is pure and blocking: no network, no clock, no files. A caller that is asynchronous
//! runs it on its blocking pool. Whatever could not be read, and whatever the advisories do not
//! cover, is said in the result: silence never means clean.

pub mod image;

pub mod files;

pub mod catalog;
pub mod licence;
pub mod package;
pub mod version;

pub mod sbom;

pub mod advisory;
pub mod cvss;
pub mod database;
pub mod osv;

pub mod matching;
pub mod report;
pub mod severity;

#[cfg(test)]
mod testing;

pub use advisory::{Advisories, AdvisorySubset, DatabaseStatus};
pub use catalog::{Catalog, Distro, catalog};
pub use database::{Database, DatabaseBuilder};
pub use files::{FileView, ImageFiles, Layer};
pub use image::ImageSource;
pub use matching::{MatchOptions, match_packages};
pub use package::{Ecosystem, Package};
pub use report::{FindingSummary, Report, ReportSummary};
pub use sbom::{Sbom, SbomSummary};
pub use severity::Severity;
