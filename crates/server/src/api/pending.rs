//! Operations that wait for a second person, and whether two are needed.

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use oci::Digest;
use serde::{Deserialize, Serialize};

use super::extract::Body;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::Front;
use crate::two_person::{self, Operation};

pub use crate::two_person::{OperationState, PendingAnswer, PendingOperation};

/// A confirmation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The digest of the operation that was looked at.
    pub digest: Digest,
}

/// Whether the whole installation asks for two persons.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoPersonSetting {
    /// Whether two are needed.
    pub required: bool,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/pending", get(list))
        .route("/api/v1/pending/{id}", get(show))
        .route("/api/v1/pending/{id}/confirm", post(confirm))
        .route("/api/v1/pending/{id}/withdraw", post(withdraw))
        .route("/api/v1/settings/two-person", get(setting).put(set))
}

async fn list(
    State(front): State<Front>,
    caller: Caller,
) -> Result<Json<Vec<PendingOperation>>, ApiError> {
    caller.require_admin()?;
    Ok(Json(two_person::list(&front).await?))
}

async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<PendingOperation>, ApiError> {
    caller.require_admin()?;
    Ok(Json(two_person::show(&front, &id).await?))
}

async fn confirm(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
    Body(confirmation): Body<Confirmation>,
) -> Result<Response, ApiError> {
    two_person::confirm(&front, &caller, (&id, &confirmation.digest)).await
}

async fn withdraw(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<PendingOperation>, ApiError> {
    Ok(Json(two_person::withdraw(&front, &caller, &id).await?))
}

async fn setting(
    State(front): State<Front>,
    caller: Caller,
) -> Result<Json<TwoPersonSetting>, ApiError> {
    caller.require_account()?;
    let required = two_person::is_required(&front).await?;
    Ok(Json(TwoPersonSetting { required }))
}

async fn set(
    State(front): State<Front>,
    caller: Caller,
    Body(setting): Body<TwoPersonSetting>,
) -> Result<Response, ApiError> {
    caller.require_account()?;
    caller.require_admin()?;
    let required = setting.required;
    two_person::submit(&front, &caller, Operation::RequireTwo { required }).await
}
