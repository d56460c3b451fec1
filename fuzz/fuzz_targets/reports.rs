//! Vulnerability reports and SBOMs, as the gate reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = scan::ReportSummary::parse(bytes);
    let _ = scan::sbom::parse(bytes);
});
