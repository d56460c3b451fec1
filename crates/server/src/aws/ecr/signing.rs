//! Managed signing: what is pushed is signed, by the profiles whose filters match.
//!
//! A push is acknowledged only once its signing jobs are in the queue, so none is lost in a crash.
//! Whoever pushed signs: a profile must be granted to that account, and a push by somebody else
//! ends as `FAILED` with the reason. Signatures and other referrers are not signed themselves.

use std::time::Duration;

use client::envelope_artifact::{EnvelopeArtifact, SignedContent};
use client::{ArtifactSource as _, TagOrDigest};
use oci::{Digest, Manifest, RepositoryName};
use serde::{Deserialize, Serialize};
use serde_json::json;
use signer::protocol::FailureKind;
use signer::protocol::log::Which;
use signer::{Principal, ProfileName, SignRequest, SignerClientError};
use store::documents::DocumentKey;
use store::queue::{Failure, JobRow, Lease, LeaseRequest, NewJob};
use tokio::sync::watch;
use trust::TargetArtifact;

use super::repositories::settings_of;
use super::{Answer, Call, EcrError, wildcard};
use crate::api::signing::{check_limits, check_made_by_run, of_caller, stored_artifact};
use crate::auth::Caller;
use crate::clock;
use crate::error::{ApiError, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// The kind of the queue's jobs.
const JOB_KIND: &str = "managed-signing";
/// The kind of the documents that say how a signing went, one per image and profile.
const STATUS_KIND: &str = "ecr-signing-status";
const CONFIGURATION_KIND: &str = "ecr-signing-configuration";
/// The most rules, filters and bytes of a filter, as ECR's.
const MAX_RULES: usize = 10;
const MAX_FILTERS: usize = 100;
const MAX_FILTER_BYTES: usize = 256;
/// How often signing is tried while the signer or its keys cannot be reached: for about an hour.
const ATTEMPTS: u32 = 120;
const RETRY: time::Duration = time::Duration::seconds(30);
const LEASE: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    signing_profile_arn: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    repository_filters: Vec<RepositoryFilter>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RepositoryFilter {
    filter: String,
    filter_type: FilterType,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum FilterType {
    WildcardMatch,
}

impl Rule {
    fn check(&self) -> Result<(), EcrError> {
        profile_of(&self.signing_profile_arn)?;
        let lengths = self.repository_filters.iter().map(|one| one.filter.len());
        let good = lengths
            .clone()
            .all(|bytes| (1..=MAX_FILTER_BYTES).contains(&bytes));
        if lengths.len() > MAX_FILTERS || !good {
            let message = format!(
                "a rule has at most {MAX_FILTERS} filters of 1 to {MAX_FILTER_BYTES} characters"
            );
            return Err(validation(message));
        }
        Ok(())
    }

    fn covers(&self, repository: &RepositoryName) -> bool {
        let filters = &self.repository_filters;
        let name = repository.as_str();
        filters.is_empty() || filters.iter().any(|one| wildcard(&one.filter, name))
    }
}

/// Returns the profile of `arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME`, and never a
/// version of one.
fn profile_of(arn: &str) -> Result<ProfileName, EcrError> {
    let wrong = || {
        validation(format!(
            "`{}` is not the ARN of a signing profile: expected \
             `arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME`",
            arn.chars().take(200).collect::<String>()
        ))
    };
    let mut parts = arn.splitn(6, ':');
    let expected = [Some("arn"), Some("aws"), Some("signer")];
    if [parts.next(), parts.next(), parts.next()] != expected {
        return Err(wrong());
    }
    let (_region, account) = (parts.next(), parts.next().unwrap_or_default());
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let name = parts
        .next()
        .and_then(|rest| rest.strip_prefix("/signing-profiles/"));
    name.and_then(|name| name.parse().ok()).ok_or_else(wrong)
}

fn validation(message: impl Into<String>) -> EcrError {
    EcrError::new("ValidationException", message)
}

fn configuration_key(number: &str) -> DocumentKey {
    DocumentKey::new(CONFIGURATION_KIND, number)
}

/// There is one registry, so there is one configuration, whoever put it.
const REGISTRY: &str = "registry";

async fn load(front: &Front) -> Result<Option<Configuration>, EcrError> {
    let row = front
        .store
        .documents
        .get(&configuration_key(REGISTRY))
        .await?;
    let parsed = row
        .map(|row| serde_json::from_slice(&row.bytes))
        .transpose();
    parsed.map_err(|error| ApiError::internal(chain(&error)).into())
}

pub(super) async fn put_configuration(call: &Call<'_>) -> Answer {
    call.caller.require_admin()?;
    let parsed = Configuration::deserialize(&call.body["signingConfiguration"]);
    let configuration =
        parsed.map_err(|error| validation(format!("`signingConfiguration`: {error}")))?;
    if configuration.rules.len() > MAX_RULES {
        return Err(validation(format!(
            "a configuration has at most {MAX_RULES} rules"
        )));
    }
    for rule in &configuration.rules {
        rule.check()?;
    }
    let bytes = serde_json::to_vec(&configuration)
        .map_err(|error| EcrError::from(ApiError::internal(chain(&error))))?;
    let documents = &call.front.store.documents;
    documents
        .put(&configuration_key(REGISTRY), &bytes, clock::now())
        .await?;
    Ok(json!({ "signingConfiguration": configuration }))
}

pub(super) async fn get_configuration(call: &Call<'_>) -> Answer {
    call.caller.require_account()?;
    let found = load(call.front).await?.ok_or_else(no_configuration)?;
    Ok(json!({ "registryId": call.number, "signingConfiguration": found }))
}

pub(super) async fn delete_configuration(call: &Call<'_>) -> Answer {
    call.caller.require_admin()?;
    let found = load(call.front).await?.ok_or_else(no_configuration)?;
    call.front
        .store
        .documents
        .delete(&configuration_key(REGISTRY))
        .await?;
    Ok(json!({ "registryId": call.number, "signingConfiguration": found }))
}

fn no_configuration() -> EcrError {
    let message = "the registry has no signing configuration";
    EcrError::new("SigningConfigurationNotFoundException", message)
}

/// How the signing of one image by one profile went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    signing_profile_arn: String,
    status: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Stage {
    InProgress,
    Complete,
    Failed,
}

/// What one job is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    repository: RepositoryName,
    digest: Digest,
    profile_arn: String,
    /// Who pushed, as the signer knows it.
    principal: Principal,
}

impl Task {
    fn key(&self) -> String {
        format!("{}@{}#{}", self.repository, self.digest, self.profile_arn)
    }
}

pub(super) async fn describe_status(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_pull(&repository)?;
    settings_of(call, &repository).await?;
    let digest = resolve(call, &repository).await?;
    let start = format!("{repository}@{digest}#");
    let rows = call.front.store.documents.list(STATUS_KIND, &start).await?;
    let statuses = rows
        .iter()
        .filter_map(|row| serde_json::from_slice(&row.bytes).ok());
    let statuses: Vec<Status> = statuses.collect();
    Ok(json!({
        "registryId": call.number,
        "repositoryName": repository,
        "imageId": call.body["imageId"],
        "signingStatuses": statuses,
    }))
}

/// Returns the image that `imageId` names.
pub(super) async fn resolve(
    call: &Call<'_>,
    repository: &RepositoryName,
) -> Result<Digest, EcrError> {
    let id = &call.body["imageId"];
    let not_found = || {
        let message = format!("the image with imageId {id} does not exist in '{repository}'");
        EcrError::new("ImageNotFoundException", message)
    };
    let repositories = &call.front.store.repositories;
    let digest = match (id["imageDigest"].as_str(), id["imageTag"].as_str()) {
        (Some(digest), _) => digest
            .parse()
            .map_err(|error| EcrError::parameter(format!("{error}")))?,
        (None, Some(tag)) => {
            let tag = tag
                .parse()
                .map_err(|error| EcrError::parameter(format!("{error}")))?;
            repositories
                .resolve(repository, &tag)
                .await?
                .ok_or_else(not_found)?
        }
        (None, None) => return Err(EcrError::parameter("`imageId` names no digest and no tag")),
    };
    let found = repositories.manifest(repository, &digest).await?;
    found.map(|_| digest).ok_or_else(not_found)
}

/// Puts the signing of a manifest that was pushed into the queue. To be called before the push is
/// acknowledged.
///
/// # Errors
/// When the store fails: the push must then fail, and come again.
pub(crate) async fn on_push(
    front: &Front,
    caller: &Caller,
    (repository, manifest, digest): (&RepositoryName, &Manifest, &Digest),
) -> Result<(), EcrError> {
    if manifest.subject().is_some() {
        return Ok(());
    }
    let Some(configuration) = load(front).await? else {
        return Ok(());
    };
    for rule in configuration
        .rules
        .iter()
        .filter(|rule| rule.covers(repository))
    {
        let profile = profile_of(&rule.signing_profile_arn)?;
        match pusher(front, caller, (&profile, repository, digest)).await {
            Ok(principal) => {
                let task = Task {
                    repository: repository.clone(),
                    digest: digest.clone(),
                    profile_arn: rule.signing_profile_arn.clone(),
                    principal,
                };
                enqueue(front, &task).await?;
            }
            Err(error) => {
                let key = format!("{repository}@{digest}#{}", rule.signing_profile_arn);
                let arn = &rule.signing_profile_arn;
                let failure = ("AccessDenied".to_owned(), error.message().to_owned());
                note(front, (&key, arn), Err(failure)).await?;
            }
        }
    }
    Ok(())
}

/// Returns whom the signer is told to have asked, unless the token that pushed may not.
async fn pusher(
    front: &Front,
    caller: &Caller,
    (profile, repository, digest): (&ProfileName, &RepositoryName, &Digest),
) -> Result<Principal, ApiError> {
    check_limits(caller, profile)?;
    check_made_by_run(front, caller, (digest, Some(repository))).await?;
    of_caller(front, caller).await
}

async fn enqueue(front: &Front, task: &Task) -> Result<(), EcrError> {
    let key = task.key();
    if is_complete(front, &key).await? {
        return Ok(());
    }
    let payload = serde_json::to_value(task)
        .map_err(|error| EcrError::from(ApiError::internal(chain(&error))))?;
    let status = Status {
        signing_profile_arn: task.profile_arn.clone(),
        status: Stage::InProgress,
        failure_code: None,
        failure_reason: None,
    };
    keep(front, &key, &status).await?;
    let job = NewJob {
        max_attempts: ATTEMPTS,
        ..NewJob::new(JOB_KIND, payload, clock::now())
    };
    front
        .store
        .queue
        .enqueue(&job.once(format!("{JOB_KIND}:{key}")))
        .await?;
    Ok(())
}

/// The same push again needs no second signature.
async fn is_complete(front: &Front, key: &str) -> Result<bool, EcrError> {
    let row = front
        .store
        .documents
        .get(&DocumentKey::new(STATUS_KIND, key))
        .await?;
    let status = row.and_then(|row| serde_json::from_slice::<Status>(&row.bytes).ok());
    Ok(status.is_some_and(|status| status.status == Stage::Complete))
}

async fn keep(front: &Front, key: &str, status: &Status) -> Result<(), EcrError> {
    let bytes = serde_json::to_vec(status)
        .map_err(|error| EcrError::from(ApiError::internal(chain(&error))))?;
    let key = DocumentKey::new(STATUS_KIND, key);
    front
        .store
        .documents
        .put(&key, &bytes, clock::now())
        .await?;
    Ok(())
}

/// Writes down how a signing ended: a code and a reason when it failed.
async fn note(
    front: &Front,
    (key, profile_arn): (&str, &str),
    result: Result<(), (String, String)>,
) -> Result<(), EcrError> {
    let (stage, failure) = match result {
        Ok(()) => (Stage::Complete, None),
        Err(failure) => (Stage::Failed, Some(failure)),
    };
    let (failure_code, failure_reason) = failure.unzip();
    let status = Status {
        signing_profile_arn: profile_arn.to_owned(),
        status: stage,
        failure_code,
        failure_reason,
    };
    keep(front, key, &status).await
}

/// Signs what the queue holds until `stop` becomes true.
pub async fn run(front: Front, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = drain(&front).await {
            tracing::error!(?error, "managed signing cannot go on");
        }
    }
}

