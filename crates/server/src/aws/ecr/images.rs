//! Images: listed, shown, read, put, deleted; and what refers to one.

use oci::manifest::ManifestContent;
use oci::{Digest, Manifest, MediaType, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::repositories::{InventoryRow, ManifestRow, Page};

use super::repositories::settings_of;
use super::{Answer, Call, EcrError, Paged, epoch};
use crate::auth::Action;
use crate::clock;
use crate::registry::{Code, Pushed, RegistryError, Scope, keep_manifest};
use crate::state::{Change, RegistryEvent};

/// The most images that one request names, as ECR's.
const MAX_IDS: usize = 100;
/// The most images of a repository that are listed.
const MAX_LISTED: usize = 200_000;
/// The most artifact types of a filter.
const MAX_TYPES: usize = 5;

/// An image as requests name it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageId {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_tag: Option<String>,
}

/// Returns every manifest of the repository, in the order of digests.
pub(super) async fn all(
    call: &Call<'_>,
    repository: &RepositoryName,
) -> Result<Vec<InventoryRow>, EcrError> {
    settings_of(call, repository).await?;
    let mut rows = Vec::new();
    let mut page = Page::first();
    while rows.len() < MAX_LISTED {
        let found = call
            .front
            .store
            .inventory
            .manifests(repository, &page)
            .await?;
        let found = found.unwrap_or_default();
        let Some(last) = found.last() else { break };
        page.after = Some(last.digest.to_string());
        rows.extend(found);
    }
    Ok(rows)
}

/// Reads `filter.tagStatus`: whether tagged and untagged images are wanted.
fn wanted(call: &Call<'_>) -> Result<(bool, bool), EcrError> {
    match call.body["filter"]["tagStatus"].as_str() {
        None | Some("ANY") => Ok((true, true)),
        Some("TAGGED") => Ok((true, false)),
        Some("UNTAGGED") => Ok((false, true)),
        Some(_) => {
            let message = "`tagStatus` is not `TAGGED`, `UNTAGGED` or `ANY`";
            Err(EcrError::parameter(message))
        }
    }
}

pub(super) async fn list(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_pull(&repository)?;
    let (tagged, untagged) = wanted(call)?;
    let mut ids = Vec::new();
    for row in all(call, &repository).await? {
        let digest = Some(row.digest.to_string());
        match row.tags.is_empty() {
            true if untagged => ids.push(ImageId {
                image_digest: digest,
                image_tag: None,
            }),
            false if tagged => ids.extend(row.tags.iter().map(|tag| ImageId {
                image_digest: digest.clone(),
                image_tag: Some(tag.to_string()),
            })),
            _ => {}
        }
    }
    let (page, next) = Paged::read(call, (100, 1000))?.cut(ids);
    Ok(json!({ "imageIds": page, "nextToken": next }))
}

pub(super) async fn describe(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_pull(&repository)?;
    let (tagged, untagged) = wanted(call)?;
    let mut rows = all(call, &repository).await?;
    if !call.body["imageIds"].is_null() {
        let mut asked = Vec::new();
        for id in ids(call)? {
            asked.push(find(call, &repository, &id).await?.map_err(|failure| {
                let message = format!(
                    "the image with imageId {} does not exist within the repository with name '{repository}'",
                    json!(id)
                );
                match failure.code {
                    "ImageNotFound" => EcrError::new("ImageNotFoundException", message),
                    _ => EcrError::parameter(failure.reason),
                }
            })?);
        }
        rows.retain(|row| asked.iter().any(|one| one.digest == row.digest));
    }
    rows.retain(|row| {
        if row.tags.is_empty() {
            untagged
        } else {
            tagged
        }
    });
    rows.sort_by(|one, other| {
        other
            .pushed_at
            .cmp(&one.pushed_at)
            .then_with(|| one.digest.as_str().cmp(other.digest.as_str()))
    });
    let (page, next) = Paged::read(call, (100, 1000))?.cut(rows);
    let mut details = Vec::new();
    for row in &page {
        details.push(detail(call, &repository, row).await?);
    }
    Ok(json!({ "imageDetails": details, "nextToken": next }))
}

