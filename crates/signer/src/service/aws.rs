//! What clients of AWS Signer ask beside signing: permissions, tags, listings of jobs, and what of
//! a signature was revoked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;

use super::journal::{Change, Rows};
use super::revocation::may_handle;
use super::{Signer, SignerError, administrators_only, no_job};
use crate::account::AccountNumber;
use crate::job::{JobId, JobStatus, SigningJob};
use crate::log::{Entry, EntryKind};
use crate::principal::{Denial, Principal};
use crate::profile::{PermissionChange, PermittedAction, ProfileName, SigningProfile, TagChange};
use crate::records::JobQuery;

/// The most jobs of one listing: as many fit into a frame. AWS gives out at most 25.
pub const MAX_LISTED_JOBS: usize = 32;
/// How many pages of the records are read for one listing. One that found nothing in them is empty
/// and says where the next begins.
const MAX_PAGES: usize = 8;

/// Which jobs to list, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobFilter {
    /// Only those of profiles of this account number.
    pub owner: Option<AccountNumber>,
    /// Only those that this account asked for.
    pub caller: Option<String>,
    /// Only those that somebody of this account number asked for.
    pub invoker: Option<AccountNumber>,
    /// Only those that are revoked, or only the others.
    pub revoked: Option<bool>,
    /// Only those that expire at this moment or later.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_from: Option<OffsetDateTime>,
    /// Only those that expire before this moment.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_before: Option<OffsetDateTime>,
    /// Only those before this position of the log.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Some jobs of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobListing {
    /// The jobs; there may be none on a page that is not the last.
    pub jobs: Vec<SigningJob>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<u64>,
}

/// A question whether something that a signature rests on was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusQuestion {
    /// Whose profile and job it is, as the signature says.
    pub owner: AccountNumber,
    /// The profile.
    pub profile: ProfileName,
    /// Its version.
    pub version: String,
    /// The job.
    pub job: JobId,
    /// For each certificate the SHA-384 of its to-be-signed part and that of its issuer's, in
    /// hexadecimal, in any order.
    pub certificate_hashes: Vec<String>,
}

/// What of a signature was revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokedParts {
    /// The profile, or this version of it, from before this signature on.
    pub profile_version: bool,
    /// The job.
    pub job: bool,
    /// Those of the certificate hashes whose certificate was revoked.
    pub certificate_hashes: Vec<String>,
}

impl Signer {
    /// Adds or removes a permission, if the permissions are still at `revision`.
    pub async fn change_permissions(
        &self,
        principal: &Principal,
        name: &ProfileName,
        (change, revision): (PermissionChange, Option<&str>),
    ) -> Result<Arc<SigningProfile>, SignerError> {
        administrators_only(principal, "change the permissions of signing profiles")?;
        let _changing = self.changes.write().await;
        let mut profile = SigningProfile::clone(&*self.own_profile(principal, name)?);
        profile.change_permissions(change.clone(), revision)?;
        profile.revision_id = JobId::new(self.now()).to_string();
        let body = json!({"profile": name, "by": principal, "change": change});
        let entry = Entry::new(EntryKind::Permission, body)?;
        self.replace_profile(profile, entry).await
    }

    /// Sets and removes tags.
    pub async fn change_tags(
        &self,
        principal: &Principal,
        name: &ProfileName,
        change: TagChange,
    ) -> Result<Arc<SigningProfile>, SignerError> {
        administrators_only(principal, "tag signing profiles")?;
        let _changing = self.changes.write().await;
        let mut profile = SigningProfile::clone(&*self.own_profile(principal, name)?);
        profile.change_tags(change)?;
        let body =
            json!({"profile": name, "by": principal, "what": "tagged", "tags": profile.tags});
        let entry = Entry::new(EntryKind::Profile, body)?;
        self.replace_profile(profile, entry).await
    }

    async fn replace_profile(
        &self,
        profile: SigningProfile,
        entry: Entry,
    ) -> Result<Arc<SigningProfile>, SignerError> {
        let rows = Rows {
            profiles: vec![profile.clone()],
            ..Rows::default()
        };
        self.journal.commit(Change { entry, rows }).await?;
        Ok(self.remember(profile))
    }

