//! P-384 keys: the authority's, which signs certificates and lists, and the leaf's, which signs
//! envelopes.
//!
//! Both are aws-lc keys; their memory is wiped when they are dropped. They differ in the form of
//! the signature: X.509 wants ASN.1, JOSE wants `r‖s`.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use rcgen::{PKCS_ECDSA_P384_SHA384, PublicKeyData, SignatureAlgorithm};
use zeroize::Zeroizing;

/// The key of a certificate authority.
pub(crate) struct AuthorityKey(EcdsaKeyPair);

impl AuthorityKey {
    /// Returns a new key and its PKCS#8 document.
    pub(crate) fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING)?;
        let document = pair.to_pkcs8v1()?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok((Self(pair), pkcs8))
    }

    /// Returns the key in a PKCS#8 document.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Unspecified> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8);
        pair.map(Self).map_err(|_| Unspecified)
    }

    /// Returns the public point, uncompressed.
    pub(crate) fn public_point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.public_point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P384_SHA384
    }
}

impl rcgen::SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// The key of a leaf certificate. Never written anywhere.
pub(crate) struct LeafKey(EcdsaKeyPair);

impl LeafKey {
    /// Returns a new key.
    pub(crate) fn generate() -> Result<Self, Unspecified> {
        EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Self)
    }

    /// Returns the ES384 signature of `message`, `r‖s`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<impl AsRef<[u8]> + use<>, Unspecified> {
        self.0.sign(&SystemRandom::new(), message)
    }
}

impl PublicKeyData for LeafKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P384_SHA384
    }
}
