//! The rows of signing jobs, and listings of them.
//!
//! A listing follows one index, in the order of positions, and looks at a bounded number of rows
//! for one page, so that a page costs the same however many jobs there are. What an index does not
//! answer is compared row by row.

use oci::Digest;
use rusqlite::{Connection, Row, params};
use time::OffsetDateTime;
use uuid::Uuid;

use super::SigningRecords;
use crate::StoreError;
use crate::repositories::MAX_PAGE_ROWS;
use crate::sqlite::columns::{collect, first, get_unsigned, micros, signed};

/// The most rows that are looked at for one page: about a millisecond.
const MAX_SCANNED_ROWS: u64 = 2048;

/// A signing job as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningJobRow {
    /// The position of its entry in the log.
    pub position: u64,
    /// Its unique identifier.
    pub id: Uuid,
    /// The account number that owns it.
    pub owner: String,
    /// The profile that it was signed under.
    pub profile: String,
    /// The version of the profile.
    pub profile_version: String,
    /// The account that asked.
    pub caller: String,
    /// What was signed.
    pub target: Digest,
    /// When it was signed.
    pub signed_at: OffsetDateTime,
    /// When it expires.
    pub expires: OffsetDateTime,
    /// The key of the quota that it counts for.
    pub quota_key: Option<String>,
    /// The signer's JSON of its revocation.
    pub revocation: Option<String>,
}

/// A signing job as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredJob {
    /// The position of its entry in the log.
    pub position: u64,
    /// The entry: everything of a job that never changes.
    pub entry: Vec<u8>,
    /// The signer's JSON of its revocation.
    pub revocation: Option<String>,
}

/// Which jobs a listing holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningJobFilter {
    /// Only those of this account number.
    pub owner: Option<String>,
    /// Only those of this profile.
    pub profile: Option<String>,
    /// Only those of this version of a profile.
    pub profile_version: Option<String>,
    /// Only those of this account.
    pub caller: Option<String>,
    /// Only those of a target whose digest begins with the same 64 bits as this.
    pub target: Option<Digest>,
    /// Only those with, or without, a revocation of their own.
    pub revoked: Option<bool>,
    /// Only those signed at this moment or later.
    pub signed_from: Option<OffsetDateTime>,
    /// Only those that expire at this moment or later.
    pub expires_from: Option<OffsetDateTime>,
    /// Only those that expire before this moment.
    pub expires_before: Option<OffsetDateTime>,
    /// From which position on, and before which.
    pub positions: (u64, u64),
    /// Whether the newest come first.
    pub newest_first: bool,
    /// The most rows.
    pub limit: usize,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningJobPage {
    /// The jobs.
    pub jobs: Vec<StoredJob>,
    /// The last position that was looked at, unless nothing lies behind it.
    pub next: Option<u64>,
}

/// Which jobs expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryFilter {
    /// Those that expire at this moment or later.
    pub from: OffsetDateTime,
    /// Those that expire before this moment.
    pub before: OffsetDateTime,
    /// Only those after this expiry and position.
    pub after: Option<(OffsetDateTime, u64)>,
    /// The most rows.
    pub limit: usize,
}

impl SigningRecords {
    /// Returns a job.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&self, id: Uuid) -> Result<Option<StoredJob>, StoreError> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT position, bytes, revocation
                     FROM signing_jobs JOIN log_entries USING (position) WHERE id = ?1",
                )?;
                first(statement.query([id.as_bytes()])?, stored)
            })
            .await
    }

    /// Returns a page of jobs in the order of their positions.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs(&self, filter: SigningJobFilter) -> Result<SigningJobPage, StoreError> {
        self.0
            .read(move |connection| {
                let (positions, next) = scan(connection, &filter)?;
                Ok(SigningJobPage {
                    jobs: load(connection, &positions)?,
                    next,
                })
            })
            .await
    }

    /// Returns jobs in the order of their expiry, then of their position.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expiring_jobs(&self, filter: ExpiryFilter) -> Result<Vec<StoredJob>, StoreError> {
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT position, bytes, revocation
                     FROM signing_jobs JOIN log_entries USING (position)
                     WHERE expires >= ?1 AND expires < ?2 AND (expires, position) > (?3, ?4)
                     ORDER BY expires, position LIMIT ?5",
                )?;
                let after = filter.after.map(|(time, at)| (micros(time), signed(at)));
                let (expiry, position) = after.unwrap_or((i64::MIN, -1));
                let rows = statement.query(params![
                    micros(filter.from).max(expiry),
                    micros(filter.before),
                    expiry,
                    position,
                    signed(filter.limit.min(MAX_PAGE_ROWS) as u64),
                ])?;
                collect(rows, stored)
            })
            .await
    }

    /// Returns how many jobs that count under `quota_key` were signed at `from` or later.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_jobs(
        &self,
        quota_key: &str,
        from: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        let (quota_key, from) = (quota_key.to_owned(), micros(from));
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT count(*) FROM signing_jobs WHERE quota_key = ?1 AND signed_at >= ?2",
                )?;
                let count = first(statement.query(params![quota_key, from])?, |row| {
                    get_unsigned(row, 0)
                })?;
                Ok(count.unwrap_or(0))
            })
            .await
    }

    /// Returns the documents of jobs that a version without a log wrote, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlogged_jobs(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        let limit = signed(limit.min(MAX_PAGE_ROWS) as u64);
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT document FROM unlogged_jobs ORDER BY signed_at, id LIMIT ?1",
                )?;
                collect(statement.query([limit])?, |row| Ok(row.get(0)?))
            })
            .await
    }
}

