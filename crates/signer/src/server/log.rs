//! Answers about the log.

use std::sync::Arc;

use crate::protocol::LIST_PIECE_BYTES;
use crate::protocol::log::{LogRequest, LogResponse, Which};
use crate::service::{Signer, SignerError};

pub(super) async fn dispatch(
    signer: &Arc<Signer>,
    request: LogRequest,
) -> Result<LogResponse, SignerError> {
    Ok(match request {
        LogRequest::Key => LogResponse::Key(signer.log_key().to_string()),
        LogRequest::Checkpoint => {
            let head = signer.log_head();
            LogResponse::Checkpoint {
                size: head.size,
                note: head.checkpoint.to_string(),
            }
        }
        LogRequest::Tile { path, offset } => tile_piece(signer, &path, offset).await?,
        LogRequest::Entry { which, size } => entry(signer, which, size).await?,
        LogRequest::Consistency { old, new } => {
            let hashes = signer.log_consistency(old, new).await?;
            LogResponse::Consistency(hashes.iter().map(ToString::to_string).collect())
        }
        LogRequest::Append { kind, body } => {
            let recorded = signer.append_event(kind, body).await?;
            LogResponse::Appended {
                position: recorded.position,
                at: recorded.at,
            }
        }
    })
}

async fn tile_piece(
    signer: &Arc<Signer>,
    path: &str,
    offset: usize,
) -> Result<LogResponse, SignerError> {
    let tile = path.parse();
    let tile =
        tile.map_err(|error: trust::tlog::TileError| SignerError::Malformed(error.to_string()))?;
    let bytes = signer.log_tile(tile).await?;
    let start = offset.min(bytes.len());
    let end = (start + LIST_PIECE_BYTES).min(bytes.len());
    Ok(LogResponse::Tile {
        total_bytes: bytes.len(),
        piece: bytes[start..end].to_vec(),
    })
}

async fn entry(
    signer: &Arc<Signer>,
    which: Which,
    size: Option<u64>,
) -> Result<LogResponse, SignerError> {
    let position = match which {
        Which::Position(position) => position,
        Which::Job(job) => signer.log_position(job).await?,
    };
    let proven = signer.log_entry(position, size).await?;
    Ok(LogResponse::Entry {
        position: proven.position,
        bytes: proven.bytes,
        size: proven.size,
        hashes: proven.hashes.iter().map(ToString::to_string).collect(),
    })
}
