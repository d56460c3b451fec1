//! The queue in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use time::OffsetDateTime;

use crate::StoreError;
use crate::queue::{
    Failure, JobId, JobRow, JobState, Lease, LeaseRequest, MAX_PAYLOAD_BYTES, NewJob, Queue,
};
use crate::sqlite::SqliteQueue;
use crate::sqlite::columns::{collect, first, get_json, json, micros};

const COLUMNS: &str = "id, kind, payload, dedupe_key, dead, attempts, max_attempts, reason, owner";

#[async_trait]
impl Queue for SqliteQueue {
    async fn enqueue(&self, job: &NewJob) -> Result<JobId, StoreError> {
        let job = job.clone();
        self.0
            .write(move |connection| enqueue(connection, &job))
            .await
    }

    async fn lease(
        &self,
        request: &LeaseRequest,
        now: OffsetDateTime,
    ) -> Result<Option<(Lease, JobRow)>, StoreError> {
        let (request, now) = (request.clone(), micros(now));
        self.0
            .write(move |connection| lease(connection, &request, now))
            .await
    }

    async fn extend(
        &self,
        lease: &Lease,
        duration: Duration,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let (lease, until) = (lease.clone(), micros(now + duration));
        self.0
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "UPDATE jobs SET available_at = ?4
                     WHERE id = ?1 AND attempts = ?2 AND owner = ?3 AND dead = 0",
                )?;
                let held = params![lease.job.0, lease.attempt, lease.owner, until];
                if_held(statement.execute(held)?, &lease)
            })
            .await
    }

    async fn complete(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.0
            .write(move |connection| complete(connection, &lease))
            .await
    }

    async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<JobState, StoreError> {
        let (lease, failure) = (lease.clone(), failure.clone());
        self.0
            .write(move |connection| fail(connection, &lease, &failure))
            .await
    }

    async fn dead(&self, now: OffsetDateTime) -> Result<Vec<JobRow>, StoreError> {
        let now = micros(now);
        self.0
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "UPDATE jobs SET dead = 1, owner = NULL,
                     reason = coalesce(reason, 'the worker did not come back')
                     WHERE dead = 0 AND attempts >= max_attempts AND available_at <= ?1",
                )?;
                statement.execute([now])?;
                let sql = format!("SELECT {COLUMNS} FROM jobs WHERE dead = 1 ORDER BY id");
                let mut statement = connection.prepare_cached(&sql)?;
                collect(statement.query([])?, job)
            })
            .await
    }

    async fn forget(&self, job: JobId) -> Result<bool, StoreError> {
        self.0
            .write(move |connection| forget(connection, job))
            .await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, StoreError> {
        self.0
            .read(move |connection| {
                let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
                let mut statement = connection.prepare_cached(&sql)?;
                first(statement.query([id.0])?, job)
            })
            .await
    }
}

/// Adds a job inside the transaction at hand.
pub(super) fn enqueue(connection: &Connection, job: &NewJob) -> Result<JobId, StoreError> {
    let payload = json(&job.payload, MAX_PAYLOAD_BYTES)?;
    if let Some(key) = &job.dedupe_key {
        let mut statement =
            connection.prepare_cached("SELECT id FROM jobs WHERE dedupe_key = ?1")?;
        let known = statement.query_row([key], |row| row.get(0)).optional()?;
        if let Some(id) = known {
            return Ok(JobId(id));
        }
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO jobs (kind, payload, dedupe_key, max_attempts, available_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let id = statement.insert(params![
        job.kind,
        payload,
        job.dedupe_key,
        job.max_attempts.max(1),
        micros(job.not_before),
    ])?;
    Ok(JobId(id))
}

/// Removes a job whose lease is held, inside the transaction at hand.
pub(super) fn complete(connection: &Connection, lease: &Lease) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM jobs WHERE id = ?1 AND attempts = ?2 AND owner = ?3 AND dead = 0",
    )?;
    let held = params![lease.job.0, lease.attempt, lease.owner];
    if_held(statement.execute(held)?, lease)
}

