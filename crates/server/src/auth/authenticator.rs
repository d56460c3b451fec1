//! From the `Authorization` header to a [`Caller`].
//!
//! A verified secret is remembered for [`CACHE_LIFE`], so that a pull of forty layers asks the
//! database once. Only successes are remembered, under the SHA-256 of what was sent, and every
//! change to accounts made through this process forgets them all at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use signer::Workload;
use store::accounts::{AccountRow, TokenRow};
use store::{Accounts, StoreError};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use super::grants::{Caller, Grants, RunScope};
use super::token::{
    MAX_SECRET_BYTES, NewToken, SecretError, equal, hash_password, hash_token, verify_password,
};
use crate::clock;

/// How long a verified secret is remembered. Another process that takes a grant away is obeyed
/// after this time.
const CACHE_LIFE: Duration = Duration::from_secs(15);
/// The most remembered secrets; above it all are forgotten.
const CACHE_ENTRIES: usize = 4096;
/// How many passwords are checked at once: each takes 19 MiB and 20 ms of a core.
const PASSWORD_CHECKS: usize = 2;
/// How many requests wait for a password check before new ones are turned away.
const PASSWORD_QUEUE: usize = 32;
/// What stands before the account's name in the id of the row that holds its password's hash.
const PASSWORD_ID: &str = "password:";
/// The account that the tokens of runs belong to. No account of a person can have this name.
pub(crate) const RUN_ACCOUNT: &str = "@run";
/// The account that the tokens of workloads of CI systems belong to.
pub(crate) const WORKLOAD_ACCOUNT: &str = "@workload";

/// Says why a request has no caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// There is no `Authorization` header.
    #[error("no credentials were sent")]
    Missing,
    /// The header is not one of the two forms.
    #[error("the `Authorization` header is neither `Bearer` nor `Basic`")]
    Malformed,
    /// The token or password is unknown, expired, or another account's. Which one is not said.
    #[error("the credentials are not valid, or no longer")]
    Invalid,
    /// Too many password checks are waiting.
    #[error("too many passwords are being checked")]
    Busy,
    /// The store failed.
    #[error("accounts cannot be read")]
    Store(#[source] StoreError),
}

/// The name that AWS's tools log in to a registry under, whoever they are; a token says itself
/// whose it is.
const AWS_USER: &str = "AWS";

/// What a request brought along.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account's name, with Basic.
    pub account: Option<String>,
    /// The token or password.
    pub secret: String,
}

impl Credentials {
    /// Parses the `Authorization` header.
    ///
    /// # Errors
    /// When there is none, or none of a known form.
    pub fn parse(headers: &HeaderMap) -> Result<Self, AuthFailure> {
        let value = headers
            .get(header::AUTHORIZATION)
            .ok_or(AuthFailure::Missing)?
            .to_str()
            .map_err(|_| AuthFailure::Malformed)?;
        let (scheme, rest) = value.split_once(' ').ok_or(AuthFailure::Malformed)?;
        let credentials = if scheme.eq_ignore_ascii_case("bearer") {
            Self {
                account: None,
                secret: rest.trim().to_owned(),
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            Self::parse_basic(rest.trim()).ok_or(AuthFailure::Malformed)?
        } else {
            return Err(AuthFailure::Malformed);
        };
        match credentials.secret.len() {
            1..=MAX_SECRET_BYTES => Ok(credentials),
            _ => Err(AuthFailure::Invalid),
        }
    }

    fn parse_basic(encoded: &str) -> Option<Self> {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
        let (account, secret) = decoded.split_once(':')?;
        Some(Self {
            account: Some(account.to_owned()),
            secret: secret.to_owned(),
        })
    }

    /// Returns what the cache knows this by: never the secret itself.
    fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.account.as_deref().unwrap_or_default());
        hash.update([u8::from(self.account.is_some())]);
        hash.update(&self.secret);
        hash.finalize().into()
    }
}

/// A token that is to be made.
#[derive(Clone, Debug, Default)]
pub struct NewTokenRequest {
    /// What the token is limited to, below its account's grants.
    pub limits: Option<Grants>,
    /// The run that it is for: then `limits` alone say what it may do.
    pub run: Option<RunScope>,
    /// The workload that it is for: then `limits` alone say what it may do beside signing.
    pub workload: Option<Workload>,
    /// From when on it is worthless.
    pub expires_at: Option<OffsetDateTime>,
}

