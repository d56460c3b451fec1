//! Custody: where private keys lie, and what may be asked of them there.
//!
//! One seam: a key signs bytes, says its public half, and never leaves. Behind it lie
//!
//! | back end | keys lie | unlocked by |
//! |---|---|---|
//! | [`SealedFolder`] | in files, sealed with AES-256-GCM under argon2id ([`sealed`]) | the unlocking secret ([`unlock`]) |
//! | [`Token`] | in an HSM, behind its PKCS#11 module | a PIN |
//! | [`RemoteCustody`] | in a key management service, behind [`RemoteKeys`] | a credential of that service |
//!
//! The unlocking secret never lies beside the keys: it comes from a file that the caller names,
//! from an open file descriptor, or from a file outside the data folder. A back end that is out of
//! reach makes signing unavailable, never weaker: nothing falls back to another.

mod algorithm;
mod error;
mod folder;
mod pkcs11;
mod remote;
mod software;

pub mod behaviour;
pub mod files;
pub mod sealed;
pub mod unlock;

use std::sync::Arc;

pub(crate) use algorithm::key_bits;
pub use algorithm::{KeyAlgorithm, KeyAlgorithmError};
pub use error::CustodyError;
pub use folder::SealedFolder;
pub use pkcs11::{Token, TokenOptions};
pub use remote::{RemoteCustody, RemoteKeys, RemoteSignature};
pub use sealed::{KdfCost, SealError};
pub(crate) use software::SoftwareKey;
pub use unlock::{SecretSource, UnlockError, UnlockSecret, UnlockSource};

/// The longest label, in bytes: PKCS#11 tokens and KMS aliases take more, and a profile's name of
/// 64 bytes fits with what is put around it.
pub const MAX_LABEL_BYTES: usize = 100;

/// What a signature is for. It matters to RSA alone: X.509 verifiers everywhere take PKCS#1 v1.5,
/// and Notary envelopes take PSS only (signature-specification, Algorithm Selection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// A certificate, a revocation list, or another structure of X.509: ECDSA or PKCS#1 v1.5.
    Certificate,
    /// An envelope: ECDSA or PSS.
    Envelope,
}

/// A private key that stays where it is.
pub trait KeyHandle: Send + Sync {
    /// Returns what kind of key it is.
    fn algorithm(&self) -> KeyAlgorithm;

    /// Returns the public half as SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7).
    fn public_key_der(&self) -> &[u8];

    /// Returns a signature over `message` with the hash of [`Self::algorithm`]. ECDSA comes in
    /// ASN.1 (RFC 3279 §2.2.3).
    ///
    /// May wait for a device or a server.
    fn sign(&self, usage: KeyUse, message: &[u8]) -> Result<Vec<u8>, CustodyError>;
}

/// A place that keeps private keys under labels. A label is 1 to [`MAX_LABEL_BYTES`] letters,
/// digits, `_` and `-`.
pub trait Custody: Send + Sync {
    /// Says in words where the keys lie, without a secret.
    fn describe(&self) -> String;

    /// Returns how many signatures should be under way at once: as many as there are processors
    /// where signing is work, and more where it is waiting.
    fn parallelism(&self) -> usize {
        std::thread::available_parallelism().map_or(2, usize::from)
    }

    /// Returns whether there is a key under `label`, without opening it.
    fn contains(&self, label: &str) -> Result<bool, CustodyError> {
        Ok(self.open(label)?.is_some())
    }

    /// Returns the key under `label`, if there is one.
    fn open(&self, label: &str) -> Result<Option<Arc<dyn KeyHandle>>, CustodyError>;

    /// Makes a key under `label`, which must be free.
    fn generate(
        &self,
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<Arc<dyn KeyHandle>, CustodyError>;
}

/// Returns nothing when `label` may name a key.
pub fn check_label(label: &str) -> Result<(), CustodyError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(allowed) {
        return Ok(());
    }
    Err(CustodyError::Label(label.chars().take(80).collect()))
}
