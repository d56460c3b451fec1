//! Uploading a blob: one POST for a session, one PUT with everything.
//!
//! distribution-spec, Pushing a blob monolithically, POST then PUT: every registry has it. The
//! session's address comes from the registry and may be anywhere; our authorisation goes along
//! only if it is the registry itself (oras-go GHSA-jxpm).

use bytes::Bytes;
use oci::Descriptor;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;
use url::Url;

use super::repository::RegistryRepository;
use super::session::Scope;
use super::transport::{self, Request, Response};
use crate::ClientError;
use crate::blob::{self, BlobCheck};

/// Up to this size, in bytes, a blob is held in memory, so that its upload can be tried again.
const MAX_HELD_BYTES: u64 = 4 * 1024 * 1024;
/// What lies between the reader and the network, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// How messages call what we send.
const OUTGOING: &str = "the content to push";

/// Uploads the blob that `descriptor` describes.
pub(super) async fn push(
    repository: &RegistryRepository,
    descriptor: &Descriptor,
    reader: &mut (dyn AsyncRead + Send + Unpin),
) -> Result<(), ClientError> {
    if descriptor.size <= MAX_HELD_BYTES {
        return push_held(repository, descriptor, reader).await;
    }
    let url = start(repository, descriptor).await?;
    let response = stream(repository, url, descriptor, reader).await?;
    finish(response, descriptor).await
}

async fn push_held(
    repository: &RegistryRepository,
    descriptor: &Descriptor,
    reader: &mut (dyn AsyncRead + Send + Unpin),
) -> Result<(), ClientError> {
    let mut bytes = Vec::new();
    copy_checked(descriptor, reader, &mut bytes).await?;
    let url = start(repository, descriptor).await?;
    let mut request = put_request(repository, url);
    request.body = Some(Bytes::from(bytes));
    finish(repository.send(&request).await?, descriptor).await
}

/// Opens an upload session, and returns where its content goes.
async fn start(
    repository: &RegistryRepository,
    descriptor: &Descriptor,
) -> Result<Url, ClientError> {
    let mut request = repository.request(Method::POST, "blobs/uploads/")?;
    // Some servers refuse a POST of no stated length (RFC 9110 §8.6).
    request
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    let from = request.url.clone();
    let response = repository.send(&request).await?;
    let response = response.expect_success("an upload").await?;
    let session = repository.session();
    let mut url = response
        .header(LOCATION.as_str())
        .and_then(|text| from.join(text).ok())
        .filter(|to| transport::keeps_encryption(&from, to))
        .ok_or_else(|| session.malformed("it names no usable place for an upload".to_owned()))?;
    url.query_pairs_mut()
        .append_pair("digest", descriptor.digest.as_str());
    Ok(url)
}

fn put_request(repository: &RegistryRepository, url: Url) -> Request {
    let scope = Scope::repository(repository.name(), "pull,push");
    let mut request = Request::new(Method::PUT, url, scope);
    request.headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    request.timeout = None;
    request
}

/// Sends what `reader` has as it comes. A body of this kind can be sent only once.
async fn stream(
    repository: &RegistryRepository,
    url: Url,
    descriptor: &Descriptor,
    reader: &mut (dyn AsyncRead + Send + Unpin),
) -> Result<Response, ClientError> {
    let (mut near, far) = tokio::io::duplex(BUFFER_BYTES);
    let request = put_request(repository, url);
    let session = repository.session();
    let transport = repository.transport();
    let mut builder = transport
        .client(&request.url)?
        .put(request.url.clone())
        .headers(request.headers)
        .header(CONTENT_LENGTH, descriptor.size)
        .body(reqwest::Body::wrap_stream(ReaderStream::new(far)));
    if request.url.origin() == session.base().origin()
        && let Some(value) = session.authorization(transport, &request.scope).await?
    {
        builder = builder.header(AUTHORIZATION, value);
    }
    let copy = async {
        let copied = copy_checked(descriptor, reader, &mut near).await;
        drop(near);
        copied
    };
    let send = builder.send();
    tokio::pin!(copy, send);
    // The registry may answer before it has taken everything, and then nobody reads on.
    let response = tokio::select! {
        response = &mut send => response,
        copied = &mut copy => {
            copied?;
            send.await
        }
    };
    let response = response.map_err(|e| transport.unavailable(session, e))?;
    Ok(Response::new(session, response).of(repository.name()))
}

/// Copies, and fails before the end of the body if it is not the content described.
async fn copy_checked(
    descriptor: &Descriptor,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> Result<(), ClientError> {
    let mut check = BlobCheck::new(descriptor);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = reader.read(&mut buffer).await.map_err(blob::read_error)?;
        if count == 0 {
            return check.finish(OUTGOING);
        }
        check.update(&buffer[..count])?;
        // If the registry stopped reading, its answer says why; that is the error to report.
        if writer.write_all(&buffer[..count]).await.is_err() {
            return Ok(());
        }
    }
}

async fn finish(response: Response, descriptor: &Descriptor) -> Result<(), ClientError> {
    let what = format!("uploading blob `{}`", descriptor.digest);
    let response = response.expect_success(&what).await?;
    match response.status() {
        StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(()),
        _ => Err(response.into_error(&what).await),
    }
}
