//! Where artifacts come from and go to: one seam over registries, layouts and the server's store.
//!
//! Readers check what they return: the bytes of a manifest or a blob always have the digest that
//! was asked for, whatever the other side says. distribution-spec, Pull and Push.

use std::fmt;

use async_trait::async_trait;
use oci::{Descriptor, Digest, Manifest, Reference, Tag};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::ClientError;

/// What names a manifest inside a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagOrDigest {
    /// A tag: it may name something else the next time.
    Tag(Tag),
    /// A digest.
    Digest(Digest),
}

impl TagOrDigest {
    /// Returns what `reference` asks for: its digest if it has one, else its tag.
    pub fn of(reference: &Reference) -> Option<Self> {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Some(Self::Digest(digest.clone())),
            (None, Some(tag)) => Some(Self::Tag(tag.clone())),
            (None, None) => None,
        }
    }
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Digest> for TagOrDigest {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<Tag> for TagOrDigest {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

/// One repository that artifacts can be read from.
#[async_trait]
pub trait ArtifactSource: Send + Sync {
    /// Returns the descriptor of the manifest that `name` names now.
    async fn resolve(&self, name: &TagOrDigest) -> Result<Descriptor, ClientError>;

    /// Returns the manifest with the digest of `descriptor`.
    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, ClientError>;

    /// Returns the descriptors of all manifests whose subject has this digest; none if nothing
    /// is known of it.
    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, ClientError>;

    /// Returns a blob of at most `limit_bytes`.
    async fn blob(&self, descriptor: &Descriptor, limit_bytes: u64)
    -> Result<Vec<u8>, ClientError>;

    /// Writes a blob of any size. The digest is known to be right only when this returns `Ok`:
    /// until then the writer holds bytes that nobody vouches for.
    async fn blob_to(
        &self,
        descriptor: &Descriptor,
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), ClientError>;
}

/// One repository that artifacts can also be written to. Writing the same thing twice is harmless.
#[async_trait]
pub trait ArtifactSink: ArtifactSource {
    /// Returns whether the blob is there already.
    async fn has_blob(&self, digest: &Digest) -> Result<bool, ClientError>;

    /// Stores the blob that `descriptor` names; a blob that is there already is not read again.
    async fn push_blob_from(
        &self,
        descriptor: &Descriptor,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<(), ClientError>;

    /// Stores a manifest, and lets `tag` name it. What it lists must be there already; its
    /// subject need not be.
    async fn push_manifest(
        &self,
        manifest: &Manifest,
        tag: Option<&Tag>,
    ) -> Result<(), ClientError>;

    /// Lets `tag` name the manifest with `digest`.
    async fn tag(&self, digest: &Digest, tag: &Tag) -> Result<(), ClientError>;

    /// Removes the manifest with `digest`, and every tag that names it.
    async fn delete(&self, digest: &Digest) -> Result<(), ClientError>;
}