async fn detail(
    call: &Call<'_>,
    repository: &RepositoryName,
    row: &InventoryRow,
) -> Result<Value, EcrError> {
    let mut value = json!({
        "registryId": call.number,
        "repositoryName": repository,
        "imageDigest": row.digest,
        "imagePushedAt": epoch(row.pushed_at),
        "imageManifestMediaType": row.media_type,
        "imageStatus": "ACTIVE",
    });
    if !row.tags.is_empty() {
        value["imageTags"] = json!(row.tags);
    }
    if let Some(artifact_type) = &row.artifact_type {
        value["artifactMediaType"] = json!(artifact_type);
    }
    if let Some(subject) = &row.subject {
        value["subjectManifestDigest"] = json!(subject);
    }
    let repositories = &call.front.store.repositories;
    if let Some(manifest) = repositories.manifest(repository, &row.digest).await? {
        value["imageSizeInBytes"] = json!(size(&manifest));
    }
    if let Some(report) = super::scanning::newest_report(call, repository, &row.digest).await? {
        value["imageScanStatus"] = json!({ "status": "COMPLETE" });
        value["imageScanFindingsSummary"] = report.summary();
    }
    Ok(value)
}

/// Returns the bytes of an image's layers, as they are stored.
fn size(row: &ManifestRow) -> u64 {
    match Manifest::parse(row.media_type.clone(), row.bytes.to_vec()) {
        Ok(manifest) => match manifest.content() {
            ManifestContent::Image(image) => image.layers.iter().map(|layer| layer.size).sum(),
            ManifestContent::Index(_) => row.bytes.len() as u64,
        },
        Err(_) => row.bytes.len() as u64,
    }
}

/// Why one of several images was not found.
struct Failure {
    code: &'static str,
    reason: String,
}

impl Failure {
    fn show(&self, id: &ImageId) -> Value {
        json!({ "imageId": id, "failureCode": self.code, "failureReason": self.reason })
    }
}

/// What an identifier names.
struct Found {
    digest: Digest,
    tag: Option<Tag>,
    row: std::sync::Arc<ManifestRow>,
}

fn ids(call: &Call<'_>) -> Result<Vec<ImageId>, EcrError> {
    let ids: Result<Vec<ImageId>, _> = Vec::deserialize(&call.body["imageIds"]);
    let ids = ids.map_err(|error| EcrError::parameter(format!("`imageIds`: {error}")))?;
    match ids.len() {
        1..=MAX_IDS => Ok(ids),
        _ => Err(EcrError::parameter(format!(
            "`imageIds` has not 1 to {MAX_IDS} images"
        ))),
    }
}

async fn find(
    call: &Call<'_>,
    repository: &RepositoryName,
    id: &ImageId,
) -> Result<Result<Found, Failure>, EcrError> {
    let failure = |code, reason: &str| {
        let reason = reason.to_owned();
        Ok(Err(Failure { code, reason }))
    };
    let repositories = &call.front.store.repositories;
    let digest = id.image_digest.as_deref().map(str::parse::<Digest>);
    let tag = id.image_tag.as_deref().map(str::parse::<Tag>);
    let (digest, tag) = match (digest, tag) {
        (Some(Err(_)), _) => {
            return failure("InvalidImageDigest", "the image digest is not a digest");
        }
        (_, Some(Err(_))) => return failure("InvalidImageTag", "the image tag is not a tag"),
        (None, None) => {
            return failure(
                "MissingDigestAndTag",
                "name an image digest or an image tag",
            );
        }
        (digest, tag) => (digest.and_then(Result::ok), tag.and_then(Result::ok)),
    };
    let named = match &tag {
        Some(tag) => repositories.resolve(repository, tag).await?,
        None => None,
    };
    let digest = match (digest, &tag, named) {
        (Some(digest), None, _) => digest,
        (None, Some(_), Some(named)) => named,
        (Some(digest), Some(_), Some(named)) if digest == named => digest,
        (Some(_), Some(_), Some(_)) => {
            return failure("ImageTagDoesNotMatchDigest", "the tag names another digest");
        }
        _ => return failure("ImageNotFound", "Requested image not found"),
    };
    match repositories.manifest(repository, &digest).await? {
        Some(row) => Ok(Ok(Found { digest, tag, row })),
        None => failure("ImageNotFound", "Requested image not found"),
    }
}

fn image(call: &Call<'_>, repository: &RepositoryName, found: &Found) -> Value {
    let id = ImageId {
        image_digest: Some(found.digest.to_string()),
        image_tag: found.tag.as_ref().map(Tag::to_string),
    };
    json!({
        "registryId": call.number,
        "repositoryName": repository,
        "imageId": id,
        "imageManifest": String::from_utf8_lossy(&found.row.bytes),
        "imageManifestMediaType": found.row.media_type,
    })
}

