//! CVE reports: written in the shape of grype's JSON, and read back for the gate.

mod grype_json;
mod read;
mod table;

use time::OffsetDateTime;

pub use read::{
    FindingSummary, FixState, MAX_FINDINGS, MAX_REPORT_BYTES, ReportError, ReportSummary,
};

pub(crate) use table::{aligned, clean};

use crate::advisory::DatabaseStatus;
use crate::catalog::Distro;
use crate::image::ImageSource;
use crate::matching::{Finding, Findings};
use crate::severity::Severity;

/// A CVE report on an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The image.
    pub source: ImageSource,
    /// The distribution that it is made from.
    pub distro: Option<Distro>,
    /// What was found, and what was not looked at.
    pub findings: Findings,
    /// The advisories that were used.
    pub database: DatabaseStatus,
    /// When the report was made.
    pub created: OffsetDateTime,
    /// The version of this program.
    pub tool_version: String,
}

impl Report {
    /// Returns the report in the shape of grype's JSON, with a line feed at its end.
    pub fn to_json(&self) -> Vec<u8> {
        grype_json::write(self)
    }

    /// Returns the report as a table for people.
    pub fn to_table(&self) -> String {
        table::write(self)
    }

    /// Returns the findings that are at least as bad as `threshold`. A finding of unknown
    /// severity counts as bad as any: nobody said that it is harmless.
    pub fn at_least(&self, threshold: Severity) -> impl Iterator<Item = &Finding> {
        let bad = move |f: &&Finding| f.severity >= threshold || f.severity == Severity::Unknown;
        self.findings.matches.iter().filter(bad)
    }

    /// Reads a report back, ours or grype's. The same as [`ReportSummary::parse`].
    ///
    /// # Errors
    /// As [`ReportSummary::parse`].
    pub fn parse(bytes: &[u8]) -> Result<ReportSummary, ReportError> {
        ReportSummary::parse(bytes)
    }
}

#[cfg(test)]
mod tests;
