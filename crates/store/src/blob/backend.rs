//! The seam below blobs: bytes by key.

use std::pin::Pin;

use async_trait::async_trait;
use oci::Digest;
use tokio::io::AsyncRead;

use crate::StoreError;
use crate::blob::StagedFile;

/// A range of bytes inside a blob, cut to the blob's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte, from 0.
    pub start: u64,
    /// The number of bytes wanted.
    pub length: u64,
}

/// The bytes of a blob, or of a range of it, as they are read.
pub struct BlobReader {
    /// The size of the whole blob, in bytes.
    pub size: u64,
    /// The bytes. Whoever needs to trust them checks the digest: a disk can rot.
    pub bytes: Pin<Box<dyn AsyncRead + Send>>,
}

/// Bytes by digest. Every back end passes [`crate::suite::blobs`].
#[async_trait]
pub trait BlobBackend: Send + Sync {
    /// Keeps the bytes of a finished temporary file, durably, unless the key is there already.
    /// Returns whether it was new.
    async fn put_if_absent(&self, key: &Digest, staged: StagedFile) -> Result<bool, StoreError>;

    /// Opens a blob, or a range of it. A range that starts behind the end is empty.
    async fn get(
        &self,
        key: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Option<BlobReader>, StoreError>;

    /// Returns the size of a blob in bytes.
    async fn head(&self, key: &Digest) -> Result<Option<u64>, StoreError>;

    /// Returns at most `limit` keys that come after `after`, in their order.
    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, StoreError>;

    /// Removes a blob. Returns whether there was one.
    async fn delete(&self, key: &Digest) -> Result<bool, StoreError>;
}
