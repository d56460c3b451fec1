//! A look at what a revocation would cover, before it is made.
//!
//! It asks the same questions as the revocation: the same moment is resolved to the same position,
//! and the same jobs are counted.

use std::collections::BTreeMap;

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::super::{Signer, SignerError, administrators_only, no_job};
use super::{RevocationTarget, may_handle};
use crate::job::{JobId, SigningJob};
use crate::principal::Principal;
use crate::profile::ProfileName;
use crate::records::{Coverage, CoverageQuery, JobQuery, LeafName};

/// The most signatures that are listed, the newest of those that are covered.
pub const MAX_PREVIEWED: usize = 100;
/// The most digests whose signatures are looked for, such as what is deployed.
pub(super) const MAX_WATCHED: usize = 100;
/// The most signatures of one leaf that are counted.
const MAX_COUNTED: usize = 1_000_000;

/// What a revocation would cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The position in the log from which on it would count.
    pub from_position: u64,
    /// How much it would cover.
    #[serde(flatten)]
    pub coverage: Coverage,
    /// The newest signatures that it would cover.
    pub newest: Vec<PreviewedJob>,
    /// Of the digests that were asked about, those with a signature that it would cover, and how
    /// many signatures would be left.
    pub watched: BTreeMap<Digest, WatchedDigest>,
}

/// A signature that would be covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewedJob {
    /// The job.
    pub job: JobId,
    /// Its position in the log.
    pub position: u64,
    /// The profile.
    pub profile: ProfileName,
    /// The version of the profile.
    pub profile_version: String,
    /// What was signed.
    pub digest: Digest,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub signed_at: OffsetDateTime,
    /// Until when it would be valid.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    /// Whether it was revoked before.
    pub is_revoked: bool,
}

/// A digest that is of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchedDigest {
    /// How many of its signatures would be revoked that are in force now.
    pub revoked: u64,
    /// How many of its signatures would stay in force.
    pub left: u64,
}

impl Signer {
    /// Returns what a revocation of `target` from `from` on would cover, and what it would do to
    /// the digests in `watched`.
    ///
    /// # Errors
    /// As the revocation itself.
    pub async fn preview_revocation(
        &self,
        principal: &Principal,
        (target, from): (&RevocationTarget, Option<OffsetDateTime>),
        watched: &[Digest],
    ) -> Result<Preview, SignerError> {
        let cover = self.cover(principal, target, from).await?;
        let coverage = self.count(&cover).await?;
        let newest = self.newest(&cover).await?;
        let mut preview = Preview {
            from_position: cover.from_position,
            coverage,
            newest: newest.iter().map(PreviewedJob::of).collect(),
            watched: BTreeMap::new(),
        };
        for digest in watched.iter().take(MAX_WATCHED) {
            let found = self.watch(digest, &cover).await?;
            if found.revoked > 0 {
                preview.watched.insert(digest.clone(), found);
            }
        }
        Ok(preview)
    }

    async fn cover(
        &self,
        principal: &Principal,
        target: &RevocationTarget,
        from: Option<OffsetDateTime>,
    ) -> Result<Cover, SignerError> {
        if let RevocationTarget::Job { id, whole_leaf } = target {
            let job = self.records.job(*id).await?.ok_or_else(|| no_job(*id))?;
            may_handle(principal, &job, "revoke this signature")?;
            let which = match *whole_leaf && job.shares_leaf {
                true => {
                    let leaf = LeafName::Serial(job.leaf_serial.clone());
                    Which::Jobs(self.records.jobs_of_leaf(&leaf, 0, MAX_COUNTED).await?)
                }
                false => Which::Jobs(vec![job]),
            };
            let from_position = 0;
            return Ok(Cover {
                which,
                from_position,
            });
        }
        administrators_only(principal, "revoke anything but single signatures")?;
        let from_position = self.resolve("it", from).await?.position;
        let which = match target {
            RevocationTarget::Profile { name, version } => {
                self.profile_or_not_found(name)?;
                Which::Profile(name.clone(), version.clone())
            }
            RevocationTarget::Digest(digest) => Which::Digest(digest.clone()),
            RevocationTarget::Certificate(leaf) => {
                let found = self.records.jobs_of_leaf(leaf, from_position, MAX_COUNTED);
                Which::Jobs(found.await?)
            }
            RevocationTarget::Job { .. } => Which::Jobs(Vec::new()),
        };
        Ok(Cover {
            which,
            from_position,
        })
    }

