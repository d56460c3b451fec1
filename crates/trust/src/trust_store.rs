//! The trust store: named sets of certificates from which trust starts.
//!
//! trust-store-trust-policy.md, Trust Store (R053–R057). The kinds never stand in for each other:
//! an authority that issues certificates (`ca`) must not pass for one that vouches for signing
//! times (`signingAuthority`). Loading files, and refusing symbolic links, is left to the edges.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::certificate::{Certificate, CertificateError};
use crate::encoding::from_base64;
use crate::trust_policy::TrustStoreName;

/// The most certificates in one file of a trust store: a whole web root program has fewer.
pub const MAX_CERTIFICATES_PER_FILE: usize = 512;

/// The kind of a trust store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreKind {
    /// `ca`: roots of signers, for the scheme `notary.x509`.
    Ca,
    /// `signingAuthority`: roots of authorities that sign for others and vouch for the time.
    SigningAuthority,
    /// `tsa`: roots of timestamp authorities.
    Tsa,
}

impl StoreKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Ca, Self::SigningAuthority, Self::Tsa];

    /// Returns the name, as in policies and folder names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::SigningAuthority => "signingAuthority",
            Self::Tsa => "tsa",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for StoreKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Says that a text is not the kind of a trust store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of trust store: use `ca`, `signingAuthority` or `tsa`")]
pub struct StoreKindError(String);

impl FromStr for StoreKind {
    type Err = StoreKindError;

    fn from_str(text: &str) -> Result<Self, StoreKindError> {
        let mut kinds = Self::ALL.into_iter();
        kinds
            .find(|kind| kind.name() == text)
            .ok_or_else(|| StoreKindError(text.chars().take(80).collect()))
    }
}

/// Returns whether a text can name a store: it is also the name of a folder.
pub fn is_store_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(allowed)
        && name.bytes().any(|byte| byte != b'.')
}

/// Says why bytes cannot be added to a trust store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustStoreError {
    /// The name is not one.
    #[error("`{0}` is not a trust store name: use letters, digits, `_`, `.` and `-`")]
    Name(String),
    /// The bytes hold no certificate.
    #[error("no certificate found: expected PEM or DER")]
    Empty,
    /// There are more certificates than [`MAX_CERTIFICATES_PER_FILE`].
    #[error("more than {MAX_CERTIFICATES_PER_FILE} certificates in one file")]
    TooMany,
    /// A certificate cannot be read.
    #[error("certificate {number} cannot be read")]
    Certificate {
        /// Which certificate, counted from 1.
        number: usize,
        /// Why.
        source: CertificateError,
    },
    /// A certificate is neither a certificate authority's nor self-signed.
    #[error(
        "`{subject}` is neither the certificate of a certificate authority nor self-signed, so trust cannot start from it"
    )]
    NotAnAnchor {
        /// The subject of the certificate.
        subject: String,
    },
}

/// Named sets of trust anchors.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    stores: BTreeMap<(StoreKind, String), Vec<Certificate>>,
}

impl TrustStore {
    /// Adds the certificates of one file, in PEM (several are allowed) or DER, to a named store.
    pub fn add(
        &mut self,
        kind: StoreKind,
        name: &str,
        pem_or_der: &[u8],
    ) -> Result<(), TrustStoreError> {
        if !is_store_name(name) {
            return Err(TrustStoreError::Name(name.chars().take(80).collect()));
        }
        let anchors = certificates_in(pem_or_der)?;
        if let Some(other) = anchors.iter().find(|one| !one.may_be_anchor(kind)) {
            return Err(TrustStoreError::NotAnAnchor {
                subject: other.subject().to_string(),
            });
        }
        let store = self.stores.entry((kind, name.to_owned())).or_default();
        for anchor in anchors {
            if !store.contains(&anchor) {
                store.push(anchor);
            }
        }
        Ok(())
    }

    /// Returns the anchors of one store; none if there is no such store.
    pub fn anchors(&self, store: &TrustStoreName) -> &[Certificate] {
        let key = (store.kind, store.name.clone());
        self.stores.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Returns every store with its anchors, by kind and name.
    pub fn stores(&self) -> impl Iterator<Item = (StoreKind, &str, &[Certificate])> {
        let stores = self.stores.iter();
        stores.map(|((kind, name), anchors)| (*kind, name.as_str(), anchors.as_slice()))
    }
}

/// Returns the certificates of a file in PEM (several are allowed) or DER.
pub fn certificates_in(pem_or_der: &[u8]) -> Result<Vec<Certificate>, TrustStoreError> {
    let ders = if pem_or_der.first() == Some(&0x30) {
        vec![pem_or_der.to_vec()]
    } else {
        pem_blocks(pem_or_der)?
    };
    let parsed = ders.iter().enumerate().map(|(index, der)| {
        Certificate::from_der(der).map_err(|source| TrustStoreError::Certificate {
            number: index + 1,
            source,
        })
    });
    parsed.collect()
}

fn pem_blocks(bytes: &[u8]) -> Result<Vec<Vec<u8>>, TrustStoreError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = std::str::from_utf8(bytes).map_err(|_| TrustStoreError::Empty)?;
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        if blocks.len() == MAX_CERTIFICATES_PER_FILE {
            return Err(TrustStoreError::TooMany);
        }
        let number = blocks.len() + 1;
        let broken = || TrustStoreError::Certificate {
            number,
            source: CertificateError::Pem,
        };
        let body = &rest[start + BEGIN.len()..];
        let end = body.find(END).ok_or_else(broken)?;
        let base64: String = body[..end].split_ascii_whitespace().collect();
        blocks.push(from_base64(&base64).ok_or_else(broken)?);
        rest = &body[end + END.len()..];
    }
    match blocks.is_empty() {
        true => Err(TrustStoreError::Empty),
        false => Ok(blocks),
    }
}
