//! Access keys: who signs a request, with which secret, as which account number.
//!
//! A key belongs to one of our accounts and may do what that account may, or less when it was made
//! with a limited token. Signature Version 4 is an HMAC under the secret, so the secret itself must
//! be known here; it is kept sealed with AES-256-GCM under a key that lies nowhere near the
//! database (the supervisor derives it from the unlocking secret), bound to the key's id and
//! account. A key that ends by itself comes with a session token, as AWS's do.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use signer::AccountNumber;
use store::access_keys::AccessKeyRow;
use store::{AccessKeys, StoreError};
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use super::error::AwsError;
use super::sigv4::SigV4Error;
use crate::auth::{AuthFailure, Authenticator, Caller, hash_token};
use crate::clock;

/// What the key that seals secrets is derived for.
pub const SEALING_PURPOSE: &str = "countersign/access-keys/v1";
/// The most lasting keys of one account; AWS allows two.
pub const MAX_KEYS: usize = 16;
/// The longest life of a key that ends by itself: AWS's longest session.
pub const MAX_SESSION: time::Duration = time::Duration::hours(36);
/// How long a key that was looked up is remembered.
const CACHE_LIFE: Duration = Duration::from_secs(15);
/// The most remembered keys; above it all are forgotten.
const CACHE_ENTRIES: usize = 4096;
/// Letters of the public part, as AWS has them.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const LASTING: &str = "AKIA";
const SESSION: &str = "ASIA";

/// The key under which secrets are sealed: 32 bytes in hexadecimal. Never shown.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct SealingKey(String);

impl SealingKey {
    /// Returns the key of these bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hex::encode(bytes))
    }

    fn open(&self) -> Option<LessSafeKey> {
        let bytes = hex::decode(&self.0).ok()?;
        UnboundKey::new(&AES_256_GCM, &bytes)
            .ok()
            .map(LessSafeKey::new)
    }
}

/// An access key, just made: the only time that its secret is given out.
pub struct NewAccessKey {
    /// The public part.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The session token, for a key that ends by itself.
    pub session_token: Option<String>,
    /// From when on it is worthless.
    pub expires_at: Option<OffsetDateTime>,
}

/// Says why a key was not made or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessKeyError {
    /// The account has too many.
    #[error("account `{0}` has {MAX_KEYS} access keys already: delete one that is not used")]
    TooMany(String),
    /// The system's random source or the cipher failed.
    #[error("the cryptographic library failed")]
    Library,
    /// The sealed secret does not open.
    #[error(
        "access key `{0}` does not open: it was sealed under another unlocking secret, or its row \
         was changed"
    )]
    Sealed(String),
    /// The account cannot be looked up.
    #[error("the account cannot be looked up")]
    Account(#[source] AuthFailure),
    /// The store failed, or has no such account.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who signed a request.
#[derive(Clone)]
pub struct AwsCaller {
    /// The account, and what the key may do.
    pub caller: Arc<Caller>,
    /// The account's number.
    pub number: AccountNumber,
    /// The public part of the key.
    pub access_key_id: String,
}

/// A key as it is used.
#[derive(Clone)]
pub(super) struct KnownKey {
    pub(super) caller: AwsCaller,
    pub(super) secret: Arc<str>,
    session_hash: Option<String>,
    expires_at: Option<OffsetDateTime>,
}

impl KnownKey {
    /// The session token is the key's own, and the key has not ended. To be asked only once the
    /// signature holds: nobody else learns that there is such a key.
    pub(super) fn check_session(
        &self,
        token: Option<&[u8]>,
        now: OffsetDateTime,
    ) -> Result<(), SigV4Error> {
        let is_right = match (&self.session_hash, token) {
            (None, None) => true,
            (Some(hash), Some(token)) => {
                let sent = hash_token(&String::from_utf8_lossy(token));
                bool::from(hash.as_bytes().ct_eq(sent.as_bytes()))
            }
            _ => false,
        };
        if !is_right {
            return Err(SigV4Error::UnknownKey);
        }
        match self.expires_at {
            Some(expiry) if expiry <= now => Err(SigV4Error::Expired),
            _ => Ok(()),
        }
    }
}

/// What access keys are found with.
#[derive(Clone, Copy)]
pub struct Directory<'a> {
    /// Where they are kept.
    pub keys: &'a dyn AccessKeys,
    /// Who knows the accounts.
    pub auth: &'a Authenticator,
}

/// The access keys of this installation.
pub struct KeyRing {
    sealing: Option<LessSafeKey>,
    default_number: AccountNumber,
    cache: RwLock<HashMap<String, Remembered>>,
}

struct Remembered {
    key: KnownKey,
    until: Instant,
    generation: u64,
}

