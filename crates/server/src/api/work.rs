//! The routes that workers call; the shapes are in [`super::worker`].

use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;

use super::extract::Body;
use super::worker::{
    Assignment, Completion, Extended, FailureReport, Holder, LeaseRequest, LogBatch,
};
use crate::auth::Caller;
use crate::control::{assign, report};
use crate::error::ApiError;
use crate::state::Front;

/// The longest that a request for work is kept open, whatever it asks for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The longest name of a worker, in bytes.
const MAX_OWNER_BYTES: usize = 128;

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/worker/lease", post(lease))
        .route("/api/v1/worker/jobs/{job}/extend", post(extend))
        .route("/api/v1/worker/jobs/{job}/log", post(log))
        .route("/api/v1/worker/jobs/{job}/complete", post(complete))
        .route("/api/v1/worker/jobs/{job}/fail", post(fail))
}

async fn lease(
    State(front): State<Front>,
    caller: Caller,
    Body(request): Body<LeaseRequest>,
) -> Result<Json<Option<Assignment>>, ApiError> {
    caller.require_worker()?;
    if request.owner.is_empty() || request.owner.len() > MAX_OWNER_BYTES {
        return Err(ApiError::usage("`owner` is empty or too long"));
    }
    let wait = Duration::from_secs(request.wait_secs.into()).min(MAX_WAIT);
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let found = assign::next(&front, &request.owner).await?;
        if found.is_some() || tokio::time::Instant::now() >= deadline {
            return Ok(Json(found));
        }
        front.control.job_may_wait().await;
    }
}

async fn extend(
    State(front): State<Front>,
    caller: Caller,
    Path(job): Path<i64>,
    Body(holder): Body<Holder>,
) -> Result<Json<Extended>, ApiError> {
    caller.require_worker()?;
    // A job of a run that was stopped is gone, so its lease is lost.
    report::extend(&front, job, &holder).await?;
    Ok(Json(Extended { cancelled: false }))
}

async fn log(
    State(front): State<Front>,
    caller: Caller,
    Path(job): Path<i64>,
    Body(batch): Body<LogBatch>,
) -> Result<StatusCode, ApiError> {
    caller.require_worker()?;
    report::log_lines(&front, job, batch).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn complete(
    State(front): State<Front>,
    caller: Caller,
    Path(job): Path<i64>,
    Body(done): Body<Completion>,
) -> Result<StatusCode, ApiError> {
    caller.require_worker()?;
    report::complete(&front, job, (&done.holder, done.outcome)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fail(
    State(front): State<Front>,
    caller: Caller,
    Path(job): Path<i64>,
    Body(failed): Body<FailureReport>,
) -> Result<StatusCode, ApiError> {
    caller.require_worker()?;
    report::fail(&front, job, failed).await?;
    Ok(StatusCode::NO_CONTENT)
}
