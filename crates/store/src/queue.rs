//! The durable queue: work that a worker leases, extends while it works, and completes.
//!
//! A lease that ran out is given again, so a job may be done twice and must be harmless then. A
//! job whose last attempt failed or ran out is *dead*; it stays until somebody has looked at it
//! and forgets it, so that no failure is lost in a crash.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::StoreError;

/// The largest payload of a job, in bytes of JSON. Large things travel as blobs.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// The attempts that a job gets unless it asks for another number (design 001 §4).
pub const DEFAULT_ATTEMPTS: u32 = 3;

/// The number of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub i64);

/// A job that is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// What kind of work it is; workers lease by kind.
    pub kind: String,
    /// What is to be done.
    pub payload: serde_json::Value,
    /// A key that no two waiting, leased or dead jobs share: enqueueing it again changes nothing.
    pub dedupe_key: Option<String>,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// When it may be given out first.
    pub not_before: OffsetDateTime,
}

impl NewJob {
    /// Returns a job that may start at once and gets [`DEFAULT_ATTEMPTS`].
    pub fn new(kind: &str, payload: serde_json::Value, now: OffsetDateTime) -> Self {
        Self {
            kind: kind.to_owned(),
            payload,
            dedupe_key: None,
            max_attempts: DEFAULT_ATTEMPTS,
            not_before: now,
        }
    }

    /// Returns the same job under a dedupe key.
    pub fn once(self, dedupe_key: impl Into<String>) -> Self {
        Self {
            dedupe_key: Some(dedupe_key.into()),
            ..self
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Waiting for a worker, or for its time.
    Waiting,
    /// Somebody works on it.
    Leased,
    /// All attempts failed or ran out.
    Dead,
}

/// A job as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    /// Its number.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: String,
    /// What is to be done.
    pub payload: serde_json::Value,
    /// The key that it was enqueued under.
    pub dedupe_key: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// How often it was given out.
    pub attempts: u32,
    /// How often it may be given out.
    pub max_attempts: u32,
    /// Why the last attempt failed.
    pub reason: Option<String>,
}

/// The right to work on a job until a time: its number and the attempt, so that a worker which
/// lost its lease cannot complete what somebody else is doing now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Who holds it.
    pub owner: String,
}

/// A request for work.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The kinds of work that the worker can do.
    pub kinds: Vec<String>,
    /// Who asks.
    pub owner: String,
    /// How long the lease runs unless it is extended.
    pub duration: Duration,
}

/// How an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why, for people.
    pub reason: String,
    /// When to try again; `None` when trying again is pointless.
    pub retry_at: Option<OffsetDateTime>,
}

/// Durable jobs with leases. Everything that needs a valid lease answers [`StoreError::Conflict`]
/// when the lease is not, or no longer, the caller's.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds a job and returns its number; with a known dedupe key, that of the job already there.
    async fn enqueue(&self, job: &NewJob) -> Result<JobId, StoreError>;

    /// Gives out the oldest job of the wanted kinds that waits or whose lease ran out.
    async fn lease(
        &self,
        request: &LeaseRequest,
        now: OffsetDateTime,
    ) -> Result<Option<(Lease, JobRow)>, StoreError>;

    /// Lets the lease run for `duration` from `now`.
    async fn extend(
        &self,
        lease: &Lease,
        duration: Duration,
        now: OffsetDateTime,
    ) -> Result<(), StoreError>;

    /// Removes a finished job.
    async fn complete(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Ends an attempt: the job waits for its retry, or is dead. Returns where it stands.
    async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<JobState, StoreError>;

    /// Returns the dead jobs, after burying those whose last lease ran out before `now`.
    async fn dead(&self, now: OffsetDateTime) -> Result<Vec<JobRow>, StoreError>;

    /// Removes a job in any state. Returns whether there was one.
    async fn forget(&self, job: JobId) -> Result<bool, StoreError>;

    /// Returns a job.
    async fn job(&self, job: JobId) -> Result<Option<JobRow>, StoreError>;
}
