//! All routes of the front, and the layers around them.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;

use crate::state::Front;
use crate::{api, aws, registry, request};

/// The largest body of a control API request, in bytes: a project with its policies inlined.
pub const MAX_API_BODY_BYTES: usize = 8 * 1024 * 1024;

/// Returns the whole application.
pub fn router(front: Front) -> Router {
    Router::new()
        .merge(api::routes().layer(DefaultBodyLimit::max(MAX_API_BODY_BYTES)))
        // The registry streams blobs of any size and bounds manifests itself.
        .merge(registry::routes().layer(DefaultBodyLimit::disable()))
        // git streams packs; `api::git` bounds them.
        .merge(api::git::routes(&front).layer(DefaultBodyLimit::disable()))
        .fallback(request::not_found)
        // Before the paths are looked at: what signs the way of AWS is AWS's, whatever its path.
        .layer(middleware::from_fn_with_state(
            front.clone(),
            aws::intercept,
        ))
        // A panic is a bug; it must cost one request, not the connection of everybody else.
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn_with_state(
            front.clone(),
            request::observe,
        ))
        .with_state(front)
}
