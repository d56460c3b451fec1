//! Revocation: of one signature, of a profile from a time on, and the list that tells others.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use serde_json::json;

use super::journal::{Change, Rows};
use super::{Signer, SignerError, administrators_only, no_job};
use crate::authority::{CrlTimes, RevocationEntry, whole_seconds};
use crate::job::{JobId, JobRevocation, JobStatus, MAX_REASON_CHARS, RevokedLeaf, SigningJob};
use crate::log::entry::rfc3339;
use crate::log::{Entry, EntryKind};
use crate::principal::{Denial, Principal};
use crate::profile::{ProfileName, ProfileRevocation, ProfileStatus, SigningProfile};
use crate::records::JobQuery;

/// How long a revoked leaf stays on the list after its last signature expired. Expired is not
/// revoked: a restart of a digest that was admitted before asks only for the latter, so the answer
/// must not turn from "revoked" to "not listed" at the expiry.
pub const LISTED_AFTER_EXPIRY: Duration = Duration::days(90);
/// How many jobs are read at once while a profile is revoked.
const PAGE: usize = 1000;

/// A revocation list as it is given out.
#[derive(Clone, Debug)]
pub struct RevocationList {
    /// The list in DER.
    pub der: Arc<[u8]>,
    /// Its number.
    pub number: u64,
    /// Until when it may be used.
    pub next_update: OffsetDateTime,
}

/// Revoked leaves, and the list that was made of them.
pub(super) struct ListState {
    leaves: BTreeMap<String, RevokedLeaf>,
    period: Duration,
    made: Option<(OffsetDateTime, RevocationList)>,
}

impl ListState {
    pub(super) fn new(leaves: Vec<RevokedLeaf>, period: Duration) -> Self {
        let leaves = leaves.into_iter().map(|leaf| (leaf.serial.clone(), leaf));
        Self {
            leaves: leaves.collect(),
            period,
            made: None,
        }
    }

    /// Returns `leaf` united with what is known of it already.
    fn united(&self, leaf: RevokedLeaf) -> RevokedLeaf {
        match self.leaves.get(&leaf.serial) {
            Some(known) => known.clone().union(leaf),
            None => leaf,
        }
    }

    fn add(&mut self, leaves: Vec<RevokedLeaf>) {
        self.leaves
            .extend(leaves.into_iter().map(|leaf| (leaf.serial.clone(), leaf)));
        self.made = None;
    }

    /// Returns the list in use, unless more than half of its time is over: then there is still
    /// time for verifiers to fetch the next one.
    fn current(&self, now: OffsetDateTime) -> Option<RevocationList> {
        let (made_at, list) = self.made.as_ref()?;
        let fresh = (*made_at..*made_at + self.period / 2).contains(&now);
        fresh.then(|| list.clone())
    }

    fn entries(&mut self, now: OffsetDateTime) -> Result<Vec<RevocationEntry>, SignerError> {
        self.leaves.retain(|_, leaf| leaf.listed_until > now);
        let entry = |leaf: &RevokedLeaf| {
            let serial = hex::decode(&leaf.serial);
            let serial = serial.map_err(|error| SignerError::Internal(error.to_string()))?;
            let RevokedLeaf {
                revoked_at,
                invalid_from,
                ..
            } = *leaf;
            Ok(RevocationEntry {
                serial,
                revoked_at,
                invalid_from,
            })
        };
        self.leaves.values().map(entry).collect()
    }
}

impl Signer {
    /// Returns a job, to its caller and to administrators.
    pub async fn job(&self, principal: &Principal, id: JobId) -> Result<SigningJob, SignerError> {
        let mut job = self.records.job(id).await?.ok_or_else(|| no_job(id))?;
        may_handle(principal, &job, "see this signing job")?;
        if let Some(profile) = self.find_profile(&job.profile)
            && let Some(revocation) = &profile.revocation
            && job.status == JobStatus::Succeeded
            && job.signed_at >= revocation.from
        {
            job.status = JobStatus::Revoked;
            job.revocation = Some(revoked_with(revocation, &profile.name));
        }
        Ok(job)
    }

    /// Revokes one signature.
    ///
    /// Its leaf goes onto the revocation list, unless other signatures share it: then only
    /// `whole_leaf` puts it there, and revokes those others as well. What happened stands in
    /// the job's revocation.
    pub async fn revoke_job(
        &self,
        principal: &Principal,
        id: JobId,
        (reason, whole_leaf): (&str, bool),
    ) -> Result<SigningJob, SignerError> {
        let reason = checked_reason(reason)?;
        let _changing = self.changes.write().await;
        let mut job = self.records.job(id).await?.ok_or_else(|| no_job(id))?;
        may_handle(principal, &job, "revoke this signature")?;
        let on_crl = !job.shares_leaf || whole_leaf;
        if let Some(revocation) = &job.revocation
            && revocation.on_crl >= on_crl
        {
            return Ok(job);
        }
        let now = self.now();
        job.status = JobStatus::Revoked;
        let by = principal.describe();
        job.revocation = Some(JobRevocation {
            at: now,
            by,
            reason,
            on_crl,
        });
        let entry = Entry::new(
            EntryKind::Revocation,
            json!({"job": job.id, "position": job.position, "onCrl": on_crl, "by": principal,
                   "reason": job.revocation.as_ref().map(|revocation| &revocation.reason)}),
        )?;
        let mut rows = Rows {
            jobs: vec![job.clone()],
            ..Rows::default()
        };
        if on_crl {
            rows.leaves.push(self.revoked_leaf(&job, now));
            self.leaves().remove(&job.profile);
        }
        self.keep(Change { entry, rows }).await?;
        Ok(job)
    }

