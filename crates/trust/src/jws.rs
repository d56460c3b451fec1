//! Notary envelopes in JWS, JSON serialisation, flattened.
//!
//! signature-envelope-jws.md; RFC 7515. [`UnsignedEnvelope`] lays out what is signed,
//! [`ParsedEnvelope`](parse::ParsedEnvelope) reads what somebody else signed.

mod sign;

pub use sign::{EnvelopeRequest, EnvelopeRequestError, UnsignedEnvelope};

/// Names of the members of the protected and unprotected headers (R021–R023).
pub(crate) mod header {
    pub(crate) const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
    pub(crate) const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
    pub(crate) const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
    pub(crate) const EXPIRY: &str = "io.cncf.notary.expiry";
    pub(crate) const SIGNING_AGENT: &str = "io.cncf.notary.signingAgent";
}
