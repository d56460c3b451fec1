//! The signer's records in the store: rows hold the signer's own JSON, and columns what is asked
//! for.

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use signer::log::entry::job_of_entry;
use signer::{
    Batch, Coverage, CoverageQuery, ExpiryQuery, IssuedLeaf, JobId, JobPage, JobQuery,
    KeptRevocation, LeafName, LogEntry, LogHead, LogRecords, Records, RecordsError,
    RevocationRecords, RevokedLeaf, SigningJob, SigningProfile, TreeNode,
};
use store::signing::{
    CoverageFilter, ExpiryFilter, IssuedLeafRow, LogEntryRow, LogNodeRow, ProfileRow,
    RevocationRow, RevokedLeafRow, SigningChange, SigningJobFilter, SigningJobRow, SigningRecords,
    StoredJob,
};
use time::OffsetDateTime;
use trust::tlog::{Hash, Node};

/// The counter of revocation lists.
const CRL_NUMBER: &str = "crl-number";

/// The signer's records in a database of its own.
pub struct StoredRecords(SigningRecords);

impl StoredRecords {
    /// Returns the records in `rows`.
    pub fn new(rows: SigningRecords) -> Self {
        Self(rows)
    }
}

#[async_trait]
impl LogRecords for StoredRecords {
    async fn log_head(&self) -> Result<LogHead, RecordsError> {
        let head = self.0.log_head().await.map_err(not_read)?;
        Ok(LogHead {
            size: head.size,
            at: head.at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            checkpoint: head.checkpoint,
        })
    }

    async fn log_entries(&self, from: u64, count: u64) -> Result<Vec<Vec<u8>>, RecordsError> {
        self.0.log_entries(from, count).await.map_err(not_read)
    }

    async fn log_nodes(&self, first: Node, count: u64) -> Result<Vec<Hash>, RecordsError> {
        let rows = self.0.log_nodes(first.height, (first.number, count)).await;
        Ok(rows.map_err(not_read)?.into_iter().map(Hash::new).collect())
    }

    async fn position_at(&self, time: OffsetDateTime) -> Result<u64, RecordsError> {
        self.0.log_position_at(time).await.map_err(not_read)
    }
}

#[async_trait]
impl RevocationRecords for StoredRecords {
    async fn revocations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptRevocation>, RecordsError> {
        let rows = self.0.revocations(after, limit).await.map_err(not_read)?;
        Ok(rows.into_iter().map(kept_revocation).collect())
    }

    async fn last_revocation(&self) -> Result<Option<KeptRevocation>, RecordsError> {
        let row = self.0.last_revocation().await.map_err(not_read)?;
        Ok(row.map(kept_revocation))
    }

    async fn coverage(&self, query: &CoverageQuery) -> Result<Coverage, RecordsError> {
        let filter = CoverageFilter {
            profile: query.profile.as_ref().map(ToString::to_string),
            profile_version: query.profile_version.clone(),
            target: query.target.clone(),
            from_position: query.from_position,
            now: query.now,
        };
        let row = self.0.coverage(filter).await.map_err(not_read)?;
        Ok(Coverage {
            signatures: row.signatures,
            in_force: row.in_force,
            artifacts: row.targets,
            by_profile: row.by_profile,
        })
    }

    async fn jobs_of_leaf(
        &self,
        leaf: &LeafName,
        from_position: u64,
        limit: usize,
    ) -> Result<Vec<SigningJob>, RecordsError> {
        let (LeafName::Serial(text) | LeafName::Sha256(text)) = leaf.clone();
        let rows = self.0.jobs_with(text, from_position, limit).await;
        let jobs = rows.map_err(not_read)?;
        let jobs: Vec<SigningJob> = jobs.iter().map(job).collect::<Result<_, _>>()?;
        // The text may stand in another member.
        Ok(jobs.into_iter().filter(|job| leaf.is_of(job)).collect())
    }
}

#[async_trait]
impl Records for StoredRecords {
    async fn commit(&self, batch: &Batch) -> Result<(), RecordsError> {
        let change = change(batch)?;
        self.0.put(change).await.map_err(not_written)
    }

