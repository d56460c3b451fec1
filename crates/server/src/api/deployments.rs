//! Deployments: what serves where, and what served before.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use oci::{Digest, RepositoryName};
use serde::{Deserialize, Serialize};
use store::deployments::{DeploymentRow, DeploymentState};
use time::OffsetDateTime;

use crate::auth::Caller;
use crate::control::projects;
use crate::control::report::environment_url;
use crate::error::ApiError;
use crate::state::Front;

/// How many deployments of one environment are shown.
const SHOWN_DEPLOYMENTS: usize = 50;

/// A deployment as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its name.
    pub id: String,
    /// The environment.
    pub environment: String,
    /// Where it stands.
    pub state: DeploymentState,
    /// The repository of its image.
    pub repository: RepositoryName,
    /// The image.
    pub digest: Digest,
    /// The run that deployed it.
    pub run: String,
    /// The URL of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Why it failed or was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was started.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When its state last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/deployments", get(list))
        .route("/api/v1/deployments/{environment}", get(show))
}

/// Lists what serves, in all environments.
async fn list(
    State(front): State<Front>,
    caller: Caller,
) -> Result<Json<Vec<Deployment>>, ApiError> {
    caller.require_account()?;
    let mut shown = Vec::new();
    for row in front.store.deployments.routes().await? {
        if caller.require_pull(&row.repository).is_ok() {
            let url = url(&front, &row.environment).await?;
            shown.push(deployment(row, url));
        }
    }
    Ok(Json(shown))
}

/// Shows the deployments of one environment, the newest first.
async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(environment): Path<String>,
) -> Result<Json<Vec<Deployment>>, ApiError> {
    caller.require_account()?;
    let url = url(&front, &environment).await?;
    let deployments = &front.store.deployments;
    let rows = deployments.history(&environment, SHOWN_DEPLOYMENTS).await?;
    if rows.is_empty() && url.is_none() {
        let text = format!("there is no environment `{environment}`");
        return Err(ApiError::not_found(text));
    }
    let visible = rows
        .into_iter()
        .filter(|row| caller.require_pull(&row.repository).is_ok());
    Ok(Json(
        visible.map(|row| deployment(row, url.clone())).collect(),
    ))
}

async fn url(front: &Front, environment: &str) -> Result<Option<String>, ApiError> {
    for stored in projects::all(front).await? {
        let mut environments = stored.project.environments.iter();
        if let Some(found) = environments.find(|one| one.name.as_str() == environment) {
            return Ok(Some(environment_url(found)));
        }
    }
    Ok(None)
}

fn deployment(row: DeploymentRow, url: Option<String>) -> Deployment {
    let serves = row.state == DeploymentState::Current;
    Deployment {
        id: row.id,
        environment: row.environment,
        state: row.state,
        repository: row.repository,
        digest: row.digest,
        run: row.run,
        url: url.filter(|_| serves),
        reason: row.reason,
        started_at: row.started_at,
        updated_at: row.updated_at,
    }
}
