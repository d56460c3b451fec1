//! Blobs: bytes addressed by their digest.
//!
//! A [`BlobBackend`] is bytes by key and nothing else; the rules are above it. [`BlobWriter`]
//! hashes while it writes and commits only under the digest that it found; [`Uploads`] are
//! writers that survive a restart, for clients that push in pieces.

mod backend;
mod files;
mod memory;
mod staging;
mod upload;
mod writer;

pub use backend::{BlobBackend, BlobReader, ByteRange};
pub use files::FileBackend;
pub use memory::MemoryBackend;
pub use staging::{StagedFile, Staging};
pub use upload::{
    MAX_BLOB_BYTES, MAX_UPLOADS, UploadError, UploadId, UploadIdError, UploadStatus, Uploads,
};
pub use writer::{BlobWriter, Blobs};
