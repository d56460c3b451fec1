//! Revocations over HTTP: making them, looking at them beforehand, and hearing of them.

mod feed;
mod preview;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header;
use serde::{Deserialize, Serialize};
use signer::RevocationRequest;
use time::Duration;
use trust::revocation::feed::Bundle;
use trust::tlog::SignedNote;

pub(crate) use preview::places;
pub use preview::{DeployedDigest, PlacedDigest, PreviewRequest, RevocationPreview};

use super::extract::Body;
use super::signing::of_caller;
use crate::auth::Caller;
use crate::clock;
use crate::error::{ApiError, chain};
use crate::state::Front;
use crate::two_person::{self, Operation};

/// A request for a bundle of all revocations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewBundle {
    /// How long it may be used, in seconds.
    pub valid_for_secs: u32,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/revocations", get(feed::page).post(revoke))
        .route("/api/v1/revocations/preview", post(preview::preview))
        .route("/api/v1/revocations/feed", get(feed::feed))
        .route("/api/v1/revocations/bundle", post(bundle))
}

/// Revokes, or keeps it until a second person has confirmed it. When this says that it is done, our
/// own gates know of it.
async fn revoke(
    State(front): State<Front>,
    caller: Caller,
    Body(revocation): Body<RevocationRequest>,
) -> Result<Response, ApiError> {
    two_person::submit(&front, &caller, Operation::Revoke { revocation }).await
}

/// Answers with the file of a bundle.
async fn bundle(
    State(front): State<Front>,
    caller: Caller,
    Body(request): Body<NewBundle>,
) -> Result<Response, ApiError> {
    caller.require_account()?;
    let principal = of_caller(&front, &caller).await?;
    let until = clock::now() + Duration::seconds(request.valid_for_secs.into());
    let (note, sequence) = front.signer.revocation_bundle(principal, until).await?;
    let note =
        SignedNote::parse(note.as_bytes()).map_err(|error| ApiError::internal(chain(&error)))?;
    let lines = feed::lines_up_to(&front, sequence).await?;
    let text = Bundle::write(&note, lines.iter().map(String::as_str));
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, text).into_response())
}
