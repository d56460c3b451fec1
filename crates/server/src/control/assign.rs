//! Giving work to workers.

use std::time::Duration;

use client::{ArtifactSource, TagOrDigest};
use pipeline::project::{Deploy, Name, Project, Work};
use pipeline::run::{Event, Failure, Input};
use serde_json::json;
use store::deployments::{DeploymentRow, DeploymentState};
use store::queue::{JobRow, Lease, LeaseRequest};
use store::repositories::MAX_PAGE_ROWS;
use store::runs::RunId;

use super::judge::{Question, judge};
use super::perform::RUN_ACCOUNT;
use super::runs::{ACTION_JOB, Loaded, RETIRE_JOB, Step, apply, load};
use super::work::{JobPayload, WorkContext, deployment_id, run_image};
use super::{ControlError, log, projects};
use crate::api::worker::{Assignment, Holder, RunImage, WorkItem};
use crate::auth::{Grants, NewToken, Pattern, RunScope};
use crate::clock;
use crate::error::{ApiError, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// How long a lease runs unless it is extended: short, so that the work of a worker that was
/// killed is soon given to another.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How long the token of one action works. Longer than any build that is worth waiting for.
const TOKEN_LIFE: time::Duration = time::Duration::hours(4);

/// Gives out the oldest job, or nothing.
pub(crate) async fn next(front: &Front, owner: &str) -> Result<Option<Assignment>, ApiError> {
    let request = LeaseRequest {
        kinds: vec![ACTION_JOB.to_owned(), RETIRE_JOB.to_owned()],
        owner: owner.to_owned(),
        duration: LEASE,
    };
    // A job that turns out to be over is taken away, and the next one looked at.
    while let Some((lease, job)) = front.store.queue.lease(&request, clock::now()).await? {
        if let Some(assignment) = assign(front, &lease, &job).await? {
            return Ok(Some(assignment));
        }
    }
    Ok(None)
}

async fn assign(
    front: &Front,
    lease: &Lease,
    job: &JobRow,
) -> Result<Option<Assignment>, ApiError> {
    let payload: JobPayload = serde_json::from_value(job.payload.clone())
        .map_err(|error| ApiError::internal(format!("job {}: {error}", job.id.0)))?;
    match payload {
        JobPayload::Retire {
            project,
            environment,
            everything,
        } => {
            let name = environment.name.to_string();
            let deployments = match everything {
                true => None,
                false => Some(replaced(front, &name).await?),
            };
            let about = About {
                project: project.to_string(),
                pipeline: String::new(),
                run: format!("retire-{name}"),
                action: RETIRE_JOB.to_owned(),
            };
            let token = issue(front, lease, (&about.run, None)).await?;
            let work = WorkItem::Retire {
                environment: *environment,
                deployments,
            };
            Ok(Some(assignment(front, lease, about, (token, work))))
        }
        JobPayload::Action {
            run,
            action,
            attempt,
        } => assign_action(front, lease, (&run, &action, attempt)).await,
    }
}

/// Returns the deployments of an environment that neither serve nor are about to.
async fn replaced(front: &Front, environment: &str) -> Result<Vec<String>, ApiError> {
    let deployments = &front.store.deployments;
    let history = deployments.history(environment, MAX_PAGE_ROWS).await?;
    let stays = [DeploymentState::Current, DeploymentState::Starting];
    let gone = history
        .into_iter()
        .filter(|row| !stays.contains(&row.state));
    Ok(gone.map(|row| row.id).collect())
}

async fn assign_action(
    front: &Front,
    lease: &Lease,
    (run, action, attempt): (&RunId, &Name, u32),
) -> Result<Option<Assignment>, ApiError> {
    let loaded = load(front, run).await?;
    let current = loaded.state.current();
    let is_current =
        current.is_some_and(|state| state.action.name == *action && state.attempt == attempt);
    if !is_current {
        front.store.queue.forget(lease.job).await?;
        return Ok(None);
    }
    match prepare(front, &loaded, action).await? {
        Ok(work) => {
            let leased = Event::Leased {
                action: action.clone(),
                attempt,
                by: lease.owner.clone(),
            };
            apply(front, run, leased.into()).await?;
            let project = projects::load(front, &loaded.row.project).await?;
            let grants = project.map(|stored| run_grants(&stored.project, &loaded, &work));
            let token = issue(front, lease, (run.as_str(), grants)).await?;
            let about = About {
                project: loaded.row.project.clone(),
                pipeline: loaded.row.pipeline.clone(),
                run: run.to_string(),
                action: action.to_string(),
            };
            Ok(Some(assignment(front, lease, about, (token, work))))
        }
        Err(refused) => {
            refuse(front, lease, (run, action, attempt), refused).await?;
            Ok(None)
        }
    }
}

/// Why work is not begun: a failure of the action, and what is shown besides.
pub(super) struct Refused {
    pub(super) failure: Failure,
    note: Option<serde_json::Value>,
}

impl Refused {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            failure: Failure {
                code: code.to_owned(),
                message: message.into(),
            },
            note: None,
        }
    }
}

