//! What the signer must remember, behind two small traits: profiles, jobs, revoked leaves, the
//! number of the last revocation list ([`Records`]), and the log of all of it ([`LogRecords`]).
//!
//! The rules are above this seam; a back end only keeps what it is given and gives it back. What
//! one call is given is kept durably, and all of it, or none.

mod memory;

use std::collections::BTreeMap;

use async_trait::async_trait;
use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use trust::tlog::{Hash, Node};

pub use memory::MemoryRecords;

use crate::job::{IssuedLeaf, JobId, RevokedLeaf, SigningJob};
use crate::profile::{ProfileName, SigningProfile};

/// Says that the records cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the signing records cannot be {action}")]
pub struct RecordsError {
    action: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl RecordsError {
    /// Returns the error of a failed `action`: `read` or `written`.
    pub fn new(
        action: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            action,
            source: source.into(),
        }
    }
}

/// An entry of the log as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position, from 0 on, without a gap.
    pub position: u64,
    /// When it was written; never before that of the entry before it.
    pub at: OffsetDateTime,
    /// The bytes that are the leaf of the tree.
    pub bytes: Vec<u8>,
}

/// The hash of a complete subtree: what tiles above the lowest are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Its place.
    pub node: Node,
    /// The hash.
    pub hash: Hash,
}

/// A group of changes that are kept together, made by the journal alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Profiles that are new or changed.
    pub profiles: Vec<SigningProfile>,
    /// Jobs that are new (their entry is among `entries`) or revoked (nothing else of them
    /// changes).
    pub jobs: Vec<SigningJob>,
    /// Leaves that are revoked now; one that was revoked before is replaced.
    pub leaves: Vec<RevokedLeaf>,
    /// New revocations, as they are pushed.
    pub revocations: Vec<KeptRevocation>,
    /// Leaves that several jobs share, issued now; one that is known already stays as it is.
    pub issued: Vec<IssuedLeaf>,
    /// New entries of the log.
    pub entries: Vec<LogEntry>,
    /// Subtrees that are complete now.
    pub nodes: Vec<TreeNode>,
    /// The checkpoint over the log as it is now, a signed note.
    pub checkpoint: Option<String>,
    /// Jobs of a time before the log that are in it now.
    pub imported: Vec<JobId>,
}

/// Which jobs to list, in the order of their positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those of this account number.
    pub owner: Option<String>,
    /// Only those of this profile.
    pub profile: Option<ProfileName>,
    /// Only those of this version of a profile.
    pub profile_version: Option<String>,
    /// Only those that this account asked for.
    pub caller: Option<String>,
    /// Only those that signed this.
    pub target: Option<Digest>,
    /// Only those that were revoked by themselves, or only the others.
    pub revoked: Option<bool>,
    /// Only those signed at this moment or later.
    pub signed_from: Option<OffsetDateTime>,
    /// Only those that expire at this moment or later.
    pub expires_from: Option<OffsetDateTime>,
    /// Only those that expire before this moment.
    pub expires_before: Option<OffsetDateTime>,
    /// Only those at this position or after it.
    pub from_position: u64,
    /// Only those that come after this position in the order that is asked for.
    pub after: Option<u64>,
    /// Whether the newest come first.
    pub newest_first: bool,
    /// At most so many.
    pub limit: usize,
}

/// Some jobs of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs. There may be none of them on a page that is not the last: a back end looks at a
    /// bounded number of jobs for one page.
    pub jobs: Vec<SigningJob>,
    /// Where the next page begins ([`JobQuery::after`]); `None` after the last.
    pub next: Option<u64>,
}

/// Which jobs expire, in the order in which they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryQuery {
    /// Those that expire at this moment or later.
    pub from: OffsetDateTime,
    /// Those that expire before this moment.
    pub before: OffsetDateTime,
    /// Only those after this expiry and position.
    pub after: Option<(OffsetDateTime, u64)>,
    /// At most so many.
    pub limit: usize,
}

/// A revocation as it is pushed to verifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRevocation {
    /// Its number, from 1 on, without a gap.
    pub sequence: u64,
    /// The hash over all lines up to this one.
    pub chain: Hash,
    /// The line.
    pub line: String,
}

