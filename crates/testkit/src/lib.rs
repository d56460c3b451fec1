//! Test certificates and fixed times.
//!
//! Keys and certificates are made when a test runs and never committed. Times are constants, so
//! that a test says the same thing next year. Everything panics with a sentence where it cannot go
//! on: only tests use it.

mod certificate;
mod key;
mod time;

pub use certificate::{
    TestCertificate, authority_params, crl_at, crl_params, leaf_params, pem, revoked, root,
};
pub use key::{KeyKind, TestKey};
pub use time::{NOW, after, before};

/// The maker of certificates, for tests that want to bend one.
pub use rcgen;