async fn refuse(
    front: &Front,
    lease: &Lease,
    (run, action, attempt): (&RunId, &Name, u32),
    refused: Refused,
) -> Result<(), ControlError> {
    let step = Step {
        event: Event::Failed {
            action: action.clone(),
            attempt,
            failure: refused.failure,
        },
        completes: Some(lease.clone()),
        notes: refused
            .note
            .map(|note| (action.clone(), note))
            .into_iter()
            .collect(),
    };
    apply(front, run, step).await.map(drop)
}

/// Puts the work together, and checks before a deployment what must hold at that moment.
async fn prepare(
    front: &Front,
    loaded: &Loaded,
    action: &Name,
) -> Result<Result<WorkItem, Refused>, ApiError> {
    let Some(stored) = projects::load(front, &loaded.row.project).await? else {
        return Ok(Err(Refused::new(
            "project-missing",
            "the project was removed",
        )));
    };
    let Some(state) = loaded.state.action(action) else {
        return Ok(Err(Refused::new(
            "action-missing",
            "the run has no such action",
        )));
    };
    let work = &state.action.work;
    let serving = match work {
        Work::Test(test) => {
            front
                .store
                .deployments
                .current(test.environment.as_str())
                .await?
        }
        _ => None,
    };
    let context = WorkContext {
        run: &loaded.row.id,
        state: &loaded.state,
        project: &stored.project,
        serving: serving.map(|deployment| deployment.id),
    };
    let item = match context.item(work) {
        Ok(item) => item,
        Err(error) => return Ok(Err(Refused::new("cannot-begin", error.to_string()))),
    };
    if let Work::Deploy(deploy) = work {
        match check_deployment(front, loaded, action, deploy).await? {
            Ok(image) => begin_deployment(front, loaded, (deploy, image)).await?,
            Err(refused) => return Ok(Err(refused)),
        }
    }
    Ok(Ok(item))
}

/// What must hold of a deployment, before a container is started and again before it is given
/// any traffic: the tag that the run was started with still leads to the image, and the policy
/// allows the image now.
pub(super) async fn check_deployment(
    front: &Front,
    loaded: &Loaded,
    action: &Name,
    deploy: &Deploy,
) -> Result<Result<RunImage, Refused>, ApiError> {
    let Some(image) = run_image(&loaded.state) else {
        return Ok(Err(Refused::new(
            "no-image",
            "the run has no image to deploy",
        )));
    };
    if let Some(moved) = tag_moved(front, loaded).await? {
        log::write(front, &loaded.row.id, action.as_str(), &moved).await;
        return Ok(Err(Refused::new("tag-moved", moved)));
    }
    let question = Question {
        project: &loaded.row.project,
        policy: deploy.policy.as_str(),
        repository: &image.repository,
        digest: &image.digest,
    };
    let verdict = match judge(front, &question).await {
        Ok(verdict) => verdict,
        Err(error) if error.is_transient() => {
            return Err(ApiError::unavailable(
                "the image cannot be judged now",
                chain(&error),
            ));
        }
        Err(error) => return Ok(Err(Refused::new("cannot-judge", chain(&error)))),
    };
    log::write(front, &loaded.row.id, action.as_str(), &verdict.tree).await;
    if !verdict.allowed {
        let note = Some(json!({"decision": verdict.json, "tree": verdict.tree}));
        let refused = Refused::new(&verdict.code, verdict.message);
        return Ok(Err(Refused { note, ..refused }));
    }
    Ok(Ok(image))
}

