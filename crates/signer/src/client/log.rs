//! The log, as the front asks for it.

use serde_json::{Map, Value};
use trust::tlog::{Hash, Tile, VerifierKey};

use super::{SignerClient, SignerClientError};
use crate::log::EntryKind;
use crate::protocol::log::{LogRequest, LogResponse, Which};
use crate::protocol::{Request, Response};
use crate::service::{ProvenEntry, Recorded};

impl SignerClient {
    /// Returns the key that verifies the log.
    pub async fn log_key(&self) -> Result<VerifierKey, SignerClientError> {
        match self.log_call(LogRequest::Key).await? {
            LogResponse::Key(key) => key.parse().map_err(|_| SignerClientError::Unexpected),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns the number of entries and the signed checkpoint over them.
    pub async fn log_checkpoint(&self) -> Result<(u64, String), SignerClientError> {
        match self.log_call(LogRequest::Checkpoint).await? {
            LogResponse::Checkpoint { size, note } => Ok((size, note)),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns a tile or bundle, put together from its pieces.
    pub async fn log_tile(&self, tile: Tile) -> Result<Vec<u8>, SignerClientError> {
        let (path, mut bytes) = (tile.to_string(), Vec::new());
        loop {
            let (path, offset) = (path.clone(), bytes.len());
            let answer = self.log_call(LogRequest::Tile { path, offset }).await?;
            let LogResponse::Tile { total_bytes, piece } = answer else {
                return Err(SignerClientError::Unexpected);
            };
            let is_last = piece.is_empty() || bytes.len() + piece.len() >= total_bytes;
            bytes.extend_from_slice(&piece);
            if is_last {
                return Ok(bytes);
            }
        }
    }

    /// Returns an entry, and the proof that it is in the log of `size` entries.
    pub async fn log_entry(
        &self,
        which: Which,
        size: Option<u64>,
    ) -> Result<ProvenEntry, SignerClientError> {
        match self.log_call(LogRequest::Entry { which, size }).await? {
            LogResponse::Entry {
                position,
                bytes,
                size,
                hashes,
            } => Ok(ProvenEntry {
                position,
                bytes,
                size,
                hashes: parsed(&hashes)?,
            }),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns the proof that the log of `old` entries is the beginning of that of `new` entries.
    pub async fn log_consistency(
        &self,
        old: u64,
        new: u64,
    ) -> Result<Vec<Hash>, SignerClientError> {
        match self.log_call(LogRequest::Consistency { old, new }).await? {
            LogResponse::Consistency(hashes) => parsed(&hashes),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Has an event written into the log; it is durable when this returns.
    pub async fn append_event(
        &self,
        kind: EntryKind,
        body: Map<String, Value>,
    ) -> Result<Recorded, SignerClientError> {
        match self.log_call(LogRequest::Append { kind, body }).await? {
            LogResponse::Appended { position, at } => Ok(Recorded { position, at }),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    async fn log_call(&self, request: LogRequest) -> Result<LogResponse, SignerClientError> {
        match self.call(&Request::Log(request)).await? {
            Response::Log(answer) => Ok(answer),
            _ => Err(SignerClientError::Unexpected),
        }
    }
}

fn parsed(hashes: &[String]) -> Result<Vec<Hash>, SignerClientError> {
    let hashes: Result<Vec<Hash>, _> = hashes.iter().map(|hash| hash.parse()).collect();
    hashes.map_err(|_| SignerClientError::Unexpected)
}
