//! The sealed key file, version 1.
//!
//! A JSON object with exactly these members:
//!
//! | member | meaning |
//! |---|---|
//! | `format` | `countersign-sealed-key/v1` |
//! | `name` | which key this is; a file that was renamed over another one does not open |
//! | `memoryKib`, `iterations`, `lanes` | the cost of argon2id (RFC 9106), version 0x13 |
//! | `salt` | 16 random bytes, base64 |
//! | `nonce` | 12 random bytes, base64, new at each writing |
//! | `ciphertext` | AES-256-GCM over the PKCS#8 document, tag at the end, base64 |
//!
//! All other members are authenticated as associated data, so none can be changed without
//! notice. A wrong secret and a changed file cannot be told apart, and the error says so.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::unlock::UnlockSecret;

/// The longest sealed file that is read, in bytes; a P-384 key needs about 700.
pub const MAX_SEALED_BYTES: usize = 16 * 1024;

const FORMAT: &str = "countersign-sealed-key/v1";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// The most memory that a sealed file may ask for, in KiB: a changed file must not exhaust it.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_ITERATIONS: u32 = 32;
const MAX_LANES: u32 = 16;

/// What one guess of the unlocking secret costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfCost {
    /// RFC 9106, section 4, second recommended option (64 MiB, three passes), with one lane: it
    /// is computed on one thread.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        iterations: 3,
        lanes: 1,
    };
    /// The least that argon2id takes. For tests only.
    pub const TESTS_ONLY: Self = Self {
        memory_kib: 8,
        iterations: 1,
        lanes: 1,
    };
}

/// Says why a key could not be sealed or opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The file is not a sealed key.
    #[error("not a sealed key file: {0}")]
    Shape(String),
    /// The file is of a version that this program does not know.
    #[error("sealed key format `{0}` is not known: this program reads `{FORMAT}`")]
    Format(String),
    /// The file holds another key than the one asked for.
    #[error("the file holds key `{found}`, not `{expected}`")]
    Name {
        /// The name in the file.
        found: String,
        /// The name that was asked for.
        expected: String,
    },
    /// The derivation would cost too much, or too little to be valid.
    #[error("the key derivation cost in the file is out of range")]
    Cost,
    /// The secret is wrong, or the file was changed.
    #[error(
        "the unlocking secret does not open key `{0}`: it is the wrong secret, or the file was changed"
    )]
    Secret(String),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SealedFile {
    format: String,
    name: String,
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
    salt: String,
    nonce: String,
    ciphertext: String,
}

impl SealedFile {
    fn associated_data(&self) -> Vec<u8> {
        let Self {
            format,
            name,
            memory_kib,
            iterations,
            lanes,
            salt,
            nonce,
            ..
        } = self;
        format!("{format}\n{name}\n{memory_kib}\n{iterations}\n{lanes}\n{salt}\n{nonce}\n").into()
    }

    fn derive(&self, secret: &UnlockSecret, salt: &[u8]) -> Result<LessSafeKey, SealError> {
        let in_range = self.memory_kib <= MAX_MEMORY_KIB
            && self.iterations <= MAX_ITERATIONS
            && self.lanes <= MAX_LANES;
        let params = Params::new(self.memory_kib, self.iterations, self.lanes, Some(32))
            .map_err(|_| SealError::Cost)?;
        if !in_range {
            return Err(SealError::Cost);
        }
        let mut key = Zeroizing::new([0u8; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(secret.bytes(), salt, &mut *key)
            .map_err(|_| SealError::Cost)?;
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| SealError::Library)?;
        Ok(LessSafeKey::new(key))
    }
}

/// Returns the sealed file that holds `pkcs8` under the name `name`.
pub fn seal(
    name: &str,
    pkcs8: &[u8],
    secret: &UnlockSecret,
    cost: KdfCost,
) -> Result<Vec<u8>, SealError> {
    let salt: [u8; SALT_BYTES] = random()?;
    let nonce: [u8; NONCE_BYTES] = random()?;
    let mut file = SealedFile {
        format: FORMAT.to_owned(),
        name: name.to_owned(),
        memory_kib: cost.memory_kib,
        iterations: cost.iterations,
        lanes: cost.lanes,
        salt: BASE64_STANDARD.encode(salt),
        nonce: BASE64_STANDARD.encode(nonce),
        ciphertext: String::new(),
    };
    let key = file.derive(secret, &salt)?;
    // Room for the tag, so that growing does not leave a copy of the key behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(pkcs8.len() + AES_256_GCM.tag_len()));
    buffer.extend_from_slice(pkcs8);
    let associated = Aad::from(file.associated_data());
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        associated,
        &mut *buffer,
    )
    .map_err(|_| SealError::Library)?;
    file.ciphertext = BASE64_STANDARD.encode(&*buffer);
    serde_json::to_vec_pretty(&file).map_err(|error| SealError::Shape(error.to_string()))
}

