//! What a crash leaves, and that the next start copes with it.

use bytes::Bytes;
use futures_util::stream;
use oci::{Digest, DigestAlgorithm, RepositoryName};
use store::queue::{LeaseRequest, NewJob};
use store::{Store, StoreError};
use time::{Duration, OffsetDateTime};

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap()
}

fn repository() -> RepositoryName {
    "apps/shop".parse().unwrap()
}

fn pieces(text: &'static str) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Unpin {
    stream::iter([Ok(Bytes::from_static(text.as_bytes()))])
}

fn files_in(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn a_torn_temporary_file_is_invisible_and_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut writer = store.blobs.writer(DigestAlgorithm::Sha256).await.unwrap();
    writer.write(b"half of").await.unwrap();
    let staging = folder.path().join("staging");
    assert_eq!(files_in(&staging), 1);
    // A kill runs no destructors.
    std::mem::forget(writer);
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    assert_eq!(files_in(&staging), 0);
    let size = store.blobs.size(&Digest::sha256(b"half of")).await.unwrap();
    assert_eq!(size, None);
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut writer = store.blobs.writer(DigestAlgorithm::Sha256).await.unwrap();
    writer.write(b"given up").await.unwrap();
    drop(writer);
    assert_eq!(files_in(&folder.path().join("staging")), 0);
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let id = store.uploads.start(&repository(), now()).await.unwrap();
    let first = pieces("before ");
    let uploads = &store.uploads;
    uploads
        .append(&repository(), id, Some(0), first)
        .await
        .unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let uploads = &store.uploads;
    let status = uploads.status(&repository(), id).await.unwrap();
    assert_eq!((status.size, status.started_at), (7, now()));
    let rest = pieces("and after");
    uploads
        .append(&repository(), id, Some(7), rest)
        .await
        .unwrap();
    let digest = Digest::sha256(b"before and after");
    uploads.finish(&repository(), id, &digest).await.unwrap();
    assert_eq!(store.blobs.size(&digest).await.unwrap(), Some(16));
}

#[tokio::test]
async fn a_session_whose_note_was_torn_is_unknown_and_expires() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let id = store.uploads.start(&repository(), now()).await.unwrap();
    let uploads = folder.path().join("uploads");
    std::fs::write(uploads.join(format!("{id}.json")), b"{\"repo").unwrap();
    assert!(store.uploads.status(&repository(), id).await.is_err());
    let long_ago = now() - Duration::days(1);
    assert_eq!(store.uploads.expire(long_ago).await.unwrap(), 1);
    assert_eq!(files_in(&uploads), 0);
}

#[tokio::test]
async fn a_lease_held_by_the_dead_is_given_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let job = NewJob::new("build", serde_json::json!({"run": "one"}), now());
    let id = store.queue.enqueue(&job).await.unwrap();
    let request = LeaseRequest {
        kinds: vec!["build".to_owned()],
        owner: "worker".to_owned(),
        duration: std::time::Duration::from_secs(30),
    };
    store.queue.lease(&request, now()).await.unwrap().unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let early = now() + Duration::seconds(29);
    assert_eq!(store.queue.lease(&request, early).await.unwrap(), None);
    let later = now() + Duration::seconds(30);
    let (_, row) = store.queue.lease(&request, later).await.unwrap().unwrap();
    assert_eq!((row.id, row.attempts), (id, 2));
}

#[tokio::test]
async fn two_open_stores_do_not_lose_each_others_writes() {
    let folder = tempfile::tempdir().unwrap();
    let one = Store::open(folder.path()).unwrap();
    let two = Store::open(folder.path()).unwrap();
    let put = async |store: &Store, first: u64| {
        for number in first..first + 25 {
            let job = NewJob::new("build", serde_json::json!(number), now());
            store.queue.enqueue(&job).await.unwrap();
        }
    };
    tokio::join!(put(&one, 0), put(&two, 100));
    let request = LeaseRequest {
        kinds: vec!["build".to_owned()],
        owner: "worker".to_owned(),
        duration: std::time::Duration::from_secs(30),
    };
    let mut count = 0;
    while let Some((lease, _)) = one.queue.lease(&request, now()).await.unwrap() {
        two.queue.complete(&lease).await.unwrap();
        count += 1;
    }
    assert_eq!(count, 50);
}

#[tokio::test]
async fn changes_that_share_a_commit_fail_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let add = |number: u32| {
        let store = store.clone();
        async move {
            let name = format!("account-{number}");
            // Every third asks for grants of an account that does not exist.
            if number.is_multiple_of(3) {
                let grant = store::accounts::GrantRow {
                    action: "pull".to_owned(),
                    resource: "**".to_owned(),
                };
                return store.accounts.set_grants("nobody", &[grant]).await.is_err();
            }
            let row = store::accounts::AccountRow::new(name, now());
            store.accounts.put_account(&row).await.is_ok()
        }
    };
    let outcomes = futures_util::future::join_all((0..60).map(add)).await;
    assert!(outcomes.into_iter().all(|as_expected| as_expected));
    assert_eq!(store.accounts.accounts().await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_rotten_blob_is_not_given_out_as_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let digest = store.blobs.put(b"sound").await.unwrap();
    let hex = digest.hex();
    let path = folder.path().join("blobs/sha256").join(&hex[..2]).join(hex);
    std::fs::write(path, b"rotte").unwrap();
    let read = store.blobs.read(&digest, 100).await;
    assert!(matches!(read, Err(StoreError::DigestMismatch { .. })));
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    let path = folder.path().join("store.sqlite");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 999).unwrap();
    let refused = Store::open(folder.path()).err().unwrap();
    assert!(matches!(
        refused,
        StoreError::NewerSchema { found: 999, .. }
    ));
}
