//! Records in memory: for tests and measurements, gone with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use time::OffsetDateTime;
use trust::tlog::{Hash, Node};

use super::{
    Batch, Coverage, CoverageQuery, ExpiryQuery, JobPage, JobQuery, KeptRevocation, LeafName,
    LogEntry, LogHead, LogRecords, Records, RecordsError, RevocationRecords,
};
use crate::job::{IssuedLeaf, JobId, RevokedLeaf, SigningJob};
use crate::profile::{ProfileName, SigningProfile};

/// Records in memory.
#[derive(Default)]
pub struct MemoryRecords {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    profiles: BTreeMap<ProfileName, SigningProfile>,
    jobs: BTreeMap<u64, SigningJob>,
    positions: BTreeMap<JobId, u64>,
    leaves: BTreeMap<String, RevokedLeaf>,
    issued: BTreeMap<String, IssuedLeaf>,
    entries: Vec<LogEntry>,
    nodes: BTreeMap<Node, Hash>,
    checkpoint: Option<String>,
    crl_number: u64,
    revocations: Vec<KeptRevocation>,
}

impl MemoryRecords {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobQuery {
    /// Returns whether `job` is one of those that are asked for.
    pub fn matches(&self, job: &SigningJob) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        is(self.owner.as_ref(), &job.owner)
            && is(self.profile.as_ref(), &job.profile)
            && is(self.profile_version.as_ref(), &job.profile_version)
            && is(self.caller.as_ref(), &job.caller.account)
            && is(self.target.as_ref(), &job.target)
            && is(self.revoked.as_ref(), &job.revocation.is_some())
            && self.signed_from.is_none_or(|from| job.signed_at >= from)
            && self.expires_from.is_none_or(|from| job.expires >= from)
            && self.expires_before.is_none_or(|end| job.expires < end)
    }

    /// Returns the positions that are asked for: from the first to before the second.
    pub fn positions(&self) -> (u64, u64) {
        match (self.newest_first, self.after) {
            (_, None) => (self.from_position, u64::MAX),
            (false, Some(after)) => (self.from_position.max(after.saturating_add(1)), u64::MAX),
            (true, Some(after)) => (self.from_position, after),
        }
    }
}

fn page<'a>(jobs: impl Iterator<Item = &'a SigningJob>, query: &JobQuery) -> JobPage {
    let matching = jobs.filter(|job| query.matches(job));
    let jobs: Vec<_> = matching.take(query.limit).cloned().collect();
    let next = jobs.last().map(|job| job.position);
    JobPage {
        next: next.filter(|_| jobs.len() == query.limit),
        jobs,
    }
}

#[async_trait]
impl LogRecords for MemoryRecords {
    async fn log_head(&self) -> Result<LogHead, RecordsError> {
        let state = self.state();
        let last = state.entries.last();
        Ok(LogHead {
            size: state.entries.len() as u64,
            at: last.map_or(OffsetDateTime::UNIX_EPOCH, |entry| entry.at),
            checkpoint: state.checkpoint.clone(),
        })
    }

    async fn log_entries(&self, from: u64, count: u64) -> Result<Vec<Vec<u8>>, RecordsError> {
        let (from, count) = (index(from), index(count));
        let state = self.state();
        let found = state.entries.iter().skip(from).take(count);
        Ok(found.map(|entry| entry.bytes.clone()).collect())
    }

    async fn log_nodes(&self, first: Node, count: u64) -> Result<Vec<Hash>, RecordsError> {
        let state = self.state();
        let end = Node {
            number: first.number.saturating_add(count),
            ..first
        };
        Ok(state
            .nodes
            .range(first..end)
            .map(|(_, hash)| *hash)
            .collect())
    }

    async fn position_at(&self, time: OffsetDateTime) -> Result<u64, RecordsError> {
        let state = self.state();
        Ok(state.entries.partition_point(|entry| entry.at < time) as u64)
    }
}

#[async_trait]
impl RevocationRecords for MemoryRecords {
    async fn revocations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptRevocation>, RecordsError> {
        let state = self.state();
        let found = state.revocations.iter().skip(index(after)).take(limit);
        Ok(found.cloned().collect())
    }

    async fn last_revocation(&self) -> Result<Option<KeptRevocation>, RecordsError> {
        Ok(self.state().revocations.last().cloned())
    }