    async fn count(&self, cover: &Cover) -> Result<Coverage, SignerError> {
        let now = self.now();
        let (profile, profile_version, target) = match &cover.which {
            Which::Profile(name, version) => (Some(name.clone()), version.clone(), None),
            Which::Digest(digest) => (None, None, Some(digest.clone())),
            Which::Jobs(jobs) => return Ok(counted(jobs, now)),
        };
        let query = CoverageQuery {
            profile,
            profile_version,
            target,
            from_position: cover.from_position,
            now,
        };
        Ok(self.records.coverage(&query).await?)
    }

    async fn newest(&self, cover: &Cover) -> Result<Vec<SigningJob>, SignerError> {
        let (profile, profile_version, target) = match &cover.which {
            Which::Profile(name, version) => (Some(name.clone()), version.clone(), None),
            Which::Digest(digest) => (None, None, Some(digest.clone())),
            Which::Jobs(jobs) => {
                return Ok(jobs.iter().rev().take(MAX_PREVIEWED).cloned().collect());
            }
        };
        let mut query = JobQuery {
            profile,
            profile_version,
            target,
            from_position: cover.from_position,
            newest_first: true,
            limit: MAX_PREVIEWED,
            ..JobQuery::default()
        };
        let mut found = Vec::new();
        loop {
            let page = self.records.jobs(&query).await?;
            found.extend(page.jobs);
            query.after = page.next;
            query.limit = MAX_PREVIEWED - found.len().min(MAX_PREVIEWED);
            if query.after.is_none() || query.limit == 0 {
                found.truncate(MAX_PREVIEWED);
                return Ok(found);
            }
        }
    }

    async fn watch(&self, digest: &Digest, cover: &Cover) -> Result<WatchedDigest, SignerError> {
        let query = JobQuery {
            target: Some(digest.clone()),
            expires_from: Some(self.now()),
            revoked: Some(false),
            ..JobQuery::default()
        };
        let mut found = WatchedDigest::default();
        self.each_job(query, |job| match cover.holds(&job) {
            true => found.revoked += 1,
            false => found.left += 1,
        })
        .await?;
        Ok(found)
    }
}

/// Which jobs a revocation covers, from which position on.
struct Cover {
    which: Which,
    from_position: u64,
}

enum Which {
    Jobs(Vec<SigningJob>),
    Digest(Digest),
    Profile(ProfileName, Option<String>),
}

impl Cover {
    fn holds(&self, job: &SigningJob) -> bool {
        let is_it = match &self.which {
            Which::Jobs(jobs) => jobs
                .binary_search_by_key(&job.position, |one| one.position)
                .is_ok(),
            Which::Digest(digest) => *digest == job.target,
            Which::Profile(name, version) => {
                let is_version = |version: &String| *version == job.profile_version;
                *name == job.profile && version.as_ref().is_none_or(is_version)
            }
        };
        is_it && job.position >= self.from_position
    }
}

fn counted(jobs: &[SigningJob], now: OffsetDateTime) -> Coverage {
    let mut found = Coverage::default();
    let mut artifacts = std::collections::BTreeSet::new();
    for job in jobs {
        let is_in_force = job.expires > now && job.revocation.is_none();
        found.signatures += 1;
        found.in_force += u64::from(is_in_force);
        artifacts.insert(&job.target);
        *found.by_profile.entry(job.profile.to_string()).or_default() += 1;
    }
    found.artifacts = artifacts.len() as u64;
    found
}

impl PreviewedJob {
    fn of(job: &SigningJob) -> Self {
        Self {
            job: job.id,
            position: job.position,
            profile: job.profile.clone(),
            profile_version: job.profile_version.clone(),
            digest: job.target.clone(),
            signed_at: job.signed_at,
            expires: job.expires,
            is_revoked: job.revocation.is_some(),
        }
    }
}
