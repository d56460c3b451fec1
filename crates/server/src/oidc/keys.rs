//! The keys of issuers, as they were fetched last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::oidc::IssuerKeys;
use tokio::sync::Mutex;
use trust::jwt::KeySet;

use super::issuers::Issuer;
use crate::error::{ApiError, chain};

/// How old keys may be before they are fetched again.
const FRESH_FOR: Duration = Duration::from_secs(3600);
/// How long keys may still be used when the issuer does not answer.
const USABLE_FOR: Duration = Duration::from_secs(24 * 3600);
/// How often, at most, an issuer is asked.
const ASK_AFTER: Duration = Duration::from_secs(60);

/// The keys of all issuers.
#[derive(Default)]
pub struct KeyCache {
    issuers: Mutex<HashMap<String, Arc<Mutex<Cached>>>>,
}

#[derive(Default)]
struct Cached {
    keys: Option<(Arc<KeySet>, Instant)>,
    asked: Option<Instant>,
}

impl Cached {
    fn known(&self, key_id: &str, age: Duration) -> Option<Arc<KeySet>> {
        let (keys, fetched) = self.keys.as_ref()?;
        (fetched.elapsed() < age && keys.contains(key_id)).then(|| keys.clone())
    }

    fn may_ask(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() >= ASK_AFTER)
    }
}

impl KeyCache {
    /// Returns the keys of an issuer, with the one called `key_id` if the issuer has it.
    ///
    /// # Errors
    /// When the issuer does not answer, and no keys are known.
    pub(super) async fn of(&self, issuer: &Issuer, key_id: &str) -> Result<Arc<KeySet>, ApiError> {
        if let Some(keys) = issuer.static_keys()? {
            return Ok(Arc::new(keys));
        }
        let cached = self
            .issuers
            .lock()
            .await
            .entry(issuer.issuer.clone())
            .or_default()
            .clone();
        // Whoever comes meanwhile waits for the one answer.
        let mut cached = cached.lock().await;
        if let Some(keys) = cached.known(key_id, FRESH_FOR) {
            return Ok(keys);
        }
        let mut failure = None;
        if cached.may_ask() {
            cached.asked = Some(Instant::now());
            match fetch(&issuer.issuer).await {
                Ok(keys) => cached.keys = Some((Arc::new(keys), Instant::now())),
                Err(error) => failure = Some(error),
            }
        }
        let known = cached
            .keys
            .as_ref()
            .filter(|(_, fetched)| fetched.elapsed() < USABLE_FOR);
        match (known, failure) {
            (Some((keys, _)), _) => Ok(keys.clone()),
            (None, Some(error)) => Err(error),
            (None, None) => Err(ApiError::unavailable(
                "the keys of the issuer could not be fetched a moment ago",
                "-",
            )
            .hint("try again in a minute")),
        }
    }

    /// Forgets the keys of an issuer whose settings changed.
    pub(super) async fn forget(&self, issuer: &str) {
        self.issuers.lock().await.remove(issuer);
    }
}

async fn fetch(issuer: &str) -> Result<KeySet, ApiError> {
    let failed = |cause: String| {
        ApiError::unavailable(format!("the keys of issuer `{issuer}` cannot be fetched"), cause)
            .hint("see whether the server can reach the issuer, or give its keys with `countersign oidc add --jwks FILE`")
    };
    let fetcher = IssuerKeys::new(&client::http_client::HttpOptions::default());
    let fetcher = fetcher.map_err(|error| failed(chain(&error)))?;
    let bytes = fetcher
        .fetch(issuer)
        .await
        .map_err(|error| failed(chain(&error)))?;
    KeySet::parse(&bytes).map_err(|error| failed(error.to_string()))
}
