//! The HTTP client under all of this room: no redirects by itself, bounded answers, timeouts.

use std::time::Duration;

use futures_util::StreamExt;

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

/// Returns a client that follows no redirect: whoever follows one must decide first what may
/// travel along (oras-go GHSA-vh4v).
pub(crate) fn builder(options: &HttpOptions) -> Result<reqwest::ClientBuilder, reqwest::Error> {
    let mut certificates = Vec::new();
    for pem in &options.extra_ca_pem {
        certificates.extend(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    Ok(reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(certificates))
}

/// Returns whether a URL leads to this machine, where no proxy has anything to do.
pub(crate) fn is_loopback(url: &url::Url) -> bool {
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
