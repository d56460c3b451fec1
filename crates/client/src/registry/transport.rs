//! Sending a request: authorisation, redirects, retries, and the registry's error documents.
//!
//! `Authorization` goes to the registry's own origin only: scheme, host and port (oras-go
//! GHSA-jxpm, GHSA-vh4v).

use std::time::Duration;

use bytes::Bytes;
use oci::RepositoryName;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::session::{Scope, Session};
use crate::ClientError;
use crate::http_client::{self, Clients, HttpOptions, REQUEST_TIMEOUT};

/// How many redirects are followed. A registry needs one, to its object store.
const MAX_REDIRECTS: usize = 5;
/// The longest error document, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// The longest wait between two attempts, whatever `Retry-After` says.
const MAX_DELAY: Duration = Duration::from_secs(20);

/// The reason of an error that waiting again will hardly cure.
const TIMED_OUT: &str = "it did not answer in time";

/// The connections of a client.
pub(super) struct Transport {
    clients: Clients,
    attempts: u32,
    first_delay: Duration,
}

/// A request that can be sent again.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) scope: Scope,
    /// How long the whole exchange may take; `None` for bodies of any size.
    pub(super) timeout: Option<Duration>,
}

impl Request {
    /// Returns a request without body and headers.
    pub(super) fn new(method: Method, url: Url, scope: Scope) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            scope,
            timeout: Some(REQUEST_TIMEOUT),
        }
    }
}

/// An answer, with the place that it came from for messages.
pub(super) struct Response {
    inner: reqwest::Response,
    place: String,
}

impl Transport {
    pub(super) fn new(options: &HttpOptions) -> Result<Self, ClientError> {
        Ok(Self {
            clients: Clients::new(options, Some(options.read_timeout))?,
            attempts: options.attempts.max(1),
            first_delay: options.first_delay,
        })
    }

    /// Returns the client for `url`.
    pub(super) fn client(&self, url: &Url) -> Result<&reqwest::Client, ClientError> {
        self.clients.of(url)
    }

    /// Sends `request`, again while the failure may pass, and returns the answer whatever its
    /// status.
    pub(super) async fn send(
        &self,
        session: &Session,
        request: &Request,
    ) -> Result<Response, ClientError> {
        let mut delay = self.first_delay;
        for _ in 1..self.attempts {
            match self.send_authorized(session, request).await {
                Ok(response) if !is_transient(response.status()) => return Ok(response),
                Ok(response) => tokio::time::sleep(response.retry_after().unwrap_or(delay)).await,
                // Whoever was silent once for so long keeps a person waiting a second time.
                Err(ClientError::Unavailable { reason, .. }) if reason != TIMED_OUT => {
                    tracing::debug!(%reason, "trying again");
                    tokio::time::sleep(delay).await;
                }
                Err(error) => return Err(error),
            }
            delay = (delay * 2).min(MAX_DELAY);
        }
        self.send_authorized(session, request).await
    }