    /// Returns a page of the jobs that the caller may see: its own, or all to administrators.
    pub async fn list_jobs(
        &self,
        principal: &Principal,
        filter: JobFilter,
    ) -> Result<JobListing, SignerError> {
        let limit = filter.limit.clamp(1, MAX_LISTED_JOBS);
        let mut query = JobQuery {
            owner: filter.owner.map(|owner| owner.to_string()),
            caller: filter.caller.clone(),
            expires_from: filter.expires_from,
            expires_before: filter.expires_before,
            after: filter.before,
            newest_first: true,
            limit,
            ..JobQuery::default()
        };
        if !principal.is_admin {
            query.caller.get_or_insert(principal.account.clone());
        }
        let mut listing = JobListing::default();
        for _ in 0..MAX_PAGES {
            let page = self.records.jobs(&query).await?;
            for job in page.jobs {
                let position = job.position;
                listing.jobs.extend(self.shown(principal, &filter, job));
                if listing.jobs.len() == limit {
                    listing.next = Some(position);
                    return Ok(listing);
                }
            }
            listing.next = page.next;
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(listing)
    }

    fn shown(
        &self,
        principal: &Principal,
        filter: &JobFilter,
        job: SigningJob,
    ) -> Option<SigningJob> {
        may_handle(principal, &job, "see this signing job").ok()?;
        let job = self.with_profile_revocation(job);
        let revoked = job.status == JobStatus::Revoked;
        let invoker = job.caller.number.unwrap_or(self.installation.number);
        let wanted = filter.revoked.is_none_or(|wanted| wanted == revoked)
            && filter.invoker.is_none_or(|wanted| wanted == invoker);
        wanted.then_some(job)
    }

    /// Returns what of a signature was revoked. The job on record decides, not the time that the
    /// question claims; one that names things that do not belong together is refused, because an
    /// empty answer means that all is well.
    pub async fn revoked_parts(
        &self,
        question: &StatusQuestion,
    ) -> Result<RevokedParts, SignerError> {
        let profile = self.profile_or_not_found(&question.profile)?;
        let job = self.records.job(question.job).await?;
        let job = job.ok_or_else(|| no_job(question.job))?;
        let belongs = self.owner_of(&profile) == question.owner
            && job.profile == profile.name
            && job.profile_version == question.version;
        if !belongs {
            return Err(SignerError::Question(
                "the signing job was not made under that version of the profile",
            ));
        }
        let leaf = question.leaf_hash(&job)?;
        let leaf_is_revoked = self.leaf_is_revoked(&job).await;
        Ok(RevokedParts {
            profile_version: profile
                .revocation_at(&job.profile_version, job.position)
                .is_some(),
            job: job.status == JobStatus::Revoked,
            certificate_hashes: leaf.filter(|_| leaf_is_revoked).into_iter().collect(),
        })
    }

    async fn leaf_is_revoked(&self, job: &SigningJob) -> bool {
        let state = self.list.lock().await;
        let leaf = state.find(&job.leaf_serial);
        leaf.is_some_and(|leaf| leaf.invalid_from.is_none_or(|from| job.signed_at >= from))
    }

    /// The profile must belong to `owner`, when one is named.
    pub(super) fn check_owner(
        &self,
        name: &ProfileName,
        owner: Option<AccountNumber>,
    ) -> Result<(), SignerError> {
        let Some(owner) = owner else { return Ok(()) };
        let profile = self.profile_or_not_found(name)?;
        match self.owner_of(&profile) == owner {
            true => Ok(()),
            false => Err(SignerError::NoProfile(name.clone())),
        }
    }

    /// Returns a profile that belongs to the caller's account number. One without a number
    /// administers all.
    pub(super) fn own_profile(
        &self,
        principal: &Principal,
        name: &ProfileName,
    ) -> Result<Arc<SigningProfile>, SignerError> {
        self.check_owner(name, principal.number)?;
        self.profile_or_not_found(name)
    }

    /// A permission lets the caller revoke what was signed under a profile of others.
    pub(super) fn may_revoke(&self, principal: &Principal, job: &SigningJob) -> bool {
        let profile = self.find_profile(&job.profile);
        profile.is_some_and(|profile| {
            let action = PermittedAction::RevokeSignature;
            profile.permits(action, principal, &job.profile_version)
        })
    }

    /// A name that another account number has is taken.
    pub(super) fn check_name_is_free(
        &self,
        existing: Option<&SigningProfile>,
        owner: Option<AccountNumber>,
    ) -> Result<(), SignerError> {
        match (existing, owner) {
            (Some(old), Some(owner)) if self.owner_of(old) != owner => {
                Err(Denial::AnothersProfile(old.name.clone()).into())
            }
            _ => Ok(()),
        }
    }
}

impl StatusQuestion {
    /// Returns the hash that is about the leaf of `job`.
    fn leaf_hash(&self, job: &SigningJob) -> Result<Option<String>, SignerError> {
        let mut hashes = self.certificate_hashes.iter();
        let Some(recorded) = &job.leaf_tbs_sha384 else {
            return Ok(hashes.next().cloned());
        };
        // In any place: AWS's Go SDK sorts the values of a repeated parameter.
        match hashes.find(|hash| hash.starts_with(recorded.as_str())) {
            Some(hash) => Ok(Some(hash.clone())),
            None => Err(SignerError::Question(
                "no certificate hash is that of the certificate that signed the job",
            )),
        }
    }
}
