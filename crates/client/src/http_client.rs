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
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// Certificates, in PEM, of authorities to trust for TLS besides the system's.
    pub extra_ca_pem: Vec<Vec<u8>>,
}

/// Returns a client that follows no redirect: whoever follows one must decide first what may
/// travel along (oras-go GHSA-vh4v).
pub(crate) fn build(options: &HttpOptions) -> Result<reqwest::Client, reqwest::Error> {
    let mut certificates = Vec::new();
    for pem in &options.extra_ca_pem {
        certificates.extend(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(certificates)
        .build()
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
