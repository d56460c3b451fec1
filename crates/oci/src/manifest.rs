//! Manifests and indexes, parsed once, with the bytes they were parsed from.
//!
//! image-spec `manifest.md` and `image-index.md`. A document that could be read both as a
//! manifest and as an index is refused (CVE-2021-41190), as is one whose `mediaType` contradicts
//! the media type that it came with.

use serde::{Deserialize, Serialize};

use crate::descriptor::Annotations;
use crate::{Descriptor, Digest, MediaType};

/// The largest manifest, in bytes (distribution-spec, Pushing Manifests: at least 4 MiB).
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// The most layers or index entries that we look at. No real image comes near; a hostile 4 MiB
/// document holds about thirty thousand.
pub const MAX_ENTRIES: usize = 32_768;

/// A manifest or an index with its original bytes.
#[derive(Clone, Debug)]
pub struct Manifest {
    bytes: Vec<u8>,
    media_type: MediaType,
    digest: Digest,
    content: ManifestContent,
}

/// What a manifest turned out to be.
#[derive(Clone, Debug)]
pub enum ManifestContent {
    /// An image manifest: an image or an artifact.
    Image(ImageManifest),
    /// An index of manifests.
    Index(Index),
}

/// The members of an image manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// The media type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The type of the artifact, where it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

/// The members of an index.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The media type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The type of the artifact, where it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

impl Index {
    /// Returns an index of `manifests`, as the Referrers API answers with.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_INDEX),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Annotations::new(),
        }
    }
}

/// Says why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Larger than [`MAX_MANIFEST_BYTES`].
    #[error("manifest has {0} bytes, more than the limit of {MAX_MANIFEST_BYTES}")]
    TooLarge(usize),
    /// The media type is neither a manifest nor an index.
    #[error("media type `{0}` is not one of a manifest or an index")]
    MediaType(MediaType),
    /// The bytes are not JSON of the right shape.
    #[error("manifest of type `{media_type}` is malformed")]
    Json {
        /// The media type that the bytes came with.
        media_type: MediaType,
        /// Where and why reading stopped.
        #[source]
        source: serde_json::Error,
    },
    /// The document could be read as a manifest and as an index.
    #[error("manifest has both `layers` and `manifests`, so two readers could see two documents")]
    Ambiguous,
    /// `mediaType` says something else than the media type that the bytes came with.
    #[error("manifest says `mediaType` `{inside}`, but came as `{outside}`")]
    Contradiction {
        /// What the document says.
        inside: MediaType,
        /// What it came with.
        outside: MediaType,
    },
    /// `schemaVersion` is not 2.
    #[error("manifest has `schemaVersion` {0}: only 2 is supported")]
    SchemaVersion(u32),
    /// More than [`MAX_ENTRIES`] layers or manifests.
    #[error("manifest lists {0} entries, more than the limit of {MAX_ENTRIES}")]
    TooManyEntries(usize),
}

impl Manifest {
    /// Parses `bytes` that came with `media_type`.
    ///
    /// # Errors
    /// Everything that [`ManifestError`] names. The bytes are kept exactly as given.
    pub fn parse(media_type: MediaType, bytes: Vec<u8>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let content = parse_content(&media_type, &bytes)?;
        check(&media_type, &content)?;
        let digest = Digest::sha256(&bytes);
        Ok(Self {
            bytes,
            media_type,
            digest,
            content,
        })
    }

    /// Parses `bytes` whose media type is only known from inside, as in an image layout.
    ///
    /// # Errors
    /// As [`Manifest::parse`]; a document without `mediaType` is taken for what its members say.
    pub fn sniff(bytes: Vec<u8>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let media_type = sniff_media_type(&bytes)?;
        Self::parse(media_type, bytes)
    }

    /// Returns a new image manifest, written once, with the bytes that it is digested over.
    pub fn from_image(manifest: &ImageManifest) -> Self {
        let media_type = manifest
            .media_type
            .clone()
            .unwrap_or(MediaType::IMAGE_MANIFEST);
        let bytes = serde_json::to_vec(manifest).expect("a manifest has string keys only");
        let digest = Digest::sha256(&bytes);
        Self {
            bytes,
            media_type,
            digest,
            content: ManifestContent::Image(manifest.clone()),
        }
    }