/// What is kept of a token beside its hash.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scopes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<Grants>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunScope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workload: Option<Workload>,
}

/// Verifies credentials and makes tokens.
pub struct Authenticator {
    accounts: Arc<dyn Accounts>,
    worker_token_hash: Option<String>,
    worker_seen: AtomicI64,
    cache: RwLock<HashMap<[u8; 32], Remembered>>,
    /// Counts how often everything was forgotten, for whoever remembers callers elsewhere.
    generation: AtomicU64,
    password_checks: Semaphore,
    password_queue: Semaphore,
}

struct Remembered {
    caller: Arc<Caller>,
    until: Instant,
    expires_at: Option<OffsetDateTime>,
}

impl Authenticator {
    /// Returns an authenticator over `accounts`. The worker's token is known by its hash.
    pub fn new(accounts: Arc<dyn Accounts>, worker_token_hash: Option<String>) -> Self {
        Self {
            accounts,
            worker_token_hash,
            worker_seen: AtomicI64::new(0),
            cache: RwLock::default(),
            generation: AtomicU64::new(0),
            password_checks: Semaphore::new(PASSWORD_CHECKS),
            password_queue: Semaphore::new(PASSWORD_QUEUE),
        }
    }

    /// Returns the caller that the headers speak for.
    ///
    /// # Errors
    /// [`AuthFailure`]; a wrong secret and an unknown account are not told apart.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Caller>, AuthFailure> {
        let credentials = Credentials::parse(headers)?;
        let fingerprint = credentials.fingerprint();
        let caller = match self.remembered(&fingerprint) {
            Some(caller) => caller,
            None => {
                let (caller, expires_at) = self.verify(&credentials).await?;
                let caller = Arc::new(caller);
                self.remember(fingerprint, caller.clone(), expires_at);
                caller
            }
        };
        if caller.worker {
            let now = clock::now().unix_timestamp();
            self.worker_seen.store(now, Ordering::Relaxed);
        }
        Ok(caller)
    }

    /// Returns when the worker last asked for something, if it did since the front started.
    pub fn worker_seen(&self) -> Option<OffsetDateTime> {
        match self.worker_seen.load(Ordering::Relaxed) {
            0 => None,
            seconds => OffsetDateTime::from_unix_timestamp(seconds).ok(),
        }
    }

    /// Forgets every verified secret. To be called after each change to accounts.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        cache.clear();
    }

    /// Returns a number that changes whenever everything is forgotten.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns what is kept of a caller's limits, beside a credential made with its own.
    pub(crate) fn scopes_of(caller: &Caller) -> serde_json::Value {
        let is_account = caller.run.is_none() && caller.workload.is_none();
        let scopes = Scopes {
            limits: match is_account {
                true => caller.limits.clone(),
                false => Some(caller.grants.clone()),
            },
            run: caller.run.clone(),
            workload: caller.workload.clone(),
        };
        // Texts, lists and maps of them always serialise.
        serde_json::to_value(&scopes).unwrap_or_default()
    }

    /// Makes a token of an existing account and returns it, for the only time.
    ///
    /// # Errors
    /// When the account does not exist, or the store or the random source fails.
    pub async fn issue(
        &self,
        account: &str,
        request: NewTokenRequest,
    ) -> Result<NewToken, IssueError> {
        let token = NewToken::generate()?;
        let scopes = Scopes {
            limits: request.limits,
            run: request.run,
            workload: request.workload,
        };
        let row = TokenRow {
            id: token.id().to_owned(),
            account: account.to_owned(),
            secret_hash: token.hash(),
            scopes: serde_json::to_value(&scopes).map_err(|_| IssueError::Scopes)?,
            created_at: clock::now(),
            expires_at: request.expires_at,
        };
        self.accounts.add_token(&row).await?;
        Ok(token)
    }

    /// Makes the token of a run: it may do what `grants` say and nothing else, until `expires_at`.
    ///
    /// # Errors
    /// When the store or the random source fails.
    pub async fn issue_for_run(
        &self,
        run: RunScope,
        grants: Grants,
        expires_at: OffsetDateTime,
    ) -> Result<NewToken, IssueError> {
        let row = AccountRow {
            is_robot: true,
            ..AccountRow::new(RUN_ACCOUNT, clock::now())
        };
        if self.accounts.account(RUN_ACCOUNT).await?.is_none() {
            self.accounts.put_account(&row).await?;
        }
        let request = NewTokenRequest {
            limits: Some(grants),
            run: Some(run),
            workload: None,
            expires_at: Some(expires_at),
        };
        self.issue(RUN_ACCOUNT, request).await
    }

    /// Makes the token of a workload: it may sign where rules name the workload, do what `grants`
    /// say, and nothing else, until `expires_at`.
    ///
    /// # Errors
    /// When the store or the random source fails.
    pub async fn issue_for_workload(
        &self,
        workload: Workload,
        grants: Grants,
        expires_at: OffsetDateTime,
    ) -> Result<NewToken, IssueError> {
        if self.accounts.account(WORKLOAD_ACCOUNT).await?.is_none() {
            let row = AccountRow {
                is_robot: true,
                ..AccountRow::new(WORKLOAD_ACCOUNT, clock::now())
            };
            self.accounts.put_account(&row).await?;
        }
        let request = NewTokenRequest {
            limits: Some(grants),
            run: None,
            workload: Some(workload),
            expires_at: Some(expires_at),
        };
        self.issue(WORKLOAD_ACCOUNT, request).await
    }

    /// Sets the password of an account, given its argon2id hash.
    ///
    /// # Errors
    /// When the account does not exist or the store fails.
    pub async fn set_password(&self, account: &str, hash: String) -> Result<(), StoreError> {
        let id = format!("{PASSWORD_ID}{account}");
        self.accounts.delete_tokens(account, Some(&id)).await?;
        let row = TokenRow {
            id,
            account: account.to_owned(),
            secret_hash: hash,
            scopes: serde_json::Value::Null,
            created_at: clock::now(),
            expires_at: None,
        };
        self.accounts.add_token(&row).await?;
        self.forget();
        Ok(())
    }

    fn remembered(&self, fingerprint: &[u8; 32]) -> Option<Arc<Caller>> {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        let entry = cache.get(fingerprint)?;
        let valid = entry.until > Instant::now()
            && entry.expires_at.is_none_or(|expiry| expiry > clock::now());
        valid.then(|| entry.caller.clone())
    }

    fn remember(&self, fingerprint: [u8; 32], caller: Arc<Caller>, expiry: Option<OffsetDateTime>) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_ENTRIES {
            cache.clear();
        }
        let entry = Remembered {
            caller,
            until: Instant::now() + CACHE_LIFE,
            expires_at: expiry,
        };
        cache.insert(fingerprint, entry);
    }

    async fn verify(
        &self,
        credentials: &Credentials,
    ) -> Result<(Caller, Option<OffsetDateTime>), AuthFailure> {
        if self.is_worker(&credentials.secret) {
            return Ok((worker(), None));
        }
        let row = match NewToken::id_of(&credentials.secret) {
            Some(id) => self.token_row(id, credentials).await?,
            None => self.password_row(credentials).await?,
        };
        if row.expires_at.is_some_and(|expiry| expiry <= clock::now()) {
            return Err(AuthFailure::Invalid);
        }
        let caller = self.caller_for(&row.account, &row.scopes).await?;
        Ok((caller, row.expires_at))
    }

    fn is_worker(&self, secret: &str) -> bool {
        let hash = self.worker_token_hash.as_deref();
        hash.is_some_and(|hash| equal(hash, &hash_token(secret)))
    }

    async fn token_row(&self, id: &str, sent: &Credentials) -> Result<TokenRow, AuthFailure> {
        let row = self.accounts.token(id).await.map_err(AuthFailure::Store)?;
        // Hash in both cases: an unknown id must not answer faster than a wrong secret.
        let hash = hash_token(&sent.secret);
        row.filter(|row| equal(&row.secret_hash, &hash))
            .filter(|row| {
                sent.account
                    .as_ref()
                    .is_none_or(|name| *name == row.account || name == AWS_USER)
            })
            .ok_or(AuthFailure::Invalid)
    }

    async fn password_row(&self, sent: &Credentials) -> Result<TokenRow, AuthFailure> {
        let account = sent.account.as_deref().ok_or(AuthFailure::Invalid)?;
        let id = format!("{PASSWORD_ID}{account}");
        let row = self.accounts.token(&id).await.map_err(AuthFailure::Store)?;
        let _place = self
            .password_queue
            .try_acquire()
            .map_err(|_| AuthFailure::Busy)?;
        let _slot = self.password_checks.acquire().await;
        let hash = row.as_ref().map(|row| row.secret_hash.clone());
        let secret = sent.secret.clone();
        let verified = tokio::task::spawn_blocking(move || match hash {
            Some(hash) => verify_password(&secret, &hash),
            // An account without a password must not answer faster than a wrong password.
            None => hash_password(&secret).is_err(),
        })
        .await;
        row.filter(|_| verified.unwrap_or(false))
            .ok_or(AuthFailure::Invalid)
    }

    /// Returns the caller that a credential of `account` with these scopes speaks for.
    pub(crate) async fn caller_for(
        &self,
        account: &str,
        scopes: &serde_json::Value,
    ) -> Result<Caller, AuthFailure> {
        let scopes: Scopes = match scopes {
            serde_json::Value::Null => Scopes::default(),
            value => serde_json::from_value(value.clone()).map_err(|_| AuthFailure::Invalid)?,
        };
        if scopes.run.is_some() || scopes.workload.is_some() {
            return Ok(Caller {
                account: account.to_owned(),
                grants: scopes.limits.unwrap_or_default(),
                limits: None,
                run: scopes.run,
                workload: scopes.workload,
                is_robot: true,
                groups: BTreeSet::new(),
                worker: false,
            });
        }
        let account = self.accounts.account(account).await;
        let account = account
            .map_err(AuthFailure::Store)?
            .ok_or(AuthFailure::Invalid)?;
        let rows = self.accounts.grants(&account.name).await;
        Ok(Caller {
            grants: Grants {
                admin: account.administrator,
                ..Grants::from_rows(&rows.map_err(AuthFailure::Store)?)
            },
            account: account.name,
            limits: scopes.limits,
            run: None,
            workload: None,
            is_robot: account.is_robot,
            groups: account.groups,
            worker: false,
        })
    }
}

