//! What the signer role remembers, in a database of its own: profiles, jobs, revoked leaves, and
//! the number of the last revocation list.
//!
//! Plain rows with the columns that queries need; the documents are the signer's own JSON. The
//! file lies in the signer's folder, where the front cannot read it.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use time::OffsetDateTime;

use crate::StoreError;
use crate::repositories::MAX_PAGE_ROWS;
use crate::sqlite::columns::{collect, first, get_time, get_unsigned, micros, signed};
use crate::sqlite::{Database, SIGNER};

/// A signing profile as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// Its unique name.
    pub name: String,
    /// The signer's JSON.
    pub document: String,
}

/// A signing job as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningJobRow {
    /// Its unique identifier; listings are in the order of its bytes.
    pub id: String,
    /// The profile that it was signed under.
    pub profile: String,
    /// When it was signed.
    pub signed_at: OffsetDateTime,
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

/// Rows that change together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningChange {
    /// Profiles that are new or changed.
    pub profiles: Vec<ProfileRow>,
    /// Jobs that are new or changed.
    pub jobs: Vec<SigningJobRow>,
    /// Leaves that are revoked now.
    pub leaves: Vec<RevokedLeafRow>,
}

/// Which jobs a listing holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningJobFilter {
    /// Only those of this profile.
    pub profile: Option<String>,
    /// Only those signed at this moment or later.
    pub signed_from: Option<OffsetDateTime>,
    /// Only those after this identifier.
    pub after: Option<String>,
    /// The most rows.
    pub limit: usize,
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
    /// When the database fails.
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

    /// Returns a job.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&self, id: &str) -> Result<Option<SigningJobRow>, StoreError> {
        let id = id.to_owned();
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT id, profile, signed_at, document FROM signing_jobs WHERE id = ?1",
                )?;
                first(statement.query([id])?, job)
            })
            .await
    }

    /// Returns jobs in the order of their identifiers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs(&self, filter: &SigningJobFilter) -> Result<Vec<SigningJobRow>, StoreError> {
        let filter = filter.clone();
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT id, profile, signed_at, document FROM signing_jobs
                     WHERE (?1 IS NULL OR profile = ?1) AND (?2 IS NULL OR signed_at >= ?2)
                     AND id > ?3 ORDER BY id LIMIT ?4",
                )?;
                let rows = statement.query(params![
                    filter.profile,
                    filter.signed_from.map(micros),
                    filter.after.unwrap_or_default(),
                    signed(filter.limit.min(MAX_PAGE_ROWS) as u64),
                ])?;
                collect(rows, job)
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
    for row in &change.jobs {
        let mut statement = connection.prepare_cached(
            "INSERT INTO signing_jobs (id, profile, signed_at, document) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET document = excluded.document",
        )?;
        let at = micros(row.signed_at);
        statement.execute(params![row.id, row.profile, at, row.document])?;
    }
    for row in &change.leaves {
        let mut statement = connection.prepare_cached(
            "INSERT INTO revoked_leaves (serial, listed_until, document) VALUES (?1, ?2, ?3)
             ON CONFLICT (serial) DO UPDATE
             SET listed_until = excluded.listed_until, document = excluded.document",
        )?;
        statement.execute(params![row.serial, micros(row.listed_until), row.document])?;
    }
    Ok(())
}

fn job(row: &Row<'_>) -> Result<SigningJobRow, StoreError> {
    Ok(SigningJobRow {
        id: row.get(0)?,
        profile: row.get(1)?,
        signed_at: get_time(row, 2)?,
        document: row.get(3)?,
    })
}