/// Which jobs a revocation would cover: those of a profile, or of a target, or of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageQuery {
    /// Only those of this profile.
    pub profile: Option<ProfileName>,
    /// Only those of this version of a profile.
    pub profile_version: Option<String>,
    /// Only those that signed this.
    pub target: Option<Digest>,
    /// Only those at this position or after it.
    pub from_position: u64,
    /// What expires by then is in force no more.
    pub now: OffsetDateTime,
}

/// How much a revocation would cover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// The number of signatures.
    pub signatures: u64,
    /// The number of those that are neither expired nor revoked by themselves.
    pub in_force: u64,
    /// The number of different artifacts.
    pub artifacts: u64,
    /// The number of signatures by profile.
    pub by_profile: BTreeMap<String, u64>,
}

/// How a leaf certificate is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LeafName {
    /// By its serial number, in lower-case hexadecimal.
    Serial(String),
    /// By its SHA-256 fingerprint, in lower-case hexadecimal.
    Sha256(String),
}

/// Where the log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The number of entries.
    pub size: u64,
    /// When the last was written.
    pub at: OffsetDateTime,
    /// The checkpoint that was kept with it; `None` before the first.
    pub checkpoint: Option<String>,
}

/// The log in the signer's memory.
#[async_trait]
pub trait LogRecords: Send + Sync {
    /// Returns where the log ends.
    async fn log_head(&self) -> Result<LogHead, RecordsError>;
    /// Returns the bytes of `count` entries from position `from` on, or of fewer at the end.
    async fn log_entries(&self, from: u64, count: u64) -> Result<Vec<Vec<u8>>, RecordsError>;
    /// Returns the hashes of `count` kept nodes from `first` on, or of fewer where the tree ends.
    async fn log_nodes(&self, first: Node, count: u64) -> Result<Vec<Hash>, RecordsError>;
    /// Returns the position of the first entry that was written at `time` or later; the size of
    /// the log when there is none.
    async fn position_at(&self, time: OffsetDateTime) -> Result<u64, RecordsError>;
}

/// Revocations in the signer's memory.
#[async_trait]
pub trait RevocationRecords: Send + Sync {
    /// Returns the revocations after number `after`, at most `limit`, in their order.
    async fn revocations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptRevocation>, RecordsError>;
    /// Returns the last revocation.
    async fn last_revocation(&self) -> Result<Option<KeptRevocation>, RecordsError>;
    /// Counts the jobs that a revocation would cover.
    async fn coverage(&self, query: &CoverageQuery) -> Result<Coverage, RecordsError>;
    /// Returns the jobs that were signed with a leaf, at this position or after it, at most
    /// `limit`. It may read the whole log.
    async fn jobs_of_leaf(
        &self,
        leaf: &LeafName,
        from_position: u64,
        limit: usize,
    ) -> Result<Vec<SigningJob>, RecordsError>;
}

/// The signer's memory.
#[async_trait]
pub trait Records: LogRecords + RevocationRecords {
    /// Keeps a group of changes, all or none.
    async fn commit(&self, batch: &Batch) -> Result<(), RecordsError>;
    /// Returns all profiles.
    async fn profiles(&self) -> Result<Vec<SigningProfile>, RecordsError>;
    /// Returns a job.
    async fn job(&self, id: JobId) -> Result<Option<SigningJob>, RecordsError>;
    /// Returns a page of jobs.
    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, RecordsError>;
    /// Returns how many jobs that count under `quota_key` were signed at `from` or later.
    async fn count_jobs(&self, quota_key: &str, from: OffsetDateTime) -> Result<u64, RecordsError>;
    /// Returns jobs in the order of their expiry.
    async fn expiring_jobs(&self, query: &ExpiryQuery) -> Result<Vec<SigningJob>, RecordsError>;
    /// Returns jobs of a time before the log that are not in it yet, the oldest first.
    async fn unlogged_jobs(&self, limit: usize) -> Result<Vec<SigningJob>, RecordsError>;
    /// Returns the leaf with this serial number, in hexadecimal, if several jobs share it.
    async fn issued_leaf(&self, serial: &str) -> Result<Option<IssuedLeaf>, RecordsError>;
    /// Returns the revoked leaves that are listed after `now`.
    async fn revoked_leaves(&self, now: OffsetDateTime) -> Result<Vec<RevokedLeaf>, RecordsError>;
    /// Returns a number that is larger than all that it returned before; the first is 1.
    async fn next_crl_number(&self) -> Result<u64, RecordsError>;
}
