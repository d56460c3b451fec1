//! The HTTP client under all of this room: no redirects by itself, bounded answers, timeouts.

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::StreamExt;
use url::Url;

use crate::ClientError;

/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other side may be silent in the middle of an answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a small question and its answer may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// The settings of outbound connections.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Certificates, in PEM, of authorities to trust for TLS besides the system's.
    pub extra_ca_pem: Vec<Vec<u8>>,
    /// How long the other side may be silent in the middle of an answer.
    pub read_timeout: Duration,
    /// How often a request is tried that failed for a reason that may pass.
    pub attempts: u32,
    /// How long to wait before the second attempt; each further wait is twice as long.
    pub first_delay: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            extra_ca_pem: Vec::new(),
            read_timeout: READ_TIMEOUT,
            attempts: 5,
            first_delay: Duration::from_millis(250),
        }
    }
}

/// The connections of one user of this room, made when they are first needed: reading the
/// system's certificate authorities takes milliseconds, and where there are none, plain HTTP to
/// this machine must still work.
///
/// They follow no redirect: whoever follows one must decide first what may travel along (oras-go
/// GHSA-vh4v).
pub(crate) struct Clients {
    certificates: Vec<reqwest::Certificate>,
    read_timeout: Option<Duration>,
    /// By whether the other side is this machine, and whether it is spoken to in TLS.
    made: [[OnceLock<reqwest::Client>; 2]; 2],
}

impl Clients {
    /// Returns connections on which the other side may be silent for `read_timeout`.
    pub(crate) fn new(
        options: &HttpOptions,
        read_timeout: Option<Duration>,
    ) -> Result<Self, ClientError> {
        let mut certificates = Vec::new();
        for pem in &options.extra_ca_pem {
            let found = reqwest::Certificate::from_pem_bundle(pem).unwrap_or_default();
            if found.is_empty() {
                return Err(ClientError::Configuration {
                    what: "the file of certificate authorities has no certificate in PEM"
                        .to_owned(),
                    source: None,
                });
            }
            certificates.extend(found);
        }
        Ok(Self {
            certificates,
            read_timeout,
            made: Default::default(),
        })
    }

    /// Returns the client for `url`.
    pub(crate) fn of(&self, url: &Url) -> Result<&reqwest::Client, ClientError> {
        let (is_local, is_tls) = (is_loopback(url), url.scheme() == "https");
        let cell = &self.made[usize::from(is_local)][usize::from(is_tls)];
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let certificates = self.certificates.clone();
        let built = match is_tls {
            // Where the system has no authorities, those that were named are all there are.
            true => self
                .builder(is_local)
                .tls_certs_merge(certificates.clone())
                .build()
                .or_else(|_| self.builder(is_local).tls_certs_only(certificates).build()),
            false => self.builder(is_local).tls_certs_only(certificates).build(),
        };
        let built = built.map_err(|e| ClientError::Configuration {
            what: "TLS could not be set up".to_owned(),
            source: Some(Box::new(e)),
        })?;
        Ok(cell.get_or_init(|| built))
    }

    fn builder(&self, is_local: bool) -> reqwest::ClientBuilder {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        if let Some(timeout) = self.read_timeout {
            builder = builder.read_timeout(timeout);
        }
        // A proxy has nothing to do on the way to this machine.
        if is_local {
            builder.no_proxy()
        } else {
            builder
        }
    }
}

/// Returns whether a URL leads to this machine, where no proxy has anything to do.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Reads a body of at most `limit_bytes`; `None` if there is more.
pub(crate) async fn read_body(
    response: reqwest::Response,
    limit_bytes: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if body.len() + piece.len() > limit_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// Returns why a request failed, without its URL: that may hold a secret, and the caller names
/// whom it asked.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    let mut text = "the connection failed".to_owned();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}
