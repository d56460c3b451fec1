//! Signatures and who may make them: envelopes, certificate chains, revocation, trust store, trust
//! policy, and the verification that brings them together.
//!
//! Two sides meet here. The signing side ([`jws::UnsignedEnvelope`], [`dsse::pae`]) lays out the
//! bytes that are signed; it never sees a key. The verifying side ([`verify()`],
//! [`verify_attestation()`]) judges an envelope that anybody may have written, and gives an
//! outcome with a reason for every check. A payload can be read only out of an envelope whose
//! signature was verified: the type that holds it has no other constructor.
//!
//! This crate is pure: bytes, evidence and the time are arguments. It says which revocation lists
//! it needs ([`revocation_needs`]), `client` fetches them, and it decides.
//!
//! Standards: Notary Project specifications 1.1 (signature-specification, signature-envelope-jws,
//! signing-scheme, trust-store-trust-policy), RFC 7515, 7518, 5280, 4514, DSSE v1, in-toto
//! attestation framework v1. The requirement numbers `R…` are those of `docs/compat/notation.md`.

mod encoding;
mod json;

pub mod target;
pub use target::TargetArtifact;

pub mod algorithm;
pub use algorithm::{SignatureAlgorithm, SigningScheme};

pub mod dsse;
pub mod jws;
pub use jws::EnvelopeRequest;
