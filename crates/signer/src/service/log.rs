//! The log as others read it, and the events that the front reports to it.

use serde_json::{Map, Value};
use trust::tlog::proof::{consistency, inclusion};
use trust::tlog::tile::bundle;
use trust::tlog::{Hash, Tile, TileKind, TileSet, VerifierKey};

use super::journal::{Change, Recorded, Rows};
use super::{Signer, SignerError};
use crate::job::JobId;
use crate::log::{Entry, EntryKind, read};

/// An entry, and the proof that it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenEntry {
    /// Its position.
    pub position: u64,
    /// The entry.
    pub bytes: Vec<u8>,
    /// The size of the tree that the proof leads to.
    pub size: u64,
    /// The proof, from the leaf up.
    pub hashes: Vec<Hash>,
}

impl Signer {
    /// Returns the key that verifies the log. Its name is the log's origin.
    pub fn log_key(&self) -> &VerifierKey {
        self.log_key.verifier()
    }

    /// Returns the bytes of a tile or bundle, which may be narrower than the tree by now has it.
    ///
    /// # Errors
    /// When the tree has no such tile, or the records cannot be read.
    pub async fn log_tile(&self, tile: Tile) -> Result<Vec<u8>, SignerError> {
        let size = self.log_head().size;
        let widest = Tile::in_tree(tile.kind, tile.number, size);
        if widest.is_none_or(|widest| widest.width < tile.width) {
            return Err(SignerError::NotInLog(format!("tile `{tile}`"), size));
        }
        let (first, width) = (tile.first_node(), tile.width.into());
        if tile.kind == TileKind::Entries {
            let entries = self.records.log_entries(first.number, width).await?;
            let too_long = |_| SignerError::Internal("a log entry is too long".to_owned());
            return bundle(&entries).map_err(too_long);
        }
        let hashes = read::row(&*self.records, first, width).await?;
        Ok(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect())
    }

    /// Returns an entry, and the proof that it is in the log of `size` entries; of all that there
    /// are when that is absent.
    ///
    /// # Errors
    /// When there is no such entry or size, or the records cannot be read.
    pub async fn log_entry(
        &self,
        position: u64,
        size: Option<u64>,
    ) -> Result<ProvenEntry, SignerError> {
        let now = self.log_head().size;
        let size = size.unwrap_or(now);
        if size > now || position >= size {
            return Err(SignerError::NotInLog(
                format!("entry {position}"),
                size.min(now),
            ));
        }
        let entries = self.records.log_entries(position, 1).await?;
        let bytes = entries.into_iter().next();
        let missing = || SignerError::Internal(format!("log entry {position} is missing"));
        Ok(ProvenEntry {
            position,
            bytes: bytes.ok_or_else(missing)?,
            size,
            hashes: self
                .prove(size, |tiles| inclusion((position, size), |n| tiles.node(n)))
                .await?,
        })
    }

    /// Returns the position of the entry of a signature.
    ///
    /// # Errors
    /// When there is no such job, or the records cannot be read.
    pub async fn log_position(&self, job: JobId) -> Result<u64, SignerError> {
        let found = self.records.job(job).await?;
        Ok(found.ok_or(SignerError::NoJob(job))?.position)
    }

    /// Returns the proof that the log of `old` entries is the beginning of that of `new` entries.
    ///
    /// # Errors
    /// When the log is not as long, or the records cannot be read.
    pub async fn log_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, SignerError> {
        let now = self.log_head().size;
        if old > new || new > now {
            return Err(SignerError::NotInLog(
                format!("a log from {old} to {new}"),
                now,
            ));
        }
        self.prove(new, |tiles| {
            consistency((old, new), |node| tiles.node(node))
        })
        .await
    }

    /// Makes a proof, reading the tiles that it says it needs.
    async fn prove(
        &self,
        size: u64,
        make: impl Fn(&TileSet) -> Result<Vec<Hash>, Tile> + Send,
    ) -> Result<Vec<Hash>, SignerError> {
        let mut tiles = TileSet::new(size);
        loop {
            let missing = match make(&tiles) {
                Ok(proof) => return Ok(proof),
                Err(tile) => tile,
            };
            let (first, width) = (missing.first_node(), missing.width.into());
            tiles.insert(missing, read::row(&*self.records, first, width).await?);
        }
    }

    /// Writes into the log what the front did or learned. It is durable when this returns.
    ///
    /// # Errors
    /// When it is too long, of a kind that only the signer itself writes, or cannot be recorded.
    pub async fn append_event(
        &self,
        kind: EntryKind,
        body: Map<String, Value>,
    ) -> Result<Recorded, SignerError> {
        if !kind.is_reported() {
            let message = "entries of this kind are written by the signer alone";
            return Err(SignerError::Malformed(message.to_owned()));
        }
        let entry = Entry::new(kind, body)?;
        let rows = Rows::default();
        self.journal.commit(Change { entry, rows }).await
    }
}
