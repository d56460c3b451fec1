//! Headers and bodies that several answers share.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode, header};
use oci::Digest;

use crate::observe::Metrics;

/// The header that names the digest of what is sent.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// How long a client may pause in the middle of a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns an answer without a body.
pub(crate) fn empty<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
) -> Response {
    let mut response = status.into_response();
    for (name, value) in headers {
        insert(&mut response, name, &value);
    }
    response
}

/// Adds a header. Texts that come here are parsed names, digests and numbers: all printable.
pub(crate) fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Adds the headers that say which bytes these are: they never change under this digest.
pub(crate) fn insert_digest(response: &mut Response, digest: &Digest) {
    insert(response, CONTENT_DIGEST, digest.as_str());
    insert(response, header::ETAG, &format!("\"{digest}\""));
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
}

/// Returns the `Link` header's value that leads to the next page.
pub(crate) fn next_page(path: &str, rows: usize, last: &str) -> String {
    let last: String = url::form_urlencoded::byte_serialize(last.as_bytes()).collect();
    format!("<{path}?n={rows}&last={last}>; rel=\"next\"")
}

/// Returns the bytes of a request's body as they arrive, each within [`IDLE_TIMEOUT`].
pub(crate) fn incoming(
    body: Body,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin + use<> {
    let pieces = stream::unfold(body.into_data_stream(), |mut data| async move {
        let piece = match tokio::time::timeout(IDLE_TIMEOUT, data.next()).await {
            Ok(Some(piece)) => piece.map_err(std::io::Error::other),
            Ok(None) => return None,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        Some((piece, data))
    });
    Box::pin(pieces)
}

/// Returns the bytes of a blob as they arrive, counted.
pub(crate) fn incoming_blob(
    body: Body,
    metrics: &Metrics,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin + use<> {
    let received = metrics.received_bytes.clone();
    incoming(body).inspect(move |piece| {
        if let Ok(piece) = piece {
            received.inc_by(piece.len() as u64);
        }
    })
}
