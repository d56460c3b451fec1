//! Temporary files on the way to becoming blobs.
//!
//! They lie in one folder on the blobs' own file system, so that a rename is atomic. Whatever lies
//! there after a crash belongs to nobody and is swept at the next start.

use std::path::{Path, PathBuf};

use tokio::fs::File;

use crate::StoreError;

/// The most bytes that one write to the disk takes; larger ones mean fewer trips to the pool of
/// blocking threads.
const WRITE_BYTES: usize = 1024 * 1024;

/// The folder of temporary files.
#[derive(Clone, Debug)]
pub struct Staging {
    folder: PathBuf,
}

/// A finished temporary file, removed when it is dropped without having been moved.
#[derive(Debug)]
pub struct StagedFile {
    path: PathBuf,
    size: u64,
    moved: bool,
}

impl Staging {
    /// Opens the folder and sweeps what a crash left there.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(StoreError::file("make", folder))?;
        let entries = std::fs::read_dir(folder).map_err(StoreError::file("read", folder))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "could not sweep a temporary file");
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Starts a temporary file.
    pub(crate) async fn create(&self) -> Result<(File, StagedFile), StoreError> {
        let path = self.folder.join(uuid::Uuid::new_v4().to_string());
        let created = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .await;
        let mut file = created.map_err(StoreError::file("make", &path))?;
        file.set_max_buf_size(WRITE_BYTES);
        Ok((file, StagedFile::new(path, 0)))
    }
}

impl StagedFile {
    /// Takes a file that lies on the blobs' file system and is synchronised to the disk.
    pub(crate) fn new(path: PathBuf, size: u64) -> Self {
        Self {
            path,
            size,
            moved: false,
        }
    }

    /// Returns where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn set_size(&mut self, size: u64) {
        self.size = size;
    }

    /// Notes that the file was moved away, so that nothing is left to remove.
    pub fn set_moved(&mut self) {
        self.moved = true;
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.moved {
            // Best effort: the next start sweeps what stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
