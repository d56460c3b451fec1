//! Verification end to end, over certificates, envelopes and revocation lists made on the spot.
//! Every check has a test in which only it fails.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

mod world;

mod attestation;
mod chain;
mod envelope;
mod mutation;
mod policy;
mod pushed;
mod revocation;
mod signature;
mod store;
mod transparency;
