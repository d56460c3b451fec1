//! Projects: applying, showing and removing a declarative file.
//!
//! For administrators alone: a declarative file says who may do what.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use gate::GatePolicy;
use pipeline::project::Project;
use serde::{Deserialize, Serialize};
use signer::Principal;
use store::queue::JobId;
use trust::TrustPolicy;

use super::accounts::IssuedToken;
use super::extract::Body;
use crate::auth::Caller;
use crate::control::projects::{self, Stored};
use crate::control::report::environment_url;
use crate::error::{ApiError, ErrorKind, chain};
use crate::state::Front;
use crate::two_person::{self, Operation};

/// How long removing a project waits for its containers to be taken away.
const REMOVAL_LIMIT: Duration = Duration::from_secs(40);

/// A declarative file, with the files that it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyProject {
    /// The text of `countersign.yaml`.
    pub text: String,
    /// The texts of the policies, by the paths that the file names them by.
    pub files: BTreeMap<String, String>,
}

/// What applying a project did.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedProject {
    /// The project.
    pub name: String,
    /// The tokens of accounts that are new: shown once.
    pub tokens: Vec<IssuedToken>,
    /// Where its git repositories are, by name.
    pub git: BTreeMap<String, String>,
    /// Where its environments answer, by name.
    pub environments: BTreeMap<String, String>,
}

/// A project as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownProject {
    /// The project.
    pub name: String,
    /// The text of `countersign.yaml`.
    pub text: String,
    /// The texts of the policies, by path.
    pub files: BTreeMap<String, String>,
}

/// What removing a project did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovedProject {
    /// The project.
    pub name: String,
    /// How many environments still have containers: no worker took them away in time.
    pub containers_left: usize,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new().route("/api/v1/projects", get(list)).route(
        "/api/v1/projects/{name}",
        get(show).put(apply).delete(remove),
    )
}

async fn list(State(front): State<Front>, caller: Caller) -> Result<Json<Vec<String>>, ApiError> {
    caller.require_admin()?;
    let all = projects::all(&front).await?;
    let names = all.iter().map(|stored| stored.project.name.to_string());
    Ok(Json(names.collect()))
}

async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ShownProject>, ApiError> {
    caller.require_admin()?;
    let stored = projects::load(&front, &name).await?;
    let stored =
        stored.ok_or_else(|| ApiError::not_found(format!("there is no project `{name}`")))?;
    Ok(Json(ShownProject {
        name,
        text: stored.text,
        files: stored.files,
    }))
}

async fn apply(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(project): Body<ApplyProject>,
) -> Result<Response, ApiError> {
    caller.require_admin()?;
    // A mistake is told to whoever made it, not to the second person.
    check(&name, project.clone())?;
    let operation = Operation::ApplyProject { name, project };
    two_person::submit(&front, &caller, operation).await
}

/// Applies a project.
pub(crate) async fn apply_checked(
    front: &Front,
    (name, new): (String, ApplyProject),
    by: &Principal,
) -> Result<AppliedProject, ApiError> {
    let stored = check(&name, new)?;
    let tokens = projects::apply(front, &stored, by).await?;
    let project = &stored.project;
    let git = project.git_repositories.iter().map(|repository| {
        let name = &repository.name;
        let url = format!("{}/git/{name}.git", front.public_url);
        (name.to_string(), url)
    });
    let environments = project.environments.iter();
    let environments = environments.map(|one| (one.name.to_string(), environment_url(one)));
    Ok(AppliedProject {
        name,
        tokens,
        git: git.collect(),
        environments: environments.collect(),
    })
}

/// Reads everything before anything is changed: a mistake in one file leaves no partial state.
fn check(name: &str, new: ApplyProject) -> Result<Stored, ApiError> {
    let invalid = |file: &str, error: &dyn std::error::Error| {
        let text = format!("{file}: {}", chain(error));
        ApiError::new(ErrorKind::Unprocessable, "project-invalid", text)
    };
    let project = Project::parse(&new.text).map_err(|error| invalid("countersign.yaml", &error))?;
    if project.name.as_str() != name {
        let text = format!(
            "the file describes project `{}`, not `{name}`",
            project.name
        );
        return Err(ApiError::usage(text));
    }
    let file = |path: &str| {
        let found = new.files.get(path);
        found.ok_or_else(|| ApiError::usage(format!("the file `{path}` was not sent along")))
    };
    for path in &project.gate_policies {
        let policy = GatePolicy::parse(file(path.as_str())?)
            .map_err(|error| invalid(path.as_str(), &error))?;
        if policy.name != path.stem() {
            let text = format!(
                "{path}: the policy is called `{}`, not as its file",
                policy.name
            );
            return Err(ApiError::new(
                ErrorKind::Unprocessable,
                "project-invalid",
                text,
            ));
        }
    }
    if let Some(path) = &project.trust_policy {
        let text = file(path.as_str())?;
        TrustPolicy::parse(text.as_bytes()).map_err(|error| invalid(path.as_str(), &error))?;
    }
    let keys = project
        .oidc_issuers
        .iter()
        .filter_map(|issuer| issuer.jwks.as_ref());
    keys.into_iter()
        .try_for_each(|path| file(path.as_str()).map(|_| ()))?;
    let stored = Stored {
        text: new.text,
        files: new.files,
        project,
    };
    projects::check(&stored)?;
    Ok(stored)
}

async fn remove(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    caller.require_admin()?;
    two_person::submit(&front, &caller, Operation::RemoveProject { name }).await
}

/// Removes a project, and waits a while for its containers to be gone.
pub(crate) async fn remove_now(
    front: &Front,
    name: String,
    by: &Principal,
) -> Result<RemovedProject, ApiError> {
    let jobs = projects::remove(front, &name, by).await?;
    let containers_left = wait_for(front, jobs).await?;
    Ok(RemovedProject {
        name,
        containers_left,
    })
}

/// Waits until jobs are done, and returns how many are not.
async fn wait_for(front: &Front, mut jobs: Vec<JobId>) -> Result<usize, ApiError> {
    let deadline = Instant::now() + REMOVAL_LIMIT;
    loop {
        let mut left = Vec::new();
        for id in jobs {
            left.extend(front.store.queue.job(id).await?.map(|_| id));
        }
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left.len());
        }
        jobs = left;
        front.control.job_may_wait().await;
    }
}