async fn drain(front: &Front) -> Result<(), EcrError> {
    let request = LeaseRequest {
        kinds: vec![JOB_KIND.to_owned()],
        owner: "front".to_owned(),
        duration: LEASE,
    };
    while let Some((lease, job)) = front.store.queue.lease(&request, clock::now()).await? {
        perform(front, &lease, &job).await?;
    }
    Ok(())
}

async fn perform(front: &Front, lease: &Lease, job: &JobRow) -> Result<(), EcrError> {
    let Ok(task) = serde_json::from_value::<Task>(job.payload.clone()) else {
        tracing::error!(job = job.id.0, "a signing job cannot be read");
        front.store.queue.complete(lease).await?;
        return Ok(());
    };
    let key = task.key();
    let outcome = match sign(front, &task).await {
        Ok(()) => Ok(()),
        Err(Failed::Passing(reason)) if job.attempts < job.max_attempts => {
            let retry_at = Some(clock::now() + RETRY);
            front
                .store
                .queue
                .fail(lease, &Failure { reason, retry_at })
                .await?;
            return Ok(());
        }
        Err(Failed::Passing(reason)) => Err(("InternalFailure".to_owned(), reason)),
        Err(Failed::Lasting(code, reason)) => Err((code, reason)),
    };
    note(front, (&key, &task.profile_arn), outcome).await?;
    front.store.queue.complete(lease).await?;
    Ok(())
}

