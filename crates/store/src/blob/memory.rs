//! Blobs in memory: the second back end that keeps the suite honest, and enough for tests above.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use oci::Digest;

use crate::StoreError;
use crate::blob::{BlobBackend, BlobReader, ByteRange, StagedFile};

/// A back end that forgets everything at the end of the process.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    blobs: Mutex<BTreeMap<Digest, Bytes>>,
}

impl MemoryBackend {
    /// A panic elsewhere leaves the map whole: every change is one insertion or removal.
    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Digest, Bytes>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlobBackend for MemoryBackend {
    async fn put_if_absent(&self, key: &Digest, staged: StagedFile) -> Result<bool, StoreError> {
        let read = tokio::fs::read(staged.path()).await;
        let bytes = read.map_err(StoreError::file("read", staged.path()))?;
        let mut blobs = self.blobs();
        let absent = !blobs.contains_key(key);
        blobs.entry(key.clone()).or_insert_with(|| bytes.into());
        Ok(absent)
    }

    async fn get(
        &self,
        key: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Option<BlobReader>, StoreError> {
        let Some(bytes) = self.blobs().get(key).cloned() else {
            return Ok(None);
        };
        let size = bytes.len() as u64;
        let part = match range {
            Some(range) => {
                let start = range.start.min(size);
                let end = start.saturating_add(range.length).min(size);
                bytes.slice(index(start)..index(end))
            }
            None => bytes,
        };
        Ok(Some(BlobReader {
            size,
            bytes: Box::pin(std::io::Cursor::new(part)),
        }))
    }

    async fn head(&self, key: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.blobs().get(key).map(|bytes| bytes.len() as u64))
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let blobs = self.blobs();
        let keys = blobs.range::<Digest, _>((start, Bound::Unbounded));
        Ok(keys.map(|(key, _)| key.clone()).take(limit).collect())
    }

    async fn delete(&self, key: &Digest) -> Result<bool, StoreError> {
        Ok(self.blobs().remove(key).is_some())
    }
}

/// Offsets inside bytes that are in memory fit.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
