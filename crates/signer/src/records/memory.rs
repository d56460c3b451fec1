//! Records in memory: for tests and measurements, gone with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{JobQuery, Records, RecordsError, RevocationChange};
use crate::job::{JobId, RevokedLeaf, SigningJob};
use crate::profile::{ProfileName, SigningProfile};

/// Records in memory.
#[derive(Default)]
pub struct MemoryRecords {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    profiles: BTreeMap<ProfileName, SigningProfile>,
    jobs: BTreeMap<JobId, SigningJob>,
    leaves: BTreeMap<String, RevokedLeaf>,
    crl_number: u64,
}

impl MemoryRecords {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobQuery {
    /// Returns whether `job` is one of those that are asked for.
    pub fn matches(&self, job: &SigningJob) -> bool {
        self.profile
            .as_ref()
            .is_none_or(|name| *name == job.profile)
            && self.signed_from.is_none_or(|from| job.signed_at >= from)
            && self.after.is_none_or(|after| job.id > after)
    }
}

#[async_trait]
impl Records for MemoryRecords {
    async fn profiles(&self) -> Result<Vec<SigningProfile>, RecordsError> {
        Ok(self.state().profiles.values().cloned().collect())
    }

    async fn put_profile(&self, profile: &SigningProfile) -> Result<(), RecordsError> {
        let profile = profile.clone();
        self.state().profiles.insert(profile.name.clone(), profile);
        Ok(())
    }

    async fn add_jobs(&self, jobs: &[SigningJob]) -> Result<(), RecordsError> {
        let jobs = jobs.iter().map(|job| (job.id, job.clone()));
        self.state().jobs.extend(jobs);
        Ok(())
    }

    async fn job(&self, id: JobId) -> Result<Option<SigningJob>, RecordsError> {
        Ok(self.state().jobs.get(&id).cloned())
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<SigningJob>, RecordsError> {
        let state = self.state();
        let matching = state.jobs.values().filter(|job| query.matches(job));
        Ok(matching.take(query.limit).cloned().collect())
    }

    async fn revoke(&self, change: &RevocationChange) -> Result<(), RecordsError> {
        let change = change.clone();
        let mut state = self.state();
        if let Some(profile) = change.profile {
            state.profiles.insert(profile.name.clone(), profile);
        }
        if let Some(job) = change.job {
            state.jobs.insert(job.id, job);
        }
        let leaves = change.leaves.into_iter();
        state
            .leaves
            .extend(leaves.map(|leaf| (leaf.serial.clone(), leaf)));
        Ok(())
    }

    async fn revoked_leaves(&self, now: OffsetDateTime) -> Result<Vec<RevokedLeaf>, RecordsError> {
        let state = self.state();
        let listed = state.leaves.values().filter(|leaf| leaf.listed_until > now);
        Ok(listed.cloned().collect())
    }

    async fn next_crl_number(&self) -> Result<u64, RecordsError> {
        let mut state = self.state();
        state.crl_number += 1;
        Ok(state.crl_number)
    }
}