impl KeyRing {
    /// Returns the ring that seals under `sealing`.
    pub fn new(sealing: &SealingKey, default_number: AccountNumber) -> Self {
        Self {
            sealing: sealing.open(),
            default_number,
            cache: RwLock::default(),
        }
    }

    /// Makes a key of an existing account, limited like `maker`; with `expires_at` one that ends
    /// by itself.
    ///
    /// # Errors
    /// When the account has too many or does not exist, or something of ours fails.
    pub async fn make(
        &self,
        directory: Directory<'_>,
        (account, maker): (&str, &Caller),
        expires_at: Option<OffsetDateTime>,
    ) -> Result<NewAccessKey, AccessKeyError> {
        let now = clock::now();
        directory.keys.remove_expired(now).await?;
        if expires_at.is_none() && directory.keys.list(account).await?.len() >= MAX_KEYS {
            return Err(AccessKeyError::TooMany(account.to_owned()));
        }
        let new = generate(expires_at).ok_or(AccessKeyError::Library)?;
        let scopes = match maker.account == account {
            true => Authenticator::scopes_of(maker),
            false => serde_json::Value::Null,
        };
        let row = AccessKeyRow {
            sealed: self.seal((&new.id, account), &new.secret)?,
            id: new.id.clone(),
            account: account.to_owned(),
            session_hash: new.session_token.as_deref().map(hash_token),
            scopes,
            created_at: now,
            expires_at,
        };
        directory.keys.add(&row).await?;
        Ok(new)
    }

    /// Returns the number of an account: its own, or the installation's.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn number(
        &self,
        keys: &dyn AccessKeys,
        account: &str,
    ) -> Result<AccountNumber, StoreError> {
        let own = keys.number(account).await?;
        let own = own.and_then(|text| text.parse().ok());
        Ok(own.unwrap_or(self.default_number))
    }

    /// Returns the key with `id`.
    pub(super) async fn find(
        &self,
        directory: Directory<'_>,
        id: &str,
    ) -> Result<KnownKey, AwsError> {
        let generation = directory.auth.generation();
        if let Some(key) = self.remembered(id, generation) {
            return Ok(key);
        }
        let row = directory.keys.find(id).await?;
        let row = row.ok_or(SigV4Error::UnknownKey)?;
        let key = self
            .load(directory, row)
            .await
            .map_err(|error| match error {
                // Removed since, or its run is gone.
                AccessKeyError::Account(AuthFailure::Invalid) => SigV4Error::UnknownKey.into(),
                other => AwsError::from(crate::error::ApiError::internal(crate::error::chain(
                    &other,
                ))),
            })?;
        self.remember(key.clone(), generation);
        Ok(key)
    }

    /// Forgets every key. To be called after one was removed or a number changed.
    pub fn forget(&self) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        cache.clear();
    }

    async fn load(
        &self,
        directory: Directory<'_>,
        row: AccessKeyRow,
    ) -> Result<KnownKey, AccessKeyError> {
        let secret = self.unseal(&row)?;
        let caller = directory.auth.caller_for(&row.account, &row.scopes).await;
        let caller = Arc::new(caller.map_err(AccessKeyError::Account)?);
        let number = self.number(directory.keys, &row.account).await?;
        Ok(KnownKey {
            caller: AwsCaller {
                caller,
                number,
                access_key_id: row.id,
            },
            secret: secret.into(),
            session_hash: row.session_hash,
            expires_at: row.expires_at,
        })
    }

    fn remembered(&self, id: &str, generation: u64) -> Option<KnownKey> {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        let entry = cache.get(id)?;
        let valid = entry.until > Instant::now() && entry.generation == generation;
        valid.then(|| entry.key.clone())
    }

    fn remember(&self, key: KnownKey, generation: u64) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_ENTRIES {
            cache.clear();
        }
        let id = key.caller.access_key_id.clone();
        let entry = Remembered {
            key,
            until: Instant::now() + CACHE_LIFE,
            generation,
        };
        cache.insert(id, entry);
    }

    fn seal(&self, place: (&str, &str), secret: &str) -> Result<Vec<u8>, AccessKeyError> {
        let key = self.sealing.as_ref().ok_or(AccessKeyError::Library)?;
        let mut nonce = [0u8; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| AccessKeyError::Library)?;
        let mut text = secret.as_bytes().to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated(place)),
            &mut text,
        )
        .map_err(|_| AccessKeyError::Library)?;
        Ok([&nonce[..], &text].concat())
    }

    fn unseal(&self, row: &AccessKeyRow) -> Result<String, AccessKeyError> {
        let wrong = || AccessKeyError::Sealed(row.id.clone());
        let key = self.sealing.as_ref().ok_or(AccessKeyError::Library)?;
        let (nonce, text) = row.sealed.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut text = text.to_vec();
        let associated = Aad::from(associated((&row.id, &row.account)));
        let secret = key.open_in_place(nonce, associated, &mut text);
        let secret = secret.map_err(|_| wrong())?;
        String::from_utf8(secret.to_vec()).map_err(|_| wrong())
    }
}

