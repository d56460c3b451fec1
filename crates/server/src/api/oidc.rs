//! Issuers of workload identities, and the exchange of their tokens for ours.

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::extract::Body;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::oidc;
use crate::state::Front;
use crate::two_person::{self, Operation};

pub use crate::oidc::{Access, Issuer, NewIssuer, WorkloadToken};

/// A token of a CI system, to be exchanged.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignToken {
    /// The token, as the CI system gave it.
    pub token: String,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/oidc/token", post(exchange))
        .route("/api/v1/oidc/issuers", get(list).post(put))
        .route("/api/v1/oidc/issuers/{id}", delete(remove))
}

/// Needs no token of ours: the other one is the proof.
async fn exchange(
    State(front): State<Front>,
    Body(foreign): Body<ForeignToken>,
) -> Result<(StatusCode, Json<WorkloadToken>), ApiError> {
    let token = oidc::exchange(&front, &foreign.token).await?;
    Ok((StatusCode::CREATED, Json(token)))
}

async fn list(State(front): State<Front>, caller: Caller) -> Result<Json<Vec<Issuer>>, ApiError> {
    caller.require_admin()?;
    Ok(Json(oidc::list(&front).await?))
}

async fn put(
    State(front): State<Front>,
    caller: Caller,
    Body(issuer): Body<NewIssuer>,
) -> Result<Response, ApiError> {
    caller.require_admin()?;
    issuer.check()?;
    two_person::submit(&front, &caller, Operation::PutIssuer { issuer }).await
}

async fn remove(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    caller.require_admin()?;
    two_person::submit(&front, &caller, Operation::RemoveIssuer { id }).await
}
