//! The signer's records.

use oci::Digest;
use store::SigningRecords;
use store::signing::{
    CoverageFilter, LogEntryRow, LogNodeRow, ProfileRow, RevocationRow, RevokedLeafRow,
    SigningChange, SigningJobFilter, SigningJobRow,
};
use time::OffsetDateTime;
use uuid::Uuid;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_700_000_000 + seconds).unwrap()
}

fn job(position: u64, profile: &str) -> (SigningJobRow, LogEntryRow) {
    let row = SigningJobRow {
        position,
        id: Uuid::from_u128(position.into()),
        owner: String::new(),
        profile: profile.to_owned(),
        profile_version: "ABCDEFGHJK".to_owned(),
        caller: "dev".to_owned(),
        target: Digest::sha256(b"x"),
        signed_at: at(0),
        expires: at(100),
        quota_key: (profile == "ci").then(|| "few".to_owned()),
        revocation: None,
    };
    let bytes = format!("entry {position}").into_bytes();
    let entry = LogEntryRow {
        position,
        at: at(0),
        bytes,
    };
    (row, entry)
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
    let node = |number| LogNodeRow {
        height: 8,
        number,
        hash: [7; 32],
    };
    let (jobs, entries) = (0..3).map(|n| job(n, "ci")).unzip();
    let change = SigningChange {
        profiles: vec![profile.clone()],
        leaves: vec![leaf.clone()],
        revocations: Vec::new(),
        jobs,
        entries,
        nodes: vec![node(0), node(1)],
        checkpoint: Some("a note".to_owned()),
        imported: Vec::new(),
        issued: Vec::new(),
    };
    let records = SigningRecords::open(&path).unwrap();
    records.put(change).await.unwrap();
    assert_eq!(records.next_number("crl").await.unwrap(), 1);
    drop(records);

    let records = SigningRecords::open(&path).unwrap();
    assert_eq!(records.next_number("crl").await.unwrap(), 2);
    assert_eq!(records.profiles().await.unwrap(), [profile]);
    let found = records.job(Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!(
        (found.position, found.entry.as_slice()),
        (1, &b"entry 1"[..])
    );
    assert_eq!(records.revoked_leaves(at(99)).await.unwrap(), [leaf]);
    assert_eq!(records.revoked_leaves(at(100)).await.unwrap(), []);
    let head = records.log_head().await.unwrap();
    assert_eq!((head.size, head.at), (3, Some(at(0))));
    assert_eq!(head.checkpoint.as_deref(), Some("a note"));
    assert_eq!(records.log_entries(2, 9).await.unwrap(), [b"entry 2"]);
    assert_eq!(records.log_nodes(8, (1, 9)).await.unwrap(), [[7; 32]]);
    assert!(records.log_nodes(16, (0, 9)).await.unwrap().is_empty());
}

/// A page ends after so many rows, whether it found any or not, and says where to go on.
#[tokio::test]
async fn a_page_looks_at_a_bounded_number_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let records = SigningRecords::open(&folder.path().join("records.sqlite")).unwrap();
    let (jobs, entries) = (0..5000)
        .map(|n| job(n, if n == 4999 { "rare" } else { "ci" }))
        .unzip();
    let change = SigningChange {
        jobs,
        entries,
        ..SigningChange::default()
    };
    records.put(change).await.unwrap();
    let mut filter = SigningJobFilter {
        owner: Some(String::new()),
        profile_version: Some("ABCDEFGHJK".to_owned()),
        caller: Some("nobody".to_owned()),
        positions: (0, u64::MAX),
        limit: 10,
        ..SigningJobFilter::default()
    };
    let page = records.jobs(filter.clone()).await.unwrap();
    assert_eq!((page.jobs.len(), page.next), (0, Some(2047)));
    filter.positions.0 = 4096;
    let page = records.jobs(filter.clone()).await.unwrap();
    assert_eq!((page.jobs.len(), page.next), (0, None));
    // An index finds what is rare at once.
    let rare = SigningJobFilter {
        profile: Some("rare".to_owned()),
        positions: (0, u64::MAX),
        limit: 10,
        ..SigningJobFilter::default()
    };
    let page = records.jobs(rare).await.unwrap();
    assert_eq!((page.jobs[0].position, page.next), (4999, None));
}

#[tokio::test]
async fn revocations_are_kept_in_their_order_and_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let records = SigningRecords::open(&folder.path().join("records.sqlite")).unwrap();
    assert_eq!(records.last_revocation().await.unwrap(), None);
    let row = |sequence: u8| RevocationRow {
        sequence: sequence.into(),
        chain: [sequence; 32],
        line: format!("line {sequence}"),
    };
    let put = async |rows: Vec<RevocationRow>| {
        let change = SigningChange {
            revocations: rows,
            ..SigningChange::default()
        };
        records.put(change).await.is_ok()
    };
    assert!(put(vec![row(1), row(2)]).await);
    assert!(put(vec![row(3)]).await);
    // All of a change, or nothing of it.
    assert!(!put(vec![row(4), row(3)]).await);
    assert_eq!(records.last_revocation().await.unwrap(), Some(row(3)));
    assert_eq!(records.revocations(1, 9).await.unwrap(), [row(2), row(3)]);
    assert_eq!(records.revocations(0, 1).await.unwrap(), [row(1)]);
}

