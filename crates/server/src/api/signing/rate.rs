//! How many signatures a second each caller may ask for, over all profiles.

use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use signer::Principal;
use store::documents::DocumentKey;

use crate::api::extract::Body;
use crate::auth::Caller;
use crate::clock;
use crate::error::{ApiError, ErrorKind};
use crate::state::{Front, FrontState};
use crate::throttle::{MAX_RATE, Rate, Throttle};

/// The rate in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSetting {
    /// The rate; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// The rate as it was read last, and everybody's bucket.
#[derive(Default)]
pub struct SigningRate {
    throttle: Throttle,
    setting: RwLock<Option<RateSetting>>,
}

fn key() -> DocumentKey {
    DocumentKey::new("setting", "signing-rate")
}

async fn load(front: &FrontState) -> Result<RateSetting, ApiError> {
    let rate = &front.signing_rate.setting;
    if let Some(known) = *rate.read().unwrap_or_else(PoisonError::into_inner) {
        return Ok(known);
    }
    let row = front.store.documents.get(&key()).await?;
    let read = row
        .map(|row| serde_json::from_slice(&row.bytes))
        .transpose();
    let setting: RateSetting = read.map_err(ApiError::internal)?.unwrap_or_default();
    *rate.write().unwrap_or_else(PoisonError::into_inner) = Some(setting);
    Ok(setting)
}

/// Checks that `principal` does not ask too often.
///
/// # Errors
/// 429, with the time to wait.
pub(super) async fn check(front: &FrontState, principal: &Principal) -> Result<(), ApiError> {
    let Some(rate) = load(front).await?.rate else {
        return Ok(());
    };
    let taken = front
        .signing_rate
        .throttle
        .take(&principal.identity(), rate, Instant::now());
    taken.map_err(|wait| {
        let Rate { per_second, burst } = rate;
        let message = format!(
            "{} asks for more than {per_second} signatures a second ({burst} at once)",
            principal.describe()
        );
        ApiError::new(ErrorKind::TooManyRequests, "signing-rate-exceeded", message)
            .hint(format!("try again in {} ms", wait.as_millis() + 1))
    })
}

pub(super) async fn show(
    State(front): State<Front>,
    caller: Caller,
) -> Result<Json<RateSetting>, ApiError> {
    caller.require_account()?;
    Ok(Json(load(&front).await?))
}

pub(super) async fn set(
    State(front): State<Front>,
    caller: Caller,
    Body(setting): Body<RateSetting>,
) -> Result<Json<RateSetting>, ApiError> {
    caller.require_account()?;
    caller.require_admin()?;
    if !setting.rate.is_none_or(Rate::is_fit) {
        let message = format!("a rate and a burst are numbers from 1 to {MAX_RATE}");
        return Err(ApiError::usage(message));
    }
    let bytes = serde_json::to_vec(&setting).map_err(ApiError::internal)?;
    front
        .store
        .documents
        .put(&key(), &bytes, clock::now())
        .await?;
    let known = &front.signing_rate.setting;
    *known.write().unwrap_or_else(PoisonError::into_inner) = Some(setting);
    Ok(Json(setting))
}
