//! `/healthz` and `/metrics`: whether the roles answer, and counters.
//!
//! Both are public and tell nothing about content. A front without its signer still serves pulls,
//! so the status stays 200 as long as the store answers; the body names what is down.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use store::repositories::Page;
use tokio::net::UnixStream;

use crate::clock;
use crate::observe::RoleLabels;
use crate::state::{Front, FrontState};

/// A worker that has asked for nothing for this long is taken for down: it asks for work, or
/// extends what it has, several times in this time.
const WORKER_SILENCE: time::Duration = time::Duration::seconds(60);

/// The health of the installation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, `degraded` when a role is down, `failed` when the store is.
    pub status: String,
    /// `up` or `down` for each role that the front can ask.
    pub roles: BTreeMap<String, String>,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
}

async fn healthz(State(front): State<Front>) -> Response {
    let page = Page {
        after: None,
        limit: 1,
    };
    let store = front.store.repositories.list(&page).await.is_ok();
    let signer = ask_signer(&front).await;
    let worker = look_for_worker(&front);
    let word = |up: bool| if up { "up" } else { "down" }.to_owned();
    let roles = BTreeMap::from([
        ("front".to_owned(), word(store)),
        ("signer".to_owned(), word(signer)),
        ("worker".to_owned(), word(worker)),
    ]);
    let (code, status) = match (store, signer && worker) {
        (true, true) => (StatusCode::OK, "ok"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
    };
    let status = status.to_owned();
    (code, Json(Health { status, roles })).into_response()
}

async fn ask_signer(front: &FrontState) -> bool {
    let up = UnixStream::connect(&front.signer_socket).await.is_ok();
    let labels = RoleLabels { role: "signer" };
    front
        .metrics
        .roles
        .get_or_create(&labels)
        .set(i64::from(up));
    up
}

/// The front cannot ask the worker, which listens on nothing; it asks the front again and again.
fn look_for_worker(front: &FrontState) -> bool {
    let seen = front.auth.worker_seen();
    let up = seen.is_some_and(|seen| clock::now() - seen < WORKER_SILENCE);
    let labels = RoleLabels { role: "worker" };
    front
        .metrics
        .roles
        .get_or_create(&labels)
        .set(i64::from(up));
    up
}

async fn metrics(State(front): State<Front>) -> Response {
    ask_signer(&front).await;
    look_for_worker(&front);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], front.metrics.render()).into_response()
}
