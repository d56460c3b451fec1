//! Time-stamp requests (RFC 3161 §2.4.1), parsed strictly.

use der::asn1::{Int, OctetString};
use der::oid::ObjectIdentifier;
use der::{Decode as _, Sequence};
use x509_cert::ext::Extension;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// The longest request that is read, in bytes: a hash, an object identifier and a number need a
/// quarter of it.
pub const MAX_TIMESTAMP_REQUEST_BYTES: usize = 1024;
/// The longest nonce, in bytes; clients send 8 to 20.
const MAX_NONCE_BYTES: usize = 32;

/// The hashes that are stamped, and their lengths in bytes. SHA-1 and MD5 are not.
const HASHES: [(ObjectIdentifier, usize); 3] = [
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"), 32),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"), 48),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"), 64),
];

/// A request for a time-stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampRequest {
    /// The hash that is stamped.
    pub(super) imprint: MessageImprint,
    /// The policy that is asked for.
    pub(super) policy: Option<ObjectIdentifier>,
    /// What the token must repeat.
    pub(super) nonce: Option<Int>,
    /// Whether the token shall carry the certificates that verify it.
    pub(super) wants_certificates: bool,
}

/// What is stamped.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct MessageImprint {
    pub(super) algorithm: AlgorithmIdentifierOwned,
    pub(super) hash: OctetString,
}

/// Says why a request gets no token; each is one of the failures of RFC 3161 §2.4.2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampRefusal {
    /// badRequest: it is not a request.
    #[error("not a time-stamp request: {0}")]
    Request(String),
    /// badAlg: its hash is not stamped.
    #[error("hash algorithm `{0}` is not stamped: use SHA-256, SHA-384 or SHA-512")]
    Algorithm(ObjectIdentifier),
    /// badDataFormat: the hash is not as long as it should be.
    #[error("a hash of {found} bytes, where its algorithm makes {expected}")]
    Length {
        /// Its length.
        found: usize,
        /// The right one.
        expected: usize,
    },
    /// unacceptedPolicy: another policy than ours is asked for.
    #[error("policy `{asked}` is not ours: ask for `{ours}`, or for none")]
    Policy {
        /// What was asked for.
        asked: ObjectIdentifier,
        /// What there is.
        ours: ObjectIdentifier,
    },
    /// unacceptedExtension: it holds an extension; none is known.
    #[error("extension `{0}` is not known")]
    Extension(ObjectIdentifier),
    /// timeNotAvailable: the clock cannot be relied on.
    #[error("{0}")]
    Time(String),
    /// systemFailure: a fault of ours.
    #[error("the time-stamping authority failed; its log says why")]
    System,
}

impl TimestampRefusal {
    /// Returns the number of the bit in PKIFailureInfo.
    pub(super) fn bit(&self) -> u8 {
        match self {
            Self::Algorithm(_) => 0,
            Self::Request(_) => 2,
            Self::Length { .. } => 5,
            Self::Time(_) => 14,
            Self::Policy { .. } => 15,
            Self::Extension(_) => 16,
            Self::System => 25,
        }
    }
}

#[derive(Sequence)]
struct Outer {
    version: u8,
    imprint: MessageImprint,
    #[asn1(optional = "true")]
    policy: Option<ObjectIdentifier>,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    #[asn1(default = "no")]
    wants_certificates: bool,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

fn no() -> bool {
    false
}

impl TimestampRequest {
    /// Parses a request in DER.
    pub fn parse(der: &[u8]) -> Result<Self, TimestampRefusal> {
        if der.len() > MAX_TIMESTAMP_REQUEST_BYTES {
            let (found, limit) = (der.len(), MAX_TIMESTAMP_REQUEST_BYTES);
            let reason = format!("{found} bytes are more than {limit}");
            return Err(TimestampRefusal::Request(reason));
        }
        let outer = Outer::from_der(der).map_err(shape)?;
        if outer.version != 1 {
            return Err(TimestampRefusal::Request("its version is not 1".to_owned()));
        }
        if outer
            .nonce
            .as_ref()
            .is_some_and(|nonce| nonce.as_bytes().len() > MAX_NONCE_BYTES)
        {
            let reason = format!("its nonce is longer than {MAX_NONCE_BYTES} bytes");
            return Err(TimestampRefusal::Request(reason));
        }
        if let Some(extension) = outer.extensions.iter().flatten().next() {
            return Err(TimestampRefusal::Extension(extension.extn_id));
        }
        check_imprint(&outer.imprint)?;
        Ok(Self {
            imprint: outer.imprint,
            policy: outer.policy,
            nonce: outer.nonce,
            wants_certificates: outer.wants_certificates,
        })
    }
}

fn check_imprint(imprint: &MessageImprint) -> Result<(), TimestampRefusal> {
    let MessageImprint { algorithm, hash } = imprint;
    let known = HASHES.iter().find(|(oid, _)| *oid == algorithm.oid);
    // RFC 5754 §2: parameters are absent, or NULL for those who always wrote it.
    let is_plain = algorithm.parameters.as_ref().is_none_or(der::Any::is_null);
    let (Some((_, expected)), true) = (known, is_plain) else {
        return Err(TimestampRefusal::Algorithm(algorithm.oid));
    };
    let found = hash.as_bytes().len();
    match found == *expected {
        true => Ok(()),
        false => Err(TimestampRefusal::Length {
            found,
            expected: *expected,
        }),
    }
}

fn shape(error: der::Error) -> TimestampRefusal {
    TimestampRefusal::Request(error.to_string())
}
