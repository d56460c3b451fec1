//! Revocation: what is revoked, from when on, and how others learn of it.
//!
//! A revocation names a signature, a digest, a certificate, a profile or a version of one
//! ([`RevocationTarget`]), and a moment. The moment is resolved once to a position in the log: what
//! lies there or after it is covered, whatever time it claims. What is covered is worked out in
//! one place ([`plan`]), for the revocation itself and for the look at it beforehand
//! ([`preview`]). A revocation is never taken back; its moment may be moved further
//! back.
//!
//! Others learn of it by the revocation list ([`list`]), and at once by the feed ([`feed`]). Both
//! are judged by the time of a signature, which it carries, and not by its position, which it does
//! not; where the two differ, the feed names single signatures, so that the position decides.

mod feed;
mod list;
mod plan;
mod preview;
mod status;

use std::sync::Arc;

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

pub(super) use feed::FeedHead;
pub use feed::{FeedPage, MAX_BUNDLE_LIFE};
pub(super) use list::ListState;
pub use list::RevocationList;
pub use preview::{MAX_PREVIEWED, Preview, PreviewedJob};
pub use status::{RevocationAnswer, RevocationQuestion};

use plan::described;

use super::journal::Change;
use super::{Signer, SignerError, no_job};
use crate::job::{JobId, JobRevocation, JobStatus, MAX_REASON_CHARS, SigningJob};
use crate::principal::{Denial, Principal};
use crate::profile::{ProfileName, ProfileRevocation, SigningProfile};
use crate::records::LeafName;

/// How long a revoked leaf stays on the list after its last signature expired. Expired is not
/// revoked: a restart of a digest that was admitted before asks only for the latter, so the answer
/// must not turn from "revoked" to "not listed" at the expiry.
pub const LISTED_AFTER_EXPIRY: Duration = Duration::days(90);

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum RevocationTarget {
    /// One signature.
    Job {
        /// Its job.
        id: JobId,
        /// Whether a leaf that other signatures share is revoked, and they with it.
        #[serde(default)]
        whole_leaf: bool,
    },
    /// All signatures made so far over a digest. One that is made later is a new decision, and is
    /// not covered.
    Digest(Digest),
    /// A leaf certificate, with what was signed with it.
    Certificate(LeafName),
    /// What a profile signed. It signs no more.
    Profile {
        /// Its name.
        name: ProfileName,
        /// Only what this version of it signed. The profile signs again once it has another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
}

impl std::fmt::Display for RevocationTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Job { id, .. } => write!(f, "signature `{id}`"),
            Self::Digest(digest) => write!(f, "what was signed over `{digest}`"),
            Self::Certificate(leaf) => write!(f, "what was signed with {leaf}"),
            Self::Profile { name, version } => f.write_str(&described(name, version.as_deref())),
        }
    }
}

/// What is to be revoked, from when on, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationRequest {
    /// What.
    pub target: RevocationTarget,
    /// From when on, in the past; everything when absent. A single signature has no such moment.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub from: Option<OffsetDateTime>,
    /// Why, in 1 to 500 characters.
    pub reason: String,
}

/// What a revocation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationOutcome {
    /// Whether anything changed: what is revoked already is left as it is.
    pub changed: bool,
    /// The position in the log from which on it counts.
    pub from_position: u64,
    /// How many signatures it covers.
    pub signatures: u64,
    /// The number of the last line of the feed: whoever holds that knows of it.
    pub sequence: u64,
}

impl Signer {
    /// Returns a job, to its caller and to administrators.
    pub async fn job(&self, principal: &Principal, id: JobId) -> Result<SigningJob, SignerError> {
        let job = self.records.job(id).await?.ok_or_else(|| no_job(id))?;
        may_handle(principal, &job, "see this signing job")?;
        Ok(self.with_profile_revocation(job))
    }

    /// Returns the job as it stands when the revocation of its profile is counted too.
    pub(super) fn with_profile_revocation(&self, mut job: SigningJob) -> SigningJob {
        if job.status == JobStatus::Succeeded
            && let Some(profile) = self.find_profile(&job.profile)
            && let Some(revocation) = profile.revocation_at(&job.profile_version, job.position)
        {
            job.status = JobStatus::Revoked;
            job.revocation = Some(revoked_with(revocation, &profile.name));
        }
        job
    }

