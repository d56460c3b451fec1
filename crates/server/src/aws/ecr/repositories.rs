//! Repositories: made, shown, tagged, deleted.

use std::collections::BTreeMap;

use oci::RepositoryName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::documents::DocumentKey;
use store::repositories::Page;
use time::OffsetDateTime;

use super::mutability::TagMutability;
use super::{Answer, Call, EcrError, Paged, epoch, no_repository};
use crate::auth::Action;
use crate::clock;
use crate::error::{ApiError, chain};
use crate::state::FrontState;

/// The kind of the documents.
const KIND: &str = "ecr-repository";
/// The most tags of a repository, as ECR's.
const MAX_TAGS: usize = 50;
/// The most names that one request asks for.
const MAX_NAMES: usize = 100;
/// The most repositories that are listed; beyond it a request must name them.
const MAX_LISTED: usize = 100_000;

/// What a repository is beyond its manifests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    #[serde(with = "time::serde::rfc3339")]
    pub(super) created_at: OffsetDateTime,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) mutability: TagMutability,
    #[serde(default)]
    pub(super) scan_on_push: bool,
    #[serde(default)]
    pub(super) lifecycle: Option<super::lifecycle::Kept>,
}

impl Settings {
    fn new() -> Self {
        Self {
            created_at: clock::now(),
            tags: BTreeMap::new(),
            mutability: TagMutability::default(),
            scan_on_push: false,
            lifecycle: None,
        }
    }
}

fn key(repository: &RepositoryName) -> DocumentKey {
    DocumentKey::new(KIND, repository.as_str())
}

/// Returns a repository's settings and their version; `None` when nobody made any.
pub(super) async fn load(
    front: &FrontState,
    repository: &RepositoryName,
) -> Result<Option<(Settings, u64)>, EcrError> {
    let Some(row) = front.store.documents.get(&key(repository)).await? else {
        return Ok(None);
    };
    let settings = serde_json::from_slice(&row.bytes);
    let settings = settings.map_err(|error| EcrError::from(ApiError::internal(chain(&error))))?;
    Ok(Some((settings, row.version)))
}

/// Returns the repositories that somebody made settings for, with these.
pub(super) async fn all_settings(
    front: &FrontState,
) -> Result<Vec<(RepositoryName, Settings)>, EcrError> {
    let rows = front.store.documents.list(KIND, "").await?;
    let parsed = rows.into_iter().filter_map(|row| {
        let name = row.key.name.parse().ok()?;
        Some((name, serde_json::from_slice(&row.bytes).ok()?))
    });
    Ok(parsed.collect())
}

/// Changes the settings of a repository that exists, in one step.
pub(super) async fn change<T>(
    call: &Call<'_>,
    repository: &RepositoryName,
    edit: impl FnOnce(&mut Settings) -> Result<T, EcrError>,
) -> Result<T, EcrError> {
    call.caller.require_push(repository)?;
    let (mut settings, version) = settings_of(call, repository).await?;
    let result = edit(&mut settings)?;
    save(call, repository, (&settings, version)).await?;
    Ok(result)
}

/// Returns the settings of a repository that exists; those of one that a push made are new.
pub(super) async fn settings_of(
    call: &Call<'_>,
    repository: &RepositoryName,
) -> Result<(Settings, u64), EcrError> {
    if let Some(found) = load(call.front, repository).await? {
        return Ok(found);
    }
    let one = Page {
        after: None,
        limit: 1,
    };
    match call.front.store.repositories.tags(repository, &one).await? {
        Some(_) => Ok((Settings::new(), 0)),
        None => Err(no_repository(repository, call.number)),
    }
}

