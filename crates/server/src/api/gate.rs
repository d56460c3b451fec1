//! Asking a gate: would this image be allowed now?

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use client::{ArtifactSource, TagOrDigest};
use oci::{Reference, RepositoryName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::Body;
use crate::auth::Caller;
use crate::control::assign::registry_name;
use crate::control::judge::{Question, judge};
use crate::control::projects;
use crate::error::{ApiError, ErrorKind, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// A question to a gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateCheck {
    /// The policy.
    pub policy: String,
    /// The project that it belongs to, where several have one of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The image: a reference into this server's registry, with or without the registry's name.
    pub reference: String,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new().route("/api/v1/gate/check", post(check))
}

/// Answers with the decision, as `gate` writes it down.
async fn check(
    State(front): State<Front>,
    caller: Caller,
    Body(question): Body<GateCheck>,
) -> Result<Json<Value>, ApiError> {
    let (repository, name) = parse(&front, &question.reference)?;
    caller.require_pull(&repository)?;
    let project = find_project(&front, &question).await?;
    let source = StoreSource::new(&front, &repository, &caller.account);
    let image = source.resolve(&name).await.map_err(|error| {
        let text = chain(&error);
        match error.is_not_found() {
            true => ApiError::not_found(text),
            false => ApiError::internal(text),
        }
    })?;
    let question = Question {
        project: &project,
        policy: &question.policy,
        repository: &repository,
        digest: &image.digest,
    };
    let verdict = judge(&front, &question).await?;
    Ok(Json(verdict.json))
}

async fn find_project(front: &Front, question: &GateCheck) -> Result<String, ApiError> {
    let mut found = Vec::new();
    for stored in projects::all(front).await? {
        let name = stored.project.name.to_string();
        let wanted = question.project.as_ref().is_none_or(|one| *one == name);
        if wanted && stored.policy(&question.policy).is_some() {
            found.push(name);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let text = format!("there is no gate policy `{}`", question.policy);
            Err(ApiError::not_found(text))
        }
        _ => {
            let text = format!("several projects have a gate policy `{}`", question.policy);
            Err(ApiError::usage(text)
                .hint(format!("name one of the projects {}", found.join(", "))))
        }
    }
}

/// Reads a reference into this server's registry.
pub(crate) fn parse(front: &Front, text: &str) -> Result<(RepositoryName, TagOrDigest), ApiError> {
    let own = registry_name(front);
    let is_whole = text
        .strip_prefix(own)
        .is_some_and(|rest| rest.starts_with('/'));
    let whole = match is_whole {
        true => text.to_owned(),
        false => format!("{own}/{text}"),
    };
    let reference: Reference = whole
        .parse()
        .map_err(|error| ApiError::usage(chain(&error)))?;
    let looks_foreign = |name: &RepositoryName| {
        let first = name.as_str().split('/').next().unwrap_or_default();
        !is_whole && (first.contains('.') || first == "localhost")
    };
    if looks_foreign(&reference.repository) {
        let text = format!("`{text}` is not in this server's registry, `{own}`");
        return Err(ApiError::new(
            ErrorKind::Unprocessable,
            "foreign-registry",
            text,
        ));
    }
    let name = TagOrDigest::of(&reference)
        .ok_or_else(|| ApiError::usage(format!("`{text}` has neither a tag nor a digest")))?;
    Ok((reference.repository, name))
}
