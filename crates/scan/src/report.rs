//! CVE reports: written in the shape of grype's JSON, and read back for the gate.

mod read;

pub use read::{
    FindingSummary, FixState, MAX_FINDINGS, MAX_REPORT_BYTES, ReportError, ReportSummary,
};
