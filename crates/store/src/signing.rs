//! What the signer role remembers, in a database of its own: profiles, jobs, revoked leaves, the
//! number of the last revocation list, and the log of all of it.
//!
//! Plain rows with the columns that queries need; the documents are the signer's own JSON. The
//! file lies in the signer's folder, where the front cannot read it.

mod jobs;
mod log;
mod revocations;

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::StoreError;
use crate::sqlite::columns::{collect, first, get_time, get_unsigned, micros};
use crate::sqlite::{Database, SIGNER};

pub use jobs::{ExpiryFilter, SigningJobFilter, SigningJobPage, SigningJobRow, StoredJob};
pub use log::{LogEntryRow, LogHeadRow, LogNodeRow};
pub use revocations::{CoverageFilter, CoverageRow, RevocationRow};

/// A signing profile as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// Its unique name.
    pub name: String,
    /// The signer's JSON.
    pub document: String,
}

/// A revoked leaf certificate as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedLeafRow {
    /// Its serial number.
    pub serial: String,
    /// From when on revocation lists leave it out.
    pub listed_until: OffsetDateTime,
    /// The signer's JSON.
    pub document: String,
}

/// A leaf certificate that several jobs share, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedLeafRow {
    /// Its serial number.
    pub serial: String,
    /// The number of its issuer.
    pub issuer: u32,
}

/// Rows that change together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningChange {
    /// Profiles that are new or changed.
    pub profiles: Vec<ProfileRow>,
    /// Jobs that are new, or of which the revocation changed.
    pub jobs: Vec<SigningJobRow>,
    /// Leaves that are revoked now.
    pub leaves: Vec<RevokedLeafRow>,
    /// New revocations, as they are pushed.
    pub revocations: Vec<RevocationRow>,
    /// Leaves that several jobs share, issued now; one that is known stays as it is.
    pub issued: Vec<IssuedLeafRow>,
    /// New entries of the log.
    pub entries: Vec<LogEntryRow>,
    /// New hashes of the tree over it.
    pub nodes: Vec<LogNodeRow>,
    /// The checkpoint that takes the place of the last.
    pub checkpoint: Option<String>,
    /// Jobs of a time before the log that are in it now.
    pub imported: Vec<Uuid>,
}

/// The signer's records in SQLite. Cheap to clone.
#[derive(Clone)]
pub struct SigningRecords(Arc<Database>);

impl SigningRecords {
    /// Opens the database file, making it if needed.
    ///
    /// # Errors
    /// When it cannot be opened, or a newer version wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Database::open(path, SIGNER)?)))
    }

    /// Keeps all rows of a change, or none of them.
    ///
    /// # Errors
    /// When the database fails, or a position of the log is taken.
    pub async fn put(&self, change: SigningChange) -> Result<(), StoreError> {
        self.0
            .write(move |connection| put(connection, &change))
            .await
    }

    /// Returns all profiles by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn profiles(&self) -> Result<Vec<ProfileRow>, StoreError> {
        self.0
            .read(|connection| {
                let mut statement = connection
                    .prepare_cached("SELECT name, document FROM profiles ORDER BY name")?;
                collect(statement.query([])?, |row| {
                    Ok(ProfileRow {
                        name: row.get(0)?,
                        document: row.get(1)?,
                    })
                })
            })
            .await
    }

    /// Returns the revoked leaves that are listed after `now`, by serial number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoked_leaves(
        &self,
        now: OffsetDateTime,
    ) -> Result<Vec<RevokedLeafRow>, StoreError> {
        let now = micros(now);
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT serial, listed_until, document FROM revoked_leaves
                     WHERE listed_until > ?1 ORDER BY serial",
                )?;
                collect(statement.query([now])?, |row| {
                    Ok(RevokedLeafRow {
                        serial: row.get(0)?,
                        listed_until: get_time(row, 1)?,
                        document: row.get(2)?,
                    })
                })
            })
            .await
    }

    /// Returns the leaf with this serial number, if several jobs share it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issued_leaf(&self, serial: &str) -> Result<Option<IssuedLeafRow>, StoreError> {
        let serial = serial.to_owned();
        self.0
            .read(move |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT serial, issuer FROM issued_leaves WHERE serial = ?1")?;
                first(statement.query([serial])?, |row| {
                    Ok(IssuedLeafRow {
                        serial: row.get(0)?,
                        issuer: row.get(1)?,
                    })
                })
            })
            .await
    }

    /// Returns a number that is larger than all that it returned before for `counter`; the first
    /// is 1.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_number(&self, counter: &'static str) -> Result<u64, StoreError> {
        self.0
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "INSERT INTO counters (name, value) VALUES (?1, 1)
                     ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                )?;
                let next = first(statement.query([counter])?, |row| get_unsigned(row, 0))?;
                next.ok_or(StoreError::Closed)
            })
            .await
    }
}

fn put(connection: &Connection, change: &SigningChange) -> Result<(), StoreError> {
    for row in &change.profiles {
        let mut statement = connection.prepare_cached(
            "INSERT INTO profiles (name, document) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET document = excluded.document",
        )?;
        statement.execute(params![row.name, row.document])?;
    }
    jobs::put(connection, &change.jobs)?;
    jobs::forget_unlogged(connection, &change.imported)?;
    for row in &change.leaves {
        let mut statement = connection.prepare_cached(
            "INSERT INTO revoked_leaves (serial, listed_until, document) VALUES (?1, ?2, ?3)
             ON CONFLICT (serial) DO UPDATE
             SET listed_until = excluded.listed_until, document = excluded.document",
        )?;
        statement.execute(params![row.serial, micros(row.listed_until), row.document])?;
    }
    revocations::put(connection, change)?;
    for row in &change.issued {
        let mut statement = connection.prepare_cached(
            "INSERT INTO issued_leaves (serial, issuer) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?;
        statement.execute(params![row.serial, row.issuer])?;
    }
    log::put(connection, change)
}
