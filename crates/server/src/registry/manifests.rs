//! Manifests: push, pull, delete, by tag or digest.
//!
//! distribution-spec, Pushing Manifests, Pulling manifests, Deleting. The exact bytes are kept and
//! given back under the media type that they came with. A manifest whose configuration or layers are
//! not here is refused; a missing subject is not: evidence may arrive first.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use oci::manifest::{MAX_MANIFEST_BYTES, ManifestContent};
use oci::{Descriptor, Digest, Manifest, MediaType, Tag};
use store::StoreError;
use store::repositories::{MAX_TAGS_AT_ONCE, NewManifest};
use time::OffsetDateTime;

use super::error::{Code, RegistryError};
use super::reply::{self, CONTENT_DIGEST};
use super::route::TagOrDigest;
use super::scope::Scope;
use crate::auth::Action;
use crate::aws::ecr::{self, TagRefused};
use crate::clock;
use crate::control::events;
use crate::state::{Change, RegistryEvent};

/// The header that says the subject was understood, so the client need not keep a list itself.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// The header that names a tag that was set by `?tag=`.
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// How much of a manifest that is too large is read and dropped before the answer: a client that
/// is still writing when the connection closes never sees why.
const MAX_DRAINED_BYTES: usize = 4 * MAX_MANIFEST_BYTES;

/// Answers GET and HEAD.
pub(crate) async fn get(
    scope: &Scope,
    name: &TagOrDigest,
    head: bool,
) -> Result<Response, RegistryError> {
    scope.caller.require_pull(&scope.repository)?;
    let repositories = &scope.front.store.repositories;
    let digest = match name {
        TagOrDigest::Digest(digest) => Some(digest.clone()),
        TagOrDigest::Tag(tag) => repositories.resolve(&scope.repository, tag).await?,
    };
    let row = match &digest {
        Some(digest) => repositories.manifest(&scope.repository, digest).await?,
        None => None,
    };
    let row = row.ok_or_else(|| unknown(scope, name))?;
    let length = HeaderValue::from(row.bytes.len());
    let mut response = match head {
        true => ().into_response(),
        false => Body::from(row.bytes.clone()).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length);
    reply::insert(&mut response, header::CONTENT_TYPE, row.media_type.as_str());
    reply::insert_digest(&mut response, &row.digest);
    Ok(response)
}

/// Answers PUT.
pub(crate) async fn put(
    scope: &Scope,
    name: TagOrDigest,
    request: Request,
) -> Result<Response, RegistryError> {
    scope.caller.require_push(&scope.repository)?;
    let tags = wanted_tags(&name, request.uri().query())?;
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body).await?;
    let digest = match name {
        TagOrDigest::Tag(_) => Digest::sha256(&bytes),
        TagOrDigest::Digest(digest) if digest.matches(&bytes) => digest,
        TagOrDigest::Digest(digest) => {
            let actual = Digest::of(digest.algorithm(), &bytes);
            let message = format!("the manifest has digest {actual}, not {digest}");
            return Err(RegistryError::new(Code::DigestInvalid, message));
        }
    };
    let manifest = parse(&parts.headers, bytes)?;
    let pushed = Pushed {
        manifest,
        digest,
        tags,
        at: clock::now(),
    };
    keep_manifest(scope, &pushed).await?;
    let named_by_query = parts.uri.query().map(|_| &*pushed.tags);
    Ok(created(
        scope,
        (&pushed.manifest, &pushed.digest),
        named_by_query,
    ))
}

/// A manifest that somebody who may pushes.
pub(crate) struct Pushed {
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// The digest that it is kept under.
    pub(crate) digest: Digest,
    /// The tags that are to name it.
    pub(crate) tags: Vec<Tag>,
    /// The time of the push.
    pub(crate) at: OffsetDateTime,
}

