//! Digests: an algorithm and the hash of exact bytes.
//!
//! image-spec `descriptor.md`, Digests. Only the two registered algorithms are accepted, and the
//! encoded part must be lower-case hexadecimal of the algorithm's length, so a digest is safe to
//! use as a file name or a URL segment (CVE-2024-3727 is what happens otherwise).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestAlgorithm {
    /// SHA-256, the algorithm that every registry must support.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// Returns the name that stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of the hexadecimal part, in characters.
    pub fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of some bytes, as `algorithm:hex`.
///
/// Ordered by its text, which is what listings and the graph root sort by.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: Box<str>,
    algorithm: DigestAlgorithm,
}

/// Says why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// There is no colon between an algorithm and a hash.
    #[error("`{0}` is not a digest: expected `sha256:` and 64 hexadecimal digits")]
    Shape(String),
    /// The algorithm is not registered, or not supported here.
    #[error("digest algorithm `{0}` is not supported: use `sha256` or `sha512`")]
    Algorithm(String),
    /// The encoded part is not lower-case hexadecimal of the right length.
    #[error(
        "`{0}` is not a digest: the part after the colon is not {1} lower-case hexadecimal digits"
    )]
    Encoding(String, usize),
}

impl Digest {
    /// Returns the SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(DigestAlgorithm::Sha256, bytes)
    }

    /// Returns the digest of `bytes` under `algorithm`.
    pub fn of(algorithm: DigestAlgorithm, bytes: &[u8]) -> Self {
        let mut writer = DigestWriter::new(algorithm);
        writer.update(bytes);
        writer.finish()
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// Returns the hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// Returns the whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the first twelve hexadecimal digits, for people.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// Returns the tag that names this digest's referrers on a registry without the Referrers
    /// API (distribution-spec, Referrers Tag Schema).
    pub fn referrers_tag(&self) -> String {
        let hex = self.hex();
        format!("{}-{}", self.algorithm.name(), &hex[..hex.len().min(64)])
    }

    /// Returns whether `bytes` have this digest.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Self::of(self.algorithm, bytes) == *self
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let shown = || text.chars().take(160).collect::<String>();
        let (name, encoded) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Shape(shown()))?;
        let algorithm = match name {
            "sha256" => DigestAlgorithm::Sha256,
            "sha512" => DigestAlgorithm::Sha512,
            _ => return Err(DigestError::Algorithm(name.chars().take(40).collect())),
        };
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if encoded.len() != algorithm.hex_length() || !encoded.bytes().all(is_hex) {
            return Err(DigestError::Encoding(shown(), algorithm.hex_length()));
        }
        Ok(Self {
            text: text.into(),
            algorithm,
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::name::deserialize_from_str(deserializer)
    }
}

/// Computes a digest over bytes that arrive piece by piece.
pub struct DigestWriter {
    state: State,
}

enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl DigestWriter {
    /// Starts an empty computation.
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        let state = match algorithm {
            DigestAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            DigestAlgorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Returns the digest of all bytes added.
    pub fn finish(self) -> Digest {
        let (algorithm, hash) = match self.state {
            State::Sha256(hash) => (DigestAlgorithm::Sha256, hex::encode(hash.finalize())),
            State::Sha512(hash) => (DigestAlgorithm::Sha512, hex::encode(hash.finalize())),
        };
        Digest {
            text: format!("{}:{hash}", algorithm.name()).into(),
            algorithm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_json_object_has_its_published_digest() {
        // image-spec `manifest.md`, Guidance for an Empty Descriptor.
        let expected = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(Digest::sha256(b"{}").as_str(), expected);
    }

    #[test]
    fn malformed_digests_are_refused() {
        let long = format!("sha256:{}", "a".repeat(65));
        let upper = format!("sha256:{}", "A".repeat(64));
        let path = format!("sha256:../{}", "a".repeat(61));
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:abc",
            "md5:aa",
            "latest",
            &long,
            &upper,
            &path,
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sha512_digest_is_cut_in_the_referrers_tag() {
        let digest = Digest::of(DigestAlgorithm::Sha512, b"");
        assert_eq!(digest.referrers_tag().len(), "sha512-".len() + 64);
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }
}