async fn save(
    call: &Call<'_>,
    repository: &RepositoryName,
    (settings, version): (&Settings, u64),
) -> Result<(), EcrError> {
    let bytes = serde_json::to_vec(settings)
        .map_err(|error| EcrError::from(ApiError::internal(chain(&error))))?;
    let documents = &call.front.store.documents;
    documents
        .put_if_version(&key(repository), version, &bytes, clock::now())
        .await?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    #[serde(default)]
    tags: Vec<TagPair>,
    #[serde(default)]
    image_scanning_configuration: Option<ScanningConfiguration>,
    #[serde(flatten)]
    mutability: TagMutability,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScanningConfiguration {
    #[serde(default)]
    pub(super) scan_on_push: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagPair {
    key: String,
    #[serde(default)]
    value: String,
}

pub(super) async fn create(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_push(&repository)?;
    let input: Create = call.input()?;
    input.mutability.check()?;
    let mut settings = Settings {
        mutability: input.mutability,
        scan_on_push: input
            .image_scanning_configuration
            .is_some_and(|scanning| scanning.scan_on_push),
        ..Settings::new()
    };
    add_tags(&mut settings, input.tags)?;
    match settings_of(call, &repository).await {
        Err(error) if error.name == "RepositoryNotFoundException" => {}
        Err(error) => return Err(error),
        Ok(_) => {
            return Err(EcrError::new(
                "RepositoryAlreadyExistsException",
                format!(
                    "the repository with name '{repository}' already exists in the registry with id '{}'",
                    call.number
                ),
            ));
        }
    }
    save(call, &repository, (&settings, 0)).await?;
    Ok(json!({ "repository": shown(call, &repository, &settings) }))
}

fn shown(call: &Call<'_>, repository: &RepositoryName, settings: &Settings) -> Value {
    let mut value = json!({
        "repositoryArn": call.arn(repository),
        "registryId": call.number,
        "repositoryName": repository,
        "repositoryUri": format!("{}/{repository}", call.registry_host()),
        "createdAt": epoch(settings.created_at),
        "imageScanningConfiguration": { "scanOnPush": settings.scan_on_push },
        "encryptionConfiguration": { "encryptionType": "AES256" },
    });
    settings.mutability.show(&mut value);
    value
}

pub(super) async fn describe(call: &Call<'_>) -> Answer {
    let names = match &call.body["repositoryNames"] {
        Value::Null => all_names(call).await?,
        Value::Array(names) if names.len() <= MAX_NAMES => {
            let names = names.iter().map(|name| {
                let name = name.as_str().unwrap_or_default();
                name.parse()
                    .map_err(|error| EcrError::parameter(format!("{error}")))
            });
            names.collect::<Result<Vec<RepositoryName>, _>>()?
        }
        _ => {
            let message = format!("`repositoryNames` is not a list of at most {MAX_NAMES}");
            return Err(EcrError::parameter(message));
        }
    };
    let (page, next) = Paged::read(call, (100, 1000))?.cut(names);
    let mut repositories = Vec::new();
    for repository in &page {
        call.caller.require_pull(repository)?;
        let (settings, _) = settings_of(call, repository).await?;
        repositories.push(shown(call, repository, &settings));
    }
    Ok(json!({ "repositories": repositories, "nextToken": next }))
}

/// Returns the repositories that the caller may read, made by a request or by a push.
async fn all_names(call: &Call<'_>) -> Result<Vec<RepositoryName>, EcrError> {
    let made = all_settings(call.front).await?;
    let mut names: Vec<RepositoryName> = made.into_iter().map(|(name, _)| name).collect();
    let mut page = Page::first();
    while names.len() < MAX_LISTED {
        let found = call.front.store.repositories.list(&page).await?;
        let Some(last) = found.last() else { break };
        page.after = Some(last.to_string());
        names.extend(found);
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    names.retain(|name| call.caller.may(Action::Pull, name.as_str()));
    Ok(names)
}

pub(super) async fn delete(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require(Action::Delete, repository.as_str())?;
    let (settings, _) = settings_of(call, &repository).await?;
    let one = Page {
        after: None,
        limit: 1,
    };
    let inventory = &call.front.store.inventory;
    let images = inventory.manifests(&repository, &one).await?;
    let force = call.body["force"].as_bool().unwrap_or_default();
    if images.is_some_and(|images| !images.is_empty()) && !force {
        return Err(EcrError::new(
            "RepositoryNotEmptyException",
            format!(
                "the repository with name '{repository}' still contains images: delete them, or set `force`"
            ),
        ));
    }
    inventory.remove_repository(&repository).await?;
    call.front.store.documents.delete(&key(&repository)).await?;
    Ok(json!({ "repository": shown(call, &repository, &settings) }))
}

/// Returns the repository that `resourceArn` names.
fn of_arn(call: &Call<'_>) -> Result<RepositoryName, EcrError> {
    let arn = call.body["resourceArn"].as_str().unwrap_or_default();
    let start = format!("arn:aws:ecr:{}:{}:repository/", call.region, call.number);
    let name = arn.strip_prefix(&start).and_then(|name| name.parse().ok());
    name.ok_or_else(|| {
        let message = format!("`resourceArn` is not of a repository here: expected `{start}…`");
        EcrError::parameter(message)
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagInput {
    tags: Vec<TagPair>,
}

pub(super) async fn tag(call: &Call<'_>) -> Answer {
    let repository = of_arn(call)?;
    let input: TagInput = call.input()?;
    change(call, &repository, |settings| add_tags(settings, input.tags)).await?;
    Ok(json!({}))
}

fn add_tags(settings: &mut Settings, tags: Vec<TagPair>) -> Result<(), EcrError> {
    for TagPair { key, value } in tags {
        let length = (key.chars().count(), value.chars().count());
        if !(1..=128).contains(&length.0) || length.1 > 256 || key.starts_with("aws:") {
            let message = "a tag has a key of 1 to 128 characters that does not begin with `aws:`, \
                           and a value of at most 256";
            return Err(EcrError::new("InvalidTagParameterException", message));
        }
        settings.tags.insert(key, value);
    }
    match settings.tags.len() {
        0..=MAX_TAGS => Ok(()),
        _ => Err(EcrError::new(
            "TooManyTagsException",
            format!("a repository has at most {MAX_TAGS} tags"),
        )),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntagInput {
    tag_keys: Vec<String>,
}

pub(super) async fn untag(call: &Call<'_>) -> Answer {
    let repository = of_arn(call)?;
    let input: UntagInput = call.input()?;
    change(call, &repository, |settings| {
        settings.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(json!({}))
}

pub(super) async fn list_tags(call: &Call<'_>) -> Answer {
    let repository = of_arn(call)?;
    call.caller.require_pull(&repository)?;
    let (settings, _) = settings_of(call, &repository).await?;
    let tags = settings.tags.into_iter();
    let tags: Vec<TagPair> = tags.map(|(key, value)| TagPair { key, value }).collect();
    Ok(json!({ "tags": tags }))
}
