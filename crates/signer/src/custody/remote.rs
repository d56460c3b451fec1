//! Keys in a service of somebody else: a small trait, so that HTTP stays out of this room.
//!
//! A service is sent a hash and a label, never a payload, and only its public half of a key is
//! kept here.

use std::sync::Arc;

use super::{Custody, CustodyError, KeyAlgorithm, KeyHandle, KeyUse, check_label};

/// How many signatures are under way at once. A service answers in some 10 ms; 32 at a time are
/// about 3,000 a second, more than such services allow.
const PARALLELISM: usize = 32;

/// What is asked of a service for one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteSignature<'a> {
    /// The kind of key, which decides the hash.
    pub algorithm: KeyAlgorithm,
    /// What the signature is for: PKCS#1 v1.5 or PSS.
    pub usage: KeyUse,
    /// The hash of the message.
    pub hash: &'a [u8],
}

/// A service that keeps keys. Its calls wait for the answer.
pub trait RemoteKeys: Send + Sync {
    /// Says in words where the keys lie, without a secret.
    fn describe(&self) -> String;

    /// Returns the public half of the key under `label` as SubjectPublicKeyInfo, if there is one.
    fn public_key(&self, label: &str) -> Result<Option<Vec<u8>>, CustodyError>;

    /// Makes a key under `label`, which is free, and returns its public half.
    fn create(&self, label: &str, algorithm: KeyAlgorithm) -> Result<Vec<u8>, CustodyError>;

    /// Returns a signature; ECDSA in ASN.1.
    fn sign(&self, label: &str, request: RemoteSignature<'_>) -> Result<Vec<u8>, CustodyError>;
}

/// The keys of a service.
pub struct RemoteCustody {
    keys: Arc<dyn RemoteKeys>,
}

impl RemoteCustody {
    /// Returns the custody over the service `keys`.
    pub fn new(keys: Arc<dyn RemoteKeys>) -> Self {
        Self { keys }
    }

    fn handle(&self, label: &str, public_key: Vec<u8>) -> Result<Arc<dyn KeyHandle>, CustodyError> {
        let algorithm = KeyAlgorithm::of_public_key(&public_key);
        let algorithm = algorithm.ok_or_else(|| CustodyError::Unusable {
            label: label.to_owned(),
            reason: format!("{} has no key of a known kind there", self.keys.describe()),
        })?;
        Ok(Arc::new(RemoteKey {
            keys: self.keys.clone(),
            label: label.to_owned(),
            algorithm,
            public_key,
        }))
    }
}

impl Custody for RemoteCustody {
    fn describe(&self) -> String {
        self.keys.describe()
    }

    fn parallelism(&self) -> usize {
        PARALLELISM
    }

    fn open(&self, label: &str) -> Result<Option<Arc<dyn KeyHandle>>, CustodyError> {
        check_label(label)?;
        match self.keys.public_key(label)? {
            Some(public_key) => self.handle(label, public_key).map(Some),
            None => Ok(None),
        }
    }

    fn generate(
        &self,
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<Arc<dyn KeyHandle>, CustodyError> {
        check_label(label)?;
        if self.keys.public_key(label)?.is_some() {
            return Err(CustodyError::Exists {
                custody: self.describe(),
                label: label.to_owned(),
            });
        }
        let public_key = self.keys.create(label, algorithm)?;
        self.handle(label, public_key)
    }
}

struct RemoteKey {
    keys: Arc<dyn RemoteKeys>,
    label: String,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
}

impl KeyHandle for RemoteKey {
    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, usage: KeyUse, message: &[u8]) -> Result<Vec<u8>, CustodyError> {
        let request = RemoteSignature {
            algorithm: self.algorithm,
            usage,
            hash: &self.algorithm.hash(message),
        };
        self.keys.sign(&self.label, request)
    }
}
