//! Keys as the certificate library and the envelopes want them: the authority's, which signs
//! certificates and lists, and the leaf's, which signs envelopes.
//!
//! They differ in the form of the signature: X.509 wants ASN.1, JOSE wants `r‖s`.

use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{PublicKeyData, SignatureAlgorithm};

use crate::custody::{CustodyError, KeyAlgorithm, KeyHandle, KeyUse, SoftwareKey, key_bits};

/// The key of a certificate authority.
pub(crate) struct AuthorityKey {
    handle: Arc<dyn KeyHandle>,
    bits: Vec<u8>,
    /// What the custody said when it last refused: the certificate library has no room for it.
    failure: Mutex<Option<CustodyError>>,
}

impl AuthorityKey {
    /// Returns the key behind `handle`.
    pub(crate) fn new(handle: Arc<dyn KeyHandle>) -> Result<Self, CustodyError> {
        Ok(Self {
            bits: key_bits(handle.public_key_der()).ok_or(CustodyError::Library)?,
            handle,
            failure: Mutex::default(),
        })
    }

    /// Returns the key itself of the public half: a point, or an RSAPublicKey.
    pub(crate) fn public_bits(&self) -> &[u8] {
        &self.bits
    }

    /// Returns what the custody said when it last refused to sign. Where several threads sign at
    /// once it may be the answer to another's request, which is as good: it is the same device.
    pub(crate) fn last_failure(&self) -> Option<CustodyError> {
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.handle.algorithm().of_certificates()
    }
}

impl rcgen::SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.handle.sign(KeyUse::Certificate, message);
        signature.map_err(|error| {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some(error);
            rcgen::Error::RemoteKeyError
        })
    }
}

/// The key of a leaf certificate.
pub(crate) struct LeafKey {
    handle: Arc<dyn KeyHandle>,
    bits: Vec<u8>,
}

impl LeafKey {
    /// Returns a new key in memory, which is never written anywhere.
    pub(crate) fn generate(algorithm: KeyAlgorithm) -> Result<Self, CustodyError> {
        Self::new(Arc::new(SoftwareKey::generate(algorithm)?))
    }

    /// Returns the key behind `handle`.
    pub(crate) fn new(handle: Arc<dyn KeyHandle>) -> Result<Self, CustodyError> {
        Ok(Self {
            bits: key_bits(handle.public_key_der()).ok_or(CustodyError::Library)?,
            handle,
        })
    }

    /// Returns what kind of key it is.
    pub(crate) fn algorithm(&self) -> KeyAlgorithm {
        self.handle.algorithm()
    }

    /// Returns the signature of `message` as JOSE has it: `r‖s`, or RSASSA-PSS.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CustodyError> {
        let signature = self.handle.sign(KeyUse::Envelope, message)?;
        let algorithm = self.handle.algorithm();
        if !algorithm.is_ecdsa() {
            return Ok(signature);
        }
        algorithm
            .fixed_width(&signature)
            .ok_or(CustodyError::Library)
    }
}

impl PublicKeyData for LeafKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.handle.algorithm().of_certificates()
    }
}