    async fn profiles(&self) -> Result<Vec<SigningProfile>, RecordsError> {
        let rows = self.0.profiles().await.map_err(not_read)?;
        rows.iter().map(|row| parsed(&row.document)).collect()
    }

    async fn job(&self, id: JobId) -> Result<Option<SigningJob>, RecordsError> {
        let row = self.0.job(id.into()).await.map_err(not_read)?;
        row.as_ref().map(job).transpose()
    }

    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, RecordsError> {
        let page = self.0.jobs(filter(query)).await.map_err(not_read)?;
        let jobs: Vec<SigningJob> = page.jobs.iter().map(job).collect::<Result<_, _>>()?;
        Ok(JobPage {
            // The rows know of a target only how it begins.
            jobs: jobs.into_iter().filter(|job| query.matches(job)).collect(),
            next: page.next,
        })
    }

    async fn count_jobs(&self, quota_key: &str, from: OffsetDateTime) -> Result<u64, RecordsError> {
        self.0.count_jobs(quota_key, from).await.map_err(not_read)
    }

    async fn expiring_jobs(&self, query: &ExpiryQuery) -> Result<Vec<SigningJob>, RecordsError> {
        let filter = ExpiryFilter {
            from: query.from,
            before: query.before,
            after: query.after,
            limit: query.limit,
        };
        let rows = self.0.expiring_jobs(filter).await.map_err(not_read)?;
        rows.iter().map(job).collect()
    }

    async fn unlogged_jobs(&self, limit: usize) -> Result<Vec<SigningJob>, RecordsError> {
        let documents = self.0.unlogged_jobs(limit).await.map_err(not_read)?;
        documents.iter().map(|document| parsed(document)).collect()
    }

    async fn issued_leaf(&self, serial: &str) -> Result<Option<IssuedLeaf>, RecordsError> {
        let row = self.0.issued_leaf(serial).await.map_err(not_read)?;
        Ok(row.map(|row| IssuedLeaf {
            serial: row.serial,
            issuer: row.issuer,
        }))
    }

    async fn revoked_leaves(&self, now: OffsetDateTime) -> Result<Vec<RevokedLeaf>, RecordsError> {
        let rows = self.0.revoked_leaves(now).await.map_err(not_read)?;
        rows.iter().map(|row| parsed(&row.document)).collect()
    }

    async fn next_crl_number(&self) -> Result<u64, RecordsError> {
        self.0.next_number(CRL_NUMBER).await.map_err(not_written)
    }
}

fn change(batch: &Batch) -> Result<SigningChange, RecordsError> {
    let profiles = batch.profiles.iter().map(profile_row);
    let leaves = batch.leaves.iter().map(leaf_row);
    Ok(SigningChange {
        profiles: profiles.collect::<Result<_, _>>()?,
        jobs: batch.jobs.iter().map(job_row).collect::<Result<_, _>>()?,
        leaves: leaves.collect::<Result<_, _>>()?,
        revocations: batch.revocations.iter().map(revocation_row).collect(),
        issued: batch.issued.iter().map(issued_row).collect(),
        entries: batch.entries.iter().map(entry_row).collect(),
        nodes: batch.nodes.iter().map(node_row).collect(),
        checkpoint: batch.checkpoint.clone(),
        imported: batch.imported.iter().map(|id| (*id).into()).collect(),
    })
}

fn filter(query: &JobQuery) -> SigningJobFilter {
    SigningJobFilter {
        owner: query.owner.clone(),
        profile: query.profile.as_ref().map(ToString::to_string),
        profile_version: query.profile_version.clone(),
        caller: query.caller.clone(),
        target: query.target.clone(),
        revoked: query.revoked,
        signed_from: query.signed_from,
        expires_from: query.expires_from,
        expires_before: query.expires_before,
        positions: query.positions(),
        newest_first: query.newest_first,
        limit: query.limit,
    }
}

fn job(row: &StoredJob) -> Result<SigningJob, RecordsError> {
    let revocation = row.revocation.as_deref().map(parsed).transpose()?;
    job_of_entry(row.position, &row.entry, revocation).map_err(not_read)
}

