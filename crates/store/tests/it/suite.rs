//! The behaviour suite over files, memory and SQLite.

use std::sync::Arc;

use store::{Blobs, MemoryBackend, Store};

#[tokio::test]
async fn files_and_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    store::suite::everything(&Store::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn memory_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(MemoryBackend::default());
    let blobs = Blobs::new(backend, &folder.path().join("staging")).unwrap();
    store::suite::blobs(&blobs).await;
}

#[tokio::test]
async fn memory_blobs_under_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(MemoryBackend::default());
    store::suite::everything(&Store::with_blobs(folder.path(), backend).unwrap()).await;
}