pub(super) async fn batch_get(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_pull(&repository)?;
    settings_of(call, &repository).await?;
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for id in ids(call)? {
        match find(call, &repository, &id).await? {
            Ok(found) => images.push(image(call, &repository, &found)),
            Err(failure) => failures.push(failure.show(&id)),
        }
    }
    Ok(json!({ "images": images, "failures": failures }))
}

pub(super) async fn batch_delete(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require(Action::Delete, repository.as_str())?;
    settings_of(call, &repository).await?;
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for id in ids(call)? {
        match find(call, &repository, &id).await? {
            Ok(found) => match remove(call, &repository, &found).await? {
                Some(failure) => failures.push(failure.show(&id)),
                None => deleted.push(json!({
                    "imageDigest": found.digest,
                    "imageTag": found.tag,
                })),
            },
            Err(failure) => failures.push(failure.show(&id)),
        }
    }
    Ok(json!({ "imageIds": deleted, "failures": failures }))
}

/// Removes a tag, and the image with the last one; or an image with all its tags.
async fn remove(
    call: &Call<'_>,
    repository: &RepositoryName,
    found: &Found,
) -> Result<Option<Failure>, EcrError> {
    let rows = all(call, repository).await?;
    let row = rows.iter().find(|row| row.digest == found.digest);
    let tags = row.map_or(0, |row| row.tags.len());
    if let (Some(tag), true) = (&found.tag, tags > 1) {
        call.front
            .store
            .repositories
            .delete_tag(repository, tag)
            .await?;
        tell(call, repository, Change::Untagged { tag: tag.clone() });
        return Ok(None);
    }
    if let Some(index) = index_over(call, repository, (&rows, &found.digest)).await? {
        return Ok(Some(Failure {
            code: "ImageReferencedByManifestList",
            reason: format!("manifest list {index} names this image: delete it first"),
        }));
    }
    remove_with_referrers(
        call.front,
        &call.caller.account,
        (repository, &found.digest),
    )
    .await?;
    Ok(None)
}

/// Returns an index of the repository that names the image.
async fn index_over(
    call: &Call<'_>,
    repository: &RepositoryName,
    (rows, digest): (&[InventoryRow], &Digest),
) -> Result<Option<Digest>, EcrError> {
    for row in rows.iter().filter(|row| row.media_type.is_index()) {
        let stored = call
            .front
            .store
            .repositories
            .manifest(repository, &row.digest)
            .await?;
        let parsed = stored.and_then(|stored| {
            Manifest::parse(stored.media_type.clone(), stored.bytes.to_vec()).ok()
        });
        let named = parsed.as_ref().and_then(Manifest::as_index);
        if named.is_some_and(|index| index.manifests.iter().any(|one| one.digest == *digest)) {
            return Ok(Some(row.digest.clone()));
        }
    }
    Ok(None)
}

/// Removes an image, and what refers to it, and what refers to that.
pub(super) async fn remove_with_referrers(
    front: &crate::state::Front,
    account: &str,
    (repository, digest): (&RepositoryName, &Digest),
) -> Result<(), EcrError> {
    let mut waiting = vec![digest.clone()];
    let mut removed = 0;
    while let Some(digest) = waiting.pop() {
        let referrers = front
            .store
            .repositories
            .referrers(repository, &digest, None)
            .await?;
        waiting.extend(referrers.into_iter().map(|referrer| referrer.digest));
        let gone = front
            .store
            .repositories
            .delete_manifest(repository, &digest)
            .await?;
        removed += 1;
        if gone {
            front.tell(RegistryEvent {
                repository: repository.clone(),
                account: account.to_owned(),
                change: Change::Deleted { digest },
            });
        }
        if removed > MAX_LISTED {
            break;
        }
    }
    Ok(())
}

