//! The control API and the public pages: everything besides `/v2/`.
//!
//! One file per subject, each with a `routes()` that is merged here and wire shapes that the
//! command line uses too.

use axum::Router;

use crate::state::Front;

pub mod extract;

pub mod access_keys;
pub mod accounts;
pub mod advisories;
pub mod deployments;
pub mod forecast;
pub mod gate;
pub mod git;
pub mod health;
pub mod log;
pub mod oidc;
pub mod pending;
pub mod projects;
pub mod revocations;
pub mod runs;
pub mod signing;
pub mod work;
pub mod worker;

/// Returns the routes of all subjects.
pub fn routes() -> Router<Front> {
    Router::new()
        .merge(health::routes())
        .merge(access_keys::routes())
        .merge(accounts::routes())
        .merge(advisories::routes())
        .merge(oidc::routes())
        .merge(pending::routes())
        .merge(signing::routes())
        .merge(log::routes())
        .merge(revocations::routes())
        .merge(forecast::routes())
        .merge(projects::routes())
        .merge(runs::routes())
        .merge(gate::routes())
        .merge(deployments::routes())
        .merge(work::routes())
}