    /// Sends once; on 401 once more, with what the registry demands.
    pub(super) async fn send_authorized(
        &self,
        session: &Session,
        request: &Request,
    ) -> Result<Response, ClientError> {
        let shown = session.authorization(self, &request.scope).await?;
        let response = self.follow(session, request, shown.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let demands = response.inner.headers().get_all(WWW_AUTHENTICATE);
        let learnt = session.learn(demands.iter(), shown.as_ref(), &request.scope);
        if !learnt.await {
            return Ok(response);
        }
        match session.authorization(self, &request.scope).await? {
            Some(better) if Some(&better) != shown.as_ref() => {
                self.follow(session, request, Some(&better)).await
            }
            _ => Ok(response),
        }
    }

    /// Sends, and follows redirects of reading requests.
    async fn follow(
        &self,
        session: &Session,
        request: &Request,
        authorization: Option<&reqwest::header::HeaderValue>,
    ) -> Result<Response, ClientError> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut builder = self
                .client(&url)?
                .request(request.method.clone(), url.clone())
                .headers(request.headers.clone());
            if let (Some(value), true) = (authorization, url.origin() == session.base().origin()) {
                builder = builder.header(AUTHORIZATION, value.clone());
            }
            if let Some(body) = &request.body {
                builder = builder.body(body.clone());
            }
            if let Some(timeout) = request.timeout {
                builder = builder.timeout(timeout);
            }
            tracing::debug!(method = %request.method, url = %without_query(&url), "request");
            let response = builder
                .send()
                .await
                .map_err(|e| self.unavailable(session, e))?;
            match redirect_target(session, &url, &response)? {
                Some(next) if is_reading(&request.method) => url = next,
                _ => return Ok(Response::new(session, response)),
            }
        }
        Err(session.malformed(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Returns the error for a request that got no answer. The URL is left out: it may carry a
    /// signature that is as good as a password.
    pub(super) fn unavailable(&self, session: &Session, error: reqwest::Error) -> ClientError {
        let reason = match &error {
            e if e.is_timeout() => TIMED_OUT,
            e if e.is_connect() => "no connection",
            _ => "the connection broke",
        };
        ClientError::Unavailable {
            place: session.registry().to_string(),
            reason: reason.to_owned(),
            source: Some(Box::new(error.without_url())),
        }
    }
}

fn is_reading(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Statuses that may pass (distribution-spec, Error Codes; RFC 9110 §15.6).
fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn redirect_target(
    session: &Session,
    from: &Url,
    response: &reqwest::Response,
) -> Result<Option<Url>, ClientError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else {
        return Ok(None);
    };
    location
        .to_str()
        .ok()
        .and_then(|text| from.join(text).ok())
        .filter(|to| keeps_encryption(from, to))
        .map(Some)
        .ok_or_else(|| session.malformed("it redirects to where we do not follow".to_owned()))
}

/// Returns whether going from one address to the other loses no encryption.
pub(super) fn keeps_encryption(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http")
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

#[derive(Deserialize)]
struct ErrorDocument {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Response {
    pub(super) fn new(session: &Session, inner: reqwest::Response) -> Self {
        Self {
            inner,
            place: session.registry().to_string(),
        }
    }

    /// Names the repository in messages, not only its registry.
    pub(super) fn of(mut self, name: &RepositoryName) -> Self {
        self.place = format!("{}/{name}", self.place);
        self
    }

    /// Returns the status.
    pub(super) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Returns a header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// Returns the answer itself, for its body.
    pub(super) fn into_inner(self) -> reqwest::Response {
        self.inner
    }

    /// Returns the body, of at most `limit_bytes`; `what` is for messages.
    pub(super) async fn body(self, limit_bytes: usize, what: &str) -> Result<Vec<u8>, ClientError> {
        match http_client::read_body(self.inner, limit_bytes).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(ClientError::TooLarge {
                what: what.to_owned(),
                limit_bytes: limit_bytes as u64,
            }),
            Err(e) => Err(ClientError::Unavailable {
                place: self.place,
                reason: "the connection broke".to_owned(),
                source: Some(Box::new(e.without_url())),
            }),
        }
    }

    /// Returns the answer if it is one of success, else the error that the registry describes;
    /// `what` is what was asked for.
    pub(super) async fn expect_success(self, what: &str) -> Result<Self, ClientError> {
        if self.status().is_success() {
            return Ok(self);
        }
        Err(self.into_error(what).await)
    }

    /// Returns the error that the registry describes.
    pub(super) async fn into_error(self, what: &str) -> ClientError {
        let status = self.status();
        let place = self.place.clone();
        let said = self.description().await;
        let reason = match &said {
            Some((_, text)) => text.clone(),
            // Answers to HEAD have no document to quote.
            None if status.as_u16() == 401 => "credentials are needed".to_owned(),
            None if status.as_u16() == 403 => "these credentials do not suffice".to_owned(),
            None => format!("status {}", status.as_u16()),
        };
        match status.as_u16() {
            401 | 403 => ClientError::Denied { place, reason },
            404 => ClientError::NotFound {
                what: what.to_owned(),
                place,
            },
            409 | 412 => ClientError::Conflict { place, reason },
            405 | 501 => ClientError::Unsupported {
                place,
                what: what.to_owned(),
            },
            408 | 429 | 500.. => ClientError::Unavailable {
                place,
                reason,
                source: None,
            },
            _ => ClientError::Refused {
                place,
                what: what.to_owned(),
                reason,
            },
        }
    }

    /// Returns code and words of the first entry of the error document, if there is one.
    pub(super) async fn description(self) -> Option<(String, String)> {
        let body = http_client::read_body(self.inner, MAX_ERROR_BYTES)
            .await
            .ok()??;
        let document: ErrorDocument = serde_json::from_slice(&body).ok()?;
        let entry = document.errors.into_iter().next()?;
        let text = match entry.message.as_str() {
            "" => entry.code.clone(),
            message => format!("{message} ({})", entry.code),
        };
        Some((entry.code, text))
    }

    /// `Retry-After` in seconds; its other form, a date, would need a clock that agrees.
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header(RETRY_AFTER.as_str())?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(MAX_DELAY))
    }
}