/// Why nothing was signed.
enum Failed {
    /// It may work later.
    Passing(String),
    /// It will not: a code and a reason.
    Lasting(String, String),
}

async fn sign(front: &Front, task: &Task) -> Result<(), Failed> {
    let source = StoreSource::new(front, &task.repository, &task.principal.account);
    let name = TagOrDigest::Digest(task.digest.clone());
    let target = source.resolve(&name).await;
    let target = target.map_err(|error| Failed::Lasting("ImageNotFound".into(), chain(&error)))?;
    let profile = profile_of(&task.profile_arn);
    let profile =
        profile.map_err(|error| Failed::Lasting("ValidationException".into(), error.message))?;
    let artifact = stored_artifact(front, &task.digest, &task.repository).await;
    let artifact = artifact.map_err(|error| Failed::Passing(error.message().to_owned()))?;
    let signed = front.signer.sign(SignRequest {
        principal: task.principal.clone(),
        profile,
        owner: None,
        payload: TargetArtifact::of(&target).to_payload(),
        artifact,
    });
    let signed = signed.await.map_err(|error| refusal(&error))?;
    let proof = front.prove(Which::Position(signed.position)).await;
    let content = SignedContent {
        subject: target,
        envelope: signed.envelope.clone(),
        signing_time: signed.signing_time,
        job: signed.job.to_string(),
        log: Some(proof.map_err(|error| refusal(&error))?),
    };
    let artifact = EnvelopeArtifact::signature(content, &signed.certificate_sha256);
    let pushed = artifact.push(&source).await;
    pushed
        .map(drop)
        .map_err(|error| Failed::Passing(chain(&error)))
}

