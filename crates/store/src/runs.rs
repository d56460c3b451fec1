//! Runs of pipelines: the run, its actions and its log.
//!
//! What a state means is decided by `pipeline::run`; here it is a word that listings filter by,
//! next to the document that the state machine reads back. A transition, the jobs that it causes
//! and the jobs that it ends are one transaction, so a crash leaves none of them alone.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::StoreError;
use crate::queue::{Lease, NewJob};

/// The longest log line that is kept, in bytes; longer ones are cut and say so.
pub const MAX_LOG_LINE_BYTES: usize = 16 * 1024;
/// The most log lines that are read at once.
pub const MAX_LOG_PAGE_LINES: usize = 2000;

/// The name of a run: lower-case letters, digits and `-`, safe in file and container names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Box<str>);

/// Says that a text is not the name of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run: expected lower-case letters, digits and `-`")]
pub struct RunIdError(String);

impl RunId {
    /// The longest name, in bytes.
    const MAX_BYTES: usize = 40;

    /// Returns a new name: 48 random bits are enough for the runs of one installation, and short
    /// enough to be typed.
    pub fn random() -> Self {
        let hex = uuid::Uuid::new_v4().simple().to_string();
        Self(hex[..12].into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=Self::MAX_BYTES).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(allowed);
        if good {
            Ok(Self(text.into()))
        } else {
            Err(RunIdError(text.chars().take(60).collect()))
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdError;

    fn try_from(text: String) -> Result<Self, RunIdError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run that is to start.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Its name.
    pub id: RunId,
    /// The project that the pipeline belongs to.
    pub project: String,
    /// The pipeline.
    pub pipeline: String,
    /// A key that no two runs share: what the same event twice has in common.
    pub trigger_key: Option<String>,
    /// The state's word.
    pub state: String,
    /// The state machine's document.
    pub document: serde_json::Value,
    /// When it starts.
    pub at: OffsetDateTime,
}

/// What became of a request to start a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is a new run.
    New,
    /// The same event started this run before.
    Already(RunId),
}

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// Its name.
    pub id: RunId,
    /// The project that the pipeline belongs to.
    pub project: String,
    /// The pipeline.
    pub pipeline: String,
    /// The state's word.
    pub state: String,
    /// Whether nothing will happen any more.
    pub finished: bool,
    /// The state machine's document.
    pub document: serde_json::Value,
    /// Counts transitions, from 1.
    pub version: u64,
    /// When it started.
    pub started_at: OffsetDateTime,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
}

/// An action of a run as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionRow {
    /// The stage that it belongs to.
    pub stage: String,
    /// Its name, unique in the stage.
    pub name: String,
    /// Its place in the run, from 0.
    pub position: u32,
    /// The state's word.
    pub state: String,
    /// What it reported: digests, a decision, a reason.
    pub document: serde_json::Value,
    /// When it started.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub finished_at: Option<OffsetDateTime>,
}

/// One step of a run, applied as a whole or not at all.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The run.
    pub run: RunId,
    /// The version that the step was computed from.
    pub expected_version: u64,
    /// The new state's word.
    pub state: String,
    /// Whether nothing will happen any more.
    pub finished: bool,
    /// The state machine's new document.
    pub document: serde_json::Value,
    /// The actions that changed.
    pub actions: Vec<ActionRow>,
    /// The jobs that the step causes.
    pub enqueue: Vec<NewJob>,
    /// A lease that this step completes; if it is lost, nothing is applied.
    pub completes: Option<Lease>,
    /// Jobs that are removed, whatever their state, by their dedupe keys.
    pub forget: Vec<String>,
    /// The time of the step.
    pub at: OffsetDateTime,
}

/// Which runs a listing holds; the newest first.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this project.
    pub project: Option<String>,
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only those that are not finished.
    pub unfinished: bool,
    /// The most rows; 0 means as many as a page holds.
    pub limit: usize,
}

/// A line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its place in the run's log, from 1, without gaps. Ignored when appending.
    #[serde(default)]
    pub seq: u64,
    /// The action that wrote it; empty for the run itself.
    pub action: String,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The text without its line end.
    pub text: String,
}

/// Runs, their actions and logs.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Keeps a new run, with the actions it will have, unless the same event started one before.
    async fn start(&self, run: &NewRun, actions: &[ActionRow]) -> Result<Started, StoreError>;

    /// Returns a run.
    async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError>;

    /// Returns runs, the newest first.
    async fn list(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError>;

    /// Returns the actions of a run by position.
    async fn actions(&self, id: &RunId) -> Result<Vec<ActionRow>, StoreError>;

    /// Applies a step and returns the new version. [`StoreError::Conflict`] when the run has
    /// another version than expected or the lease is lost; then nothing is changed.
    async fn apply(&self, transition: &Transition) -> Result<u64, StoreError>;

    /// Appends lines to a run's log and returns the last line's number.
    async fn append_log(&self, id: &RunId, lines: &[LogLine]) -> Result<u64, StoreError>;

    /// Returns lines after number `after`, at most `limit` or [`MAX_LOG_PAGE_LINES`].
    async fn log(&self, id: &RunId, after: u64, limit: usize) -> Result<Vec<LogLine>, StoreError>;
}