    /// Revokes. Everything that it changes is durable when this returns, and on the feed.
    ///
    /// # Errors
    /// When the caller may not, there is no such thing, the moment lies in the future or later
    /// than one in force, or the reason is unusable.
    pub async fn revoke(
        &self,
        principal: &Principal,
        request: &RevocationRequest,
    ) -> Result<RevocationOutcome, SignerError> {
        let reason = checked_reason(&request.reason)?;
        let _changing = self.changes.write().await;
        let by = By {
            principal,
            reason: &reason,
            at: self.now(),
        };
        let plan = self.plan(&request.target, request.from, &by).await?;
        let Some(plan) = plan else {
            return Ok(RevocationOutcome {
                changed: false,
                from_position: 0,
                signatures: 0,
                sequence: self.feed_head().sequence,
            });
        };
        let (from_position, signatures) = (plan.from_position, plan.signatures);
        let sequence = self.keep(plan, &by).await?;
        Ok(RevocationOutcome {
            changed: true,
            from_position,
            signatures,
            sequence,
        })
    }

    /// Revokes one signature, and returns its job.
    ///
    /// Its leaf goes onto the revocation list, unless other signatures share it: then only
    /// `whole_leaf` puts it there, and revokes those others as well. Those who hear the feed learn
    /// of it in either case.
    pub async fn revoke_job(
        &self,
        principal: &Principal,
        id: JobId,
        (reason, whole_leaf): (&str, bool),
    ) -> Result<SigningJob, SignerError> {
        let request = RevocationRequest {
            target: RevocationTarget::Job { id, whole_leaf },
            from: None,
            reason: reason.to_owned(),
        };
        self.revoke(principal, &request).await?;
        self.records.job(id).await?.ok_or_else(|| no_job(id))
    }

    /// Revokes all signatures of a profile that were made at `from` or later (all of them when
    /// `from` is absent), and returns the profile.
    pub async fn revoke_profile(
        &self,
        principal: &Principal,
        name: &ProfileName,
        (from, reason): (Option<OffsetDateTime>, &str),
    ) -> Result<Arc<SigningProfile>, SignerError> {
        let target = RevocationTarget::Profile {
            name: name.clone(),
            version: None,
        };
        let request = RevocationRequest {
            target,
            from,
            reason: reason.to_owned(),
        };
        self.revoke(principal, &request).await?;
        self.profile_or_not_found(name)
    }

    /// Makes a revocation durable, then visible, and returns the number of its last line.
    async fn keep(&self, mut plan: plan::Plan, by: &By<'_>) -> Result<u64, SignerError> {
        let mut state = self.list.lock().await;
        let leaves = std::mem::take(&mut plan.rows.leaves).into_iter();
        let leaves: Vec<_> = leaves.map(|leaf| state.united(leaf)).collect();
        plan.rows.leaves.clone_from(&leaves);
        let head = self.next_lines(&mut plan, by);
        let profiles = plan.rows.profiles.clone();
        let entry = plan.entry(by, head.sequence)?;
        let rows = plan.rows;
        if let Err(error) = self.journal.commit(Change { entry, rows }).await {
            self.reload_feed_head().await;
            return Err(error);
        }
        state.add(leaves);
        for profile in profiles {
            self.remember(profile);
        }
        plan.retired_leaves
            .iter()
            .for_each(|name| drop(self.leaves().remove(name)));
        let sequence = head.sequence;
        self.publish(head);
        Ok(sequence)
    }
}

/// Who revokes, why, and when.
struct By<'a> {
    principal: &'a Principal,
    reason: &'a str,
    at: OffsetDateTime,
}

impl By<'_> {
    fn revoked(&self, job: SigningJob, on_crl: bool) -> SigningJob {
        let revocation = JobRevocation {
            at: self.at,
            by: self.principal.describe(),
            reason: self.reason.to_owned(),
            on_crl,
        };
        SigningJob {
            status: JobStatus::Revoked,
            revocation: Some(revocation),
            ..job
        }
    }
}

pub(super) fn may_handle(
    principal: &Principal,
    job: &SigningJob,
    action: &'static str,
) -> Result<(), SignerError> {
    // Runs of a pipeline are one principal; workloads share an account, and are not.
    let is_own =
        principal.identity() == job.caller.identity() && principal.workload == job.caller.workload;
    let is_administrator = principal.administers();
    if is_own || is_administrator {
        return Ok(());
    }
    let account = principal.account.clone();
    Err(Denial::OthersSignature { account, action }.into())
}

fn revoked_with(revocation: &ProfileRevocation, name: &ProfileName) -> JobRevocation {
    JobRevocation {
        at: revocation.at,
        by: revocation.by.clone(),
        reason: format!("profile `{name}` was revoked: {}", revocation.reason),
        on_crl: true,
    }
}

fn checked_reason(reason: &str) -> Result<String, SignerError> {
    let reason = reason.trim();
    let length = reason.chars().count();
    if (1..=MAX_REASON_CHARS).contains(&length) && !reason.chars().any(char::is_control) {
        Ok(reason.to_owned())
    } else {
        Err(SignerError::Reason)
    }
}
