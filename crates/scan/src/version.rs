//! Version orders: each ecosystem has its own, and advisories are only right under it.

mod debian;
mod pep440;

use std::cmp::Ordering;

pub use debian::DebianVersion;

use crate::package::Ecosystem;

/// The order of an ecosystem's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionOrder {
    /// Debian Policy §5.6.12.
    Debian,
    /// PEP 440.
    Pep440,
}

/// Says that a text is not a version of its ecosystem, so nothing can be said of its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{version}` is not a version of {order}: {reason}")]
pub struct VersionError {
    /// The text.
    pub version: String,
    /// The order it should have a place in.
    pub order: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl VersionOrder {
    /// Returns the order of an ecosystem's versions, if it is one that we know.
    pub fn of(ecosystem: &Ecosystem) -> Option<Self> {
        match ecosystem.base() {
            "Debian" => Some(Self::Debian),
            "PyPI" => Some(Self::Pep440),
            _ => None,
        }
    }

    /// Compares two versions.
    ///
    /// # Errors
    /// If one of them is not a version of the ecosystem.
    pub fn compare(self, a: &str, b: &str) -> Result<Ordering, VersionError> {
        match self {
            Self::Debian => Ok(DebianVersion::parse(a)?.cmp(&DebianVersion::parse(b)?)),
            Self::Pep440 => Ok(pep440::parse(a)?.cmp(&pep440::parse(b)?)),
        }
    }
}

impl VersionError {
    fn new(version: &str, order: &'static str, reason: impl Into<String>) -> Self {
        Self {
            version: version.chars().take(100).collect(),
            order,
            reason: reason.into(),
        }
    }
}
