//! Notary envelopes in JWS, JSON serialisation, flattened.
//!
//! signature-envelope-jws.md; RFC 7515. [`UnsignedEnvelope`] lays out what is signed;
//! [`ParsedEnvelope`] is what somebody else signed, read strictly; [`VerifiedEnvelope`] is one
//! whose signature holds, and the only way to a payload.

pub mod aws;
mod parse;
mod sign;

pub use aws::AwsAttributes;
pub use parse::{ParsedEnvelope, SignedAttributes, VerifiedEnvelope};
pub use sign::{EnvelopeRequest, EnvelopeRequestError, UnsignedEnvelope};

use crate::chain::CertificateChain;

/// The largest envelope, in bytes: a payload of 4 KiB, a timestamp token and sixteen certificates
/// fit many times.
pub const MAX_ENVELOPE_BYTES: usize = 1 << 20;

/// Returns the chain of an envelope that can be read.
pub(crate) fn chain_of(envelope: &[u8]) -> Option<CertificateChain> {
    let envelope = ParsedEnvelope::parse(envelope).ok()?;
    Some(envelope.chain().clone())
}

/// Names of the members of the protected and unprotected headers (R012, R021–R023).
pub(crate) mod header {
    pub(crate) const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
    pub(crate) const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
    pub(crate) const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
    pub(crate) const EXPIRY: &str = "io.cncf.notary.expiry";
    pub(crate) const VERIFICATION_PLUGIN: &str = "io.cncf.notary.verificationPlugin";
    pub(crate) const PLUGIN_MIN_VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";
    pub(crate) const TIMESTAMP_SIGNATURE: &str = "io.cncf.notary.timestampSignature";
    pub(crate) const SIGNING_AGENT: &str = "io.cncf.notary.signingAgent";
}