/// Keeps a manifest, by whatever API it came: what it names must be here, its tags must be free to
/// move, and what is to be signed waits in the queue when this returns.
pub(crate) async fn keep_manifest(scope: &Scope, pushed: &Pushed) -> Result<(), RegistryError> {
    let Pushed {
        manifest,
        digest,
        tags,
        at,
    } = pushed;
    check_references(scope, manifest).await?;
    let repository = &scope.repository;
    // Held until the tags are set.
    let _tags = ecr::check_tags(&scope.front, repository, (tags, digest)).await?;
    let new = NewManifest {
        repository,
        manifest,
        digest,
        tags,
        at: *at,
    };
    scope.front.store.repositories.put_manifest(new).await?;
    let signing = (repository, manifest, digest);
    ecr::on_push(&scope.front, &scope.caller, signing)
        .await
        .map_err(|error| RegistryError::internal(error.message))?;
    let place = (&scope.repository, scope.caller.account.as_str());
    events::pushed(&scope.front, place, (manifest, digest)).await;
    tell(
        scope,
        Change::Pushed {
            digest: digest.clone(),
            media_type: manifest.media_type().clone(),
            subject: manifest.subject().map(|subject| subject.digest.clone()),
            tags: tags.clone(),
        },
    );
    Ok(())
}

impl From<TagRefused> for RegistryError {
    fn from(refused: TagRefused) -> Self {
        match refused {
            TagRefused::Immutable(tag) => {
                let message = format!(
                    "tag `{tag}` names another manifest already, and the repository's tags are \
                     immutable: push under another tag"
                );
                Self::new(Code::TagInvalid, message)
            }
            TagRefused::Failed(error) => Self::internal(error.message),
        }
    }
}

/// Returns the tags that the push sets: that of the path, or those of the query beside a digest.
fn wanted_tags(name: &TagOrDigest, query: Option<&str>) -> Result<Vec<Tag>, RegistryError> {
    let mut tags = match name {
        TagOrDigest::Tag(tag) => vec![tag.clone()],
        TagOrDigest::Digest(_) => Vec::new(),
    };
    let query = query.unwrap_or_default();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if key != "tag" {
            continue;
        }
        let tag = value
            .parse()
            .map_err(|error| RegistryError::new(Code::ManifestInvalid, format!("{error}")))?;
        tags.push(tag);
        if tags.len() > MAX_TAGS_AT_ONCE {
            let message = format!("more than {MAX_TAGS_AT_ONCE} tags at once");
            return Err(
                RegistryError::new(Code::ManifestInvalid, message).status(StatusCode::URI_TOO_LONG)
            );
        }
    }
    Ok(tags)
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, RegistryError> {
    let too_large = || {
        let message =
            format!("the manifest is larger than the limit of {MAX_MANIFEST_BYTES} bytes");
        RegistryError::new(Code::ManifestInvalid, message).status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_DRAINED_BYTES) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut seen = 0;
    let mut pieces = reply::incoming(body);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(StoreError::Incoming)?;
        seen += piece.len();
        if seen <= MAX_MANIFEST_BYTES {
            bytes.extend_from_slice(&piece);
        } else if seen > MAX_DRAINED_BYTES {
            break;
        }
    }
    match seen > MAX_MANIFEST_BYTES {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

/// Parses the manifest under its `Content-Type`. Without one, as a few clients send, the document
/// must say itself what it is.
fn parse(headers: &HeaderMap, bytes: Vec<u8>) -> Result<Manifest, RegistryError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Manifest::sniff(bytes)?);
    };
    let text = value.to_str().unwrap_or_default();
    let media_type: MediaType = text
        .split_once(';')
        .map_or(text, |(media_type, _)| media_type)
        .trim()
        .parse()
        .map_err(|error| RegistryError::new(Code::ManifestInvalid, format!("{error}")))?;
    Ok(Manifest::parse(media_type, bytes)?)
}

