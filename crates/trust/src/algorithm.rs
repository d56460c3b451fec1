//! Signing schemes and signature algorithms.
//!
//! signing-scheme.md; signature-specification.md, Algorithm Selection (R041). The key decides the
//! algorithm: there is exactly one per key size, so that nobody can negotiate a weaker one.

use std::fmt;

use serde::{Serialize, Serializer};

/// How trust in the signing time is established (signing-scheme.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SigningScheme {
    /// `notary.x509`: the signing time is a claim of the signer.
    X509,
    /// `notary.x509.signingAuthority`: an authority that signs for others vouches for the time.
    SigningAuthority,
}

impl SigningScheme {
    /// Returns the name inside envelopes.
    pub fn name(self) -> &'static str {
        match self {
            Self::X509 => "notary.x509",
            Self::SigningAuthority => "notary.x509.signingAuthority",
        }
    }

    /// Returns the scheme of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::X509, Self::SigningAuthority]
            .into_iter()
            .find(|scheme| scheme.name() == name)
    }
}

/// A signature algorithm, under its JOSE name (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignatureAlgorithm {
    /// RSASSA-PSS with SHA-256, for RSA keys of 2048 bits.
    Ps256,
    /// RSASSA-PSS with SHA-384, for RSA keys of 3072 bits.
    Ps384,
    /// RSASSA-PSS with SHA-512, for RSA keys of 4096 bits.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
}

impl SignatureAlgorithm {
    /// All of them, in the order of their names in RFC 7518.
    pub const ALL: [Self; 6] = [
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
    ];

    /// Returns the JOSE name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    /// Returns the algorithm of this JOSE name. `none` and the HMAC names are not among them.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

macro_rules! by_name {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

by_name!(SigningScheme);
by_name!(SignatureAlgorithm);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_nothing_else_is_an_algorithm() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(
                SignatureAlgorithm::from_name(algorithm.name()),
                Some(algorithm)
            );
        }
        for bad in ["none", "HS256", "RS256", "EdDSA", "es256", "ES256 ", ""] {
            assert_eq!(SignatureAlgorithm::from_name(bad), None, "{bad}");
        }
        assert_eq!(SigningScheme::from_name("notary.X509"), None);
    }
}