async fn begin_deployment(
    front: &Front,
    loaded: &Loaded,
    (deploy, image): (&Deploy, RunImage),
) -> Result<(), ApiError> {
    let now = clock::now();
    let row = DeploymentRow {
        id: deployment_id(&deploy.environment, &loaded.row.id),
        environment: deploy.environment.to_string(),
        run: loaded.row.id.to_string(),
        repository: image.repository,
        digest: image.digest,
        state: DeploymentState::Starting,
        endpoint: None,
        reason: None,
        started_at: now,
        updated_at: now,
    };
    front.store.deployments.begin(&row).await?;
    Ok(())
}

/// Returns what to say when the tag that a run was started with leads elsewhere now.
async fn tag_moved(front: &Front, loaded: &Loaded) -> Result<Option<String>, ApiError> {
    let Input::Image {
        repository,
        digest,
        tag: Some(tag),
    } = loaded.state.input()
    else {
        return Ok(None);
    };
    let source = StoreSource::new(front, repository, RUN_ACCOUNT);
    let text = match source.resolve(&TagOrDigest::Tag(tag.clone())).await {
        Ok(now) if now.digest == *digest => return Ok(None),
        Ok(now) => format!(
            "tag `{tag}` was moved since the run began: it led to `{digest}`, and leads to `{}` now",
            now.digest
        ),
        Err(error) if error.is_not_found() => {
            format!("tag `{tag}` was removed since the run began: it led to `{digest}`")
        }
        Err(error) => return Err(ApiError::internal(chain(&error))),
    };
    Ok(Some(text))
}

/// Returns what the token of one action may do: push to the repository of the run's image, and
/// pull what the project's own people may pull. A build may not read more than they may.
fn run_grants(project: &Project, loaded: &Loaded, work: &WorkItem) -> Grants {
    let pattern = |text: &str| text.parse::<Pattern>().ok();
    let accounts = &project.accounts;
    let patterns = accounts
        .iter()
        .flat_map(|account| account.pull.iter().chain(&account.push));
    let mut grants = Grants {
        pull: patterns.filter_map(|one| pattern(one.as_str())).collect(),
        ..Grants::default()
    };
    let repository = match work {
        WorkItem::Image { repository, .. } => Some(repository.clone()),
        WorkItem::Deploy { .. } | WorkItem::Buildspec { .. } => None,
        _ => run_image(&loaded.state).map(|image| image.repository),
    };
    grants
        .push
        .extend(repository.and_then(|name| pattern(name.as_str())));
    if let Some(image) = run_image(&loaded.state) {
        grants.pull.extend(pattern(image.repository.as_str()));
    }
    if let Input::Commit { repository, .. } = loaded.state.input() {
        grants.git.pull.extend(pattern(repository.as_str()));
    }
    grants
}

async fn issue(
    front: &Front,
    lease: &Lease,
    (run, grants): (&str, Option<Grants>),
) -> Result<NewToken, ApiError> {
    let scope = RunScope {
        run: run.to_owned(),
    };
    let expires_at = clock::now() + TOKEN_LIFE;
    let issued = front
        .auth
        .issue_for_run(scope, grants.unwrap_or_default(), expires_at)
        .await;
    let token = issued.map_err(|error| ApiError::internal(chain(&error)))?;
    front.control.remember_token(lease.job.0, token.id());
    Ok(token)
}

struct About {
    project: String,
    pipeline: String,
    run: String,
    action: String,
}

fn assignment(
    front: &Front,
    lease: &Lease,
    about: About,
    (token, work): (NewToken, WorkItem),
) -> Assignment {
    Assignment {
        job: lease.job.0,
        holder: Holder {
            owner: lease.owner.clone(),
            attempt: lease.attempt,
        },
        lease_secs: u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX),
        project: about.project,
        pipeline: about.pipeline,
        run: about.run,
        action: about.action,
        token: token.text().to_owned(),
        account: RUN_ACCOUNT.to_owned(),
        registry: registry_name(front).to_owned(),
        work,
    }
}

/// Returns the host and port under which this server's registry is named in references.
pub(crate) fn registry_name(front: &Front) -> &str {
    let url = &front.public_url;
    url.split_once("://").map_or(url, |(_, host)| host)
}
