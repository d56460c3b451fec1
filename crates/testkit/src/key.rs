//! Keys that sign certificates and envelopes.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
    PKCS_RSA_SHA256, PKCS_RSA_SHA384, PKCS_RSA_SHA512, RsaKeySize, SignatureAlgorithm,
};

/// A kind and size of key: those that may sign Notary envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl KeyKind {
    /// All kinds, the quick ones first.
    pub const ALL: [Self; 6] = [
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// Returns the JOSE name of the algorithm that this key signs envelopes with.
    pub fn jose_name(self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::P384 => "ES384",
            Self::P521 => "ES512",
            Self::Rsa2048 => "PS256",
            Self::Rsa3072 => "PS384",
            Self::Rsa4096 => "PS512",
        }
    }

    fn certificate_algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
            Self::P521 => &PKCS_ECDSA_P521_SHA512,
            Self::Rsa2048 => &PKCS_RSA_SHA256,
            Self::Rsa3072 => &PKCS_RSA_SHA384,
            Self::Rsa4096 => &PKCS_RSA_SHA512,
        }
    }
}

/// A private key. Cheap to clone.
#[derive(Clone)]
pub struct TestKey {
    kind: KeyKind,
    pair: Arc<KeyPair>,
}

impl TestKey {
    /// Makes a key. RSA keys are made once per process and kind, because they take long.
    pub fn new(kind: KeyKind) -> Self {
        static RSA: [OnceLock<Arc<KeyPair>>; 3] =
            [OnceLock::new(), OnceLock::new(), OnceLock::new()];
        let rsa = |slot: usize, size| {
            let make = || Arc::new(rsa_pair(kind, size));
            RSA[slot].get_or_init(make).clone()
        };
        let pair = match kind {
            KeyKind::Rsa2048 => rsa(0, RsaKeySize::_2048),
            KeyKind::Rsa3072 => rsa(1, RsaKeySize::_3072),
            KeyKind::Rsa4096 => rsa(2, RsaKeySize::_4096),
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                let pair = KeyPair::generate_for(kind.certificate_algorithm());
                Arc::new(pair.expect("aws-lc-rs makes keys on all three curves"))
            }
        };
        Self { kind, pair }
    }

    /// Returns the kind.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Returns the private key in PKCS#8.
    pub fn pkcs8(&self) -> Vec<u8> {
        self.pair.serialize_der()
    }

    /// Returns the private key in PKCS#8, in PEM.
    pub fn pkcs8_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// Signs a message as envelopes want it: `r ‖ s` in fixed width, or RSASSA-PSS.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self.kind {
            KeyKind::P256 => self.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, message),
            KeyKind::P384 => self.ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, message),
            KeyKind::P521 => self.ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING, message),
            KeyKind::Rsa2048 => self.pss(&RSA_PSS_SHA256, message),
            KeyKind::Rsa3072 => self.pss(&RSA_PSS_SHA384, message),
            KeyKind::Rsa4096 => self.pss(&RSA_PSS_SHA512, message),
        }
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    fn ecdsa(&self, algorithm: &'static EcdsaSigningAlgorithm, message: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8());
        let pair = pair.expect("the key was made for this algorithm");
        let signature = pair.sign(&SystemRandom::new(), message);
        signature
            .expect("signing has no reason to fail")
            .as_ref()
            .to_vec()
    }

    fn pss(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let pair = RsaKeyPair::from_pkcs8(&self.pkcs8()).expect("the key is an RSA key");
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
            .expect("signing has no reason to fail");
        signature
    }
}

fn rsa_pair(kind: KeyKind, size: RsaKeySize) -> KeyPair {
    KeyPair::generate_rsa_for(kind.certificate_algorithm(), size)
        .expect("aws-lc-rs makes RSA keys of all three sizes")
}
