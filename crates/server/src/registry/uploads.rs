//! Uploads: monolithic, in pieces, by mount.
//!
//! distribution-spec, Pushing blobs. What is acknowledged with 201 is on the disk and linked to
//! the repository.

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{StatusCode, header};
use oci::{Digest, RepositoryName};
use store::StoreError;
use store::blob::{MAX_BLOB_BYTES, UploadError, UploadId};

use super::error::{Code, RegistryError};
use super::range::{piece_start, received};
use super::reply::{self, CONTENT_DIGEST};
use super::route::parse_digest;
use super::scope::Scope;
use crate::auth::Action;
use crate::clock;

/// The header that some clients read the session's name from.
const UPLOAD_UUID: header::HeaderName = header::HeaderName::from_static("docker-upload-uuid");

/// The query of an upload request.
#[derive(Default)]
struct Query {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
}

impl Query {
    fn parse(request: &Request) -> Self {
        let mut query = Self::default();
        let text = request.uri().query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let slot = match &*name {
                "digest" => &mut query.digest,
                "mount" => &mut query.mount,
                "from" => &mut query.from,
                _ => continue,
            };
            *slot = Some(value.into_owned());
        }
        query
    }
}

/// Answers POST: mounts, takes a whole blob, or starts a session.
pub(crate) async fn start(scope: &Scope, request: Request) -> Result<Response, RegistryError> {
    scope.caller.require_push(&scope.repository)?;
    let query = Query::parse(&request);
    if let Some(mount) = &query.mount {
        let digest = parse_digest(mount)?;
        if let Some(done) = mount_blob(scope, &digest, query.from.as_deref()).await? {
            return Ok(done);
        }
    } else if let Some(digest) = &query.digest {
        let digest = parse_digest(digest)?;
        return monolithic(scope, &digest, request.into_body()).await;
    }
    let uploads = &scope.front.store.uploads;
    let id = uploads.start(&scope.repository, clock::now()).await?;
    Ok(session(scope, id, 0, StatusCode::ACCEPTED))
}

/// Links a blob that another repository has. `None` when the caller may not read it there or it
/// is not there: the answer is the same, so that a digest cannot be asked about.
async fn mount_blob(
    scope: &Scope,
    digest: &Digest,
    from: Option<&str>,
) -> Result<Option<Response>, RegistryError> {
    let store = &scope.front.store;
    let size = match from {
        Some(from) => {
            let from: RepositoryName = from
                .parse()
                .map_err(|error| RegistryError::new(Code::NameInvalid, format!("{error}")))?;
            match scope.caller.may(Action::Pull, from.as_str()) {
                true => store.links.blob_in_repository(&from, digest).await?,
                false => None,
            }
        }
        // Without a source, only whoever may read every repository can be given any blob.
        None if scope.caller.reads_everything() => store.blobs.size(digest).await?,
        None => None,
    };
    let Some(size) = size else { return Ok(None) };
    finished(scope, digest, size).await.map(Some)
}

async fn monolithic(scope: &Scope, digest: &Digest, body: Body) -> Result<Response, RegistryError> {
    let mut writer = scope.front.store.blobs.writer(digest.algorithm()).await?;
    let mut pieces = reply::incoming_blob(body, &scope.front.metrics);
    while let Some(piece) = pieces.next().await {
        writer.write(&piece.map_err(StoreError::Incoming)?).await?;
        if writer.size() > MAX_BLOB_BYTES {
            let message = format!("the blob is larger than the limit of {MAX_BLOB_BYTES} bytes");
            return Err(RegistryError::new(Code::SizeInvalid, message)
                .status(StatusCode::PAYLOAD_TOO_LARGE));
        }
    }
    let size = writer.commit(digest).await?;
    finished(scope, digest, size).await
}

/// Answers PATCH: the next piece, with or without a range.
pub(crate) async fn append(
    scope: &Scope,
    id: UploadId,
    request: Request,
) -> Result<Response, RegistryError> {
    scope.caller.require_push(&scope.repository)?;
    let size = append_piece(scope, id, request).await?;
    Ok(session(scope, id, size, StatusCode::ACCEPTED))
}

async fn append_piece(scope: &Scope, id: UploadId, request: Request) -> Result<u64, RegistryError> {
    let start = piece_start(request.headers())?;
    let pieces = reply::incoming_blob(request.into_body(), &scope.front.metrics);
    let uploads = &scope.front.store.uploads;
    let appended = uploads.append(&scope.repository, id, start, pieces).await;
    appended.map_err(|error| match error {
        // Where to go on belongs into the answer (distribution-spec, Pushing a blob in chunks).
        UploadError::OutOfOrder { expected, .. } => RegistryError::from(error)
            .header(header::RANGE, received(expected))
            .header(header::LOCATION, location(scope, id)),
        error => error.into(),
    })
}

/// Answers PUT: the last piece, if there is one, and the end of the session.
pub(crate) async fn finish(
    scope: &Scope,
    id: UploadId,
    request: Request,
) -> Result<Response, RegistryError> {
    scope.caller.require_push(&scope.repository)?;
    let digest = Query::parse(&request)
        .digest
        .ok_or_else(|| RegistryError::new(Code::DigestInvalid, "the query has no `digest`"))?;
    let digest = parse_digest(&digest)?;
    if request.body().size_hint().exact() != Some(0) {
        append_piece(scope, id, request).await?;
    }
    let uploads = &scope.front.store.uploads;
    let size = uploads.finish(&scope.repository, id, &digest).await?;
    finished(scope, &digest, size).await
}

/// Answers GET: where the session stands.
pub(crate) async fn status(scope: &Scope, id: UploadId) -> Result<Response, RegistryError> {
    scope.caller.require_push(&scope.repository)?;
    let uploads = &scope.front.store.uploads;
    let status = uploads.status(&scope.repository, id).await?;
    Ok(session(scope, id, status.size, StatusCode::NO_CONTENT))
}

/// Answers DELETE: the session is over and its bytes are dropped.
pub(crate) async fn cancel(scope: &Scope, id: UploadId) -> Result<Response, RegistryError> {
    scope.caller.require_push(&scope.repository)?;
    scope
        .front
        .store
        .uploads
        .cancel(&scope.repository, id)
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT, []))
}

/// Links the blob, whose bytes are durable by now, and says where it is.
async fn finished(scope: &Scope, digest: &Digest, size: u64) -> Result<Response, RegistryError> {
    let links = &scope.front.store.links;
    links.link_blob(&scope.repository, digest, size).await?;
    let location = format!("/v2/{}/blobs/{digest}", scope.repository);
    Ok(reply::empty(
        StatusCode::CREATED,
        [
            (header::LOCATION, location),
            (CONTENT_DIGEST, digest.to_string()),
        ],
    ))
}

fn session(scope: &Scope, id: UploadId, size: u64, status: StatusCode) -> Response {
    reply::empty(
        status,
        [
            (header::LOCATION, location(scope, id)),
            (header::RANGE, received(size)),
            (UPLOAD_UUID, id.to_string()),
        ],
    )
}

fn location(scope: &Scope, id: UploadId) -> String {
    format!("/v2/{}/blobs/uploads/{id}", scope.repository)
}
