//! Blobs as files: `sha256/ab/<hex>`.
//!
//! A blob appears by rename, after its bytes are on the disk, and is acknowledged after its
//! folder is: a crash leaves either the whole blob or nothing.

use std::fs;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use oci::{Digest, DigestAlgorithm};
use tokio::io::AsyncReadExt;

use crate::StoreError;
use crate::blob::{BlobBackend, BlobReader, ByteRange, StagedFile};

/// The most bytes that one read from the disk takes.
const READ_BYTES: usize = 256 * 1024;

/// A back end of files under one folder.
#[derive(Clone, Debug)]
pub struct FileBackend {
    folder: PathBuf,
}

impl FileBackend {
    /// Opens the folder, making it if needed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(StoreError::file("make", folder))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.shard(key.algorithm(), &key.hex()[..2]).join(key.hex())
    }

    fn shard(&self, algorithm: DigestAlgorithm, prefix: &str) -> PathBuf {
        self.folder.join(algorithm.name()).join(prefix)
    }
}

#[async_trait]
impl BlobBackend for FileBackend {
    async fn put_if_absent(&self, key: &Digest, staged: StagedFile) -> Result<bool, StoreError> {
        let (path, root) = (self.path(key), self.folder.clone());
        blocking(move || put(&root, &path, staged)).await
    }

    async fn get(
        &self,
        key: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Option<BlobReader>, StoreError> {
        let path = self.path(key);
        let Some((file, size)) = blocking(move || open(&path, range)).await? else {
            return Ok(None);
        };
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(READ_BYTES);
        let bytes = file.take(range.map_or(size, |range| range.length));
        Ok(Some(BlobReader {
            size,
            bytes: Box::pin(bytes),
        }))
    }

    async fn head(&self, key: &Digest) -> Result<Option<u64>, StoreError> {
        let path = self.path(key);
        blocking(move || match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::file("read", &path)(error)),
        })
        .await
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>, StoreError> {
        let (backend, after) = (self.clone(), after.cloned());
        blocking(move || list(&backend, after.as_ref(), limit)).await
    }

    async fn delete(&self, key: &Digest) -> Result<bool, StoreError> {
        let path = self.path(key);
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::file("remove", &path)(error)),
        })
        .await
    }
}

fn put(root: &Path, path: &Path, mut staged: StagedFile) -> Result<bool, StoreError> {
    if path.exists() {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(root);
    make_durably(root, folder)?;
    fs::rename(staged.path(), path).map_err(StoreError::file("write", path))?;
    staged.set_moved();
    sync_folder(folder)?;
    Ok(true)
}

/// Makes a folder two levels below `root`; a new folder's own entry must be on the disk too.
fn make_durably(root: &Path, folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(StoreError::file("make", folder))?;
    if let Some(parent) = folder.parent() {
        sync_folder(parent)?;
    }
    sync_folder(root)
}

/// Waits until the entries of a folder are on the disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    fs::File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(StoreError::file("synchronise", folder))
}

fn open(path: &Path, range: Option<ByteRange>) -> Result<Option<(fs::File, u64)>, StoreError> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::file("open", path)(error)),
    };
    let metadata = file.metadata().map_err(StoreError::file("read", path))?;
    if let Some(range) = range {
        file.seek(SeekFrom::Start(range.start))
            .map_err(StoreError::file("read", path))?;
    }
    Ok(Some((file, metadata.len())))
}

fn list(
    backend: &FileBackend,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<Digest>, StoreError> {
    let mut found = Vec::new();
    for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
        for prefix in 0..=u8::MAX {
            if found.len() >= limit {
                break;
            }
            let mut shard = shard_keys(backend, algorithm, prefix)?;
            shard.retain(|key| after.is_none_or(|after| key > after));
            shard.sort();
            found.extend(shard);
        }
    }
    found.truncate(limit);
    Ok(found)
}

fn shard_keys(
    backend: &FileBackend,
    algorithm: DigestAlgorithm,
    prefix: u8,
) -> Result<Vec<Digest>, StoreError> {
    let folder = backend.shard(algorithm, &format!("{prefix:02x}"));
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::file("read", &folder)(error)),
    };
    let key = |entry: fs::DirEntry| {
        let name = entry.file_name();
        format!("{}:{}", algorithm.name(), name.to_str()?)
            .parse()
            .ok()
    };
    Ok(entries.flatten().filter_map(key).collect())
}

/// Runs something that blocks on the pool made for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Closed),
    }
}
