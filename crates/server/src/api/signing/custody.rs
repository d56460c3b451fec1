//! Where the signing keys lie, for administrators: it names devices and folders.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::Front;

/// Where the signing keys lie.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyCustody {
    /// In words.
    pub custody: String,
}

pub(super) async fn show(
    State(front): State<Front>,
    caller: Caller,
) -> Result<Json<KeyCustody>, ApiError> {
    caller.require_admin()?;
    let custody = front.signer.custody().await?;
    Ok(Json(KeyCustody { custody }))
}
