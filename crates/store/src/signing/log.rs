//! The rows of the signer's log: entries, hashes of the tree over them, the last checkpoint.

use rusqlite::{Connection, params};
use time::OffsetDateTime;

use super::{SigningChange, SigningRecords};
use crate::StoreError;
use crate::sqlite::columns::{collect, first, get_time, get_unsigned, micros, signed};

/// The most entries or hashes that one read returns: a tile.
const MAX_READ_ROWS: u64 = 256;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntryRow {
    /// Its position.
    pub position: u64,
    /// When it was written.
    pub at: OffsetDateTime,
    /// The entry.
    pub bytes: Vec<u8>,
}

/// The hash of a complete subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogNodeRow {
    /// Its height above the leaves.
    pub height: u8,
    /// Its number among those of its height.
    pub number: u64,
    /// The hash.
    pub hash: [u8; 32],
}

/// Where the log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHeadRow {
    /// The number of entries.
    pub size: u64,
    /// When the last was written; `None` when there is none.
    pub at: Option<OffsetDateTime>,
    /// The last checkpoint.
    pub checkpoint: Option<String>,
}

impl SigningRecords {
    /// Returns where the log ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_head(&self) -> Result<LogHeadRow, StoreError> {
        self.0.read(head).await
    }

    /// Returns the bytes of `count` entries, at most 256, from position `from` on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_entries(&self, from: u64, count: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let (from, count) = (signed(from), signed(count.min(MAX_READ_ROWS)));
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT bytes FROM log_entries WHERE position >= ?1 ORDER BY position LIMIT ?2",
                )?;
                collect(statement.query([from, count])?, |row| Ok(row.get(0)?))
            })
            .await
    }

    /// Returns the hashes of `count` subtrees, at most 256, of a height, from number `from` on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_nodes(
        &self,
        height: u8,
        (from, count): (u64, u64),
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let (from, count) = (signed(from), signed(count.min(MAX_READ_ROWS)));
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT hash FROM log_nodes WHERE height = ?1 AND number >= ?2
                     ORDER BY number LIMIT ?3",
                )?;
                let rows = statement.query(params![height, from, count])?;
                collect(rows, |row| Ok(row.get(0)?))
            })
            .await
    }

    /// Returns the position of the first entry that was written at `time` or later; the size of
    /// the log when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_position_at(&self, time: OffsetDateTime) -> Result<u64, StoreError> {
        let time = micros(time);
        self.0
            .read(move |connection| position_at(connection, time))
            .await
    }
}

fn head(connection: &Connection) -> Result<LogHeadRow, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT position, at FROM log_entries ORDER BY position DESC LIMIT 1")?;
    let last = first(statement.query([])?, |row| {
        Ok((get_unsigned(row, 0)?, get_time(row, 1)?))
    })?;
    let mut statement = connection.prepare_cached("SELECT note FROM log_checkpoint")?;
    Ok(LogHeadRow {
        size: last.map_or(0, |(position, _)| position + 1),
        at: last.map(|(_, at)| at),
        checkpoint: first(statement.query([])?, |row| Ok(row.get(0)?))?,
    })
}

/// Times never go back in the log, so this is a search by halves and needs no index.
fn position_at(connection: &Connection, time: i64) -> Result<u64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT at FROM log_entries WHERE position = ?1")?;
    let (mut low, mut high) = (0, head(connection)?.size);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = first(statement.query([signed(middle)])?, |row| {
            Ok(row.get::<_, i64>(0)?)
        })?;
        let at = at.ok_or_else(|| StoreError::corrupt("log", format!("no entry {middle}")))?;
        match at < time {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(low)
}

pub(super) fn put(connection: &Connection, change: &SigningChange) -> Result<(), StoreError> {
    for row in &change.entries {
        let mut statement = connection
            .prepare_cached("INSERT INTO log_entries (position, at, bytes) VALUES (?1, ?2, ?3)")?;
        statement.execute(params![signed(row.position), micros(row.at), row.bytes])?;
    }
    for row in &change.nodes {
        let mut statement = connection
            .prepare_cached("INSERT INTO log_nodes (height, number, hash) VALUES (?1, ?2, ?3)")?;
        statement.execute(params![row.height, signed(row.number), row.hash])?;
    }
    if let Some(note) = &change.checkpoint {
        let mut statement = connection.prepare_cached(
            "INSERT INTO log_checkpoint (one, note) VALUES (1, ?1)
             ON CONFLICT (one) DO UPDATE SET note = excluded.note",
        )?;
        statement.execute([note])?;
    }
    Ok(())
}