/// Removes the job with a dedupe key in any state, inside the transaction at hand.
pub(super) fn forget_key(connection: &Connection, key: &str) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("DELETE FROM jobs WHERE dedupe_key = ?1")?;
    statement.execute([key])?;
    Ok(())
}

fn forget(connection: &Connection, job: JobId) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("DELETE FROM jobs WHERE id = ?1")?;
    Ok(statement.execute([job.0])? > 0)
}

fn lease(
    connection: &Connection,
    request: &LeaseRequest,
    now: i64,
) -> Result<Option<(Lease, JobRow)>, StoreError> {
    let Some(id) = oldest(connection, &request.kinds, now)? else {
        return Ok(None);
    };
    let duration = i64::try_from(request.duration.as_micros()).unwrap_or(i64::MAX);
    let sql = format!(
        "UPDATE jobs SET attempts = attempts + 1, owner = ?2, available_at = ?3
         WHERE id = ?1 RETURNING {COLUMNS}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let until = now.saturating_add(duration);
    let rows = statement.query(params![id, request.owner, until])?;
    let given = first(rows, job)?;
    Ok(given.map(|row| {
        let lease = Lease {
            job: row.id,
            attempt: row.attempts,
            owner: request.owner.clone(),
        };
        (lease, row)
    }))
}

/// Returns the job of the wanted kinds that has waited longest.
fn oldest(connection: &Connection, kinds: &[String], now: i64) -> Result<Option<i64>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT available_at, id FROM jobs
         WHERE dead = 0 AND kind = ?1 AND available_at <= ?2 AND attempts < max_attempts
         ORDER BY available_at, id LIMIT 1",
    )?;
    let mut best: Option<(i64, i64)> = None;
    for kind in kinds {
        let found = statement.query_row(params![kind, now], |row| Ok((row.get(0)?, row.get(1)?)));
        best = best.into_iter().chain(found.optional()?).min();
    }
    Ok(best.map(|(_, id)| id))
}

fn fail(connection: &Connection, lease: &Lease, failure: &Failure) -> Result<JobState, StoreError> {
    let mut statement = connection.prepare_cached(
        "UPDATE jobs SET owner = NULL, reason = ?4, available_at = coalesce(?5, available_at),
         dead = (?5 IS NULL OR attempts >= max_attempts)
         WHERE id = ?1 AND attempts = ?2 AND owner = ?3 AND dead = 0 RETURNING dead",
    )?;
    let dead: Option<bool> = statement
        .query_row(
            params![
                lease.job.0,
                lease.attempt,
                lease.owner,
                failure.reason,
                failure.retry_at.map(micros),
            ],
            |row| row.get(0),
        )
        .optional()?;
    match dead {
        Some(true) => Ok(JobState::Dead),
        Some(false) => Ok(JobState::Waiting),
        None => Err(lost(lease)),
    }
}

fn if_held(changed: usize, lease: &Lease) -> Result<(), StoreError> {
    match changed {
        0 => Err(lost(lease)),
        _ => Ok(()),
    }
}

fn lost(lease: &Lease) -> StoreError {
    StoreError::Conflict(format!("the lease on job {}", lease.job.0))
}

fn job(row: &Row<'_>) -> Result<JobRow, StoreError> {
    let (dead, owner): (bool, Option<String>) = (row.get(4)?, row.get(8)?);
    let state = match (dead, owner) {
        (true, _) => JobState::Dead,
        (false, Some(_)) => JobState::Leased,
        (false, None) => JobState::Waiting,
    };
    Ok(JobRow {
        id: JobId(row.get(0)?),
        kind: row.get(1)?,
        payload: get_json(row, 2)?,
        dedupe_key: row.get(3)?,
        state,
        attempts: row.get(5)?,
        max_attempts: row.get(6)?,
        reason: row.get(7)?,
    })
}
