//! Tokens and passwords: how they are made, shown and kept.
//!
//! A token is 256 random bits, shown once and kept as its SHA-256: nobody can guess or search
//! 2^256 values, so a slow hash would protect nothing and would cost every request 20 ms and
//! 19 MiB. A password is chosen by a person and is therefore kept under argon2id.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// What every token begins with, so that scanners for leaked secrets can find it.
const TOKEN_PREFIX: &str = "cst_";
/// The size of a token's secret, in bytes: 256 bits.
const TOKEN_BYTES: usize = 32;
/// The size of a token's public part, in bytes: enough that two never meet.
const ID_BYTES: usize = 8;
/// The longest secret that is looked at, in bytes. Ours have 64; a password may be a sentence.
pub const MAX_SECRET_BYTES: usize = 256;

/// A token, just made: the only time that its text exists on the server.
///
/// `cst_`, sixteen hexadecimal digits by which the row is found, `_`, and the secret.
pub struct NewToken {
    text: String,
}

/// Says why a secret could not be made or hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The system's random source failed.
    #[error("the system gave no random bytes")]
    Random,
    /// argon2id refused: out of memory, or a password that is too long.
    #[error("password could not be hashed: {0}")]
    Hash(String),
}

impl NewToken {
    /// Makes a token.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn generate() -> Result<Self, SecretError> {
        let mut random = [0_u8; ID_BYTES + TOKEN_BYTES];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| SecretError::Random)?;
        let (id, secret) = random.split_at(ID_BYTES);
        let (id, secret) = (hex::encode(id), BASE64_URL_SAFE_NO_PAD.encode(secret));
        Ok(Self {
            text: format!("{TOKEN_PREFIX}{id}_{secret}"),
        })
    }

    /// Returns the public part of a token's text, or `None` if it does not look like a token.
    pub fn id_of(text: &str) -> Option<&str> {
        let (id, _) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|b| b.is_ascii_hexdigit());
        is_id.then_some(id)
    }

    /// Returns the public part, by which the store finds the token.
    pub fn id(&self) -> &str {
        Self::id_of(&self.text).unwrap_or_default()
    }

    /// Returns the text, to be shown once.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns what the store keeps.
    pub fn hash(&self) -> String {
        hash_token(&self.text)
    }
}

/// Returns what the store keeps of a token: SHA-256, in hexadecimal.
pub fn hash_token(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Returns whether two texts are equal, in a time that tells nothing of where they differ.
pub(super) fn equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

/// Returns the argon2id hash of a password, as a PHC string with a salt of its own.
///
/// This takes about 20 ms and 19 MiB: call it from a blocking thread.
///
/// # Errors
/// When there is no memory or randomness.
pub fn hash_password(password: &str) -> Result<String, SecretError> {
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| SecretError::Hash(error.to_string()))
}

/// Returns whether `password` is the one that `hash` was made from. As slow as [`hash_password`].
pub(super) fn verify_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_distinct_and_kept_as_a_hash() {
        let (one, two) = (NewToken::generate().unwrap(), NewToken::generate().unwrap());
        assert_ne!(one.text(), two.text());
        assert_eq!(one.text().len(), TOKEN_PREFIX.len() + 16 + 1 + 43);
        assert_eq!(NewToken::id_of(one.text()), Some(one.id()));
        assert_eq!(NewToken::id_of("correct horse"), None);
        assert_eq!(one.hash(), hash_token(one.text()));
        assert!(!one.hash().contains(&one.text()[21..30]));
    }

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(verify_password("correct horse", &hash));
        assert!(!verify_password("correct house", &hash));
        assert!(!verify_password("correct horse", "not a hash"));
    }
}
