//! Writing and reading whole blobs.

use std::path::Path;
use std::sync::Arc;

use oci::{Digest, DigestAlgorithm, DigestWriter};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::StoreError;
use crate::blob::{BlobBackend, BlobReader, ByteRange, StagedFile, Staging};

/// All blobs of an installation.
#[derive(Clone)]
pub struct Blobs {
    backend: Arc<dyn BlobBackend>,
    staging: Staging,
}

/// A blob that is being written: hashed piece by piece, invisible until it is committed.
pub struct BlobWriter {
    blobs: Blobs,
    file: File,
    staged: StagedFile,
    hashes: Hashes,
    size: u64,
}

/// The digests of bytes that arrive piece by piece. SHA-256 always; SHA-512 costs two and a half
/// times as much and is computed only when it is asked for.
pub(crate) struct Hashes {
    sha256: DigestWriter,
    sha512: Option<DigestWriter>,
}

impl Hashes {
    pub(crate) fn new(algorithm: DigestAlgorithm) -> Self {
        let sha512 = (algorithm == DigestAlgorithm::Sha512)
            .then(|| DigestWriter::new(DigestAlgorithm::Sha512));
        Self {
            sha256: DigestWriter::new(DigestAlgorithm::Sha256),
            sha512,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    /// Returns the digest under `algorithm`, if it was computed.
    pub(crate) fn finish(self, algorithm: DigestAlgorithm) -> Option<Digest> {
        match algorithm {
            DigestAlgorithm::Sha256 => Some(self.sha256.finish()),
            DigestAlgorithm::Sha512 => self.sha512.map(DigestWriter::finish),
        }
    }
}

impl Blobs {
    /// Returns the blobs of `backend`, written by way of temporary files in `staging`, which must
    /// lie on the same file system where the back end renames.
    ///
    /// # Errors
    /// When the folder for temporary files cannot be made.
    pub fn new(backend: Arc<dyn BlobBackend>, staging: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            backend,
            staging: Staging::open(staging)?,
        })
    }

    /// Starts a blob whose digest will be of `algorithm`.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub async fn writer(&self, algorithm: DigestAlgorithm) -> Result<BlobWriter, StoreError> {
        let (file, staged) = self.staging.create().await?;
        Ok(BlobWriter {
            blobs: self.clone(),
            file,
            staged,
            hashes: Hashes::new(algorithm),
            size: 0,
        })
    }

    /// Keeps bytes that are in memory and returns their SHA-256 digest.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::sha256(bytes);
        if self.size(&digest).await?.is_none() {
            let mut writer = self.writer(DigestAlgorithm::Sha256).await?;
            writer.write(bytes).await?;
            writer.commit(&digest).await?;
        }
        Ok(digest)
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// When it cannot be opened; `None` when there is none.
    pub async fn open(&self, digest: &Digest) -> Result<Option<BlobReader>, StoreError> {
        self.backend.get(digest, None).await
    }

    /// Opens a range of a blob.
    ///
    /// # Errors
    /// When it cannot be opened; `None` when there is none.
    pub async fn open_range(
        &self,
        digest: &Digest,
        range: ByteRange,
    ) -> Result<Option<BlobReader>, StoreError> {
        self.backend.get(digest, Some(range)).await
    }

    /// Reads a blob of at most `limit_bytes` and checks its digest.
    ///
    /// # Errors
    /// When it is larger, cannot be read, or does not have its digest any more.
    pub async fn read(
        &self,
        digest: &Digest,
        limit_bytes: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(reader) = self.open(digest).await? else {
            return Ok(None);
        };
        if reader.size > limit_bytes {
            return Err(StoreError::TooLarge {
                what: "blob (bytes)",
                limit: limit_bytes,
            });
        }
        let mut bytes = Vec::new();
        let mut limited = reader.bytes.take(limit_bytes);
        let read = limited.read_to_end(&mut bytes).await;
        read.map_err(StoreError::file("read", Path::new(digest.hex())))?;
        let actual = Digest::of(digest.algorithm(), &bytes);
        if actual != *digest {
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                actual,
            });
        }
        Ok(Some(bytes))
    }

    /// Returns the size of a blob in bytes.
    ///
    /// # Errors
    /// When the back end cannot tell.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.backend.head(digest).await
    }

    /// Removes a blob. Returns whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.backend.delete(digest).await
    }

    pub(crate) fn backend(&self) -> &dyn BlobBackend {
        &*self.backend
    }
}

impl BlobWriter {
    /// Adds the next bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hashes.update(bytes);
        self.size += bytes.len() as u64;
        let written = self.file.write_all(bytes).await;
        written.map_err(StoreError::file("write", self.staged.path()))
    }

    /// Returns the number of bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes the blob visible and durable under `digest`, and returns its size in bytes.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] when the bytes have another digest; then nothing is kept.
    pub async fn commit(mut self, digest: &Digest) -> Result<u64, StoreError> {
        let sha256 = self.hashes.sha256;
        let actual = match (digest.algorithm(), self.hashes.sha512) {
            (DigestAlgorithm::Sha512, Some(sha512)) => sha512.finish(),
            _ => sha256.finish(),
        };
        if actual != *digest {
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                actual,
            });
        }
        let path = self.staged.path();
        let flushed = self.file.flush().await;
        flushed.map_err(StoreError::file("write", path))?;
        let synchronised = self.file.sync_all().await;
        synchronised.map_err(StoreError::file("synchronise", path))?;
        self.staged.set_size(self.size);
        self.blobs
            .backend
            .put_if_absent(digest, self.staged)
            .await?;
        Ok(self.size)
    }
}
