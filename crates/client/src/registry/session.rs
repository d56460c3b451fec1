//! What one registry has been told about us, and what it demands: credentials and tokens.
//!
//! A token is fetched once for a scope and used until shortly before its end; the lock is held
//! meanwhile, so that sixteen requests at once do not fetch sixteen tokens.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oci::{Registry, RepositoryName};
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use url::Url;

use super::challenge::{self, Challenge};
use super::transport::Transport;
use crate::ClientError;
use crate::credentials::{Credential, Credentials};

mod token;

/// A token is not used in its last seconds: it must live as long as the request.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);

/// What a request needs to be allowed, in the words of token services.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope(String);

impl Scope {
    /// Nothing in particular.
    pub(super) fn none() -> Self {
        Self(String::new())
    }

    /// Listing all repositories.
    pub(super) fn catalogue() -> Self {
        Self("registry:catalog:*".to_owned())
    }

    /// `actions`, such as `pull,push`, on a repository.
    pub(super) fn repository(name: &RepositoryName, actions: &str) -> Self {
        Self(format!("repository:{name}:{actions}"))
    }
}

/// One registry, as this process knows it.
pub(super) struct Session {
    registry: Registry,
    base: Url,
    credentials: Credentials,
    demands: Mutex<Demands>,
}

#[derive(Default)]
struct Demands {
    scheme: Option<Challenge>,
    credential: Option<Option<Credential>>,
    tokens: HashMap<Scope, Token>,
}

struct Token {
    header: HeaderValue,
    expires: Instant,
}

impl Session {
    pub(super) fn new(registry: Registry, base: Url, credentials: Credentials) -> Self {
        Self {
            registry,
            base,
            credentials,
            demands: Mutex::default(),
        }
    }

    /// Returns the registry.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the registry's own address.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Returns the address of `path` on the registry.
    pub(super) fn url(&self, path: &str) -> Result<Url, ClientError> {
        self.base
            .join(path)
            .map_err(|e| self.malformed(format!("`{path}` is no path on it: {e}")))
    }

    /// Returns an error about something unusable that this registry sent.
    pub(super) fn malformed(&self, reason: String) -> ClientError {
        ClientError::Malformed {
            place: self.registry.to_string(),
            reason,
            source: None,
        }
    }

    /// Returns an error about a refusal.
    pub(super) fn denied(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Denied {
            place: self.registry.to_string(),
            reason: reason.into(),
        }
    }

    /// Returns the `Authorization` to send for `scope`, as far as the registry's demands are
    /// known.
    pub(super) async fn authorization(
        &self,
        transport: &Transport,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, ClientError> {
        let mut demands = self.demands.lock().await;
        let Some(scheme) = demands.scheme.clone() else {
            return Ok(None);
        };
        if let Some(token) = demands.tokens.get(scope)
            && token.expires > Instant::now()
        {
            return Ok(Some(token.header.clone()));
        }
        let credential = match &demands.credential {
            Some(known) => known.clone(),
            None => {
                let found = self.credentials.find(&self.registry).await?;
                demands.credential.insert(found).clone()
            }
        };
        match &scheme {
            Challenge::Basic => Ok(credential.as_ref().and_then(basic_header)),
            Challenge::Bearer { .. } => {
                let token =
                    token::fetch(transport, self, &scheme, (scope, credential.as_ref())).await?;
                let header = token.header.clone();
                demands.tokens.insert(scope.clone(), token);
                Ok(Some(header))
            }
        }
    }

    /// Learns from an answer 401 what the registry demands, after it saw `rejected`. Returns
    /// whether another attempt makes sense.
    pub(super) async fn learn<'a>(
        &self,
        headers: impl Iterator<Item = &'a HeaderValue>,
        rejected: Option<&HeaderValue>,
        scope: &Scope,
    ) -> bool {
        let challenges: Vec<Challenge> = headers
            .filter_map(|header| header.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        // A token says less than a password, so it is preferred where both are taken.
        let is_bearer = |c: &&Challenge| matches!(c, Challenge::Bearer { .. });
        let Some(chosen) = challenges.iter().find(is_bearer).or(challenges.first()) else {
            return false;
        };
        let mut demands = self.demands.lock().await;
        let known = demands.tokens.get(scope).map(|token| &token.header);
        if rejected.is_some() && known == rejected {
            demands.tokens.remove(scope);
        }
        let is_new = demands.scheme.as_ref() != Some(chosen);
        demands.scheme = Some(chosen.clone());
        match chosen {
            Challenge::Basic => rejected.is_none() || is_new,
            Challenge::Bearer { .. } => true,
        }
    }
}

fn basic_header(credential: &Credential) -> Option<HeaderValue> {
    match credential {
        Credential::Basic { username, password } => {
            let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
            secret_header(format!("Basic {pair}"))
        }
        Credential::IdentityToken(_) => None,
    }
}

/// Returns a header value that no debug output shows.
fn secret_header(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
