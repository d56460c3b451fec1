//! Documents: small named things with a version, such as projects, gate policies, trust policies,
//! and the newest report known for an image.

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::StoreError;

/// The largest document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// The name of a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// What kind of document it is, such as `project` or `gate-policy`.
    pub kind: String,
    /// Its name among those.
    pub name: String,
}

impl DocumentKey {
    /// Returns the name of a document.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            name: name.into(),
        }
    }
}

/// A document as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its name.
    pub key: DocumentKey,
    /// Counts changes, from 1.
    pub version: u64,
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
}

/// Named, versioned documents.
#[async_trait]
pub trait Documents: Send + Sync {
    /// Returns a document.
    async fn get(&self, key: &DocumentKey) -> Result<Option<DocumentRow>, StoreError>;

    /// Returns all documents of a kind whose name starts with `prefix`, by name.
    async fn list(&self, kind: &str, prefix: &str) -> Result<Vec<DocumentRow>, StoreError>;

    /// Makes or replaces a document, whatever it was, and returns its version.
    async fn put(
        &self,
        key: &DocumentKey,
        bytes: &[u8],
        now: OffsetDateTime,
    ) -> Result<u64, StoreError>;

    /// Replaces a document that has version `expected` (0: does not exist) and returns its new
    /// version; [`StoreError::Conflict`] if it has another.
    async fn put_if_version(
        &self,
        key: &DocumentKey,
        expected: u64,
        bytes: &[u8],
        now: OffsetDateTime,
    ) -> Result<u64, StoreError>;

    /// Removes a document. Returns whether there was one.
    async fn delete(&self, key: &DocumentKey) -> Result<bool, StoreError>;
}
