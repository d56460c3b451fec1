//! The keys of an issuer (RFC 7517): RSA, P-256 and P-384.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
};
use serde_json::{Map, Value};

use super::{ReadyKey, TokenRefused};
use crate::encoding::from_base64url;

/// The longest set of keys, in bytes.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;
/// The most keys in a set.
pub const MAX_KEYS: usize = 64;

/// An algorithm of a token (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
}

impl TokenAlgorithm {
    const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384];

    /// Returns the name that tokens use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    pub(super) fn of_rsa(self) -> &'static RsaParameters {
        match self {
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            _ => &RSA_PKCS1_2048_8192_SHA256,
        }
    }

    pub(super) fn of_ec(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::Es384 => &ECDSA_P384_SHA384_FIXED,
            _ => &ECDSA_P256_SHA256_FIXED,
        }
    }
}

/// Says why a document is not a set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// It is too long.
    #[error("a set of keys of {0} bytes is longer than {MAX_KEY_SET_BYTES}")]
    TooLong(usize),
    /// It is not a JSON object with `keys`.
    #[error("that is not a set of keys: expected a JSON object with a list `keys`")]
    Shape,
    /// It has too many keys.
    #[error("a set of {0} keys has more than {MAX_KEYS}")]
    TooMany(usize),
    /// No key in it can verify a token.
    #[error("none of the keys is an RSA, P-256 or P-384 key for signatures with a `kid`")]
    NoKey,
    /// Two keys have one name.
    #[error("key `{0}` is there twice")]
    Twice(String),
}

/// The keys of an issuer that can verify tokens.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
pub(super) struct Key {
    id: String,
    /// The one algorithm that the issuer uses it with, if it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug)]
pub(super) enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Ec { p384: bool, point: Vec<u8> },
}

impl KeySet {
    /// Parses a set. Keys that cannot verify tokens of ours (of other kinds, for encryption, or
    /// without a `kid`) are left out: an issuer may have others for others.
    ///
    /// # Errors
    /// When it is not a set, is too long, or holds no key that counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLong(bytes.len()));
        }
        let document: Value = crate::json::from_slice(bytes).map_err(|_| KeySetError::Shape)?;
        let list = document.get("keys").and_then(Value::as_array);
        let list = list.ok_or(KeySetError::Shape)?;
        if list.len() > MAX_KEYS {
            return Err(KeySetError::TooMany(list.len()));
        }
        let keys: Vec<Key> = list
            .iter()
            .filter_map(Value::as_object)
            .filter_map(key)
            .collect();
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = keys.iter().find(|key| !names.insert(&key.id)) {
            return Err(KeySetError::Twice(twice.id.chars().take(80).collect()));
        }
        match keys.is_empty() {
            true => Err(KeySetError::NoKey),
            false => Ok(Self { keys }),
        }
    }

    /// Returns whether there is a key of that name.
    pub fn contains(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    pub(super) fn find(&self, id: &str) -> Result<&Key, TokenRefused> {
        let found = self.keys.iter().find(|key| key.id == id);
        found.ok_or_else(|| TokenRefused::UnknownKey(id.chars().take(80).collect()))
    }
}

impl Key {
    /// Returns the key for use with `algorithm`; `None` when it is not for that.
    pub(super) fn of(&self, algorithm: TokenAlgorithm) -> Option<ReadyKey<'_>> {
        let fits = match (&self.material, algorithm) {
            (Material::Rsa(_), TokenAlgorithm::Rs256 | TokenAlgorithm::Ps256) => true,
            (Material::Ec { p384, .. }, TokenAlgorithm::Es256) => !p384,
            (Material::Ec { p384, .. }, TokenAlgorithm::Es384) => *p384,
            _ => false,
        };
        let says_so = self
            .algorithm
            .as_deref()
            .is_none_or(|name| name == algorithm.name());
        (fits && says_so).then_some(ReadyKey {
            key: &self.material,
            algorithm,
        })
    }
}

fn key(members: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let id = text("kid").filter(|id| (1..=256).contains(&id.len()))?;
    let bytes = |name: &str| from_base64url(text(name)?);
    let material = match text("kty")? {
        "RSA" => rsa(bytes("n")?, bytes("e")?)?,
        "EC" => ec(text("crv")?, bytes("x")?, bytes("y")?)?,
        _ => return None,
    };
    Some(Key {
        id: id.to_owned(),
        algorithm: text("alg").map(str::to_owned),
        material,
    })
}

/// A modulus of 2048 to 8192 bits; the library refuses others as well.
fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Material> {
    let fits = (256..=1025).contains(&n.len()) && (1..=8).contains(&e.len());
    fits.then_some(Material::Rsa(RsaPublicKeyComponents { n, e }))
}

fn ec(curve: &str, x: Vec<u8>, y: Vec<u8>) -> Option<Material> {
    let (p384, length) = match curve {
        "P-256" => (false, 32),
        "P-384" => (true, 48),
        _ => return None,
    };
    // RFC 7518 §6.2.1.2: coordinates have the full length of the field.
    let fits = x.len() == length && y.len() == length;
    // Uncompressed point (SEC 1 §2.3.3).
    let point = [&[4_u8][..], &x, &y].concat();
    fits.then_some(Material::Ec { p384, point })
}
