//! The signer's records in the store: rows hold the signer's own JSON, and columns what is asked
//! for.

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use signer::{
    JobId, JobQuery, Records, RecordsError, RevocationChange, RevokedLeaf, SigningJob,
    SigningProfile,
};
use store::signing::{
    ProfileRow, RevokedLeafRow, SigningChange, SigningJobFilter, SigningJobRow, SigningRecords,
};
use time::OffsetDateTime;

/// The counter of revocation lists.
const CRL_NUMBER: &str = "crl-number";

/// The signer's records in a database of its own.
pub struct StoredRecords(SigningRecords);

impl StoredRecords {
    /// Returns the records in `rows`.
    pub fn new(rows: SigningRecords) -> Self {
        Self(rows)
    }

    async fn put(&self, change: SigningChange) -> Result<(), RecordsError> {
        self.0.put(change).await.map_err(not_written)
    }
}

#[async_trait]
impl Records for StoredRecords {
    async fn profiles(&self) -> Result<Vec<SigningProfile>, RecordsError> {
        let rows = self.0.profiles().await.map_err(not_read)?;
        rows.iter().map(|row| parsed(&row.document)).collect()
    }

    async fn put_profile(&self, profile: &SigningProfile) -> Result<(), RecordsError> {
        let profiles = vec![profile_row(profile)?];
        self.put(SigningChange {
            profiles,
            ..SigningChange::default()
        })
        .await
    }

    async fn add_jobs(&self, jobs: &[SigningJob]) -> Result<(), RecordsError> {
        let jobs = jobs.iter().map(job_row).collect::<Result<_, _>>()?;
        self.put(SigningChange {
            jobs,
            ..SigningChange::default()
        })
        .await
    }

    async fn job(&self, id: JobId) -> Result<Option<SigningJob>, RecordsError> {
        let row = self.0.job(&id.to_string()).await.map_err(not_read)?;
        row.map(|row| parsed(&row.document)).transpose()
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<SigningJob>, RecordsError> {
        let filter = SigningJobFilter {
            profile: query.profile.as_ref().map(ToString::to_string),
            signed_from: query.signed_from,
            after: query.after.map(|id| id.to_string()),
            limit: query.limit,
        };
        let rows = self.0.jobs(&filter).await.map_err(not_read)?;
        rows.iter().map(|row| parsed(&row.document)).collect()
    }

    async fn revoke(&self, change: &RevocationChange) -> Result<(), RecordsError> {
        let profiles = change.profile.iter().map(profile_row);
        let jobs = change.job.iter().map(job_row);
        let leaves = change.leaves.iter().map(leaf_row);
        self.put(SigningChange {
            profiles: profiles.collect::<Result<_, _>>()?,
            jobs: jobs.collect::<Result<_, _>>()?,
            leaves: leaves.collect::<Result<_, _>>()?,
        })
        .await
    }

    async fn revoked_leaves(&self, now: OffsetDateTime) -> Result<Vec<RevokedLeaf>, RecordsError> {
        let rows = self.0.revoked_leaves(now).await.map_err(not_read)?;
        rows.iter().map(|row| parsed(&row.document)).collect()
    }

    async fn next_crl_number(&self) -> Result<u64, RecordsError> {
        self.0.next_number(CRL_NUMBER).await.map_err(not_written)
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
        id: job.id.to_string(),
        profile: job.profile.to_string(),
        signed_at: job.signed_at,
        document: document(job)?,
    })
}

fn leaf_row(leaf: &RevokedLeaf) -> Result<RevokedLeafRow, RecordsError> {
    Ok(RevokedLeafRow {
        serial: leaf.serial.clone(),
        listed_until: leaf.listed_until,
        document: document(leaf)?,
    })
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
            grants: Grants::default(),
        };
        SigningProfile::new(spec, "ABCDEFGHJK".to_owned(), NOW)
    }

    fn job(signed_at: OffsetDateTime) -> SigningJob {
        SigningJob {
            id: JobId::new(signed_at),
            profile: "ci-build".parse().unwrap(),
            profile_version: "ABCDEFGHJK".to_owned(),
            caller: Principal::account("dev"),
            target: oci::Digest::sha256(b"x"),
            kind: JobKind::Notary,
            signed_at,
            expires: signed_at + time::Duration::days(7),
            leaf_serial: "41".to_owned(),
            leaf_sha256: "aa".to_owned(),
            shares_leaf: true,
            status: JobStatus::Succeeded,
            revocation: None,
        }
    }

    #[tokio::test]
    async fn records_are_the_same_when_they_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let later = NOW + time::Duration::HOUR;
        let (first, second) = (job(NOW), job(later));
        let leaf = RevokedLeaf {
            serial: "41".to_owned(),
            revoked_at: NOW,
            invalid_from: Some(NOW),
            listed_until: later,
        };
        {
            let records = open(&folder);
            records.put_profile(&profile()).await.unwrap();
            let jobs = [first.clone(), second.clone()];
            records.add_jobs(&jobs).await.unwrap();
            let change = RevocationChange {
                leaves: vec![leaf.clone()],
                ..RevocationChange::default()
            };
            records.revoke(&change).await.unwrap();
            assert_eq!(records.next_crl_number().await.unwrap(), 1);
        }
        let records = open(&folder);
        assert_eq!(records.profiles().await.unwrap(), [profile()]);
        assert_eq!(records.job(second.id).await.unwrap(), Some(second.clone()));
        assert_eq!(records.revoked_leaves(NOW).await.unwrap(), [leaf]);
        assert!(records.revoked_leaves(later).await.unwrap().is_empty());
        assert_eq!(records.next_crl_number().await.unwrap(), 2);

        let query = |signed_from, after| JobQuery {
            profile: Some("ci-build".parse().unwrap()),
            signed_from,
            after,
            limit: 10,
        };
        let ids = async |query| {
            let jobs = records.jobs(&query).await.unwrap();
            jobs.iter().map(|job| job.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(query(None, None)).await, [first.id, second.id]);
        assert_eq!(ids(query(Some(later), None)).await, [second.id]);
        assert_eq!(ids(query(None, Some(first.id))).await, [second.id]);
    }
}
