//! The advisories that scans on this server are matched with.
//!
//! An administrator uploads a whole database, as `countersign db import` makes it; it replaces
//! the one before in one step. Workers ask for the advisories on the packages that they found.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Body as RawBody;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http_body_util::BodyExt;
use pipeline::advisories::{self, AdvisoriesError};
use scan::{Advisories, AdvisorySubset, Database, DatabaseStatus, Ecosystem};
use serde::{Deserialize, Serialize};

use super::extract::Body;
use crate::auth::Caller;
use crate::error::{ApiError, chain};
use crate::state::Front;

/// The largest database, in bytes. Debian and PyPI together take some two hundred million.
pub const MAX_DATABASE_BYTES: usize = 1024 * 1024 * 1024;
/// The most packages of one question. The largest images have a few thousand.
pub const MAX_PACKAGES: usize = 100_000;

/// A question about packages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdvisoryQuery {
    /// The packages, as `scan::matching::look_ups` names them.
    pub packages: Vec<(Ecosystem, String)>,
}

/// The database in memory, once it has been asked for.
type Loaded = Arc<RwLock<Option<Database>>>;

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/advisories", get(status).put(replace))
        .route("/api/v1/advisories/query", post(query))
        .layer(Extension(Loaded::default()))
}

async fn status(
    State(front): State<Front>,
    Extension(loaded): Extension<Loaded>,
    _caller: Caller,
) -> Result<Json<DatabaseStatus>, ApiError> {
    let database = load(&front, &loaded).await?;
    Ok(Json(database.status().clone()))
}

async fn query(
    State(front): State<Front>,
    Extension(loaded): Extension<Loaded>,
    _caller: Caller,
    Body(query): Body<AdvisoryQuery>,
) -> Result<Json<AdvisorySubset>, ApiError> {
    if query.packages.len() > MAX_PACKAGES {
        let message = format!("more than {MAX_PACKAGES} packages in one question");
        return Err(ApiError::usage(message));
    }
    let database = load(&front, &loaded).await?;
    let asked = tokio::task::spawn_blocking(move || {
        let packages = query.packages.iter().map(|(e, name)| (e, name.as_str()));
        AdvisorySubset::of(&database, packages)
    });
    let subset = asked.await.map_err(ApiError::internal)?;
    subset
        .map(Json)
        .map_err(|error| ApiError::internal(chain(&error)))
}

async fn replace(
    State(front): State<Front>,
    Extension(loaded): Extension<Loaded>,
    caller: Caller,
    body: RawBody,
) -> Result<Json<DatabaseStatus>, ApiError> {
    caller.require_admin()?;
    let body = http_body_util::Limited::new(body, MAX_DATABASE_BYTES);
    let bytes = body
        .collect()
        .await
        .map_err(|error| ApiError::usage(format!("the database could not be received: {error}")))?;
    let bytes = bytes.to_bytes();
    let folder = folder(&front);
    let kept = tokio::task::spawn_blocking(move || keep(&folder, &bytes));
    let database = kept.await.map_err(ApiError::internal)??;
    let status = database.status().clone();
    *loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
    Ok(Json(status))
}

fn folder(front: &Front) -> PathBuf {
    front.folder.join("advisories")
}

/// Checks the database, and lets it take the place of the one before.
fn keep(folder: &Path, bytes: &[u8]) -> Result<Database, ApiError> {
    let database = Database::open(bytes.to_vec()).map_err(|error| {
        let reason = chain(&error);
        ApiError::usage(format!("this is not an advisory database: {reason}"))
            .hint("make one with `countersign db import`")
    })?;
    let replaced = advisories::replace(folder, bytes);
    replaced.map_err(|error| ApiError::internal(chain(&error)))?;
    Ok(database)
}

async fn load(front: &Front, loaded: &Loaded) -> Result<Database, ApiError> {
    let known = loaded
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some(database) = known {
        return Ok(database);
    }
    let folder = folder(front);
    let read = tokio::task::spawn_blocking(move || advisories::load(&folder)).await;
    let database = read
        .map_err(ApiError::internal)?
        .map_err(|error| match error {
            AdvisoriesError::Missing(_) => ApiError::not_found("this server has no advisories yet")
                .hint("an administrator brings them with `countersign db push`"),
            other => ApiError::internal(chain(&other)),
        })?;
    let mut place = loaded.write().unwrap_or_else(PoisonError::into_inner);
    Ok(place.get_or_insert(database).clone())
}

#[cfg(test)]
mod tests {
    use scan::DatabaseBuilder;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn only_a_database_takes_the_place_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = DatabaseBuilder::new();
        builder.add_ecosystem(Ecosystem::pypi());
        let (bytes, status) = builder.finish(datetime!(2026-01-02 3:04:05 UTC));
        let kept = keep(folder.path(), &bytes).unwrap();
        assert_eq!(*kept.status(), status);
        assert!(keep(folder.path(), b"something else").is_err());
        assert!(keep(folder.path(), &bytes[..bytes.len() / 2]).is_err());
        let found = advisories::load(folder.path()).unwrap();
        assert_eq!(*found.status(), status);
    }
}
