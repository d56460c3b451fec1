//! Fetching the keys of an OpenID Connect issuer.
//!
//! By its discovery document (OpenID Connect Discovery 1.0 §4), which must name the very issuer
//! that was asked for, and then the set of keys that it names. Both over HTTPS, except between
//! addresses of this machine; no redirect is followed, and bytes and time are bounded. What the
//! keys are worth is judged by `trust`.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use trust::jwt::MAX_KEY_SET_BYTES;
use url::Url;

use crate::ClientError;
use crate::http_client::{self, Clients, HttpOptions, is_loopback};

/// How long each of the two answers may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest discovery document, in bytes.
const MAX_DISCOVERY_BYTES: usize = 64 * 1024;

/// Fetches keys of issuers. Cheap to clone.
#[derive(Clone)]
pub struct IssuerKeys {
    clients: Arc<Clients>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl IssuerKeys {
    /// Returns a fetcher with these connection settings.
    ///
    /// # Errors
    /// If the TLS settings are unusable.
    pub fn new(options: &HttpOptions) -> Result<Self, ClientError> {
        Ok(Self {
            clients: Arc::new(Clients::new(options, None)?),
        })
    }

    /// Returns the set of keys of `issuer`, as its bytes.
    ///
    /// # Errors
    /// When the issuer cannot be asked, answers something else, or names another issuer.
    pub async fn fetch(&self, issuer: &str) -> Result<Vec<u8>, ClientError> {
        let base = safe_url(issuer, None)?;
        let path = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let document = self
            .get(&safe_url(&path, Some(&base))?, MAX_DISCOVERY_BYTES)
            .await?;
        let discovery: Discovery = serde_json::from_slice(&document)
            .map_err(|error| malformed(issuer, format!("its discovery document: {error}")))?;
        // RFC 8414 §3.3: else one issuer could speak for another.
        if discovery.issuer != issuer {
            let found: String = discovery.issuer.chars().take(200).collect();
            return Err(malformed(
                issuer,
                format!("its discovery document is of issuer `{found}`"),
            ));
        }
        let keys = safe_url(&discovery.jwks_uri, Some(&base))?;
        self.get(&keys, MAX_KEY_SET_BYTES).await
    }

    async fn get(&self, url: &Url, limit_bytes: usize) -> Result<Vec<u8>, ClientError> {
        let unavailable = |error: reqwest::Error| ClientError::Unavailable {
            place: url.to_string(),
            reason: "the issuer's keys could not be fetched".to_owned(),
            source: Some(Box::new(error.without_url())),
        };
        let request = self
            .clients
            .of(url)?
            .get(url.clone())
            .timeout(FETCH_TIMEOUT);
        let response = request.send().await.map_err(unavailable)?;
        if !response.status().is_success() {
            let reason = format!("it answers with status {}", response.status().as_u16());
            return Err(malformed(url.as_str(), reason));
        }
        let body = http_client::read_body(response, limit_bytes).await;
        let too_long = || malformed(url.as_str(), format!("more than {limit_bytes} bytes"));
        body.map_err(unavailable)?.ok_or_else(too_long)
    }
}

/// Checks the address of an issuer: HTTPS, or plain HTTP to this machine.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_issuer(issuer: &str) -> Result<(), ClientError> {
    let url = safe_url(issuer, None)?;
    match url.query().or(url.fragment()) {
        None => Ok(()),
        Some(_) => Err(malformed(
            issuer,
            "an issuer has no query and no fragment".to_owned(),
        )),
    }
}

/// An address of this machine is asked only for an issuer on this machine: an issuer elsewhere
/// must not have us ask what only we can reach.
fn safe_url(text: &str, base: Option<&Url>) -> Result<Url, ClientError> {
    let refused = |reason: &str| malformed(text, reason.to_owned());
    let url: Url = text
        .parse()
        .map_err(|_| refused("that is not an address"))?;
    let is_local = is_loopback(&url);
    if base.is_some_and(|base| is_local && !is_loopback(base)) {
        return Err(refused(
            "an issuer elsewhere names an address of this machine",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("the address holds credentials"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        _ => Err(refused("only HTTPS is spoken with issuers")),
    }
}

fn malformed(place: &str, reason: String) -> ClientError {
    ClientError::Malformed {
        place: place.chars().take(200).collect(),
        reason,
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_addresses_are_asked() {
        for good in [
            "https://ci.example",
            "https://ci.example/a",
            "http://127.0.0.1:8080",
            "http://localhost:1",
        ] {
            assert!(check_issuer(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ci.example",
            "http://ci.example",
            "ftp://ci.example",
            "https://u:p@ci.example",
            "https://ci.example?a",
            "https://ci.example#a",
            "file:///etc/passwd",
        ] {
            assert!(check_issuer(bad).is_err(), "{bad}");
        }
        let elsewhere: Url = "https://ci.example".parse().unwrap();
        assert!(safe_url("https://127.0.0.1/keys", Some(&elsewhere)).is_err());
        assert!(safe_url("https://keys.example/", Some(&elsewhere)).is_ok());
        let local: Url = "http://127.0.0.1:1".parse().unwrap();
        assert!(safe_url("http://127.0.0.1:2/keys", Some(&local)).is_ok());
    }
}
