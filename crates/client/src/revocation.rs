//! Fetching certificate revocation lists.
//!
//! The addresses come from certificates, so from whoever got one. `evidence` asks only for lists
//! of chains that already lead to a trust anchor; here the answer is bounded in bytes and time,
//! and addresses where clouds keep their metadata services are refused. Nothing is kept between
//! calls: a revocation must count from the moment that the list says so. What a list says, and
//! whether it is genuine, is judged by `trust`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::LOCATION;
use trust::revocation::MAX_CRL_BYTES;
use url::{Host, Url};

use crate::ClientError;
use crate::http_client::{self, Clients, HttpOptions};

/// How long one list may take. Verification waits for it.
const CRL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 3;

/// Where revocation lists come from.
#[async_trait]
pub trait CrlSource: Send + Sync {
    /// Returns the list at `url`, in DER or PEM.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, ClientError>;
}

/// Revocation lists from where their addresses say.
#[derive(Clone)]
pub struct HttpCrls {
    clients: Arc<Clients>,
}

impl HttpCrls {
    /// Returns a source with these connection settings.
    ///
    /// # Errors
    /// If the TLS settings are unusable.
    pub fn new(options: &HttpOptions) -> Result<Self, ClientError> {
        Ok(Self {
            clients: Arc::new(Clients::new(options, None)?),
        })
    }

    async fn get(&self, url: &Url) -> Result<reqwest::Response, ClientError> {
        self.clients
            .of(url)?
            .get(url.clone())
            .timeout(CRL_TIMEOUT)
            .send()
            .await
            .map_err(|e| unavailable(url, e))
    }
}

#[async_trait]
impl CrlSource for HttpCrls {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, ClientError> {
        let mut url = checked(url.parse().ok(), url)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get(&url).await?;
            if !response.status().is_redirection() {
                return read(&url, response).await;
            }
            let location = response.headers().get(LOCATION);
            let next = location.and_then(|value| url.join(value.to_str().ok()?).ok());
            url = checked(next, url.as_str())?;
        }
        Err(malformed(url.as_str(), "it redirects too often"))
    }
}

async fn read(url: &Url, response: reqwest::Response) -> Result<Vec<u8>, ClientError> {
    let status = response.status();
    if !status.is_success() {
        return Err(ClientError::Unavailable {
            place: url.to_string(),
            reason: format!("status {}", status.as_u16()),
            source: None,
        });
    }
    match http_client::read_body(response, MAX_CRL_BYTES).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(ClientError::TooLarge {
            what: format!("the revocation list `{url}`"),
            limit_bytes: MAX_CRL_BYTES as u64,
        }),
        Err(e) => Err(unavailable(url, e)),
    }
}

fn checked(url: Option<Url>, shown: &str) -> Result<Url, ClientError> {
    let url = url.ok_or_else(|| malformed(shown, "it is not the address of a list"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(malformed(shown, "only `http` and `https` are fetched"));
    }
    let is_link_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_unicast_link_local(),
        _ => false,
    };
    match is_link_local {
        true => Err(malformed(shown, "it is an address of the neighbourhood")),
        false => Ok(url),
    }
}

fn unavailable(url: &Url, error: reqwest::Error) -> ClientError {
    let reason = match error.is_timeout() {
        true => "it did not answer in time",
        false => "no connection",
    };
    ClientError::Unavailable {
        place: url.to_string(),
        reason: reason.to_owned(),
        source: Some(Box::new(error.without_url())),
    }
}

fn malformed(url: &str, reason: &str) -> ClientError {
    ClientError::Malformed {
        place: url.to_owned(),
        reason: reason.to_owned(),
        source: None,
    }
}