fn refusal(error: &SignerClientError) -> Failed {
    let reason = chain(error);
    match error.kind() {
        FailureKind::Unavailable | FailureKind::TooMany | FailureKind::Internal => {
            Failed::Passing(reason)
        }
        FailureKind::Denied => Failed::Lasting("AccessDenied".to_owned(), reason),
        FailureKind::NotFound => Failed::Lasting("ResourceNotFound".to_owned(), reason),
        _ => Failed::Lasting("ValidationException".to_owned(), reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_rule_names_a_profile_and_never_a_version() {
        let good = "arn:aws:signer:eu-central-1:111122223333:/signing-profiles/ci_build";
        assert_eq!(profile_of(good).unwrap().as_str(), "ci_build");
        for bad in [
            "",
            "ci_build",
            "arn:aws:signer:eu-central-1:111122223333:/signing-profiles/ci_build/ABCDEFGHJK",
            "arn:aws:signer:eu-central-1:1111:/signing-profiles/ci_build",
            "arn:aws:ecr:eu-central-1:111122223333:/signing-profiles/ci_build",
            "arn:aws:signer:eu-central-1:111122223333:signing-profiles/ci_build",
        ] {
            assert_eq!(
                profile_of(bad).unwrap_err().name,
                "ValidationException",
                "{bad}"
            );
        }
    }

    #[test]
    fn a_rule_without_filters_covers_everything() {
        let rule = |filters: Value| -> Rule {
            let arn = "arn:aws:signer:x:111122223333:/signing-profiles/ci";
            let text = json!({ "signingProfileArn": arn, "repositoryFilters": filters });
            serde_json::from_value(text).unwrap()
        };
        let name: RepositoryName = "apps/web".parse().unwrap();
        assert!(rule(json!([])).covers(&name));
        let filter = |text: &str| json!([{ "filter": text, "filterType": "WILDCARD_MATCH" }]);
        assert!(rule(filter("apps/*")).covers(&name));
        assert!(!rule(filter("base/*")).covers(&name));
        assert!(rule(filter("")).check().is_err());
    }
}