    /// Revokes all signatures of a profile that were made at `from` or later (all of them when
    /// `from` is absent), and lets it sign no more. `from` lies in the past, and a later
    /// revocation may only move it further back.
    pub async fn revoke_profile(
        &self,
        principal: &Principal,
        name: &ProfileName,
        (from, reason): (Option<OffsetDateTime>, &str),
    ) -> Result<Arc<SigningProfile>, SignerError> {
        administrators_only(principal, "revoke signing profiles")?;
        let reason = checked_reason(reason)?;
        let _changing = self.changes.write().await;
        let old = self.profile_or_not_found(name)?;
        let now = self.now();
        let from = whole_seconds(from.unwrap_or(old.created_at));
        if !moves_revocation(&old, from, now)? {
            return Ok(old);
        }
        let mut profile = SigningProfile::clone(&old);
        let by = principal.describe();
        profile.status = ProfileStatus::Revoked;
        profile.revocation = Some(ProfileRevocation {
            from,
            at: now,
            by,
            reason,
        });
        let leaves = self.leaves_used_from(name, from, now).await?;
        let entry = Entry::new(
            EntryKind::Revocation,
            json!({"profile": name, "from": rfc3339(from), "by": principal,
                   "reason": profile.revocation.as_ref().map(|revocation| &revocation.reason)}),
        )?;
        let rows = Rows {
            profiles: vec![profile.clone()],
            leaves,
            ..Rows::default()
        };
        self.keep(Change { entry, rows }).await?;
        Ok(self.remember(profile))
    }

    /// Returns the revocation list, made anew when something changed or half its time is over.
    pub async fn revocation_list(&self) -> Result<RevocationList, SignerError> {
        let mut state = self.list.lock().await;
        let now = self.now();
        if let Some(list) = state.current(now) {
            return Ok(list);
        }
        let entries = state.entries(now)?;
        let number = self.records.next_crl_number().await?;
        let next_update = whole_seconds(now + state.period);
        let times = CrlTimes {
            this_update: now,
            next_update,
        };
        let authority = self.authority.clone();
        let signing = move || Ok(authority.sign_crl(number, times, &entries)?);
        let der = self.pool.run(signing).await?.into();
        let list = RevocationList {
            der,
            number,
            next_update,
        };
        state.made = Some((now, list.clone()));
        Ok(list)
    }

    fn revoked_leaf(&self, job: &SigningJob, now: OffsetDateTime) -> RevokedLeaf {
        // The last signature of a shared leaf may have been made just now.
        let profile = self.find_profile(&job.profile).filter(|_| job.shares_leaf);
        let last = profile.and_then(|profile| profile.validity.end_after(now));
        let expires = last.map_or(job.expires, |last| last.max(job.expires));
        RevokedLeaf {
            serial: job.leaf_serial.clone(),
            revoked_at: now,
            invalid_from: None,
            listed_until: expires + LISTED_AFTER_EXPIRY,
        }
    }

    async fn leaves_used_from(
        &self,
        name: &ProfileName,
        from: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Vec<RevokedLeaf>, SignerError> {
        let mut leaves: BTreeMap<String, RevokedLeaf> = BTreeMap::new();
        let mut query = JobQuery {
            profile: Some(name.clone()),
            signed_from: Some(from),
            limit: PAGE,
            ..JobQuery::default()
        };
        loop {
            let page = self.records.jobs(&query).await?;
            for job in &page.jobs {
                let leaf = RevokedLeaf {
                    serial: job.leaf_serial.clone(),
                    revoked_at: now,
                    invalid_from: Some(from),
                    listed_until: job.expires + LISTED_AFTER_EXPIRY,
                };
                let known = leaves.remove(&leaf.serial);
                let leaf = known.map_or(leaf.clone(), |known| known.union(leaf));
                leaves.insert(leaf.serial.clone(), leaf);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        leaves.retain(|_, leaf| leaf.listed_until > now);
        Ok(leaves.into_values().collect())
    }

    /// Makes a change durable, then visible.
    async fn keep(&self, mut change: Change) -> Result<(), SignerError> {
        let mut state = self.list.lock().await;
        let leaves = std::mem::take(&mut change.rows.leaves).into_iter();
        let leaves: Vec<_> = leaves.map(|leaf| state.united(leaf)).collect();
        change.rows.leaves.clone_from(&leaves);
        self.journal.commit(change).await?;
        state.add(leaves);
        Ok(())
    }
}

/// Returns whether revoking from `from` on changes anything; an error when it may not be.
fn moves_revocation(
    profile: &SigningProfile,
    from: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<bool, SignerError> {
    let refused = |reason| {
        let profile = profile.name.clone();
        Err(SignerError::RevocationTime {
            profile,
            from,
            reason,
        })
    };
    match &profile.revocation {
        _ if from > now => refused("that is in the future"),
        Some(known) if from > known.from => {
            refused("it is revoked from an earlier moment on, and a revocation is never taken back")
        }
        Some(known) => Ok(from < known.from),
        None => Ok(true),
    }
}

fn may_handle(
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
