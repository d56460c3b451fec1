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
pub mod jwt;
pub use jws::EnvelopeRequest;

pub mod certificate;
pub mod chain;
pub mod name;
pub use certificate::Certificate;
pub use chain::CertificateChain;
pub use name::DistinguishedName;

pub mod revocation;
pub mod trust_policy;
pub mod trust_store;
pub use revocation::{RevocationEvidence, RevocationStatus, revocation_needs};
pub use trust_policy::{NoStatement, TrustPolicy, TrustPolicyError, TrustPolicyStatement};
pub use trust_store::{StoreKind, TrustStore};

pub mod tlog;

pub mod outcome;
pub mod verify;
pub use outcome::{
    AttestationOutcome, CheckResult, Failure, FailureCode, Finding, Signer, VerificationAction,
    VerificationOutcome, VerificationType, VerifiedStatement,
};
pub use verify::{LogEvidence, VerifyRequest, verify, verify_attestation};

pub mod inspect;
pub use inspect::{UnverifiedView, inspect};
