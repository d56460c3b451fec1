//! An envelope as an OCI artifact: what carries a signature or an attestation to a registry.
//!
//! A Notary signature is written in the form of the specification's version 1.0, which every stock
//! verifier finds: the type stands in `config.mediaType` and there is no `artifactType`
//! (signature-specification, OCI Signatures; R034–R037). A DSSE envelope states its type in
//! `artifactType`, over the empty configuration.

use oci::descriptor::Annotations;
use oci::{Descriptor, ImageManifest, Manifest, MediaType};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use trust::tlog::LogProof;

use crate::ClientError;
use crate::source::ArtifactSink;

/// The annotation that lists the SHA-256 fingerprints of the chain (R037). A hint for readers,
/// never a base for trust.
pub const THUMBPRINT_ANNOTATION: &str = "io.cncf.notary.x509chain.thumbprint#S256";
/// The annotation that says when an artifact was made (image-spec `annotations.md`).
pub const CREATED_ANNOTATION: &str = "org.opencontainers.image.created";
/// The annotation that names the signing job, which is what `signature show` and `signature revoke`
/// take. A pointer for people, never a base for trust.
pub const JOB_ANNOTATION: &str = "dev.countersign.signing-job";

/// The annotation that holds the entry of the transparency log that is about the envelope.
pub const LOG_ENTRY_ANNOTATION: &str = "dev.countersign.log.entry";
/// The annotation that holds the proof that the entry is in the log (C2SP `tlog-proof`).
pub const LOG_PROOF_ANNOTATION: &str = "dev.countersign.log.proof";

const EMPTY: &[u8] = b"{}";

/// An envelope, and what is known of it.
#[derive(Clone, Debug)]
pub struct SignedContent {
    /// What it refers to.
    pub subject: Descriptor,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// When it was signed.
    pub signing_time: OffsetDateTime,
    /// The signing job.
    pub job: String,
    /// The proof that it is in a transparency log, with the entry in its `extra`.
    pub log: Option<LogProof>,
}

/// A manifest over an envelope, ready to be pushed.
#[derive(Clone, Debug)]
pub struct EnvelopeArtifact {
    manifest: Manifest,
    config: Descriptor,
    layer: Descriptor,
    envelope: Vec<u8>,
}

impl EnvelopeArtifact {
    /// Returns the artifact of a Notary signature in JWS.
    pub fn signature(content: SignedContent, certificate_sha256: &[String]) -> Self {
        let config = Descriptor::of(MediaType::NOTARY_SIGNATURE, EMPTY);
        // A list of texts always serialises.
        let thumbprints = serde_json::to_string(certificate_sha256).unwrap_or_default();
        let annotation = (THUMBPRINT_ANNOTATION.to_owned(), thumbprints);
        let media_type = MediaType::JOSE_JSON;
        Self::new(content, (None, config), (media_type, Some(annotation)))
    }

    /// Returns the artifact of a DSSE envelope.
    pub fn attestation(content: SignedContent, artifact_type: MediaType) -> Self {
        let kind = (Some(artifact_type), Descriptor::empty());
        Self::new(content, kind, (MediaType::DSSE, None))
    }

    fn new(
        content: SignedContent,
        (artifact_type, config): (Option<MediaType>, Descriptor),
        (layer_type, annotation): (MediaType, Option<(String, String)>),
    ) -> Self {
        let layer = Descriptor::of(layer_type, &content.envelope);
        let mut annotations: Annotations = annotation.into_iter().collect();
        annotations.insert(JOB_ANNOTATION.to_owned(), content.job);
        annotations.extend(content.log.into_iter().flat_map(log_annotations));
        let created = content.signing_time.to_offset(time::UtcOffset::UTC);
        if let Ok(created) = created.format(&Rfc3339) {
            annotations.insert(CREATED_ANNOTATION.to_owned(), created);
        }
        let manifest = Manifest::from_image(&ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_MANIFEST),
            artifact_type,
            config: config.clone(),
            layers: vec![layer.clone()],
            subject: Some(content.subject.bare()),
            annotations,
        });
        let envelope = content.envelope;
        Self {
            manifest,
            config,
            layer,
            envelope,
        }
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Pushes blobs and manifest, and returns the manifest's descriptor.
    ///
    /// # Errors
    /// When the sink refuses or fails.
    pub async fn push(&self, sink: &dyn ArtifactSink) -> Result<Descriptor, ClientError> {
        sink.push_blob_from(&self.config, &mut &EMPTY[..]).await?;
        sink.push_blob_from(&self.layer, &mut &self.envelope[..])
            .await?;
        sink.push_manifest(&self.manifest, None).await?;
        Ok(self.manifest.descriptor())
    }
}

/// Splits a proof into entry and proof. One whose entry is not text proves nothing of ours.
fn log_annotations(mut proof: LogProof) -> Vec<(String, String)> {
    let entry = proof
        .extra
        .take()
        .and_then(|entry| String::from_utf8(entry).ok());
    let entry = entry.map(|entry| (LOG_ENTRY_ANNOTATION.to_owned(), entry));
    let proof = (LOG_PROOF_ANNOTATION.to_owned(), proof.to_string());
    entry
        .into_iter()
        .flat_map(|entry| [entry, proof.clone()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn content() -> SignedContent {
        let mut subject = Descriptor::of(MediaType::IMAGE_MANIFEST, b"image");
        subject.annotations.insert("a".to_owned(), "b".to_owned());
        SignedContent {
            subject,
            envelope: b"envelope".to_vec(),
            signing_time: datetime!(2026-03-01 12:00 UTC),
            job: "job-1".to_owned(),
            log: None,
        }
    }

    fn text(artifact: &EnvelopeArtifact) -> String {
        String::from_utf8(artifact.manifest().bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_signature_has_the_form_of_version_1_0() {
        let artifact = EnvelopeArtifact::signature(content(), &["ab".to_owned(), "cd".to_owned()]);
        insta::assert_snapshot!(text(&artifact), @r##"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.cncf.notary.signature","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/jose+json","digest":"sha256:4c503ca67761e5c4aaecfe996244c25d8c0b40902d1085c85b4468bd567548c6","size":8}],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d","size":5},"annotations":{"dev.countersign.signing-job":"job-1","io.cncf.notary.x509chain.thumbprint#S256":"[\"ab\",\"cd\"]","org.opencontainers.image.created":"2026-03-01T12:00:00Z"}}"##);
    }

    #[test]
    fn an_attestation_states_its_type() {
        let artifact = EnvelopeArtifact::attestation(content(), MediaType::ACCEPTANCE);
        insta::assert_snapshot!(text(&artifact), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.countersign.acceptance.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="},"layers":[{"mediaType":"application/vnd.dsse.envelope.v1+json","digest":"sha256:4c503ca67761e5c4aaecfe996244c25d8c0b40902d1085c85b4468bd567548c6","size":8}],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d","size":5},"annotations":{"dev.countersign.signing-job":"job-1","org.opencontainers.image.created":"2026-03-01T12:00:00Z"}}"#);
    }
}