fn tell(call: &Call<'_>, repository: &RepositoryName, change: Change) {
    call.front.tell(RegistryEvent {
        repository: repository.clone(),
        account: call.caller.account.clone(),
        change,
    });
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Put {
    image_manifest: String,
    #[serde(default)]
    image_manifest_media_type: Option<String>,
    #[serde(default)]
    image_tag: Option<String>,
    #[serde(default)]
    image_digest: Option<String>,
}

pub(super) async fn put(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_push(&repository)?;
    settings_of(call, &repository).await?;
    let input: Put = call.input()?;
    let bytes = input.image_manifest.into_bytes();
    let digest = Digest::sha256(&bytes);
    if input
        .image_digest
        .is_some_and(|asked| asked != digest.as_str())
    {
        let message = format!("the manifest has digest {digest}");
        return Err(EcrError::new("ImageDigestDoesNotMatchException", message));
    }
    let tags: Vec<Tag> = match input.image_tag {
        None => Vec::new(),
        Some(tag) => vec![
            tag.parse()
                .map_err(|error| EcrError::parameter(format!("{error}")))?,
        ],
    };
    let manifest = parse(input.image_manifest_media_type, bytes)?;
    let repositories = &call.front.store.repositories;
    let known = repositories.manifest(&repository, &digest).await?.is_some();
    if known && already_so(call, &repository, (&tags, &digest)).await? {
        let message = format!("image with digest '{digest}' already exists in the repository");
        return Err(EcrError::new("ImageAlreadyExistsException", message));
    }
    let scope = Scope {
        front: call.front.clone(),
        caller: std::sync::Arc::new(call.caller.clone()),
        repository: repository.clone(),
    };
    let pushed = Pushed {
        manifest,
        digest: digest.clone(),
        tags: tags.clone(),
        at: clock::now(),
    };
    keep_manifest(&scope, &pushed).await.map_err(refused)?;
    let row = repositories.manifest(&repository, &digest).await?;
    let row = row.ok_or_else(|| EcrError::parameter("the image was deleted meanwhile"))?;
    let tag = tags.into_iter().next();
    let found = Found { digest, tag, row };
    Ok(json!({ "image": image(call, &repository, &found) }))
}

fn parse(media_type: Option<String>, bytes: Vec<u8>) -> Result<Manifest, EcrError> {
    let wrong = |error: &dyn std::error::Error| {
        EcrError::parameter(format!("`imageManifest`: {}", crate::error::chain(error)))
    };
    let parsed = match media_type {
        None => Manifest::sniff(bytes),
        Some(text) => {
            let media_type: MediaType = text.parse().map_err(|error| wrong(&error))?;
            Manifest::parse(media_type, bytes)
        }
    };
    parsed.map_err(|error| wrong(&error))
}

async fn already_so(
    call: &Call<'_>,
    repository: &RepositoryName,
    (tags, digest): (&[Tag], &Digest),
) -> Result<bool, EcrError> {
    for tag in tags {
        let named = call
            .front
            .store
            .repositories
            .resolve(repository, tag)
            .await?;
        if named.as_ref() != Some(digest) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn refused(error: RegistryError) -> EcrError {
    let name = match error.code() {
        Code::TagInvalid => "ImageTagAlreadyExistsException",
        Code::ManifestBlobUnknown => "LayersNotFoundException",
        Code::Denied => "AccessDeniedException",
        Code::Unknown => "ServerException",
        _ => "InvalidParameterException",
    };
    EcrError::new(name, error.message())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrers {
    subject_id: SubjectId,
    #[serde(default)]
    filter: Option<ReferrersFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubjectId {
    image_digest: Digest,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferrersFilter {
    #[serde(default)]
    artifact_types: Vec<String>,
    #[serde(default)]
    artifact_status: Option<String>,
}

pub(super) async fn list_referrers(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_pull(&repository)?;
    settings_of(call, &repository).await?;
    let input: Referrers = call.input()?;
    let filter = input.filter.unwrap_or_default();
    if filter.artifact_types.len() > MAX_TYPES {
        let message = format!("a filter has at most {MAX_TYPES} artifact types");
        return Err(EcrError::parameter(message));
    }
    // Nothing is ever archived here, so only that status matches none.
    let none = matches!(
        filter.artifact_status.as_deref(),
        Some("ARCHIVED" | "ACTIVATING")
    );
    let subject = &input.subject_id.image_digest;
    let repositories = &call.front.store.repositories;
    let found = repositories.referrers(&repository, subject, None).await?;
    let types = &filter.artifact_types;
    let wanted = found.into_iter().filter(|one| {
        let artifact_type = one.artifact_type.as_ref();
        let named =
            artifact_type.is_some_and(|kind| types.iter().any(|wanted| wanted == kind.as_str()));
        !none && (types.is_empty() || named)
    });
    let rows: Vec<Value> = wanted
        .map(|one| {
            json!({
                "digest": one.digest,
                "mediaType": one.media_type,
                "artifactType": one.artifact_type,
                "size": one.size,
                "annotations": one.annotations,
                "artifactStatus": "ACTIVE",
            })
        })
        .collect();
    let (page, next) = Paged::read(call, (20, 50))?.cut(rows);
    Ok(json!({ "referrers": page, "nextToken": next }))
}