fn worker() -> Caller {
    Caller {
        account: "@worker".to_owned(),
        grants: Grants::default(),
        limits: None,
        run: None,
        workload: None,
        is_robot: true,
        groups: BTreeSet::new(),
        worker: true,
    }
}

/// Says why no token was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The system gave no randomness.
    #[error("no token could be made")]
    Secret(#[from] SecretError),
    /// The limits cannot be written down.
    #[error("the limits of the token cannot be stored")]
    Scopes,
    /// The store failed, or has no such account.
    #[error("the token could not be stored")]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Credentials, AuthFailure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        Credentials::parse(&headers)
    }

    #[test]
    fn both_forms_of_the_header_are_read() {
        let bearer = parse("Bearer cst_x").unwrap();
        assert_eq!((bearer.account, &*bearer.secret), (None, "cst_x"));
        let basic = parse(&format!("basic {}", BASE64_STANDARD.encode("dev:a:b"))).unwrap();
        assert_eq!(basic.account.as_deref(), Some("dev"));
        assert_eq!(basic.secret, "a:b");
        for bad in [
            "",
            "Bearer",
            "Digest x",
            "Basic !!!",
            "Basic ZGV2",
            "Bearer ",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let long = format!("Bearer {}", "x".repeat(MAX_SECRET_BYTES + 1));
        assert!(matches!(parse(&long), Err(AuthFailure::Invalid)));
    }

    #[test]
    fn the_name_is_part_of_what_is_remembered() {
        let with = |account: Option<&str>| Credentials {
            account: account.map(str::to_owned),
            secret: "s".to_owned(),
        };
        assert_ne!(with(None).fingerprint(), with(Some("")).fingerprint());
        assert_ne!(with(Some("a")).fingerprint(), with(Some("b")).fingerprint());
    }
}
