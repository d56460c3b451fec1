//! Blobs: download, ranges, deletion.
//!
//! distribution-spec, Pulling blobs and Deleting Blobs. A repository gives out only blobs that
//! were pushed or mounted into it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use oci::{Digest, MediaType};
use store::blob::ByteRange;
use tokio_util::io::ReaderStream;

use super::error::{Code, RegistryError};
use super::range::{Wanted, wanted};
use super::reply;
use super::scope::Scope;
use crate::auth::Action;

/// How much of a file is read at once, in bytes: large enough that the hop to the blocking pool
/// costs little, small enough for a thousand downloads.
const READ_BYTES: usize = 256 * 1024;

/// Answers GET and HEAD.
pub(crate) async fn get(
    scope: &Scope,
    digest: &Digest,
    headers: &HeaderMap,
    head: bool,
) -> Result<Response, RegistryError> {
    scope.caller.require_pull(&scope.repository)?;
    let links = &scope.front.store.links;
    let size = links
        .blob_in_repository(&scope.repository, digest)
        .await?
        .ok_or_else(|| unknown(scope, digest))?;
    let range = match wanted(headers, size) {
        Wanted::Whole => None,
        Wanted::Part { start, length } => Some(ByteRange { start, length }),
        Wanted::Unsatisfiable => {
            let message = format!("the range holds none of the blob's {size} bytes");
            return Err(RegistryError::new(Code::SizeInvalid, message)
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{size}")));
        }
    };
    let body = match head {
        true => Body::empty(),
        false => open(scope, digest, range).await?,
    };
    Ok(answer(body, digest, size, range))
}

async fn open(
    scope: &Scope,
    digest: &Digest,
    range: Option<ByteRange>,
) -> Result<Body, RegistryError> {
    let blobs = &scope.front.store.blobs;
    let reader = match range {
        Some(range) => blobs.open_range(digest, range).await?,
        None => blobs.open(digest).await?,
    };
    let reader = reader.ok_or_else(|| {
        RegistryError::internal(format!("{digest} is linked, but its bytes are gone"))
    })?;
    let sent = scope.front.metrics.sent_bytes.clone();
    let pieces = ReaderStream::with_capacity(reader.bytes, READ_BYTES)
        .inspect_ok(move |piece| _ = sent.inc_by(piece.len() as u64));
    Ok(Body::from_stream(pieces))
}

fn answer(body: Body, digest: &Digest, size: u64, range: Option<ByteRange>) -> Response {
    let mut response = body.into_response();
    let length = range.map_or(size, |range| range.length);
    if let Some(ByteRange { start, length }) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let value = format!("bytes {start}-{}/{size}", start + length - 1);
        reply::insert(&mut response, header::CONTENT_RANGE, &value);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let bytes = HeaderValue::from_static("bytes");
    headers.insert(header::ACCEPT_RANGES, bytes);
    let kind = MediaType::OCTET_STREAM;
    reply::insert(&mut response, header::CONTENT_TYPE, kind.as_str());
    reply::insert_digest(&mut response, digest);
    response
}

/// Answers DELETE: the blob is taken from this repository; others that have it keep it.
pub(crate) async fn delete(scope: &Scope, digest: &Digest) -> Result<Response, RegistryError> {
    scope
        .caller
        .require(Action::Delete, scope.repository.as_str())?;
    let links = &scope.front.store.links;
    match links.unlink_blob(&scope.repository, digest).await? {
        true => Ok(reply::empty(StatusCode::ACCEPTED, [])),
        false => Err(unknown(scope, digest)),
    }
}

fn unknown(scope: &Scope, digest: &Digest) -> RegistryError {
    let message = format!("blob {digest} is not in `{}`", scope.repository);
    RegistryError::new(Code::BlobUnknown, message)
}
