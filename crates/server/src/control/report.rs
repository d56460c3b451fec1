//! What workers report: log lines, results, failures.
//!
//! A worker is believed about how its work ended, but not about digests: what it says it pushed
//! must be there, and refer to the image of its run.

use client::ArtifactSource;
use oci::{Digest, MediaType};
use pipeline::project::{Deploy, Environment, Name, Work};
use pipeline::run::{ActionOutputs, Deployed, Event, Failure, ProducedImage};
use store::StoreError;
use store::deployments::DeploymentState;
use store::documents::DocumentKey;
use store::queue::{JobId, JobRow, JobState, Lease, NewJob};
use store::runs::{LogLine, RunId};

use super::assign::{LEASE, check_deployment};
use super::perform::{PROVENANCE, RUN_ACCOUNT, sign_artifacts};
use super::runs::{Loaded, RETIRE_JOB, Step, apply, load};
use super::work::{JobPayload, deployment_id, run_image};
use super::{events, log, perform, projects};
use crate::api::worker::{
    AttachedArtifact, FailureReport, Holder, LogBatch, MAX_LOG_BATCH_LINES, WorkOutcome,
};
use crate::clock;
use crate::error::{ApiError, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// How long a job rests before it is tried again.
const RETRY_PAUSE: time::Duration = time::Duration::seconds(3);

/// An attempt at an action that a worker reports about.
struct Attempt {
    run: RunId,
    action: Name,
    attempt: u32,
}

/// Keeps a lease, or says that it is lost.
pub(crate) async fn extend(front: &Front, job: i64, holder: &Holder) -> Result<(), ApiError> {
    let lease = lease(job, holder);
    front
        .store
        .queue
        .extend(&lease, LEASE, clock::now())
        .await?;
    Ok(())
}

/// Appends to the log of the run that a job belongs to, and keeps the lease.
pub(crate) async fn log_lines(front: &Front, job: i64, batch: LogBatch) -> Result<(), ApiError> {
    if batch.lines.len() > MAX_LOG_BATCH_LINES {
        let text = format!("a batch has at most {MAX_LOG_BATCH_LINES} lines");
        return Err(ApiError::usage(text));
    }
    extend(front, job, &batch.holder).await?;
    let (_, payload) = find(front, job).await?;
    let JobPayload::Action { run, action, .. } = payload else {
        return Ok(());
    };
    let line = |line: crate::api::worker::WorkLine| LogLine {
        seq: 0,
        action: action.to_string(),
        at: line.at,
        text: line.text,
    };
    let lines: Vec<LogLine> = batch.lines.into_iter().map(line).collect();
    front.store.runs.append_log(&run, &lines).await?;
    front.control.changed();
    Ok(())
}

/// Takes the result of a job.
pub(crate) async fn complete(
    front: &Front,
    job: i64,
    (holder, outcome): (&Holder, WorkOutcome),
) -> Result<(), ApiError> {
    // What follows takes a moment, and another worker must not begin meanwhile.
    extend(front, job, holder).await?;
    let lease = lease(job, holder);
    let (_, payload) = find(front, job).await?;
    let JobPayload::Action {
        run,
        action,
        attempt,
    } = payload
    else {
        front.store.queue.complete(&lease).await?;
        forget_token(front, job).await;
        front.control.changed();
        return Ok(());
    };
    let attempt = Attempt {
        run,
        action,
        attempt,
    };
    let loaded = load(front, &attempt.run).await?;
    let event = match accept(front, &loaded, &attempt, outcome).await? {
        Ok(outputs) => Event::Completed {
            action: attempt.action.clone(),
            attempt: attempt.attempt,
            outputs,
        },
        Err(failure) => Event::Failed {
            action: attempt.action.clone(),
            attempt: attempt.attempt,
            failure,
        },
    };
    let step = Step {
        event,
        completes: Some(lease),
        notes: perform::no_notes(),
    };
    apply(front, &attempt.run, step).await?;
    forget_token(front, job).await;
    Ok(())
}

/// Takes the report of a failure: the job is tried again, or its action has failed.
pub(crate) async fn fail(front: &Front, job: i64, report: FailureReport) -> Result<(), ApiError> {
    let reason = format!("{}: {}", report.code, report.reason);
    let failure = store::queue::Failure {
        reason: reason.clone(),
        retry_at: report.retry.then(|| clock::now() + RETRY_PAUSE),
    };
    let (row, payload) = find(front, job).await?;
    let lease = lease(job, &report.holder);
    let state = front.store.queue.fail(&lease, &failure).await?;
    forget_token(front, job).await;
    if state != JobState::Dead {
        if let JobPayload::Action { run, action, .. } = payload {
            let text = format!("{reason}; trying again");
            log::write(front, &run, action.as_str(), &text).await;
        }
        return Ok(());
    }
    bury(front, &row, &reason).await
}

/// Ends the action of a job that will not be tried any more. Called again after a crash: the job
/// stays until this is done.
pub(crate) async fn bury(front: &Front, row: &JobRow, reason: &str) -> Result<(), ApiError> {
    let payload: Result<JobPayload, _> = serde_json::from_value(row.payload.clone());
    if let Ok(JobPayload::Action {
        run,
        action,
        attempt,
    }) = payload
    {
        end_deployment(front, (&run, &action), reason).await?;
        let event = Event::Failed {
            action,
            attempt,
            failure: dead_failure(reason),
        };
        if let Err(error) = apply(front, &run, event.into()).await {
            // The run went on without it: superseded, or failed for another reason.
            tracing::info!(%run, error = chain(&error), "a dead job changed nothing");
        }
    }
    front.store.queue.forget(row.id).await?;
    front.control.changed();
    Ok(())
}

/// The reason of a dead job is `code: message`, unless it died without a word.
fn dead_failure(reason: &str) -> Failure {
    let is_code = |text: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !text.is_empty() && text.bytes().all(allowed)
    };
    let parts = reason.split_once(": ").filter(|(code, _)| is_code(code));
    let (code, message) = parts.unwrap_or(("worker-lost", reason));
    Failure {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// Checks and keeps what came out of an action; the inner error is a failure of the action.
async fn accept(
    front: &Front,
    loaded: &Loaded,
    attempt: &Attempt,
    outcome: WorkOutcome,
) -> Result<Result<ActionOutputs, Failure>, ApiError> {
    let Some(state) = loaded.state.action(&attempt.action) else {
        return Err(ApiError::conflict("the run has no such action"));
    };
    let mut outputs = ActionOutputs::default();
    match (&state.action.work, outcome) {
        (Work::Buildspec(_), WorkOutcome::Built { exported }) => outputs.variables = exported,
        (
            Work::Image(build),
            WorkOutcome::Image {
                repository,
                image,
                provenance,
                ..
            },
        ) if repository == build.repository => {
            require_present(front, &repository, &image.digest).await?;
            keep_provenance(front, &attempt.run, &provenance).await?;
            outputs.image = Some(ProducedImage {
                repository,
                digest: image.digest,
            });
        }
        (
            Work::Sbom(_) | Work::Scan(_) | Work::Attach(_) | Work::Test(_) | Work::Hook(_),
            WorkOutcome::Attached { artifacts },
        ) => {
            let allowed = state.action.work.artifact_types();
            outputs.artifacts = check_attached(front, loaded, (&artifacts, &allowed)).await?;
            if let Err(failure) = sign_hook(front, loaded, &state.action.work, &outputs).await? {
                return Ok(Err(failure));
            }
        }
        (Work::Deploy(deploy), WorkOutcome::Deployed { endpoint }) => {
            if let Err(failure) = check_again(front, loaded, (attempt, deploy)).await? {
                return Ok(Err(failure));
            }
            let deployed = switch(front, loaded, (&deploy.environment, &endpoint)).await?;
            outputs.deployed = Some(deployed);
        }
        (_, _) => return Err(ApiError::usage("the outcome is not one of this action")),
    }
    Ok(Ok(outputs))
}

async fn keep_provenance(front: &Front, run: &RunId, statement: &str) -> Result<(), ApiError> {
    let key = DocumentKey::new(PROVENANCE, run.as_str());
    let documents = &front.store.documents;
    documents
        .put(&key, statement.as_bytes(), clock::now())
        .await?;
    Ok(())
}

async fn require_present(
    front: &Front,
    repository: &oci::RepositoryName,
    digest: &Digest,
) -> Result<(), ApiError> {
    let repositories = &front.store.repositories;
    match repositories.manifest(repository, digest).await? {
        Some(_) => Ok(()),
        None => {
            let text = format!("`{digest}` was not pushed to `{repository}`");
            Err(ApiError::usage(text))
        }
    }
}

/// Returns type and digest of what was attached, after looking at each manifest itself: the
/// control plane signs what is reported here.
async fn check_attached(
    front: &Front,
    loaded: &Loaded,
    (artifacts, allowed): (&[AttachedArtifact], &[&MediaType]),
) -> Result<Vec<(MediaType, Digest)>, ApiError> {
    let Some(image) = run_image(&loaded.state) else {
        return Err(ApiError::conflict("the run has no image"));
    };
    let source = StoreSource::new(front, &image.repository, RUN_ACCOUNT);
    let mut checked = Vec::new();
    for artifact in artifacts {
        let digest = &artifact.descriptor.digest;
        let manifest = source.manifest(&artifact.descriptor).await;
        let manifest = manifest.map_err(|error| ApiError::usage(chain(&error)))?;
        let subject = manifest.subject().map(|subject| &subject.digest);
        if subject != Some(&image.digest) {
            let text = format!("`{digest}` does not refer to the image of the run");
            return Err(ApiError::usage(text));
        }
        let kind = manifest.artifact_type();
        match kind.filter(|kind| allowed.contains(kind)) {
            Some(kind) => checked.push((kind.clone(), digest.clone())),
            None => {
                let text = format!("`{digest}` is not of a type that the action attaches");
                return Err(ApiError::usage(text));
            }
        }
    }
    Ok(checked)
}

async fn sign_hook(
    front: &Front,
    loaded: &Loaded,
    work: &Work,
    outputs: &ActionOutputs,
) -> Result<Result<(), Failure>, ApiError> {
    let Work::Hook(hook) = work else {
        return Ok(Ok(()));
    };
    let Some(profile) = &hook.sign else {
        return Ok(Ok(()));
    };
    let digests = outputs.artifacts.iter().map(|(_, digest)| digest.clone());
    let digests: Vec<Digest> = digests.collect();
    match sign_artifacts(front, loaded, profile, &digests).await {
        Ok(()) => Ok(Ok(())),
        // The worker reports again, until the signer is back or its lease is lost.
        Err(error) if error.is_transient() => Err(ApiError::unavailable(
            "the signer does not answer",
            chain(&error),
        )),
        Err(error) => Ok(Err(Failure {
            code: error.code(),
            message: chain(&error),
        })),
    }
}

/// Checks once more before the new version is given any traffic: starting a container takes a
/// while, in which a tag can be moved or a signature revoked. What is refused now is taken away
/// again, and the old version serves on.
async fn check_again(
    front: &Front,
    loaded: &Loaded,
    (attempt, deploy): (&Attempt, &Deploy),
) -> Result<Result<(), Failure>, ApiError> {
    let environment = &deploy.environment;
    let id = deployment_id(environment, &loaded.row.id);
    let deployments = &front.store.deployments;
    let row = deployments.deployment(&id).await?;
    match row.map(|row| (row.state, row.reason)) {
        Some((DeploymentState::Starting, _)) => {}
        // Reported twice: what was decided the first time stands.
        Some((DeploymentState::Failed, reason)) => {
            return Ok(Err(Failure {
                code: "deployment-refused".to_owned(),
                message: reason.unwrap_or_default(),
            }));
        }
        _ => return Ok(Ok(())),
    }
    let checked = check_deployment(front, loaded, &attempt.action, deploy).await?;
    let Err(refused) = checked else {
        return Ok(Ok(()));
    };
    let message = &refused.failure.message;
    deployments
        .end(&id, DeploymentState::Failed, message, clock::now())
        .await?;
    // What has failed by now is what goes.
    let (project, found) = environment_of(front, loaded, environment).await?;
    let payload = JobPayload::Retire {
        project,
        environment: Box::new(found),
        everything: false,
    };
    let retire = NewJob::new(RETIRE_JOB, payload.to_json(), clock::now());
    let retire = retire.once(format!("withdraw/{environment}/{id}"));
    front.store.queue.enqueue(&retire).await?;
    Ok(Err(refused.failure))
}

async fn environment_of(
    front: &Front,
    loaded: &Loaded,
    name: &Name,
) -> Result<(Name, Environment), ApiError> {
    let stored = projects::load(front, &loaded.row.project).await?;
    let project = stored.ok_or_else(|| ApiError::conflict("the project was removed"))?;
    let found = project.project.environment(name).cloned();
    let found = found.ok_or_else(|| {
        ApiError::conflict(format!("the project has no environment `{name}` any more"))
    })?;
    Ok((project.project.name, found))
}

/// Lets the new version serve, and has the old one taken away. Doing it twice is harmless.
async fn switch(
    front: &Front,
    loaded: &Loaded,
    (environment, endpoint): (&Name, &str),
) -> Result<Deployed, ApiError> {
    let address: Result<std::net::SocketAddr, _> = endpoint.parse();
    let address = address
        .map_err(|_| ApiError::usage(format!("`{endpoint}` is not an address and a port")))?;
    let (project, found) = environment_of(front, loaded, environment).await?;
    let id = deployment_id(environment, &loaded.row.id);
    let deployments = &front.store.deployments;
    deployments
        .switch(&id, &address.to_string(), clock::now())
        .await?;
    front.control.routes_changed();
    let image = run_image(&loaded.state);
    let image = image
        .as_ref()
        .map(|image| (&image.repository, &image.digest));
    events::deployed(front, (&loaded.row, environment), image).await;
    let url = environment_url(&found);
    let payload = JobPayload::Retire {
        project,
        environment: Box::new(found),
        everything: false,
    };
    let retire = NewJob::new(RETIRE_JOB, payload.to_json(), clock::now());
    let retire = retire.once(format!("retire/{environment}/{id}"));
    front.store.queue.enqueue(&retire).await?;
    Ok(Deployed {
        environment: environment.clone(),
        url,
    })
}

/// Returns the URL that the built-in reverse proxy gives an environment.
pub(crate) fn environment_url(environment: &pipeline::project::Environment) -> String {
    let scheme = match environment.tls {
        Some(_) => "https",
        None => "http",
    };
    format!("{scheme}://{}", environment.listen)
}

async fn end_deployment(
    front: &Front,
    (run, action): (&RunId, &Name),
    reason: &str,
) -> Result<(), ApiError> {
    let loaded = load(front, run).await?;
    let state = loaded.state.action(action);
    let Some(Work::Deploy(deploy)) = state.map(|state| &state.action.work) else {
        return Ok(());
    };
    let id = deployment_id(&deploy.environment, run);
    let row = front.store.deployments.deployment(&id).await?;
    if row.is_none_or(|row| row.state != DeploymentState::Starting) {
        return Ok(());
    }
    let deployments = &front.store.deployments;
    deployments
        .end(&id, DeploymentState::Failed, reason, clock::now())
        .await?;
    Ok(())
}

async fn find(front: &Front, job: i64) -> Result<(JobRow, JobPayload), ApiError> {
    let row = front.store.queue.job(JobId(job)).await?;
    // A job that is gone was completed by somebody else, or cancelled.
    let row = row.ok_or_else(|| StoreError::Conflict(format!("the lease on job {job}")))?;
    let payload = serde_json::from_value(row.payload.clone());
    let payload =
        payload.map_err(|error| ApiError::internal(format!("job {job} is unreadable: {error}")))?;
    Ok((row, payload))
}

fn lease(job: i64, holder: &Holder) -> Lease {
    Lease {
        job: JobId(job),
        attempt: holder.attempt,
        owner: holder.owner.clone(),
    }
}

/// A token ends with its action. One whose front was killed meanwhile runs out by itself.
async fn forget_token(front: &Front, job: i64) {
    let Some(id) = front.control.take_token(job) else {
        return;
    };
    let deleted = front
        .store
        .accounts
        .delete_tokens(RUN_ACCOUNT, Some(&id))
        .await;
    if let Err(error) = deleted {
        tracing::warn!(%error, "a token could not be taken back");
    }
    front.auth.forget();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_job_keeps_its_code() {
        for (reason, code, message) in [
            (
                "command-failed: exit status 1",
                "command-failed",
                "exit status 1",
            ),
            ("no-disk: a: b", "no-disk", "a: b"),
            (
                "the worker did not come back",
                "worker-lost",
                "the worker did not come back",
            ),
            ("It failed: badly", "worker-lost", "It failed: badly"),
            (": nothing", "worker-lost", ": nothing"),
        ] {
            let failure = dead_failure(reason);
            assert_eq!(
                (failure.code.as_str(), failure.message.as_str()),
                (code, message)
            );
        }
    }
}
