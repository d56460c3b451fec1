//! Measures listings and look-ups over many signing jobs, and what a group of them costs to keep.
//!
//! `jobs COUNT FOLDER` fills a database with so many jobs of many profiles and accounts, and prints
//! one JSON object: the time of a durable group of 128 while it is filled, and the slowest of each
//! kind of listing and look-up afterwards, in milliseconds.

use std::path::PathBuf;
use std::time::Instant;

use oci::Digest;
use store::SigningRecords;
use store::signing::{
    ExpiryFilter, LogEntryRow, SigningChange, SigningJobFilter, SigningJobPage, SigningJobRow,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// As many as the journal usually has in a group under load.
const GROUP: u64 = 128;
/// Filling goes on in larger groups, or it would take an hour of waiting for the disk.
const FILL_GROUP: u64 = 20_000;
const PROFILES: u64 = 50;
const OWNERS: u64 = 1000;
/// How often each question is asked, at places all over the database.
const TIMES: u64 = 200;

type Failure = Box<dyn std::error::Error>;

fn at(position: u64) -> OffsetDateTime {
    let start = OffsetDateTime::from_unix_timestamp(1_700_000_000);
    start.expect("a time in 2023") + Duration::milliseconds(position.cast_signed() * 40)
}

/// Identifiers grow with time, as those of jobs do.
fn id(position: u64) -> Uuid {
    let millis = at(position).unix_timestamp_nanos() / 1_000_000;
    let high = u128::try_from(millis).unwrap_or(0) << 80;
    Uuid::from_u128(high | u128::from(position))
}

fn target(position: u64) -> Digest {
    Digest::sha256(&(position / 2).to_be_bytes())
}

fn job(position: u64) -> (SigningJobRow, LogEntryRow) {
    let row = SigningJobRow {
        position,
        id: id(position),
        owner: format!("{:012}", position % OWNERS),
        profile: format!("profile-{}", position % PROFILES),
        profile_version: "ABCDEFGHJK".to_owned(),
        caller: format!("account-{}", position % 97),
        quota_key: None,
        target: target(position),
        signed_at: at(position),
        expires: at(position) + Duration::days(90),
        revocation: (position % 1000 == 7).then(|| "{}".to_owned()),
    };
    let entry = LogEntryRow {
        position,
        at: at(position),
        // As long as the entry of a signature usually is.
        bytes: vec![b'x'; 560],
    };
    (row, entry)
}

fn group(from: u64, count: u64) -> SigningChange {
    let (jobs, entries) = (from..from + count).map(job).unzip();
    SigningChange {
        jobs,
        entries,
        checkpoint: Some("a note".to_owned()),
        ..SigningChange::default()
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the result")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().ok_or("expected COUNT FOLDER")?.parse()?;
    let folder = PathBuf::from(arguments.next().ok_or("expected COUNT FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let records = SigningRecords::open(&folder.join("signer.db"))?;
    let mut size = 0;
    while size < count {
        let more = FILL_GROUP.min(count - size);
        records.put(group(size, more)).await?;
        size += more;
    }
    let mut groups = Vec::new();
    for _ in 0..50 {
        let change = group(size, GROUP);
        let started = Instant::now();
        records.put(change).await?;
        groups.push(millis(started));
        size += GROUP;
    }
    groups.sort_by(f64::total_cmp);
    let report = serde_json::json!({
        "jobs": size,
        "group_of_128_median_ms": groups[groups.len() / 2],
        "slowest_ms": questions(&records, size).await?,
    });
    println!("{report}");
    Ok(())
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}

fn filter() -> SigningJobFilter {
    SigningJobFilter {
        positions: (0, u64::MAX),
        limit: 25,
        ..SigningJobFilter::default()
    }
}

async fn questions(
    records: &SigningRecords,
    size: u64,
) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    let mut slowest = serde_json::Map::new();
    let mut note = |name: &str, started: Instant| {
        let took = millis(started);
        let known = slowest.get(name).and_then(serde_json::Value::as_f64);
        slowest.insert(name.to_owned(), known.unwrap_or(0.0).max(took).into());
    };
    for number in 0..TIMES {
        let place = size / TIMES * number;
        let started = Instant::now();
        let found = records.job(id(place)).await?;
        note("job", started);
        assert!(found.is_some(), "job {place} is missing");
        for (name, filter) in listings(place) {
            let started = Instant::now();
            let page: SigningJobPage = records.jobs(filter).await?;
            note(name, started);
            assert!(
                !page.jobs.is_empty() || page.next.is_some(),
                "{name}: nothing"
            );
        }
        let started = Instant::now();
        let expiring = ExpiryFilter {
            from: at(place) + Duration::days(90),
            before: at(place) + Duration::days(120),
            after: None,
            limit: 100,
        };
        records.expiring_jobs(expiring).await?;
        note("expiring", started);
        let started = Instant::now();
        records.log_position_at(at(place)).await?;
        note("position at a time", started);
    }
    Ok(slowest)
}

fn listings(place: u64) -> Vec<(&'static str, SigningJobFilter)> {
    let newest = SigningJobFilter {
        newest_first: true,
        ..filter()
    };
    vec![
        ("newest of all", newest.clone()),
        (
            "of an owner, newest first, from the middle",
            SigningJobFilter {
                owner: Some(format!("{:012}", place % OWNERS)),
                positions: (0, place + OWNERS),
                ..newest.clone()
            },
        ),
        (
            "of a profile, from the middle",
            SigningJobFilter {
                profile: Some(format!("profile-{}", place % PROFILES)),
                positions: (place, u64::MAX),
                ..filter()
            },
        ),
        (
            "of a target",
            SigningJobFilter {
                target: Some(target(place)),
                ..filter()
            },
        ),
        (
            "revoked, newest first",
            SigningJobFilter {
                revoked: Some(true),
                ..newest.clone()
            },
        ),
        (
            "of nobody: a page that finds nothing",
            SigningJobFilter {
                caller: Some("nobody".to_owned()),
                positions: (0, place + 100_000),
                ..newest
            },
        ),
    ]
}
