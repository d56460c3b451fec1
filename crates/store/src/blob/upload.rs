//! Upload sessions: blobs that arrive in pieces, over several requests and restarts.
//!
//! distribution-spec, Pushing a blob in chunks. A session is two files: the bytes, and a note of
//! what it belongs to. The running hash is only a memory of the bytes in the file: it is made
//! anew from them after a restart.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use oci::{Digest, DigestAlgorithm, RepositoryName};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::StoreError;
use crate::blob::files::{blocking, sync_folder};
use crate::blob::writer::Hashes;
use crate::blob::{Blobs, StagedFile};

/// The largest blob, in bytes. Layers of machine-learning images reach tens of gigabytes; a
/// terabyte is somebody filling the disk.
pub const MAX_BLOB_BYTES: u64 = 128 * 1024 * 1024 * 1024;
/// The most sessions that are open at once; each holds a file.
pub const MAX_UPLOADS: usize = 4096;
/// How much of a file is hashed at a time, in bytes.
const REHASH_BYTES: usize = 256 * 1024;

/// The name of an upload session: a random UUID, so that it cannot be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(uuid::Uuid);

/// Says that a text is not the name of an upload session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an upload session")]
pub struct UploadIdError;

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<Self, UploadIdError> {
        match uuid::Uuid::try_parse(text) {
            Ok(id) if text.len() == uuid::fmt::Hyphenated::LENGTH => Ok(Self(id)),
            _ => Err(UploadIdError),
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// The bytes received so far.
    pub size: u64,
    /// When the session was started.
    pub started_at: OffsetDateTime,
}

/// Says why a session did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// There is no such session in this repository, or it has expired.
    #[error("upload session `{0}` does not exist")]
    Unknown(UploadId),
    /// A piece does not start where the last one ended.
    #[error("the piece starts at byte {given}, but the session has {expected} bytes")]
    OutOfOrder {
        /// The bytes that the session has.
        expected: u64,
        /// Where the piece starts.
        given: u64,
    },
    /// Another request writes to the session at this moment.
    #[error("upload session `{0}` is being written to by another request")]
    Busy(UploadId),
    /// Something below failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The upload sessions of an installation.
#[derive(Clone)]
pub struct Uploads {
    blobs: Blobs,
    folder: PathBuf,
    sessions: Arc<Mutex<HashMap<UploadId, Session>>>,
}

/// Locked while a request writes; empty when the hash must be made from the file.
type Session = Arc<tokio::sync::Mutex<Option<Running>>>;

/// What is remembered of a session between two requests.
struct Running {
    hashes: Hashes,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct Note {
    repository: RepositoryName,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
}

impl Uploads {
    /// Opens the folder of sessions, which must lie on the blobs' file system.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(blobs: Blobs, folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(StoreError::file("make", folder))?;
        Ok(Self {
            blobs,
            folder: folder.to_owned(),
            sessions: Arc::default(),
        })
    }

    /// Starts a session.
    ///
    /// # Errors
    /// When there are [`MAX_UPLOADS`] already, or the files cannot be made.
    pub async fn start(
        &self,
        repository: &RepositoryName,
        now: OffsetDateTime,
    ) -> Result<UploadId, UploadError> {
        let id = UploadId(uuid::Uuid::new_v4());
        let note = Note {
            repository: repository.clone(),
            started_at: now,
        };
        let (folder, data, side) = (self.folder.clone(), self.data(id), self.note(id));
        blocking(move || start(&folder, &data, &side, &note)).await?;
        Ok(id)
    }

    /// Appends bytes as they arrive and returns how many the session has then. Bytes that arrived
    /// before a stream broke off are kept: the client asks for the status and goes on.
    ///
    /// # Errors
    /// [`UploadError::OutOfOrder`] when `offset` is given and is not where the session ends.
    pub async fn append<S>(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
        pieces: S,
    ) -> Result<u64, UploadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        self.check(repository, id).await?;
        let session = self.session(id);
        let mut running = session.try_lock().map_err(|_| UploadError::Busy(id))?;
        let mut state = match running.take() {
            Some(state) => state,
            None => self.rehash(id, DigestAlgorithm::Sha256).await?,
        };
        if let Some(given) = offset.filter(|given| *given != state.size) {
            let expected = state.size;
            *running = Some(state);
            return Err(UploadError::OutOfOrder { expected, given });
        }
        let outcome = append(&self.data(id), &mut state, pieces).await;
        let size = state.size;
        // After a failed write the file may end anywhere: the next request hashes it again.
        *running = outcome.is_ok().then_some(state);
        outcome?;
        Ok(size)
    }

    /// Returns where a session stands.
    ///
    /// # Errors
    /// [`UploadError::Unknown`] when there is none in this repository.
    pub async fn status(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<UploadStatus, UploadError> {
        let note = self.check(repository, id).await?;
        let metadata = tokio::fs::metadata(self.data(id)).await;
        let metadata = metadata.map_err(|_| UploadError::Unknown(id))?;
        Ok(UploadStatus {
            size: metadata.len(),
            started_at: note.started_at,
        })
    }

    /// Ends a session: its bytes become the blob `digest`, durably. Returns the size in bytes.
    /// After a mismatch the session is over too; its bytes are nobody's.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] when the bytes have another digest.
    pub async fn finish(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        digest: &Digest,
    ) -> Result<u64, UploadError> {
        self.check(repository, id).await?;
        let session = self.session(id);
        let mut running = session.try_lock().map_err(|_| UploadError::Busy(id))?;
        let state = match running.take() {
            Some(state) if digest.algorithm() == DigestAlgorithm::Sha256 => state,
            _ => self.rehash(id, digest.algorithm()).await?,
        };
        self.commit(id, state, digest).await
    }

    /// Ends a session and drops its bytes.
    ///
    /// # Errors
    /// [`UploadError::Unknown`] when there is none in this repository.
    pub async fn cancel(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<(), UploadError> {
        self.check(repository, id).await?;
        self.remove(id).await;
        Ok(())
    }

    /// Drops the sessions that were started before `before` and are not being written to. Returns
    /// how many.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn expire(&self, before: OffsetDateTime) -> Result<usize, StoreError> {
        let folder = self.folder.clone();
        let old = blocking(move || started_before(&folder, before)).await?;
        let mut dropped = 0;
        for id in old {
            if self.session(id).try_lock().is_ok() {
                self.remove(id).await;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    async fn commit(
        &self,
        id: UploadId,
        state: Running,
        digest: &Digest,
    ) -> Result<u64, UploadError> {
        let (size, data) = (state.size, self.data(id));
        let actual = state.hashes.finish(digest.algorithm());
        if let Some(actual) = actual.filter(|actual| actual != digest) {
            self.remove(id).await;
            return Err(UploadError::Store(StoreError::DigestMismatch {
                expected: digest.clone(),
                actual,
            }));
        }
        let path = data.clone();
        blocking(move || synchronise(&path)).await?;
        let staged = StagedFile::new(data, size);
        self.blobs.backend().put_if_absent(digest, staged).await?;
        self.remove(id).await;
        Ok(size)
    }

    async fn rehash(
        &self,
        id: UploadId,
        algorithm: DigestAlgorithm,
    ) -> Result<Running, UploadError> {
        let path = self.data(id);
        Ok(blocking(move || rehash(&path, algorithm)).await?)
    }

    async fn check(&self, repository: &RepositoryName, id: UploadId) -> Result<Note, UploadError> {
        let bytes = tokio::fs::read(self.note(id)).await;
        let bytes = bytes.map_err(|_| UploadError::Unknown(id))?;
        match serde_json::from_slice::<Note>(&bytes) {
            Ok(note) if note.repository == *repository => Ok(note),
            _ => Err(UploadError::Unknown(id)),
        }
    }

    async fn remove(&self, id: UploadId) {
        // The note goes first: without it the session is unknown, and the rest is swept later.
        let _ = tokio::fs::remove_file(self.note(id)).await;
        let _ = tokio::fs::remove_file(self.data(id)).await;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&id);
    }

    fn session(&self, id: UploadId) -> Session {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry(id).or_default())
    }

    fn data(&self, id: UploadId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn note(&self, id: UploadId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

fn start(folder: &Path, data: &Path, side: &Path, note: &Note) -> Result<(), StoreError> {
    let entries = std::fs::read_dir(folder).map_err(StoreError::file("read", folder))?;
    if entries.count() / 2 >= MAX_UPLOADS {
        return Err(StoreError::TooLarge {
            what: "number of upload sessions",
            limit: MAX_UPLOADS as u64,
        });
    }
    std::fs::File::create_new(data).map_err(StoreError::file("make", data))?;
    let text = serde_json::to_vec(note).map_err(|e| StoreError::corrupt("upload note", e))?;
    std::fs::write(side, text).map_err(StoreError::file("write", side))
}

async fn append<S>(path: &Path, state: &mut Running, mut pieces: S) -> Result<(), StoreError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
{
    let opened = File::options().append(true).open(path).await;
    let mut file = opened.map_err(StoreError::file("open", path))?;
    let mut broken = None;
    while let Some(piece) = pieces.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                broken = Some(error);
                break;
            }
        };
        state.size += piece.len() as u64;
        if state.size > MAX_BLOB_BYTES {
            return Err(StoreError::TooLarge {
                what: "blob (bytes)",
                limit: MAX_BLOB_BYTES,
            });
        }
        state.hashes.update(&piece);
        let written = file.write_all(&piece).await;
        written.map_err(StoreError::file("write", path))?;
    }
    file.flush()
        .await
        .map_err(StoreError::file("write", path))?;
    broken.map_or(Ok(()), |error| Err(StoreError::Incoming(error)))
}

fn rehash(path: &Path, algorithm: DigestAlgorithm) -> Result<Running, StoreError> {
    let failed = |error| StoreError::file("read", path)(error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut state = Running {
        hashes: Hashes::new(algorithm),
        size: 0,
    };
    let mut buffer = vec![0; REHASH_BYTES];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok(state);
        }
        state.hashes.update(&buffer[..count]);
        state.size += count as u64;
    }
}

fn synchronise(path: &Path) -> Result<(), StoreError> {
    let synchronised = std::fs::File::open(path).and_then(|file| file.sync_all());
    synchronised.map_err(StoreError::file("synchronise", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn started_before(folder: &Path, before: OffsetDateTime) -> Result<Vec<UploadId>, StoreError> {
    let entries = std::fs::read_dir(folder).map_err(StoreError::file("read", folder))?;
    let mut old = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(id) = stem.and_then(|stem| stem.parse::<UploadId>().ok()) else {
            continue;
        };
        let note = std::fs::read(folder.join(format!("{id}.json"))).ok();
        let note = note.and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        // A session without a readable note is what a crash left.
        let expired = note.is_none_or(|note| note.started_at < before);
        if expired && !old.contains(&id) {
            old.push(id);
        }
    }
    Ok(old)
}