/// The index that a listing follows.
enum Driver<'a> {
    Target(i64),
    Revoked,
    Profile(&'a str),
    Owner(&'a str),
    Position,
}

impl SigningJobFilter {
    fn driver(&self) -> Driver<'_> {
        match self {
            Self {
                target: Some(target),
                ..
            } => Driver::Target(target_key(target)),
            Self {
                revoked: Some(true),
                ..
            } => Driver::Revoked,
            Self {
                profile: Some(profile),
                ..
            } => Driver::Profile(profile),
            Self {
                owner: Some(owner), ..
            } => Driver::Owner(owner),
            _ => Driver::Position,
        }
    }

    fn holds(&self, row: &Row<'_>) -> Result<bool, StoreError> {
        fn is(wanted: Option<&String>, found: &str) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        let text = |index: usize| {
            let text = row.get_ref(index)?.as_str();
            Ok::<_, StoreError>(text.map_err(rusqlite::Error::from)?)
        };
        let (signed_at, expires): (i64, i64) = (row.get(5)?, row.get(6)?);
        let is_revoked: bool = row.get(7)?;
        Ok(is(self.owner.as_ref(), text(1)?)
            && is(self.profile.as_ref(), text(2)?)
            && is(self.profile_version.as_ref(), text(3)?)
            && is(self.caller.as_ref(), text(4)?)
            && self
                .signed_from
                .is_none_or(|from| signed_at >= micros(from))
            && self.expires_from.is_none_or(|from| expires >= micros(from))
            && self.expires_before.is_none_or(|end| expires < micros(end))
            && self.revoked.is_none_or(|revoked| revoked == is_revoked))
    }
}

/// Returns the positions that a page holds, and where the next page goes on.
fn scan(
    connection: &Connection,
    filter: &SigningJobFilter,
) -> Result<(Vec<u64>, Option<u64>), StoreError> {
    let driver = filter.driver();
    let condition = match driver {
        Driver::Target(_) => "target_key = ?1",
        Driver::Revoked => "revocation IS NOT NULL AND ?1 IS NULL",
        Driver::Profile(_) => "profile = ?1",
        Driver::Owner(_) => "owner = ?1",
        Driver::Position => "?1 IS NULL",
    };
    let order = if filter.newest_first { "DESC" } else { "ASC" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT position, owner, profile, profile_version, caller, signed_at, expires,
                revocation IS NOT NULL
         FROM signing_jobs WHERE {condition} AND position >= ?2 AND position < ?3
         ORDER BY position {order} LIMIT {MAX_SCANNED_ROWS}"
    ))?;
    let (from, before) = (signed(filter.positions.0), signed(filter.positions.1));
    let rows = match driver {
        Driver::Target(key) => statement.query(params![key, from, before]),
        Driver::Profile(text) | Driver::Owner(text) => statement.query(params![text, from, before]),
        Driver::Revoked | Driver::Position => statement.query(params![None::<i64>, from, before]),
    }?;
    pick(rows, filter)
}

fn pick(
    mut rows: rusqlite::Rows<'_>,
    filter: &SigningJobFilter,
) -> Result<(Vec<u64>, Option<u64>), StoreError> {
    let limit = filter.limit.min(MAX_PAGE_ROWS);
    let (mut found, mut scanned, mut last) = (Vec::new(), 0, None);
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let position = get_unsigned(row, 0)?;
        if filter.holds(row)? {
            found.push(position);
        }
        scanned += 1;
        last = Some(position);
    }
    let more = found.len() == limit || scanned == MAX_SCANNED_ROWS;
    Ok((found, last.filter(|_| more)))
}

fn load(connection: &Connection, positions: &[u64]) -> Result<Vec<StoredJob>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT position, bytes, revocation
         FROM signing_jobs JOIN log_entries USING (position) WHERE position = ?1",
    )?;
    let mut jobs = Vec::with_capacity(positions.len());
    for position in positions {
        jobs.extend(first(statement.query([signed(*position)])?, stored)?);
    }
    Ok(jobs)
}

pub(super) fn stored(row: &Row<'_>) -> Result<StoredJob, StoreError> {
    Ok(StoredJob {
        position: get_unsigned(row, 0)?,
        entry: row.get(1)?,
        revocation: row.get(2)?,
    })
}

/// Returns the first 64 bits of a digest as they lie in a column.
pub(super) fn target_key(target: &Digest) -> i64 {
    let begin = target.hex().get(..16).unwrap_or_default();
    u64::from_str_radix(begin, 16)
        .unwrap_or_default()
        .cast_signed()
}

pub(super) fn put(connection: &Connection, jobs: &[SigningJobRow]) -> Result<(), StoreError> {
    for row in jobs {
        let mut statement = connection.prepare_cached(
            "INSERT INTO signing_jobs (position, id, owner, profile, profile_version, caller,
                                       target_key, signed_at, expires, revocation, quota_key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET revocation = excluded.revocation",
        )?;
        statement.execute(params![
            signed(row.position),
            row.id.as_bytes(),
            row.owner,
            row.profile,
            row.profile_version,
            row.caller,
            target_key(&row.target),
            micros(row.signed_at),
            micros(row.expires),
            row.revocation,
            row.quota_key,
        ])?;
    }
    Ok(())
}

pub(super) fn forget_unlogged(connection: &Connection, ids: &[Uuid]) -> Result<(), StoreError> {
    for id in ids {
        let mut statement = connection.prepare_cached("DELETE FROM unlogged_jobs WHERE id = ?1")?;
        statement.execute([id.to_string()])?;
    }
    Ok(())
}
