//! The control API of a Countersign server: JSON over HTTP, errors with code, message and hint.
//!
//! The shapes of requests and answers belong to `server::api`; this is only the way there. The
//! token goes to the server's own origin and nowhere else: redirects are not followed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncBufReadExt;
use tokio_util::io::StreamReader;
use url::Url;

use crate::ClientError;
use crate::http_client::{self, Clients, HttpOptions};

/// The largest answer, in bytes. The largest list is of runs; a thousand of them take one.
pub const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// The longest line of a stream, in bytes. Log lines are cut at 16 KiB by the server.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// How long a large upload may take: 200 MB over a line of 3 Mbit/s.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// A connection to the control API of one server, under one account.
#[derive(Clone)]
pub struct ControlClient {
    clients: Arc<Clients>,
    base: Url,
    token: Option<String>,
}

/// Says why a request to the control API gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The server answered, and said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code.
        code: String,
        /// What the server says to the caller.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// The server could not be reached, or broke off.
    #[error("server `{server}` is unavailable")]
    Unavailable {
        /// The server's address.
        server: String,
        /// What the layer below reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered something that is not its API.
    #[error("`{server}` does not answer like a Countersign server: {reason}")]
    Malformed {
        /// The server's address.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// The connection could not be set up from the settings on this machine.
    #[error("the connection to `{server}` could not be set up")]
    Configuration {
        /// The server's address.
        server: String,
        /// What the layer below reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorMembers,
}

#[derive(Deserialize)]
struct ErrorMembers {
    code: String,
    message: String,
    #[serde(default)]
    hint: Option<String>,
}

impl ControlClient {
    /// Returns a client for the server at `base`, which sends `token` with every request.
    ///
    /// # Errors
    /// If the system's TLS settings are unusable.
    pub fn new(base: Url, token: Option<String>) -> Result<Self, ControlError> {
        Self::with_options(base, token, &HttpOptions::default())
    }

    /// Returns a client with other settings than the usual, such as a further CA.
    ///
    /// # Errors
    /// If the settings are unusable.
    pub fn with_options(
        base: Url,
        token: Option<String>,
        options: &HttpOptions,
    ) -> Result<Self, ControlError> {
        let clients = Clients::new(options, None).map_err(|e| configuration(&base, e))?;
        let clients = Arc::new(clients);
        Ok(Self {
            clients,
            base,
            token,
        })
    }

    /// Returns the server's address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Reads `path`, such as `api/v1/runs`.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlError> {
        self.json(self.request(Method::GET, path)?).await
    }

    /// Reads `path` as the bytes that it is, such as a tile of the log.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, ControlError> {
        let request = self.request(Method::GET, path)?;
        let request = request.timeout(http_client::REQUEST_TIMEOUT);
        let response = request.send().await.map_err(|e| self.unavailable(e))?;
        let response = self.accepted(response).await?;
        self.body(response).await
    }

    /// Posts `body` to `path`.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn post<B, T>(&self, path: &str, body: &B) -> Result<T, ControlError>
    where
        B: Serialize + ?Sized + Sync,
        T: DeserializeOwned,
    {
        self.json(self.request(Method::POST, path)?.json(body))
            .await
    }

    /// Reads `path`, whose answer is text.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn get_text(&self, path: &str) -> Result<String, ControlError> {
        self.text(self.request(Method::GET, path)?).await
    }

    /// Posts `body` to `path`, whose answer is text.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn post_for_text<B>(&self, path: &str, body: &B) -> Result<String, ControlError>
    where
        B: Serialize + ?Sized + Sync,
    {
        self.text(self.request(Method::POST, path)?.json(body))
            .await
    }

    /// Puts `body` at `path`.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn put<B, T>(&self, path: &str, body: &B) -> Result<T, ControlError>
    where
        B: Serialize + ?Sized + Sync,
        T: DeserializeOwned,
    {
        self.json(self.request(Method::PUT, path)?.json(body)).await
    }

    /// Puts bytes at `path`, such as a database, with the time that a large body may take.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn put_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<T, ControlError> {
        let request = self.request(Method::PUT, path)?.body(bytes);
        self.json_within(request, UPLOAD_TIMEOUT).await
    }

    /// Deletes what is at `path`.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlError> {
        self.json(self.request(Method::DELETE, path)?).await
    }

    /// Returns the lines that `path` answers with, one by one as they come, without a time limit:
    /// a followed log is silent while its build is.
    ///
    /// # Errors
    /// Everything that [`ControlError`] names.
    pub async fn stream(
        &self,
        path: &str,
    ) -> Result<BoxStream<'static, Result<String, ControlError>>, ControlError> {
        let request = self.request(Method::GET, path)?;
        let response = request.send().await.map_err(|e| self.unavailable(e))?;
        let response = self.accepted(response).await?;
        Ok(lines(self.base.to_string(), response))
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, ControlError> {
        let url = self
            .base
            .join(path)
            .map_err(|e| self.malformed(format!("`{path}` is not a path: {e}")))?;
        if url.origin() != self.base.origin() {
            return Err(self.malformed(format!("`{path}` leads to another server")));
        }
        let client = self.clients.of(&url);
        let client = client.map_err(|e| configuration(&self.base, e))?;
        let request = client.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, ControlError> {
        self.json_within(request, http_client::REQUEST_TIMEOUT)
            .await
    }

    async fn json_within<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        limit: Duration,
    ) -> Result<T, ControlError> {
        let request = request.timeout(limit);
        let response = request.send().await.map_err(|e| self.unavailable(e))?;
        let response = self.accepted(response).await?;
        let body = self.body(response).await?;
        // A request without an answer (204) reads as `null`, so that `T` may be `()`.
        let body = if body.is_empty() { b"null" } else { &body[..] };
        serde_json::from_slice(body).map_err(|e| self.malformed(e.to_string()))
    }

    async fn text(&self, request: reqwest::RequestBuilder) -> Result<String, ControlError> {
        let request = request.timeout(http_client::REQUEST_TIMEOUT);
        let response = request.send().await.map_err(|e| self.unavailable(e))?;
        let response = self.accepted(response).await?;
        let body = self.body(response).await?;
        String::from_utf8(body).map_err(|_| self.malformed("the answer is not text".to_owned()))
    }

    async fn accepted(
        &self,
        response: reqwest::Response,
    ) -> Result<reqwest::Response, ControlError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await?;
        Err(self.refusal(status, &body))
    }

    async fn body(&self, response: reqwest::Response) -> Result<Vec<u8>, ControlError> {
        match http_client::read_body(response, MAX_ANSWER_BYTES).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(self.malformed(format!("more than {MAX_ANSWER_BYTES} bytes"))),
            Err(e) => Err(self.unavailable(e)),
        }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ControlError {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(ErrorBody { error }) => ControlError::Refused {
                status: status.as_u16(),
                code: error.code,
                message: error.message,
                hint: error.hint,
            },
            Err(_) => self.malformed(format!("status {status} without an error document")),
        }
    }

    fn unavailable(&self, error: reqwest::Error) -> ControlError {
        ControlError::Unavailable {
            server: self.base.to_string(),
            source: Box::new(error.without_url()),
        }
    }

    fn malformed(&self, reason: String) -> ControlError {
        ControlError::Malformed {
            server: self.base.to_string(),
            reason,
        }
    }
}

fn configuration(base: &Url, error: ClientError) -> ControlError {
    ControlError::Configuration {
        server: base.to_string(),
        source: Box::new(error),
    }
}

fn lines(
    server: String,
    response: reqwest::Response,
) -> BoxStream<'static, Result<String, ControlError>> {
    let bytes = response
        .bytes_stream()
        .map(|piece| piece.map_err(|e| std::io::Error::other(e.without_url())));
    let reader = StreamReader::new(bytes);
    futures_util::stream::try_unfold((reader, server), |(mut reader, server)| async move {
        match read_line(&mut reader).await {
            Ok(Some(line)) => Ok(Some((line, (reader, server)))),
            Ok(None) => Ok(None),
            Err(e) => Err(ControlError::Unavailable {
                server,
                source: Box::new(e),
            }),
        }
    })
    .boxed()
}

/// Reads one line of at most [`MAX_LINE_BYTES`]; a longer one is given in pieces.
async fn read_line<R>(reader: &mut R) -> std::io::Result<Option<String>>
where
    R: tokio::io::AsyncBufRead + Unpin,
{
    use tokio::io::AsyncReadExt;
    let mut line = Vec::new();
    let mut limited = reader.take(MAX_LINE_BYTES as u64);
    if limited.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
