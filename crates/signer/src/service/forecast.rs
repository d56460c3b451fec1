//! Which signatures expire, and when: for the look ahead.

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{Signer, SignerError};
use crate::job::{JobId, JobKind, SigningJob};
use crate::profile::ProfileName;
use crate::records::{ExpiryQuery, JobQuery};

/// The most signatures in one page: they fit into a frame of the protocol.
const PAGE: usize = 128;

/// A signature that expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiringJob {
    /// The job.
    pub job: JobId,
    /// The profile.
    pub profile: ProfileName,
    /// What was signed.
    pub digest: Digest,
    /// In which form.
    pub kind: JobKind,
    /// When it expires.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
}

/// A place in the order of expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiryPlace {
    /// The expiry.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    /// The position in the log.
    pub position: u64,
}

impl Signer {
    /// Returns signatures in force that expire in a stretch of time, the first to expire first,
    /// and where the next page goes on.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn expiring(
        &self,
        (from, before): (OffsetDateTime, OffsetDateTime),
        after: Option<ExpiryPlace>,
    ) -> Result<(Vec<ExpiringJob>, Option<ExpiryPlace>), SignerError> {
        let query = ExpiryQuery {
            from,
            before,
            after: after.map(|place| (place.expires, place.position)),
            limit: PAGE,
        };
        let jobs = self.records.expiring_jobs(&query).await?;
        let last = jobs.last().map(|job| ExpiryPlace {
            expires: job.expires,
            position: job.position,
        });
        let next = last.filter(|_| jobs.len() == PAGE);
        let in_force = jobs.iter().filter(|job| !self.is_revoked(job));
        Ok((in_force.map(ExpiringJob::of).collect(), next))
    }

    /// Returns whether an artifact has a signature that is in force after `time`.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn is_signed_after(
        &self,
        digest: &Digest,
        time: OffsetDateTime,
    ) -> Result<bool, SignerError> {
        let mut query = JobQuery {
            target: Some(digest.clone()),
            revoked: Some(false),
            expires_from: Some(time + Duration::MICROSECOND),
            newest_first: true,
            limit: PAGE,
            ..JobQuery::default()
        };
        loop {
            let page = self.records.jobs(&query).await?;
            if page.jobs.iter().any(|job| !self.is_revoked(job)) {
                return Ok(true);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(false),
            }
        }
    }

    fn is_revoked(&self, job: &SigningJob) -> bool {
        let profile = self.find_profile(&job.profile);
        let of_profile = profile.as_ref().is_some_and(|profile| {
            let revocation = profile.revocation_at(&job.profile_version, job.position);
            revocation.is_some()
        });
        of_profile || job.revocation.is_some()
    }
}

impl ExpiringJob {
    fn of(job: &SigningJob) -> Self {
        Self {
            job: job.id,
            profile: job.profile.clone(),
            digest: job.target.clone(),
            kind: job.kind,
            expires: job.expires,
        }
    }
}
