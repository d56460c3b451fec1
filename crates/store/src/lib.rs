//! What Countersign keeps: blobs, repositories, accounts, the queue, runs, deployments, documents.
//!
//! Above small seams: a blob back end is bytes by digest, and metadata is a handful of traits
//! grouped by subject, each under ten methods. One machine gets files and SQLite; other back ends
//! come later and must pass the same [`suite`]. This crate knows rows and digests. It knows no
//! trust policy, no gate policy, no HTTP and no clock: the time is an argument.
//!
//! What was acknowledged is on the disk: blobs by temporary file, fsync, rename and fsync of the
//! folder; rows by SQLite's write-ahead log with `synchronous=FULL`.

pub mod error;
mod open;

pub mod blob;

pub mod access_keys;
pub mod accounts;
pub mod deployments;
pub mod documents;
pub mod queue;
pub mod repositories;
pub mod runs;
pub mod signing;
pub mod used_tokens;

pub mod backup;

mod cache;
mod sqlite;

pub mod suite;

pub use access_keys::AccessKeys;
pub use accounts::Accounts;
pub use blob::{BlobBackend, BlobReader, BlobWriter, Blobs, FileBackend, MemoryBackend, Uploads};
pub use deployments::Deployments;
pub use documents::Documents;
pub use error::StoreError;
pub use open::Store;
pub use queue::Queue;
pub use repositories::{BlobLinks, Inventory, Repositories};
pub use runs::Runs;
pub use signing::SigningRecords;
pub use used_tokens::UsedTokens;
