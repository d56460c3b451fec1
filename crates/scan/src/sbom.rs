//! SBOM documents: written in SPDX 2.3 and CycloneDX 1.6, and read back for the gate.

mod read;

pub use read::{MAX_SBOM_BYTES, SbomError, SbomFormat, SbomSummary, parse};
