//! From a caller of the API to a principal of the signer.

use oci::{Digest, RepositoryName};
use serde_json::Value;
use signer::{Principal, ProfileName, Workload};
use store::runs::{RunId, RunRow};

use crate::auth::{Action, Caller, RunScope, WORKLOAD_ACCOUNT};
use crate::error::{ApiError, chain};
use crate::state::FrontState;

/// Returns the name by which a profile's grants name a pipeline. Two projects may each have a
/// pipeline `build`; one must not sign as the other.
pub fn qualified_pipeline(project: &str, pipeline: &str) -> String {
    format!("{project}/{pipeline}")
}

/// Returns the principal of a run, for what the front itself has signed in its name.
pub fn pipeline_principal(run: &RunRow, account: &str) -> Principal {
    Principal {
        pipeline: Some(qualified_pipeline(&run.project, &run.pipeline)),
        run: Some(run.id.to_string()),
        ..Principal::account(account)
    }
}

/// Returns the principal of a workload of a CI system.
pub(crate) fn of_workload(workload: Workload) -> Principal {
    Principal {
        workload: Some(workload),
        ..Principal::account(WORKLOAD_ACCOUNT)
    }
}

/// Returns whom the signer is told to have asked.
pub(crate) async fn of_caller(front: &FrontState, caller: &Caller) -> Result<Principal, ApiError> {
    if let Some(workload) = &caller.workload {
        return Ok(of_workload(workload.clone()));
    }
    match &caller.run {
        Some(scope) => Ok(pipeline_principal(
            &load_run(front, scope).await?,
            &caller.account,
        )),
        None => {
            caller.require_account()?;
            Ok(Principal {
                is_admin: caller.is_admin(),
                is_robot: caller.is_robot,
                groups: caller.groups.clone(),
                ..Principal::account(&caller.account)
            })
        }
    }
}

/// Checks what a token is limited to. Without limits, the signer alone decides.
pub(crate) fn check_limits(caller: &Caller, profile: &ProfileName) -> Result<(), ApiError> {
    let limits = match &caller.run {
        Some(_) => Some(&caller.grants),
        None => caller.limits.as_ref(),
    };
    if limits.is_none_or(|limits| limits.allow(Action::UseProfile, profile.as_str())) {
        return Ok(());
    }
    let message = format!(
        "this token of account `{}` is limited: it has no `profiles` over `{profile}`",
        caller.account
    );
    Err(ApiError::denied(message))
}

/// Checks that a run signs what it made itself: an artifact that one of its actions reported, or
/// one that refers to such an artifact, in a repository that the run may push to.
pub(crate) async fn check_made_by_run(
    front: &FrontState,
    caller: &Caller,
    (digest, repository): (&Digest, Option<&RepositoryName>),
) -> Result<(), ApiError> {
    let Some(scope) = &caller.run else {
        return Ok(());
    };
    let reported = reported_digests(front, scope).await?;
    if reported.contains(digest) {
        return Ok(());
    }
    if let Some(repository) = repository {
        caller.require_push(repository)?;
        let row = front
            .store
            .repositories
            .manifest(repository, digest)
            .await?;
        let subject = row.and_then(|row| row.subject.clone());
        if subject.is_some_and(|subject| reported.contains(&subject)) {
            return Ok(());
        }
    }
    let message = format!(
        "run `{}` did not make `{digest}`: a run signs only what its own actions reported, and \
         what refers to that",
        scope.run
    );
    Err(ApiError::denied(message).hint("name the repository of the artifact in the request"))
}

async fn load_run(front: &FrontState, scope: &RunScope) -> Result<RunRow, ApiError> {
    let gone = || ApiError::denied(format!("run `{}` does not exist any more", scope.run));
    let id: RunId = parse_run(scope)?;
    let run = front.store.runs.run(&id).await?.ok_or_else(gone)?;
    if run.finished {
        let message = format!("run `{}` is over: its token signs no more", scope.run);
        return Err(ApiError::denied(message));
    }
    Ok(run)
}

fn parse_run(scope: &RunScope) -> Result<RunId, ApiError> {
    let parsed: Result<RunId, _> = scope.run.parse();
    parsed.map_err(|error| ApiError::internal(chain(&error)))
}

async fn reported_digests(front: &FrontState, scope: &RunScope) -> Result<Vec<Digest>, ApiError> {
    let mut digests = Vec::new();
    for action in front.store.runs.actions(&parse_run(scope)?).await? {
        collect(&action.document, &mut digests);
    }
    Ok(digests)
}

/// Collects every text in `value` that is a digest.
fn collect(value: &Value, digests: &mut Vec<Digest>) {
    match value {
        Value::String(text) => digests.extend(text.parse::<Digest>()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, digests)),
        Value::Object(members) => members.values().for_each(|value| collect(value, digests)),
        _ => {}
    }
}