fn revocation_row(kept: &KeptRevocation) -> RevocationRow {
    RevocationRow {
        sequence: kept.sequence,
        chain: *kept.chain.as_bytes(),
        line: kept.line.clone(),
    }
}

fn kept_revocation(row: RevocationRow) -> KeptRevocation {
    KeptRevocation {
        sequence: row.sequence,
        chain: Hash::new(row.chain),
        line: row.line,
    }
}

fn entry_row(entry: &LogEntry) -> LogEntryRow {
    LogEntryRow {
        position: entry.position,
        at: entry.at,
        bytes: entry.bytes.clone(),
    }
}

fn node_row(node: &TreeNode) -> LogNodeRow {
    LogNodeRow {
        height: node.node.height,
        number: node.node.number,
        hash: *node.hash.as_bytes(),
    }
}

fn profile_row(profile: &SigningProfile) -> Result<ProfileRow, RecordsError> {
    Ok(ProfileRow {
        name: profile.name.to_string(),
        document: document(profile)?,
    })
}

fn job_row(job: &SigningJob) -> Result<SigningJobRow, RecordsError> {
    Ok(SigningJobRow {
        position: job.position,
        id: job.id.into(),
        owner: job.owner.clone(),
        profile: job.profile.to_string(),
        profile_version: job.profile_version.clone(),
        caller: job.caller.account.clone(),
        target: job.target.clone(),
        signed_at: job.signed_at,
        expires: job.expires,
        quota_key: job.quota_key.clone(),
        revocation: job.revocation.as_ref().map(document).transpose()?,
    })
}

fn leaf_row(leaf: &RevokedLeaf) -> Result<RevokedLeafRow, RecordsError> {
    Ok(RevokedLeafRow {
        serial: leaf.serial.clone(),
        listed_until: leaf.listed_until,
        document: document(leaf)?,
    })
}

fn issued_row(leaf: &IssuedLeaf) -> IssuedLeafRow {
    IssuedLeafRow {
        serial: leaf.serial.clone(),
        issuer: leaf.issuer,
    }
}

fn document(value: &impl Serialize) -> Result<String, RecordsError> {
    serde_json::to_string(value).map_err(not_written)
}

fn parsed<T: DeserializeOwned>(document: &str) -> Result<T, RecordsError> {
    serde_json::from_str(document).map_err(not_read)
}

fn not_read(error: impl std::error::Error + Send + Sync + 'static) -> RecordsError {
    RecordsError::new("read", error)
}

