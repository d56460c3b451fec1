//! Descriptors: media type, digest and size of some content, with annotations.
//!
//! image-spec `descriptor.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, MediaType};

/// Annotations: names and texts, in the order of the names.
pub type Annotations = BTreeMap<String, String>;

/// A descriptor of content. Unknown members are accepted and not kept: wherever the bytes matter,
/// the document that holds the descriptor keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content, in bytes.
    pub size: u64,
    /// The artifact type, on descriptors of manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The platform, on descriptors inside an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Annotations: claims of whoever wrote the document, never a base for a decision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// The content itself, in base64 (image-spec, Embedded Content). Never trusted unchecked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// Returns a descriptor of `bytes`, digested with SHA-256.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// Returns a descriptor without annotations.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            artifact_type: None,
            platform: None,
            annotations: Annotations::new(),
            data: None,
        }
    }

    /// Returns the descriptor of the two bytes `{}`, the configuration of artifacts without one
    /// (image-spec `manifest.md`, Guidance for an Empty Descriptor).
    pub fn empty() -> Self {
        Self {
            data: Some("e30=".to_owned()),
            ..Self::of(MediaType::EMPTY, b"{}")
        }
    }

    /// Returns the same content without annotations, platform and embedded data.
    pub fn bare(&self) -> Self {
        Self::new(self.media_type.clone(), self.digest.clone(), self.size)
    }

    /// Returns whether `bytes` are the content: both the size and the digest agree.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.size && self.digest.matches(bytes)
    }
}

/// The platform that an image runs on (image-spec `image-index.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture, in Go's words.
    pub architecture: String,
    /// The operating system, in Go's words.
    pub os: String,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}