/// Returns the PKCS#8 document in the sealed file `bytes`, which must hold the key `name`.
pub fn open(
    name: &str,
    bytes: &[u8],
    secret: &UnlockSecret,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if bytes.len() > MAX_SEALED_BYTES {
        return Err(SealError::Shape(format!(
            "longer than {MAX_SEALED_BYTES} bytes"
        )));
    }
    let file: SealedFile =
        serde_json::from_slice(bytes).map_err(|error| SealError::Shape(error.to_string()))?;
    if file.format != FORMAT {
        return Err(SealError::Format(file.format.chars().take(80).collect()));
    }
    if file.name != name {
        let found = file.name.chars().take(80).collect();
        return Err(SealError::Name {
            found,
            expected: name.to_owned(),
        });
    }
    decrypt(&file, secret)
}

fn decrypt(file: &SealedFile, secret: &UnlockSecret) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let salt = decode(&file.salt, "salt")?;
    let nonce: [u8; NONCE_BYTES] = decode(&file.nonce, "nonce")?
        .try_into()
        .map_err(|_| SealError::Shape("`nonce` is not 12 bytes".to_owned()))?;
    if salt.len() != SALT_BYTES {
        return Err(SealError::Shape("`salt` is not 16 bytes".to_owned()));
    }
    let mut buffer = Zeroizing::new(decode(&file.ciphertext, "ciphertext")?);
    let key = file.derive(secret, &salt)?;
    let associated = Aad::from(file.associated_data());
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(nonce), associated, &mut buffer)
        .map_err(|_| SealError::Secret(file.name.clone()))?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

fn decode(text: &str, member: &str) -> Result<Vec<u8>, SealError> {
    BASE64_STANDARD
        .decode(text)
        .map_err(|_| SealError::Shape(format!("`{member}` is not base64")))
}

fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0u8; N];
    rand::fill(&mut bytes).map_err(|_| SealError::Library)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> UnlockSecret {
        UnlockSecret::parse(text.as_bytes().to_vec()).unwrap()
    }

    fn sealed() -> (UnlockSecret, Vec<u8>) {
        let secret = secret("correct horse battery staple");
        let bytes = seal("root", b"the key", &secret, KdfCost::TESTS_ONLY).unwrap();
        (secret, bytes)
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let (secret, bytes) = sealed();
        assert_eq!(&**open("root", &bytes, &secret).unwrap(), b"the key");
    }

    #[test]
    fn the_key_is_not_in_the_file_and_no_two_files_are_alike() {
        let (secret, first) = sealed();
        let second = seal("root", b"the key", &secret, KdfCost::TESTS_ONLY).unwrap();
        assert_ne!(first, second);
        let text = String::from_utf8(first).unwrap();
        assert!(!text.contains("the key") && !text.contains(&BASE64_STANDARD.encode("the key")));
    }

    #[test]
    fn another_secret_does_not_open_it() {
        let (_, bytes) = sealed();
        let error = open("root", &bytes, &secret("incorrect horse battery")).unwrap_err();
        insta::assert_snapshot!(error, @"the unlocking secret does not open key `root`: it is the wrong secret, or the file was changed");
    }

    /// One change each; whatever it is, the key must not come out.
    #[test]
    fn a_changed_file_does_not_open() {
        let (secret, bytes) = sealed();
        let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let other = BASE64_STANDARD.encode([7u8; 16]);
        let table = [
            ("format", "countersign-sealed-key/v2".into(), "is not known"),
            ("name", "intermediate".into(), "holds key `intermediate`"),
            ("memoryKib", 9.into(), "does not open"),
            ("memoryKib", 4_000_000.into(), "out of range"),
            ("iterations", 2.into(), "does not open"),
            ("iterations", 1_000_000.into(), "out of range"),
            ("lanes", 0.into(), "out of range"),
            ("salt", other.clone().into(), "does not open"),
            ("salt", "AAAA".into(), "not 16 bytes"),
            (
                "nonce",
                BASE64_STANDARD.encode([7u8; 12]).into(),
                "does not open",
            ),
            ("nonce", other.into(), "not 12 bytes"),
            ("ciphertext", "".into(), "does not open"),
            ("ciphertext", "!".into(), "not base64"),
            ("comment", "hello".into(), "not a sealed key file"),
        ];
        for (member, value, expected) in table {
            let mut changed = file.clone();
            changed[member] = value;
            let changed = serde_json::to_vec(&changed).unwrap();
            let error = open("root", &changed, &secret).unwrap_err().to_string();
            assert!(error.contains(expected), "{member}: {error}");
        }
    }

    #[test]
    fn every_flipped_bit_of_the_ciphertext_is_noticed() {
        let (secret, bytes) = sealed();
        let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let ciphertext = BASE64_STANDARD
            .decode(file["ciphertext"].as_str().unwrap())
            .unwrap();
        for bit in 0..ciphertext.len() * 8 {
            let mut flipped = ciphertext.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut changed = file.clone();
            changed["ciphertext"] = BASE64_STANDARD.encode(flipped).into();
            let changed = serde_json::to_vec(&changed).unwrap();
            assert!(
                matches!(open("root", &changed, &secret), Err(SealError::Secret(_))),
                "{bit}"
            );
        }
    }

    #[test]
    fn a_truncated_or_huge_file_is_refused() {
        let (secret, bytes) = sealed();
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(open("root", &bytes[..length], &secret).is_err(), "{length}");
        }
        assert!(open("root", &vec![b' '; MAX_SEALED_BYTES + 1], &secret).is_err());
    }
}
