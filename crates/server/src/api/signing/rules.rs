//! The rules of a profile over HTTP: shown, put, and asked about.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use oci::{MediaType, RepositoryName};
use serde::{Deserialize, Serialize};
use signer::{
    Artifact, Grants, Principal, ProfileName, ProfileSpec, RuleTest, RuleTestResult, Rules,
    Unknown, Workload,
};

use super::principal;
use super::profiles::{administrator, parsed};
use crate::api::extract::Body;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::{Front, FrontState};
use crate::two_person::{self, Operation};

/// The rules of a profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileRules {
    /// The rules, in their order.
    pub rules: Rules,
    /// Whether they are the profile's grants, written as a rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_grants: bool,
}

/// A request that nobody made: what would the rules say?
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleQuestion {
    /// Who would ask; the caller when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asker: Option<Asker>,
    /// The repository that would hold the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// The type that the artifact would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// Rules to try in place of the profile's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Rules>,
}

/// Who would ask.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Asker {
    /// An account, with the groups and kind that it has now.
    Account(String),
    /// A run of this pipeline, as `project/pipeline`.
    Pipeline(String),
    /// A workload of a CI system.
    Workload(Workload),
}

pub(super) async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ProfileRules>, ApiError> {
    let principal = principal::of_caller(&front, &caller).await?;
    let profile = front.signer.profile(principal, parsed(&name)?).await?;
    Ok(Json(ProfileRules {
        of_grants: profile.rules.is_empty(),
        rules: match profile.rules.is_empty() {
            true => Rules::of_grants(&profile.grants),
            false => profile.rules,
        },
    }))
}

pub(super) async fn replace(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(new): Body<ProfileRules>,
) -> Result<Response, ApiError> {
    administrator(&caller)?;
    let profile = parsed(&name)?;
    let rules = new.rules;
    two_person::submit(&front, &caller, Operation::PutRules { profile, rules }).await
}

/// Gives a profile new rules, in place of its rules or grants.
///
/// # Errors
/// When the signer refuses or does not answer.
pub(crate) async fn put_rules(
    front: &FrontState,
    principal: Principal,
    (name, rules): (ProfileName, Rules),
) -> Result<signer::SigningProfile, ApiError> {
    if rules.is_empty() {
        let message = "a list without rules lets nobody sign";
        return Err(ApiError::usage(message).hint("cancel the profile if that is meant"));
    }
    let profile = front.signer.profile(principal.clone(), name).await?;
    let spec = ProfileSpec {
        grants: Grants::default(),
        rules,
        ..profile.to_spec()
    };
    let (_, profile) = front.signer.put_profile(principal, spec, true).await?;
    Ok(profile)
}

pub(super) async fn test(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(question): Body<RuleQuestion>,
) -> Result<Json<RuleTestResult>, ApiError> {
    let caller = principal::of_caller(&front, &caller).await?;
    let principal = match question.asker {
        None => caller.clone(),
        Some(asker) => asked_for(&front, asker).await?,
    };
    let test = RuleTest {
        profile: parsed(&name)?,
        principal,
        artifact: artifact(question.repository, question.artifact_type)?,
        rules: question.rules,
    };
    Ok(Json(front.signer.test_rules(caller, test).await?))
}

async fn asked_for(front: &FrontState, asker: Asker) -> Result<Principal, ApiError> {
    Ok(match asker {
        Asker::Account(name) => {
            let row = front.store.accounts.account(&name).await?;
            let row =
                row.ok_or_else(|| ApiError::not_found(format!("there is no account `{name}`")))?;
            Principal {
                groups: row.groups,
                is_robot: row.is_robot,
                ..Principal::account(&name)
            }
        }
        Asker::Pipeline(pipeline) => Principal {
            pipeline: Some(pipeline),
            ..Principal::account(crate::auth::RUN_ACCOUNT)
        },
        Asker::Workload(workload) => principal::of_workload(workload),
    })
}

fn artifact(
    repository: Option<RepositoryName>,
    artifact_type: Option<MediaType>,
) -> Result<Artifact, ApiError> {
    match (repository, artifact_type) {
        (None, None) => Ok(Artifact::Unknown(Unknown::PayloadOnly)),
        (Some(repository), Some(artifact_type)) => Ok(Artifact::Stored {
            repository,
            artifact_type,
        }),
        _ => Err(ApiError::usage(
            "repository and artifact type are known together, or neither is",
        )),
    }
}

/// Returns `groups` if every one is the name of a group.
///
/// # Errors
/// Says which is not.
pub(crate) fn checked_groups(groups: BTreeSet<String>) -> Result<BTreeSet<String>, ApiError> {
    const MAX_GROUPS: usize = 32;
    let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let is_group = |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(byte);
    if groups.len() > MAX_GROUPS {
        return Err(ApiError::usage(format!(
            "an account has at most {MAX_GROUPS} groups"
        )));
    }
    match groups.iter().find(|name| !is_group(name)) {
        Some(bad) => Err(ApiError::usage(format!(
            "`{}` is not a group: use 1 to 64 lower-case letters, digits, `.`, `_` and `-`",
            bad.chars().take(80).collect::<String>()
        ))),
        None => Ok(groups),
    }
}
