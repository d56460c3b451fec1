//! The signer's records.

use store::SigningRecords;
use store::signing::{ProfileRow, RevokedLeafRow, SigningChange, SigningJobFilter, SigningJobRow};
use time::OffsetDateTime;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_700_000_000 + seconds).unwrap()
}

fn job(id: &str, profile: &str, seconds: i64) -> SigningJobRow {
    SigningJobRow {
        id: id.to_owned(),
        profile: profile.to_owned(),
        signed_at: at(seconds),
        document: "{}".to_owned(),
    }
}

#[tokio::test]
async fn records_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.sqlite");
    let profile = ProfileRow {
        name: "ci-build".to_owned(),
        document: "{}".to_owned(),
    };
    let leaf = RevokedLeafRow {
        serial: "01".to_owned(),
        listed_until: at(100),
        document: "{}".to_owned(),
    };
    let jobs = vec![job("a", "ci", 0), job("b", "ci", 10), job("c", "test", 20)];
    let change = SigningChange {
        profiles: vec![profile.clone()],
        jobs: jobs.clone(),
        leaves: vec![leaf.clone()],
    };
    let records = SigningRecords::open(&path).unwrap();
    records.put(change).await.unwrap();
    assert_eq!(records.next_number("crl").await.unwrap(), 1);
    drop(records);

    let records = SigningRecords::open(&path).unwrap();
    assert_eq!(records.next_number("crl").await.unwrap(), 2);
    assert_eq!(records.profiles().await.unwrap(), [profile]);
    assert_eq!(records.job("b").await.unwrap(), Some(jobs[1].clone()));
    assert_eq!(records.revoked_leaves(at(99)).await.unwrap(), [leaf]);
    assert_eq!(records.revoked_leaves(at(100)).await.unwrap(), []);
    let filter = SigningJobFilter {
        profile: Some("ci".to_owned()),
        signed_from: Some(at(5)),
        after: None,
        limit: 10,
    };
    assert_eq!(records.jobs(&filter).await.unwrap(), jobs[1..2]);
    let rest = SigningJobFilter {
        after: Some("a".to_owned()),
        limit: 1,
        ..SigningJobFilter::default()
    };
    assert_eq!(records.jobs(&rest).await.unwrap(), jobs[1..2]);
}
