//! The rows of revocations, and the look at the jobs that one would cover.

use std::collections::{BTreeMap, HashSet};

use oci::Digest;
use rusqlite::{Connection, Row, params};
use time::OffsetDateTime;

use super::jobs::{StoredJob, stored, target_key};
use super::{SigningChange, SigningRecords};
use crate::StoreError;
use crate::repositories::MAX_PAGE_ROWS;
use crate::sqlite::columns::{collect, first, get_unsigned, micros, signed};

/// A revocation as it is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRow {
    /// Its number, from 1 on.
    pub sequence: u64,
    /// The hash over all lines up to this one.
    pub chain: [u8; 32],
    /// The line.
    pub line: String,
}

/// Which jobs a revocation would cover: those of a profile or of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageFilter {
    /// Only those of this profile.
    pub profile: Option<String>,
    /// Only those of this version of a profile.
    pub profile_version: Option<String>,
    /// Only those of a target whose digest begins with the same 64 bits as this.
    pub target: Option<Digest>,
    /// Only those at this position or after it.
    pub from_position: u64,
    /// What expires by then is in force no more.
    pub now: OffsetDateTime,
}

/// How much a revocation would cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoverageRow {
    /// The number of jobs.
    pub signatures: u64,
    /// The number of those that are neither expired nor revoked by themselves.
    pub in_force: u64,
    /// The number of different targets.
    pub targets: u64,
    /// The number of jobs by profile.
    pub by_profile: BTreeMap<String, u64>,
}

impl SigningRecords {
    /// Returns the revocations after number `after`, at most `limit`, in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revocations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RevocationRow>, StoreError> {
        let limit = signed(limit.min(MAX_PAGE_ROWS) as u64);
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT sequence, chain, line FROM revocations
                     WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
                )?;
                collect(statement.query([signed(after), limit])?, revocation)
            })
            .await
    }

    /// Returns the last revocation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_revocation(&self) -> Result<Option<RevocationRow>, StoreError> {
        self.0
            .read(|connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT sequence, chain, line FROM revocations
                     ORDER BY sequence DESC LIMIT 1",
                )?;
                first(statement.query([])?, revocation)
            })
            .await
    }

    /// Counts the jobs that a revocation would cover, in one pass over their rows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn coverage(&self, filter: CoverageFilter) -> Result<CoverageRow, StoreError> {
        self.0
            .read(move |connection| count(connection, &filter))
            .await
    }

    /// Returns the jobs whose log entry holds `text`, at position `from` or after it, at most
    /// `limit`. Reads every entry of the log: only the name of a certificate is looked for so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs_with(
        &self,
        text: String,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredJob>, StoreError> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT position, bytes, revocation
                     FROM signing_jobs JOIN log_entries USING (position)
                     WHERE position >= ?1 AND instr(bytes, ?2) > 0
                     ORDER BY position LIMIT ?3",
                )?;
                let limit = signed(limit as u64);
                let rows = statement.query(params![signed(from), text.as_bytes(), limit])?;
                collect(rows, stored)
            })
            .await
    }
}

fn revocation(row: &Row<'_>) -> Result<RevocationRow, StoreError> {
    Ok(RevocationRow {
        sequence: get_unsigned(row, 0)?,
        chain: row.get(1)?,
        line: row.get(2)?,
    })
}

fn count(connection: &Connection, filter: &CoverageFilter) -> Result<CoverageRow, StoreError> {
    let condition = match &filter.target {
        Some(_) => "target_key = ?1 AND (?2 IS NULL OR profile = ?2)",
        None => "?1 IS NULL AND profile = ?2",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT target_key, profile, expires, revocation IS NOT NULL FROM signing_jobs
         WHERE {condition} AND position >= ?3 AND (?4 IS NULL OR profile_version = ?4)"
    ))?;
    let mut rows = statement.query(params![
        filter.target.as_ref().map(target_key),
        filter.profile,
        signed(filter.from_position),
        filter.profile_version,
    ])?;
    let now = micros(filter.now);
    let mut targets: HashSet<i64> = HashSet::new();
    let mut found = CoverageRow::default();
    while let Some(row) = rows.next()? {
        targets.insert(row.get(0)?);
        let profile = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        match found.by_profile.get_mut(profile) {
            Some(count) => *count += 1,
            None => drop(found.by_profile.insert(profile.to_owned(), 1)),
        }
        let (expires, is_revoked): (i64, bool) = (row.get(2)?, row.get(3)?);
        found.signatures += 1;
        found.in_force += u64::from(expires > now && !is_revoked);
    }
    found.targets = targets.len() as u64;
    Ok(found)
}

pub(super) fn put(connection: &Connection, change: &SigningChange) -> Result<(), StoreError> {
    for row in &change.revocations {
        let mut statement = connection.prepare_cached(
            "INSERT INTO revocations (sequence, chain, line) VALUES (?1, ?2, ?3)",
        )?;
        statement.execute(params![signed(row.sequence), row.chain, row.line])?;
    }
    Ok(())
}
