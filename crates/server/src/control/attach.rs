//! Attaching artifacts to images of the server's own store.

use std::collections::BTreeMap;

use client::{ArtifactSink, ClientError};
use oci::{Descriptor, ImageManifest, Manifest, MediaType};
use time::format_description::well_known::Rfc3339;

use crate::clock;
use crate::source::StoreSource;

/// The annotation that holds when an artifact was made (image-spec `annotations.md`).
const CREATED: &str = "org.opencontainers.image.created";

/// An artifact that is to be attached.
pub(crate) struct NewArtifact<'a> {
    /// What it refers to.
    pub(crate) subject: &'a Descriptor,
    /// Its type.
    pub(crate) artifact_type: MediaType,
    /// The media type of its only layer.
    pub(crate) layer_type: MediaType,
    /// The bytes of that layer.
    pub(crate) bytes: &'a [u8],
    /// Further annotations.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Attaches an artifact and returns its descriptor.
pub(crate) async fn attach(
    source: &StoreSource,
    new: NewArtifact<'_>,
) -> Result<Descriptor, ClientError> {
    let layer = Descriptor::of(new.layer_type, new.bytes);
    source.push_blob_from(&layer, &mut &*new.bytes).await?;
    let empty = Descriptor::empty();
    source.push_blob_from(&empty, &mut &b"{}"[..]).await?;
    let mut annotations = new.annotations;
    if let Ok(created) = clock::now().format(&Rfc3339) {
        annotations.insert(CREATED.to_owned(), created);
    }
    // A Notary signature is found by every stock verifier in its v1.0 form: no `artifactType`, and
    // the type as that of the configuration (design 001 §1).
    let is_signature = new.artifact_type == MediaType::NOTARY_SIGNATURE;
    let (artifact_type, config) = if is_signature {
        let config = Descriptor::new(new.artifact_type, empty.digest, empty.size);
        (None, config)
    } else {
        (Some(new.artifact_type), empty)
    };
    let manifest = Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type,
        config,
        layers: vec![layer],
        subject: Some(new.subject.bare()),
        annotations,
    });
    source.push_manifest(&manifest, None).await?;
    Ok(manifest.descriptor())
}
