//! What the signer must remember, behind a small trait: profiles, jobs, revoked leaves, and the
//! number of the last revocation list.
//!
//! The rules are above this seam; a back end only keeps what it is given and gives it back. Each
//! method is durable when it returns, and all of what one call is given is kept, or none of it.

mod memory;

use async_trait::async_trait;
use time::OffsetDateTime;

pub use memory::MemoryRecords;

use crate::job::{JobId, RevokedLeaf, SigningJob};
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

/// Everything that one revocation changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationChange {
    /// The profile as it is now, when a profile was revoked.
    pub profile: Option<SigningProfile>,
    /// The job as it is now, when a job was revoked.
    pub job: Option<SigningJob>,
    /// The leaves that are revoked now; one that was revoked before is replaced.
    pub leaves: Vec<RevokedLeaf>,
}

/// Which jobs to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those of this profile.
    pub profile: Option<ProfileName>,
    /// Only those signed at this moment or later.
    pub signed_from: Option<OffsetDateTime>,
    /// Only those after this one, in the order of identifiers.
    pub after: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// The signer's memory.
#[async_trait]
pub trait Records: Send + Sync {
    /// Returns all profiles.
    async fn profiles(&self) -> Result<Vec<SigningProfile>, RecordsError>;
    /// Keeps a profile, in place of an earlier one of that name.
    async fn put_profile(&self, profile: &SigningProfile) -> Result<(), RecordsError>;
    /// Keeps new jobs.
    async fn add_jobs(&self, jobs: &[SigningJob]) -> Result<(), RecordsError>;
    /// Returns a job.
    async fn job(&self, id: JobId) -> Result<Option<SigningJob>, RecordsError>;
    /// Returns jobs in the order of their identifiers.
    async fn jobs(&self, query: &JobQuery) -> Result<Vec<SigningJob>, RecordsError>;
    /// Keeps everything that a revocation changes, at once.
    async fn revoke(&self, change: &RevocationChange) -> Result<(), RecordsError>;
    /// Returns the revoked leaves that are listed after `now`.
    async fn revoked_leaves(&self, now: OffsetDateTime) -> Result<Vec<RevokedLeaf>, RecordsError>;
    /// Returns a number that is larger than all that it returned before; the first is 1.
    async fn next_crl_number(&self) -> Result<u64, RecordsError>;
}
