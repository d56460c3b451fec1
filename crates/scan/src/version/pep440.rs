//! Versions of Python distributions: PEP 440, by the crate that uv made for itself.

use std::str::FromStr;

use pep440_rs::Version;

use super::VersionError;

/// The longest version, in bytes. The longest on the index has some fifty.
const MAX_VERSION_BYTES: usize = 256;

/// Reads a version.
pub(super) fn parse(text: &str) -> Result<Version, VersionError> {
    if text.len() > MAX_VERSION_BYTES {
        return Err(VersionError::new(text, "PyPI", "too long"));
    }
    Version::from_str(text).map_err(|error| VersionError::new(text, "PyPI", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_specification() {
        // PEP 440, Summary of permitted suffixes and relative ordering.
        let ascending = [
            "1.dev0",
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.0.15",
            "1.1.dev1",
            "1!0.1",
        ];
        for pair in ascending.windows(2) {
            assert!(
                parse(pair[0]).unwrap() < parse(pair[1]).unwrap(),
                "{pair:?}"
            );
        }
        assert_eq!(parse("v1.0-ALPHA_1").unwrap(), parse("1.0.0a1").unwrap());
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "latest", "1.0-", "2004d-x!", &"1.".repeat(200)] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
