//! A witness over HTTP (C2SP `tlog-witness`): `add-checkpoint`, and what was cosigned last.
//!
//! A program of its own, for other people's logs. It holds no secret but its key, and what it
//! says is signed: it may be reached by anybody.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{StatusCode, header};
use signer::witness::{Witness, WitnessError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use trust::tlog::witness::{MAX_REQUEST_BYTES, WitnessRefusal};

use crate::clock;
use crate::error::chain;

const TEXT: &str = "text/plain; charset=utf-8";
/// What the specification names for the size in a conflict.
const SIZE: &str = "text/x.tlog.size";

/// Serves until `stop` becomes true. `ready` is told the address.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    witness: Witness,
    listen: SocketAddr,
    (ready, mut stop): (impl FnOnce(SocketAddr) + Send, watch::Receiver<bool>),
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    ready(listener.local_addr()?);
    let stopped = async move {
        let _ = stop.wait_for(|stopped| *stopped).await;
    };
    axum::serve(listener, routes(Arc::new(witness)))
        .with_graceful_shutdown(stopped)
        .await
}

fn routes(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(checkpoint))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    // It waits for the disk before it answers.
    let cosigning = move || witness.add_checkpoint(&body, clock::now());
    let cosigned = tokio::task::spawn_blocking(cosigning).await;
    match cosigned {
        Ok(Ok(line)) => ([(header::CONTENT_TYPE, TEXT)], format!("{line}\n")).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refused(error: &WitnessError) -> Response {
    let status = match error {
        WitnessError::Refused(WitnessRefusal::Conflict(size)) => {
            let headers = [(header::CONTENT_TYPE, SIZE)];
            return (StatusCode::CONFLICT, headers, format!("{size}\n")).into_response();
        }
        WitnessError::Refused(WitnessRefusal::Malformed(_)) => StatusCode::BAD_REQUEST,
        WitnessError::Refused(WitnessRefusal::UnknownLog) => StatusCode::NOT_FOUND,
        WitnessError::Refused(WitnessRefusal::NotSigned) => StatusCode::FORBIDDEN,
        WitnessError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => {
            tracing::error!(error = chain(error), "a checkpoint was not cosigned");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    tracing::warn!(error = chain(error), "a checkpoint was refused");
    (status, [(header::CONTENT_TYPE, TEXT)], format!("{error}\n")).into_response()
}

async fn checkpoint(State(witness): State<Arc<Witness>>, Path(origin): Path<String>) -> Response {
    match witness.checkpoint(&origin) {
        Some(note) => ([(header::CONTENT_TYPE, TEXT)], note.to_string()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