fn not_written(error: impl std::error::Error + Send + Sync + 'static) -> RecordsError {
    RecordsError::new("written", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use signer::{Grants, JobKind, JobStatus, LeafPolicy, Principal, ProfileSpec, SigningPlatform};
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn open(folder: &tempfile::TempDir) -> StoredRecords {
        let path = folder.path().join("signer.db");
        StoredRecords::new(SigningRecords::open(&path).unwrap())
    }

    fn profile() -> SigningProfile {
        let spec = ProfileSpec {
            name: "ci-build".parse().unwrap(),
            platform: SigningPlatform::default(),
            validity: "7 days".parse().unwrap(),
            leaf: LeafPolicy::Rotating { days: 3 },
            dialect: signer::Dialect::default(),
            owner: None,
            grants: Grants::default(),
            rules: Default::default(),
            two_person: false,
        };
        SigningProfile::new(spec, "ABCDEFGHJK".to_owned(), NOW)
    }

    fn job(position: u64, signed_at: OffsetDateTime) -> SigningJob {
        SigningJob {
            id: JobId::new(signed_at),
            position,
            owner: "123456789012".to_owned(),
            profile: "ci-build".parse().unwrap(),
            profile_version: "ABCDEFGHJK".to_owned(),
            caller: Principal::account("dev"),
            target: oci::Digest::sha256(&position.to_be_bytes()),
            kind: JobKind::Notary,
            signed_at,
            expires: signed_at + time::Duration::days(7),
            leaf_serial: "41".to_owned(),
            leaf_sha256: "aa".to_owned(),
            leaf_tbs_sha384: None,
            shares_leaf: true,
            issuer: 1,
            envelope_sha256: Some("bb".to_owned()),
            signed_sha256: Some("cc".to_owned()),
            status: JobStatus::Succeeded,
            revocation: None,
            rule: Some("grants".parse().unwrap()),
            quota_key: None,
        }
    }

    /// The batch of jobs with their entries, as the journal makes it.
    fn batch(jobs: &[SigningJob]) -> Batch {
        let entry = |job: &SigningJob| LogEntry {
            position: job.position,
            at: job.signed_at,
            bytes: entry_bytes(job),
        };
        Batch {
            jobs: jobs.to_vec(),
            entries: jobs.iter().map(entry).collect(),
            ..Batch::default()
        }
    }

    fn entry_bytes(job: &SigningJob) -> Vec<u8> {
        let mut entry = serde_json::to_value(job).unwrap();
        let members = entry.as_object_mut().unwrap();
        for (from, to) in [
            ("id", "job"),
            ("profileVersion", "version"),
            ("kind", "form"),
        ] {
            let value = members.remove(from).unwrap();
            members.insert(to.to_owned(), value);
        }
        entry.to_string().into_bytes()
    }

    async fn positions(records: &StoredRecords, query: JobQuery) -> (Vec<u64>, Option<u64>) {
        let page = records.jobs(&query).await.unwrap();
        (
            page.jobs.iter().map(|job| job.position).collect(),
            page.next,
        )
    }

    fn query() -> JobQuery {
        JobQuery {
            limit: 10,
            ..JobQuery::default()
        }
    }

    #[tokio::test]
    async fn records_are_the_same_when_they_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let later = NOW + time::Duration::HOUR;
        let (first, second) = (job(0, NOW), job(1, later));
        let leaf = RevokedLeaf {
            serial: "41".to_owned(),
            issuer: 2,
            revoked_at: NOW,
            invalid_from: Some(NOW),
            listed_until: later,
        };
        let issued = IssuedLeaf {
            serial: "41".to_owned(),
            issuer: 2,
        };
        {
            let records = open(&folder);
            let mut batch = batch(&[first.clone(), second.clone()]);
            batch.profiles.push(profile());
            batch.leaves.push(leaf.clone());
            batch.issued.push(issued.clone());
            batch.checkpoint = Some("a note".to_owned());
            records.commit(&batch).await.unwrap();
            assert_eq!(records.next_crl_number().await.unwrap(), 1);
        }
        let records = open(&folder);
        assert_eq!(records.profiles().await.unwrap(), [profile()]);
        assert_eq!(records.job(second.id).await.unwrap(), Some(second.clone()));
        assert_eq!(records.revoked_leaves(NOW).await.unwrap(), [leaf]);
        assert_eq!(records.issued_leaf("41").await.unwrap(), Some(issued));
        assert_eq!(records.issued_leaf("42").await.unwrap(), None);
        assert!(records.revoked_leaves(later).await.unwrap().is_empty());
        assert_eq!(records.next_crl_number().await.unwrap(), 2);
        let head = records.log_head().await.unwrap();
        assert_eq!((head.size, head.at), (2, later));
        assert_eq!(head.checkpoint.as_deref(), Some("a note"));
        let entries = records.log_entries(1, 9).await.unwrap();
        assert_eq!(entries, [entry_bytes(&second)]);
        for (time, position) in [(NOW, 0), (NOW + time::Duration::SECOND, 1), (later, 1)] {
            assert_eq!(records.position_at(time).await.unwrap(), position);
        }
        let after = later + time::Duration::SECOND;
        assert_eq!(records.position_at(after).await.unwrap(), 2);
    }

    /// One condition each, and only it decides.
    #[tokio::test]
    async fn listings_hold_what_is_asked_for_in_both_directions() {
        let folder = tempfile::tempdir().unwrap();
        let records = open(&folder);
        let minute = time::Duration::MINUTE;
        let mut jobs: Vec<_> = (0..4).map(|n| job(n, NOW + minute * n as i32)).collect();
        jobs[1].owner = "210987654321".to_owned();
        jobs[1].profile = "other".parse().unwrap();
        jobs[2].profile_version = "KKKKKKKKKK".to_owned();
        jobs[3].caller = Principal::account("ops");
        records.commit(&batch(&jobs)).await.unwrap();
        let revoked = SigningJob {
            status: JobStatus::Revoked,
            revocation: Some(signer::JobRevocation {
                at: NOW,
                by: "account `dev`".to_owned(),
                reason: "x".to_owned(),
                on_crl: false,
            }),
            ..jobs[2].clone()
        };
        let change = Batch {
            jobs: vec![revoked.clone()],
            ..Batch::default()
        };
        records.commit(&change).await.unwrap();
        assert_eq!(records.job(revoked.id).await.unwrap(), Some(revoked));
        let own = jobs[0].owner.clone();
        let table: [(JobQuery, &[u64]); 12] = [
            (query(), &[0, 1, 2, 3]),
            (
                JobQuery {
                    owner: Some(own.clone()),
                    ..query()
                },
                &[0, 2, 3],
            ),
            (
                JobQuery {
                    profile: Some("other".parse().unwrap()),
                    ..query()
                },
                &[1],
            ),
            (
                JobQuery {
                    profile_version: Some("KKKKKKKKKK".to_owned()),
                    ..query()
                },
                &[2],
            ),
            (
                JobQuery {
                    caller: Some("ops".to_owned()),
                    ..query()
                },
                &[3],
            ),
            (
                JobQuery {
                    target: Some(jobs[1].target.clone()),
                    ..query()
                },
                &[1],
            ),
            (
                JobQuery {
                    revoked: Some(true),
                    ..query()
                },
                &[2],
            ),
            (
                JobQuery {
                    revoked: Some(false),
                    ..query()
                },
                &[0, 1, 3],
            ),
            (
                JobQuery {
                    signed_from: Some(NOW + minute),
                    ..query()
                },
                &[1, 2, 3],
            ),
            (
                JobQuery {
                    expires_from: Some(jobs[3].expires),
                    ..query()
                },
                &[3],
            ),
            (
                JobQuery {
                    expires_before: Some(jobs[1].expires),
                    ..query()
                },
                &[0],
            ),
            (
                JobQuery {
                    from_position: 2,
                    ..query()
                },
                &[2, 3],
            ),
        ];
        for (asked, expected) in table {
            let found = positions(&records, asked.clone()).await;
            assert_eq!(found, (expected.to_vec(), None), "{asked:?}");
            let newest = JobQuery {
                newest_first: true,
                ..asked.clone()
            };
            let (mut found, _) = positions(&records, newest).await;
            found.reverse();
            assert_eq!(found, expected, "{asked:?}");
        }
        let mut page = JobQuery {
            owner: Some(own),
            newest_first: true,
            limit: 2,
            ..query()
        };
        assert_eq!(
            positions(&records, page.clone()).await,
            (vec![3, 2], Some(2))
        );
        page.after = Some(2);
        assert_eq!(positions(&records, page).await, (vec![0], None));

        let mut expiring = ExpiryQuery {
            from: jobs[1].expires,
            before: jobs[3].expires,
            after: None,
            limit: 1,
        };
        let found = records.expiring_jobs(&expiring).await.unwrap();
        assert_eq!(found[0].position, 1);
        expiring.after = Some((found[0].expires, 1));
        let found = records.expiring_jobs(&expiring).await.unwrap();
        assert_eq!(found[0].position, 2);
        expiring.after = Some((found[0].expires, 2));
        assert!(records.expiring_jobs(&expiring).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_position_that_is_taken_keeps_nothing_of_the_batch() {
        let folder = tempfile::tempdir().unwrap();
        let records = open(&folder);
        records.commit(&batch(&[job(0, NOW)])).await.unwrap();
        let mut again = batch(&[job(0, NOW)]);
        again.profiles.push(profile());
        assert!(records.commit(&again).await.is_err());
        assert!(records.profiles().await.unwrap().is_empty());
        assert_eq!(records.log_head().await.unwrap().size, 1);
    }
}