    async fn coverage(&self, query: &CoverageQuery) -> Result<Coverage, RecordsError> {
        let jobs = JobQuery {
            profile: query.profile.clone(),
            profile_version: query.profile_version.clone(),
            target: query.target.clone(),
            ..JobQuery::default()
        };
        let state = self.state();
        let covered = state.jobs.range(query.from_position..);
        let mut found = Coverage::default();
        let mut artifacts = BTreeSet::new();
        for job in covered.map(|(_, job)| job).filter(|job| jobs.matches(job)) {
            let is_in_force = job.expires > query.now && job.revocation.is_none();
            found.signatures += 1;
            found.in_force += u64::from(is_in_force);
            artifacts.insert(job.target.clone());
            *found.by_profile.entry(job.profile.to_string()).or_default() += 1;
        }
        found.artifacts = artifacts.len() as u64;
        Ok(found)
    }

    async fn jobs_of_leaf(
        &self,
        leaf: &LeafName,
        from_position: u64,
        limit: usize,
    ) -> Result<Vec<SigningJob>, RecordsError> {
        let state = self.state();
        let jobs = state.jobs.range(from_position..).map(|(_, job)| job);
        Ok(jobs
            .filter(|job| leaf.is_of(job))
            .take(limit)
            .cloned()
            .collect())
    }
}

impl std::fmt::Display for LeafName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "the certificate with serial number `{serial}`"),
            Self::Sha256(sha256) => write!(f, "the certificate `{sha256}`"),
        }
    }
}

impl LeafName {
    /// Returns whether `job` was signed with this leaf.
    pub fn is_of(&self, job: &SigningJob) -> bool {
        match self {
            Self::Serial(serial) => *serial == job.leaf_serial,
            Self::Sha256(sha256) => *sha256 == job.leaf_sha256,
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[async_trait]
impl Records for MemoryRecords {
    async fn commit(&self, batch: &Batch) -> Result<(), RecordsError> {
        let batch = batch.clone();
        let mut state = self.state();
        let profiles = batch.profiles.into_iter();
        state
            .profiles
            .extend(profiles.map(|profile| (profile.name.clone(), profile)));
        for job in batch.jobs {
            state.positions.insert(job.id, job.position);
            state.jobs.insert(job.position, job);
        }
        let leaves = batch.leaves.into_iter();
        state
            .leaves
            .extend(leaves.map(|leaf| (leaf.serial.clone(), leaf)));
        state.revocations.extend(batch.revocations);
        for leaf in batch.issued {
            state.issued.insert(leaf.serial.clone(), leaf);
        }
        state.entries.extend(batch.entries);
        state
            .nodes
            .extend(batch.nodes.iter().map(|kept| (kept.node, kept.hash)));
        state.checkpoint = batch.checkpoint.or(state.checkpoint.take());
        Ok(())
    }

    async fn profiles(&self) -> Result<Vec<SigningProfile>, RecordsError> {
        Ok(self.state().profiles.values().cloned().collect())
    }

    async fn job(&self, id: JobId) -> Result<Option<SigningJob>, RecordsError> {
        let state = self.state();
        let position = state.positions.get(&id);
        Ok(position
            .and_then(|position| state.jobs.get(position))
            .cloned())
    }

    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, RecordsError> {
        let state = self.state();
        let (from, end) = query.positions();
        if from >= end {
            return Ok(JobPage::default());
        }
        let jobs = state.jobs.range(from..end).map(|(_, job)| job);
        Ok(match query.newest_first {
            true => page(jobs.rev(), query),
            false => page(jobs, query),
        })
    }

    async fn count_jobs(&self, quota_key: &str, from: OffsetDateTime) -> Result<u64, RecordsError> {
        let state = self.state();
        let counts = |job: &&SigningJob| {
            job.quota_key.as_deref() == Some(quota_key) && job.signed_at >= from
        };
        Ok(state.jobs.values().filter(counts).count() as u64)
    }

    async fn expiring_jobs(&self, query: &ExpiryQuery) -> Result<Vec<SigningJob>, RecordsError> {
        let state = self.state();
        let place = |job: &SigningJob| (job.expires, job.position);
        let asked = |job: &&SigningJob| {
            (query.from..query.before).contains(&job.expires)
                && query.after.is_none_or(|after| place(job) > after)
        };
        let mut jobs: Vec<_> = state.jobs.values().filter(asked).cloned().collect();
        jobs.sort_by_key(place);
        jobs.truncate(query.limit);
        Ok(jobs)
    }

    async fn unlogged_jobs(&self, _: usize) -> Result<Vec<SigningJob>, RecordsError> {
        Ok(Vec::new())
    }

    async fn issued_leaf(&self, serial: &str) -> Result<Option<IssuedLeaf>, RecordsError> {
        Ok(self.state().issued.get(serial).cloned())
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
