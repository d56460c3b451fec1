//! A key in this process's memory, which aws-lc wipes when it is dropped.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _, RSA_PKCS1_SHA384, RSA_PSS_SHA384,
};
use zeroize::Zeroizing;

use super::{CustodyError, KeyAlgorithm, KeyHandle, KeyUse};

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A key in memory.
pub(crate) struct SoftwareKey {
    algorithm: KeyAlgorithm,
    pair: Pair,
    public_key_der: Vec<u8>,
}

impl SoftwareKey {
    /// Returns a new key.
    pub(crate) fn generate(algorithm: KeyAlgorithm) -> Result<Self, CustodyError> {
        let pair = match ecdsa(algorithm) {
            Some(curve) => Pair::Ecdsa(EcdsaKeyPair::generate(curve)?),
            None => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa3072)?),
        };
        Self::of_pair(algorithm, pair)
    }

    /// Returns the key in a PKCS#8 document; the document says what kind it is.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        KeyAlgorithm::ALL.into_iter().find_map(|algorithm| {
            let pair = match ecdsa(algorithm) {
                Some(curve) => Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(curve, pkcs8).ok()?),
                None => Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).ok()?),
            };
            let key = Self::of_pair(algorithm, pair).ok()?;
            let found = KeyAlgorithm::of_public_key(&key.public_key_der);
            (found == Some(algorithm)).then_some(key)
        })
    }

    /// Returns the PKCS#8 document, to be sealed and nothing else.
    pub(crate) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
        let document = match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let document: Pkcs8V1Der<'_> = pair.as_der()?;
                document.as_ref().to_vec()
            }
        };
        Ok(Zeroizing::new(document))
    }

    fn of_pair(algorithm: KeyAlgorithm, pair: Pair) -> Result<Self, CustodyError> {
        let info: PublicKeyX509Der<'_> = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der()?,
            Pair::Rsa(pair) => pair.public_key().as_der()?,
        };
        Ok(Self {
            algorithm,
            public_key_der: info.as_ref().to_vec(),
            pair,
        })
    }
}

impl KeyHandle for SoftwareKey {
    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    fn sign(&self, usage: KeyUse, message: &[u8]) -> Result<Vec<u8>, CustodyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let padding = match usage {
                    KeyUse::Certificate => &RSA_PKCS1_SHA384,
                    KeyUse::Envelope => &RSA_PSS_SHA384,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

fn ecdsa(algorithm: KeyAlgorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    match algorithm {
        KeyAlgorithm::P256 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyAlgorithm::P384 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyAlgorithm::Rsa3072 => None,
    }
}