/// What a sealed secret is bound to: moved to another row, it does not open.
fn associated((id, account): (&str, &str)) -> Vec<u8> {
    format!("{SEALING_PURPOSE}\n{id}\n{account}").into_bytes()
}

fn generate(expires_at: Option<OffsetDateTime>) -> Option<NewAccessKey> {
    let mut random = [0u8; 16 + 30 + 48];
    rand::fill(&mut random).ok()?;
    let (id, rest) = random.split_at(16);
    let (secret, token) = rest.split_at(30);
    let letters = id.iter().map(|byte| ALPHABET[usize::from(byte % 32)]);
    let prefix = if expires_at.is_some() {
        SESSION
    } else {
        LASTING
    };
    Some(NewAccessKey {
        id: prefix.chars().chain(letters.map(char::from)).collect(),
        secret: BASE64_STANDARD.encode(secret),
        session_token: expires_at.map(|_| BASE64_STANDARD.encode(token)),
        expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(byte: u8) -> KeyRing {
        KeyRing::new(&SealingKey::new(&[byte; 32]), AccountNumber::UNSET)
    }

    fn row(ring: &KeyRing) -> AccessKeyRow {
        AccessKeyRow {
            id: "AKIA1".to_owned(),
            account: "dev".to_owned(),
            sealed: ring.seal(("AKIA1", "dev"), "the secret").unwrap(),
            session_hash: None,
            scopes: serde_json::Value::Null,
            created_at: OffsetDateTime::UNIX_EPOCH,
            expires_at: None,
        }
    }

    #[test]
    fn a_secret_opens_in_its_own_row_and_under_its_own_key_only() {
        let ring = ring(1);
        let good = row(&ring);
        assert_eq!(ring.unseal(&good).unwrap(), "the secret");
        let text = String::from_utf8_lossy(&good.sealed).into_owned();
        assert!(!text.contains("secret"));
        assert!(super::tests::ring(2).unseal(&good).is_err());
        let changes: [fn(&mut AccessKeyRow); 5] = [
            |row| row.id = "AKIA2".to_owned(),
            |row| row.account = "ops".to_owned(),
            |row| row.sealed[0] ^= 1,
            |row| row.sealed[15] ^= 1,
            |row| row.sealed.truncate(5),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut changed = good.clone();
            change(&mut changed);
            let error = ring.unseal(&changed).unwrap_err().to_string();
            assert!(error.contains("does not open"), "{index}: {error}");
        }
    }

    #[test]
    fn keys_look_like_those_of_aws() {
        let lasting = generate(None).unwrap();
        assert!(lasting.id.starts_with(LASTING) && lasting.id.len() == 20);
        assert_eq!(lasting.secret.len(), 40);
        assert!(lasting.session_token.is_none());
        let session = generate(Some(OffsetDateTime::UNIX_EPOCH)).unwrap();
        assert!(session.id.starts_with(SESSION) && session.session_token.is_some());
        assert_ne!(lasting.secret, session.secret);
    }

    #[test]
    fn a_session_needs_its_token_and_ends() {
        let now = clock::now();
        let caller = AwsCaller {
            caller: Arc::new(Caller {
                account: "dev".to_owned(),
                grants: crate::auth::Grants::default(),
                limits: None,
                run: None,
                workload: None,
                is_robot: false,
                groups: std::collections::BTreeSet::new(),
                worker: false,
            }),
            number: AccountNumber::UNSET,
            access_key_id: "ASIA1".to_owned(),
        };
        let lasting = KnownKey {
            caller,
            secret: "secret".into(),
            session_hash: None,
            expires_at: None,
        };
        let session = KnownKey {
            session_hash: Some(hash_token("token")),
            expires_at: Some(now),
            ..lasting.clone()
        };
        let before = now - time::Duration::SECOND;
        let unknown = Err(SigV4Error::UnknownKey);
        for (key, token, at, expected) in [
            (&lasting, None, now, Ok(())),
            (&lasting, Some(&b"token"[..]), now, unknown.clone()),
            (&session, Some(&b"token"[..]), before, Ok(())),
            (&session, Some(&b"token"[..]), now, Err(SigV4Error::Expired)),
            (&session, Some(&b"Token"[..]), before, unknown.clone()),
            (&session, None, before, unknown),
        ] {
            assert_eq!(key.check_session(token, at), expected);
        }
    }
}