#[tokio::test]
async fn what_a_revocation_would_cover_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let records = SigningRecords::open(&folder.path().join("records.sqlite")).unwrap();
    let (mut jobs, entries): (Vec<_>, Vec<_>) = (0..6)
        .map(|n| job(n, if n == 5 { "other" } else { "ci" }))
        .unzip();
    jobs[1].target = Digest::sha256(b"y");
    jobs[2].profile_version = "KKKKKKKKKK".to_owned();
    jobs[3].expires = at(10);
    jobs[4].revocation = Some("{}".to_owned());
    let change = SigningChange {
        jobs,
        entries,
        ..SigningChange::default()
    };
    records.put(change).await.unwrap();
    let all = CoverageFilter {
        profile: Some("ci".to_owned()),
        profile_version: None,
        target: None,
        from_position: 0,
        now: at(10),
    };
    let x = CoverageFilter {
        profile: None,
        target: Some(Digest::sha256(b"x")),
        ..all.clone()
    };
    let table = [
        (all.clone(), (5, 3, 2), 1),
        (
            CoverageFilter {
                from_position: 2,
                ..all.clone()
            },
            (3, 1, 1),
            1,
        ),
        (
            CoverageFilter {
                now: at(0),
                ..all.clone()
            },
            (5, 4, 2),
            1,
        ),
        (
            CoverageFilter {
                profile_version: Some("KKKKKKKKKK".to_owned()),
                ..all.clone()
            },
            (1, 1, 1),
            1,
        ),
        (x.clone(), (5, 3, 1), 2),
        (
            CoverageFilter {
                profile: Some("other".to_owned()),
                ..x
            },
            (1, 1, 1),
            1,
        ),
        (
            CoverageFilter {
                profile: Some("none".to_owned()),
                ..all
            },
            (0, 0, 0),
            0,
        ),
    ];
    for (filter, expected, profiles) in table {
        let found = records.coverage(filter.clone()).await.unwrap();
        let counts = (found.signatures, found.in_force, found.targets);
        assert_eq!(
            (counts, found.by_profile.len()),
            (expected, profiles),
            "{filter:?}"
        );
    }
    let found = records.jobs_with("entry 3".to_owned(), 0, 9).await.unwrap();
    assert_eq!(
        found.iter().map(|job| job.position).collect::<Vec<_>>(),
        [3]
    );
    assert_eq!(
        records
            .jobs_with("entry".to_owned(), 4, 9)
            .await
            .unwrap()
            .len(),
        2
    );
}

/// A database of the version before the log keeps its jobs until they are imported.
#[tokio::test]
async fn jobs_of_a_time_before_the_log_are_kept_until_they_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.sqlite");
    {
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(include_str!("../../migrations/signer_001.sql"))
            .unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let insert = "INSERT INTO signing_jobs (id, profile, signed_at, document)
                      VALUES (?1, 'ci', ?2, ?3)";
        for (number, signed_at, document) in [(1_u128, 20, "later"), (2, 10, "earlier")] {
            let id = Uuid::from_u128(number).to_string();
            old.execute(insert, (id, signed_at, document)).unwrap();
        }
    }
    let records = SigningRecords::open(&path).unwrap();
    assert_eq!(
        records.unlogged_jobs(9).await.unwrap(),
        ["earlier", "later"]
    );
    let (row, entry) = job(0, "ci");
    let change = SigningChange {
        imported: vec![Uuid::from_u128(2)],
        jobs: vec![row],
        entries: vec![entry],
        ..SigningChange::default()
    };
    records.put(change).await.unwrap();
    assert_eq!(records.unlogged_jobs(9).await.unwrap(), ["later"]);
}

#[tokio::test]
async fn jobs_are_counted_by_quota_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let records = SigningRecords::open(&folder.path().join("records.sqlite")).unwrap();
    let mut change = SigningChange::default();
    for (position, profile, seconds) in [(0, "ci", 0), (1, "ci", 10), (2, "test", 10)] {
        let (mut row, entry) = job(position, profile);
        row.signed_at = at(seconds);
        change.jobs.push(row);
        change.entries.push(entry);
    }
    records.put(change).await.unwrap();
    assert_eq!(records.count_jobs("few", at(0)).await.unwrap(), 2);
    assert_eq!(records.count_jobs("few", at(10)).await.unwrap(), 1);
    assert_eq!(records.count_jobs("many", at(0)).await.unwrap(), 0);
}
