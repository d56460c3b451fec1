//! Small artifacts to push and read.

use client::ArtifactSink;
use oci::descriptor::Annotations;
use oci::{Descriptor, ImageManifest, Manifest, MediaType};

/// Pushes an artifact with one layer, and returns its manifest.
pub(crate) async fn push(
    sink: &dyn ArtifactSink,
    artifact_type: &str,
    content: &[u8],
    subject: Option<&Manifest>,
) -> Manifest {
    let layer = Descriptor::of(MediaType::JSON, content);
    push_layer(sink, artifact_type, (layer, content), subject).await
}

pub(crate) async fn push_layer(
    sink: &dyn ArtifactSink,
    artifact_type: &str,
    (layer, content): (Descriptor, &[u8]),
    subject: Option<&Manifest>,
) -> Manifest {
    sink.push_blob_from(&Descriptor::empty(), &mut &b"{}"[..])
        .await
        .unwrap();
    sink.push_blob_from(&layer, &mut &*content).await.unwrap();
    let manifest = manifest(artifact_type, vec![layer], subject);
    sink.push_manifest(&manifest, None).await.unwrap();
    manifest
}

/// Returns a manifest.
pub(crate) fn manifest(
    artifact_type: &str,
    layers: Vec<Descriptor>,
    subject: Option<&Manifest>,
) -> Manifest {
    Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type: Some(artifact_type.parse().unwrap()),
        config: Descriptor::empty(),
        layers,
        subject: subject.map(|manifest| manifest.descriptor().bare()),
        annotations: Annotations::new(),
    })
}