/// Refuses a manifest whose configuration or layers are not in this repository: an image that was
/// acknowledged can be pulled.
async fn check_references(scope: &Scope, manifest: &Manifest) -> Result<(), RegistryError> {
    match manifest.content() {
        ManifestContent::Image(image) => {
            check_blob(scope, &image.config).await?;
            for layer in image.layers.iter().filter(|layer| is_distributable(layer)) {
                check_blob(scope, layer).await?;
            }
        }
        // An index may come without some of its children: whoever copies one platform of a signed
        // index must keep the index's digest. Deciding whether that is enough is the gate's work
        // (`platform-missing`).
        ManifestContent::Index(_) => {}
    }
    Ok(())
}

/// Layers that a licence forbids to pass on are never pushed (image-spec, Non-distributable
/// Layers): they are fetched from elsewhere.
fn is_distributable(layer: &Descriptor) -> bool {
    let text = layer.media_type.as_str();
    !text.contains(".nondistributable.") && !text.contains(".foreign.")
}

async fn check_blob(scope: &Scope, blob: &Descriptor) -> Result<(), RegistryError> {
    let links = &scope.front.store.links;
    let size = links
        .blob_in_repository(&scope.repository, &blob.digest)
        .await?;
    match size {
        Some(size) if size == blob.size => Ok(()),
        Some(size) => Err(RegistryError::new(
            Code::ManifestInvalid,
            format!(
                "the manifest says that {} has {} bytes, but it has {size}",
                blob.digest, blob.size
            ),
        )),
        None => Err(missing(scope, &blob.digest)),
    }
}

fn missing(scope: &Scope, digest: &Digest) -> RegistryError {
    let message = format!(
        "the manifest names {digest}, which is not in `{}`: push it first",
        scope.repository
    );
    RegistryError::new(Code::ManifestBlobUnknown, message)
}

fn created(
    scope: &Scope,
    (manifest, digest): (&Manifest, &Digest),
    named_by_query: Option<&[Tag]>,
) -> Response {
    let location = format!("/v2/{}/manifests/{digest}", scope.repository);
    let mut response = reply::empty(
        StatusCode::CREATED,
        [
            (header::LOCATION, location),
            (CONTENT_DIGEST, digest.to_string()),
        ],
    );
    if let Some(subject) = manifest.subject() {
        reply::insert(&mut response, OCI_SUBJECT, subject.digest.as_str());
    }
    for tag in named_by_query.unwrap_or_default() {
        if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
            response.headers_mut().append(OCI_TAG, value);
        }
    }
    response
}

/// Answers DELETE: a tag alone, or a manifest with every tag that names it.
pub(crate) async fn delete(scope: &Scope, name: TagOrDigest) -> Result<Response, RegistryError> {
    scope
        .caller
        .require(Action::Delete, scope.repository.as_str())?;
    let repositories = &scope.front.store.repositories;
    let deleted = match &name {
        TagOrDigest::Tag(tag) => repositories.delete_tag(&scope.repository, tag).await?,
        TagOrDigest::Digest(digest) => {
            repositories
                .delete_manifest(&scope.repository, digest)
                .await?
        }
    };
    if !deleted {
        return Err(unknown(scope, &name));
    }
    let change = match name {
        TagOrDigest::Tag(tag) => Change::Untagged { tag },
        TagOrDigest::Digest(digest) => Change::Deleted { digest },
    };
    tell(scope, change);
    Ok(reply::empty(StatusCode::ACCEPTED, []))
}

fn tell(scope: &Scope, change: Change) {
    scope.front.tell(RegistryEvent {
        repository: scope.repository.clone(),
        account: scope.caller.account.clone(),
        change,
    });
}

fn unknown(scope: &Scope, name: &TagOrDigest) -> RegistryError {
    let shown = match name {
        TagOrDigest::Tag(tag) => format!("tag `{tag}`"),
        TagOrDigest::Digest(digest) => format!("manifest {digest}"),
    };
    let message = format!("{shown} is not in `{}`", scope.repository);
    RegistryError::new(Code::ManifestUnknown, message)
}
