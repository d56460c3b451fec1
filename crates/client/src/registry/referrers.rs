//! Referrers: the API, and the tag schema for registries without it.
//!
//! distribution-spec, Listing Referrers, Unavailable Referrers API, and Pushing Manifests with
//! Subject.

use std::sync::atomic::Ordering;

use oci::{Descriptor, Digest, Index, Manifest, MediaType, Tag};
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use url::Url;

use super::link;
use super::repository::RegistryRepository;
use super::session::Scope;
use super::transport::Request;
use crate::ClientError;
use crate::source::{ArtifactSink, TagOrDigest};

/// The longest page, in bytes: an index is a manifest.
const MAX_PAGE_BYTES: usize = oci::manifest::MAX_MANIFEST_BYTES;
/// The most pages, and the most referrers of one manifest in all of them.
const MAX_PAGES: usize = 200;
const MAX_REFERRERS: usize = 10_000;
/// How often the index under the referrers tag is written when others write it too.
const MAX_ANNOUNCEMENTS: usize = 5;

/// Returns the descriptors of all referrers of `digest`.
pub(super) async fn list(
    repository: &RegistryRepository,
    digest: &Digest,
) -> Result<Vec<Descriptor>, ClientError> {
    if !repository.lacks_referrers_api.load(Ordering::Relaxed)
        && let Some(found) = from_api(repository, digest).await?
    {
        return Ok(found);
    }
    Ok(tagged_index(repository, digest).await?.manifests)
}

/// Asks the API. `None` if the registry has none.
async fn from_api(
    repository: &RegistryRepository,
    digest: &Digest,
) -> Result<Option<Vec<Descriptor>>, ClientError> {
    let first = repository.request(Method::GET, &format!("referrers/{digest}"))?;
    let mut found = Vec::new();
    let mut next = Some(first.url);
    for page in 0..MAX_PAGES {
        let Some(url) = next.take() else { break };
        let Some((index, following)) = api_page(repository, url, digest).await? else {
            if page == 0 {
                return Ok(None);
            }
            return Err(repository
                .session()
                .malformed("a page of its referrers is missing".to_owned()));
        };
        found.extend(index.manifests);
        next = following;
    }
    if next.is_some() || found.len() > MAX_REFERRERS {
        let reason = format!("`{digest}` has more than {MAX_REFERRERS} referrers");
        return Err(repository.session().malformed(reason));
    }
    Ok(Some(found))
}

async fn api_page(
    repository: &RegistryRepository,
    url: Url,
    digest: &Digest,
) -> Result<Option<(Index, Option<Url>)>, ClientError> {
    let scope = Scope::repository(repository.name(), "pull");
    let mut request = Request::new(Method::GET, url.clone(), scope);
    request.headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/vnd.oci.image.index.v1+json"),
    );
    let response = repository.send(&request).await?;
    let what = format!("referrers of `{digest}`");
    match response.status().as_u16() {
        404 => {
            let code = response.description().await.map(|(code, _)| code);
            // A registry that does not know the repository may still have the API.
            if !matches!(code.as_deref(), Some("NAME_UNKNOWN" | "MANIFEST_UNKNOWN")) {
                repository
                    .lacks_referrers_api
                    .store(true, Ordering::Relaxed);
            }
            return Ok(None);
        }
        405 | 501 => return Ok(None),
        _ => {}
    }
    let response = response.expect_success(&what).await?;
    let following = link::next(repository.session(), &url, response.header("link"))?;
    let body = response.body(MAX_PAGE_BYTES, &what).await?;
    let manifest =
        Manifest::parse(MediaType::IMAGE_INDEX, body).map_err(|e| ClientError::Malformed {
            place: repository.place(),
            reason: format!("the {what} are no index"),
            source: Some(Box::new(e)),
        })?;
    Ok(manifest.as_index().cloned().map(|index| (index, following)))
}

/// Returns the index under the referrers tag; an empty one if there is none.
async fn tagged_index(
    repository: &RegistryRepository,
    digest: &Digest,
) -> Result<Index, ClientError> {
    let name = TagOrDigest::Tag(referrers_tag(repository, digest)?);
    let manifest = match repository.fetch_manifest(&name, None).await {
        Err(e) if e.is_not_found() => return Ok(Index::new(Vec::new())),
        other => other?,
    };
    manifest.as_index().cloned().ok_or_else(|| {
        repository
            .session()
            .malformed(format!("tag `{name}` does not name an index"))
    })
}

fn referrers_tag(repository: &RegistryRepository, digest: &Digest) -> Result<Tag, ClientError> {
    digest.referrers_tag().parse().map_err(|e| {
        repository
            .session()
            .malformed(format!("no referrers tag for `{digest}`: {e}"))
    })
}

/// Lists `manifest` among the referrers of its subject, where the registry did not say that it
/// does so by itself.
///
/// The tag schema has no lock: after writing, the index is read again, and written again if
/// somebody else's version took its place.
pub(super) async fn announce(
    repository: &RegistryRepository,
    manifest: &Manifest,
    subject: &Digest,
) -> Result<(), ClientError> {
    if from_api(repository, subject).await?.is_some() {
        return Ok(());
    }
    let tag = referrers_tag(repository, subject)?;
    for _ in 0..MAX_ANNOUNCEMENTS {
        let mut index = tagged_index(repository, subject).await?;
        let is_listed = |index: &Index| {
            let mut listed = index.manifests.iter();
            listed.any(|entry| entry.digest == *manifest.digest())
        };
        if is_listed(&index) {
            return Ok(());
        }
        index.manifests.push(manifest.descriptor());
        repository
            .push_manifest(&index_manifest(repository, &index)?, Some(&tag))
            .await?;
        if is_listed(&tagged_index(repository, subject).await?) {
            return Ok(());
        }
    }
    Err(ClientError::Conflict {
        place: repository.place(),
        reason: format!("others keep replacing the tag `{tag}`"),
    })
}

fn index_manifest(repository: &RegistryRepository, index: &Index) -> Result<Manifest, ClientError> {
    let malformed = |e: String| repository.session().malformed(e);
    let bytes = serde_json::to_vec(index).map_err(|e| malformed(e.to_string()))?;
    Manifest::parse(MediaType::IMAGE_INDEX, bytes).map_err(|e| malformed(e.to_string()))
}
