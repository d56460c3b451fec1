//! The transparency log over HTTP (C2SP `tlog-tiles`): checkpoint, tiles, bundles, and proofs.
//!
//! Entries name accounts and digests, so the log is for those who have an account. The key that
//! verifies it is for anybody: without it a proof that somebody hands on would be worth nothing.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signer::protocol::log::Which;
use trust::tlog::Tile;

use crate::auth::Caller;
use crate::error::{ApiError, chain};
use crate::state::Front;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// The newest checkpoint is the one that is wanted.
const NO_CACHE: &str = "no-cache";
/// A full tile never changes; entries are for accounts, so only the caller's own cache keeps it.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// An entry of the log as it is shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownEntry {
    /// Its position.
    pub position: u64,
    /// The entry, byte for byte.
    pub entry: Box<RawValue>,
}

/// Which entry a proof is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofQuery {
    position: Option<u64>,
    job: Option<String>,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/log/key", get(key))
        .route("/log/checkpoint", get(checkpoint))
        .route("/log/tile/{*path}", get(tile))
        .route("/log/proof", get(proof))
        .route("/log/entry/{which}", get(entry))
}

async fn key(State(front): State<Front>) -> Result<Response, ApiError> {
    let key = front.signer.log_key().await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], format!("{key}\n")).into_response())
}

async fn checkpoint(State(front): State<Front>, caller: Caller) -> Result<Response, ApiError> {
    caller.require_account()?;
    let published = front.checkpoint().await?;
    Ok(text(published.note.to_string()))
}

async fn tile(
    State(front): State<Front>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Response, ApiError> {
    caller.require_account()?;
    let tile: Tile = format!("tile/{path}")
        .parse()
        .map_err(|error: trust::tlog::TileError| ApiError::usage(error.to_string()))?;
    let bytes = front.signer.log_tile(tile).await?;
    let headers = [
        (header::CONTENT_TYPE, BYTES),
        (header::CACHE_CONTROL, FOR_EVER),
    ];
    Ok((headers, bytes).into_response())
}

/// A run may ask as well: what it has signed travels with the proof.
async fn proof(
    State(front): State<Front>,
    caller: Caller,
    Query(query): Query<ProofQuery>,
) -> Result<Response, ApiError> {
    not_the_worker(&caller)?;
    let which = match (query.position, query.job) {
        (Some(position), None) => Which::Position(position),
        (None, Some(job)) => which(&job)?,
        _ => return Err(ApiError::usage("either `position` or `job` is needed")),
    };
    let proof = front.prove(which).await?;
    Ok(text(proof.to_string()))
}

async fn entry(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ShownEntry>, ApiError> {
    caller.require_account()?;
    let found = front.signer.log_entry(which(&name)?, None).await?;
    let entry = serde_json::from_slice(&found.bytes);
    Ok(Json(ShownEntry {
        position: found.position,
        entry: entry.map_err(|error| ApiError::internal(chain(&error)))?,
    }))
}

/// Reads the name of an entry: its position, or the job whose entry it is.
fn which(name: &str) -> Result<Which, ApiError> {
    if let Ok(position) = name.parse() {
        return Ok(Which::Position(position));
    }
    let job: Result<signer::JobId, _> = name.parse();
    let job = job.map_err(|error| ApiError::usage(error.to_string()))?;
    Ok(Which::Job(job))
}

fn not_the_worker(caller: &Caller) -> Result<(), ApiError> {
    match caller.worker {
        true => Err(ApiError::denied("the worker's token cannot do this")),
        false => Ok(()),
    }
}

fn text(text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, TEXT),
        (header::CACHE_CONTROL, NO_CACHE),
    ];
    (headers, text).into_response()
}