    /// Returns the original bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the SHA-256 digest of the original bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the media type that the bytes came with.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the parsed members.
    pub fn content(&self) -> &ManifestContent {
        &self.content
    }

    /// Returns the image manifest, unless this is an index.
    pub fn as_image(&self) -> Option<&ImageManifest> {
        match &self.content {
            ManifestContent::Image(image) => Some(image),
            ManifestContent::Index(_) => None,
        }
    }

    /// Returns the index, unless this is an image manifest.
    pub fn as_index(&self) -> Option<&Index> {
        match &self.content {
            ManifestContent::Index(index) => Some(index),
            ManifestContent::Image(_) => None,
        }
    }

    /// Returns the descriptor of the manifest that this one refers to.
    pub fn subject(&self) -> Option<&Descriptor> {
        match &self.content {
            ManifestContent::Image(image) => image.subject.as_ref(),
            ManifestContent::Index(index) => index.subject.as_ref(),
        }
    }

    /// Returns the annotations.
    pub fn annotations(&self) -> &Annotations {
        match &self.content {
            ManifestContent::Image(image) => &image.annotations,
            ManifestContent::Index(index) => &index.annotations,
        }
    }

    /// Returns the artifact type as the Referrers API reports it: `artifactType`, or for a
    /// manifest without one the media type of its configuration (distribution-spec, Listing
    /// Referrers).
    pub fn artifact_type(&self) -> Option<&MediaType> {
        match &self.content {
            ManifestContent::Image(image) => Some(
                image
                    .artifact_type
                    .as_ref()
                    .unwrap_or(&image.config.media_type),
            ),
            ManifestContent::Index(index) => index.artifact_type.as_ref(),
        }
    }

    /// Returns the descriptor of this manifest, with the artifact type and annotations that the
    /// Referrers API adds.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            artifact_type: self.artifact_type().cloned(),
            annotations: self.annotations().clone(),
            ..Descriptor::new(
                self.media_type.clone(),
                self.digest.clone(),
                self.bytes.len() as u64,
            )
        }
    }
}

fn parse_content(media_type: &MediaType, bytes: &[u8]) -> Result<ManifestContent, ManifestError> {
    let json = |source| ManifestError::Json {
        media_type: media_type.clone(),
        source,
    };
    let shape: Shape = serde_json::from_slice(bytes).map_err(json)?;
    if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
        return Err(ManifestError::Ambiguous);
    }
    if media_type.is_image_manifest() {
        serde_json::from_slice(bytes)
            .map(ManifestContent::Image)
            .map_err(json)
    } else if media_type.is_index() {
        serde_json::from_slice(bytes)
            .map(ManifestContent::Index)
            .map_err(json)
    } else {
        Err(ManifestError::MediaType(media_type.clone()))
    }
}

/// The members that tell a manifest from an index, with their values skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
}

fn sniff_media_type(bytes: &[u8]) -> Result<MediaType, ManifestError> {
    let shape: Shape = serde_json::from_slice(bytes).map_err(|source| ManifestError::Json {
        media_type: MediaType::JSON,
        source,
    })?;
    Ok(shape.media_type.unwrap_or(match shape.manifests {
        Some(_) => MediaType::IMAGE_INDEX,
        None => MediaType::IMAGE_MANIFEST,
    }))
}

fn check(outside: &MediaType, content: &ManifestContent) -> Result<(), ManifestError> {
    let (version, inside, entries) = match content {
        ManifestContent::Image(m) => (m.schema_version, &m.media_type, m.layers.len()),
        ManifestContent::Index(i) => (i.schema_version, &i.media_type, i.manifests.len()),
    };
    if version != 2 {
        return Err(ManifestError::SchemaVersion(version));
    }
    if entries > MAX_ENTRIES {
        return Err(ManifestError::TooManyEntries(entries));
    }
    match inside {
        Some(inside) if inside != outside => Err(ManifestError::Contradiction {
            inside: inside.clone(),
            outside: outside.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
