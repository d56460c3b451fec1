//! What the front asks of the log, and reports to it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::job::JobId;
use crate::log::EntryKind;

/// A question about the log, or an event for it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum LogRequest {
    /// The key that verifies the log.
    Key,
    /// The last checkpoint.
    Checkpoint,
    /// A piece of a tile or bundle.
    Tile {
        /// Its path below the log's prefix.
        path: String,
        /// Where the piece begins.
        offset: usize,
    },
    /// An entry, and the proof that it is in the log.
    Entry {
        /// Which.
        which: Which,
        /// The number of entries of the tree that the proof leads to; the log as it is now when
        /// absent.
        size: Option<u64>,
    },
    /// The proof that the log at one size is the beginning of the log at another.
    Consistency {
        /// The smaller size.
        old: u64,
        /// The larger size.
        new: u64,
    },
    /// Something that happened and is to be in the log.
    Append {
        /// What it is about.
        kind: EntryKind,
        /// What happened.
        body: Map<String, Value>,
    },
}

/// Which entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The one at this position.
    Position(u64),
    /// That of a signature.
    Job(JobId),
}

/// An answer about the log. Hashes are in base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum LogResponse {
    /// The key that verifies the log.
    Key(String),
    /// The last checkpoint.
    Checkpoint {
        /// The number of entries.
        size: u64,
        /// The signed note.
        note: String,
    },
    /// A piece of a tile or bundle.
    Tile {
        /// The length of the whole tile.
        total_bytes: usize,
        /// The piece.
        #[serde(with = "super::base64_bytes")]
        piece: Vec<u8>,
    },
    /// An entry and its proof.
    Entry {
        /// Its position.
        position: u64,
        /// The entry.
        #[serde(with = "super::base64_bytes")]
        bytes: Vec<u8>,
        /// The size of the tree that the proof leads to.
        size: u64,
        /// The proof.
        hashes: Vec<String>,
    },
    /// A proof of consistency.
    Consistency(Vec<String>),
    /// Where and when an event was written.
    Appended {
        /// The position of its entry.
        position: u64,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
}
