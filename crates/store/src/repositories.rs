//! Repositories: manifests, tags, referrers, and which blobs a repository may give out.
//!
//! distribution-spec 1.1. A blob's bytes are shared by all repositories; a repository gives out
//! only blobs that were linked to it, so that a digest alone opens no other team's content
//! (zot CVE-2024-39897).

use std::sync::Arc;

use async_trait::async_trait;
use oci::{Descriptor, Digest, Manifest, MediaType, RepositoryName, Tag};
use time::OffsetDateTime;

use crate::StoreError;

/// The most rows that one page of a listing holds, whatever was asked for
/// (distribution CVE-2023-2253 is what happens without a limit).
pub const MAX_PAGE_ROWS: usize = 1000;
/// The most tags that one manifest may be given at once (distribution-spec asks for ten at least).
pub const MAX_TAGS_AT_ONCE: usize = 100;

/// A manifest that is to be kept.
#[derive(Debug)]
pub struct NewManifest<'a> {
    /// The repository, made if it does not exist.
    pub repository: &'a RepositoryName,
    /// The manifest with its original bytes.
    pub manifest: &'a Manifest,
    /// The digest under which it is kept: the manifest's own, or one of another algorithm that the
    /// caller has checked.
    pub digest: &'a Digest,
    /// The tags that name it from now on.
    pub tags: &'a [Tag],
    /// The time of the push.
    pub at: OffsetDateTime,
}

/// A manifest as it is kept: what a GET answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// The digest that it is kept under.
    pub digest: Digest,
    /// The media type that it came with.
    pub media_type: MediaType,
    /// The exact bytes.
    pub bytes: bytes::Bytes,
    /// The digest of the manifest that it refers to.
    pub subject: Option<Digest>,
    /// The time of the first push.
    pub pushed_at: OffsetDateTime,
}

/// A page of a listing in the order of bytes: at most `limit` rows after `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The last row of the page before.
    pub after: Option<String>,
    /// The most rows wanted; more than [`MAX_PAGE_ROWS`] is cut to that.
    pub limit: usize,
}

impl Page {
    /// Returns the first page of the largest size.
    pub fn first() -> Self {
        Self {
            after: None,
            limit: MAX_PAGE_ROWS,
        }
    }
}

/// The most repositories and tags that are told of one manifest.
pub const MAX_PLACES: usize = 100;

/// Where a manifest lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The repository.
    pub repository: RepositoryName,
    /// The tags that name it, in the order of bytes.
    pub tags: Vec<Tag>,
}

/// Manifests, tags and referrers by repository.
#[async_trait]
pub trait Repositories: Send + Sync {
    /// Keeps a manifest and points its tags at it, in one transaction. Doing it twice is harmless.
    async fn put_manifest(&self, new: NewManifest<'_>) -> Result<(), StoreError>;

    /// Returns the manifest with `digest`, if the repository has it.
    async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arc<ManifestRow>>, StoreError>;

    /// Returns what `tag` names now.
    async fn resolve(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, StoreError>;

    /// Returns a page of tags in the order of bytes, or `None` if there is no such repository.
    async fn tags(
        &self,
        repository: &RepositoryName,
        page: &Page,
    ) -> Result<Option<Vec<Tag>>, StoreError>;

    /// Removes the tag and leaves the manifest. Returns whether there was one.
    async fn delete_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool, StoreError>;

    /// Removes the manifest and every tag that names it. Returns whether there was one.
    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError>;

    /// Returns descriptors of all manifests whose subject is `subject`, with artifact type and
    /// annotations, in the order of their digests. Empty for an unknown repository.
    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> Result<Vec<Descriptor>, StoreError>;

    /// Returns where a manifest lies, in the order of repositories, with the tags that name it
    /// there; at most [`MAX_PLACES`].
    async fn places(&self, digest: &Digest) -> Result<Vec<Place>, StoreError>;

    /// Returns a page of the names of repositories in the order of bytes.
    async fn list(&self, page: &Page) -> Result<Vec<RepositoryName>, StoreError>;
}

/// One manifest of a repository as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryRow {
    /// The digest that it is kept under.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// What kind of artifact it says to be.
    pub artifact_type: Option<MediaType>,
    /// The manifest that it refers to.
    pub subject: Option<Digest>,
    /// The time of the first push.
    pub pushed_at: OffsetDateTime,
    /// The tags that name it, in the order of bytes.
    pub tags: Vec<Tag>,
}

/// What is in a repository, tagged or not, and its end.
#[async_trait]
pub trait Inventory: Send + Sync {
    /// Returns a page of the repository's manifests in the order of their digests, or `None` if
    /// there is no such repository.
    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: &Page,
    ) -> Result<Option<Vec<InventoryRow>>, StoreError>;

    /// Removes a repository with everything in it. Returns whether there was one.
    async fn remove_repository(&self, repository: &RepositoryName) -> Result<bool, StoreError>;
}

/// Which blobs a repository may give out.
#[async_trait]
pub trait BlobLinks: Send + Sync {
    /// Lets the repository give out a blob, whose bytes must be on the disk already.
    async fn link_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StoreError>;

    /// Returns the size of a blob, in bytes, if the repository may give it out.
    async fn blob_in_repository(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, StoreError>;

    /// Takes a blob away from the repository. Returns whether it was linked.
    async fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError>;
}
