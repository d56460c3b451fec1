//! Having things signed, and attaching the signatures.

use client::envelope_artifact::{EnvelopeArtifact, SignedContent};
use client::{ArtifactSource, ClientError, TagOrDigest};
use oci::{Descriptor, Digest, MediaType};
use pipeline::project::Name;
use signer::payload::IN_TOTO_PAYLOAD_TYPE;
use signer::protocol::FailureKind;
use signer::protocol::log::Which;
use signer::{AttestRequest, Principal, SignRequest, SignedEnvelope, SignerClientError};
use trust::TargetArtifact;

use crate::api::signing::stored_artifact;
use crate::source::StoreSource;
use crate::state::Front;

/// Says why something was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SignError {
    /// The name of the profile is not one that the signer allows.
    #[error("`{0}` cannot be the name of a signing profile")]
    Profile(Name),
    /// The signer refused, or does not answer.
    #[error("profile `{profile}` did not sign")]
    Signer {
        profile: Name,
        #[source]
        source: SignerClientError,
    },
    /// What is to be signed is stored, but cannot be read.
    #[error("`{0}` cannot be read: {1}")]
    Artifact(Digest, String),
    /// What is to be signed cannot be read, or the signature cannot be kept.
    #[error("the signature could not be attached")]
    Store(#[from] ClientError),
}

impl SignError {
    /// Returns whether trying again may help: the signer may be about to start again.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Signer { source, .. } => source.kind() == FailureKind::Unavailable,
            _ => false,
        }
    }

    /// Returns whether the signer said that the profile is not granted.
    pub(crate) fn is_denied(&self) -> bool {
        match self {
            Self::Signer { source, .. } => source.kind() == FailureKind::Denied,
            _ => false,
        }
    }

    /// Returns the stable code.
    pub(crate) fn code(&self) -> String {
        match self {
            Self::Profile(_) => "profile-invalid".to_owned(),
            Self::Signer { source, .. } => match source {
                SignerClientError::Failed(failure) => failure.code.clone(),
                _ => "signer-unavailable".to_owned(),
            },
            Self::Artifact(..) | Self::Store(_) => "store-failed".to_owned(),
        }
    }
}

/// Who signs, under which profile, and into which repository the signature goes.
#[derive(Clone)]
pub(crate) struct Signatory<'a> {
    pub(crate) front: &'a Front,
    pub(crate) source: &'a StoreSource,
    pub(crate) principal: Principal,
    pub(crate) profile: &'a Name,
}

/// An in-toto statement that is to be signed.
pub(crate) struct NewStatement<'a> {
    pub(crate) subject: &'a Descriptor,
    pub(crate) artifact_type: MediaType,
    pub(crate) payload: Vec<u8>,
}

impl Signatory<'_> {
    /// Signs a manifest by its digest, and returns the descriptor of the signature manifest.
    pub(crate) async fn sign(&self, digest: &Digest) -> Result<Descriptor, SignError> {
        let name = TagOrDigest::Digest(digest.clone());
        let target = self.source.resolve(&name).await?;
        let request = SignRequest {
            principal: self.principal.clone(),
            profile: self.profile_name()?,
            owner: None,
            payload: TargetArtifact::of(&target).to_payload(),
            artifact: self.artifact(digest).await?,
        };
        let signed = self.front.signer.sign(request).await;
        let signed = signed.map_err(|source| self.refused(source))?;
        let content = self.content(&target, &signed).await?;
        let artifact = EnvelopeArtifact::signature(content, &signed.certificate_sha256);
        Ok(artifact.push(self.source).await?)
    }

    /// Signs a statement, attaches it to its subject, and returns the artifact's descriptor.
    pub(crate) async fn attest(&self, new: NewStatement<'_>) -> Result<Descriptor, SignError> {
        let request = AttestRequest {
            principal: self.principal.clone(),
            profile: self.profile_name()?,
            payload_type: IN_TOTO_PAYLOAD_TYPE.to_owned(),
            payload: new.payload,
            artifact: self.artifact(&new.subject.digest).await?,
        };
        let signed = self.front.signer.attest(request).await;
        let signed = signed.map_err(|source| self.refused(source))?;
        let content = self.content(new.subject, &signed).await?;
        let artifact = EnvelopeArtifact::attestation(content, new.artifact_type);
        Ok(artifact.push(self.source).await?)
    }

    async fn artifact(&self, digest: &Digest) -> Result<signer::Artifact, SignError> {
        let repository = self.source.repository();
        let known = stored_artifact(self.front, digest, repository).await;
        known.map_err(|error| SignError::Artifact(digest.clone(), error.message().to_owned()))
    }

    async fn content(
        &self,
        subject: &Descriptor,
        signed: &SignedEnvelope,
    ) -> Result<SignedContent, SignError> {
        let which = Which::Position(signed.position);
        Ok(SignedContent {
            subject: subject.clone(),
            envelope: signed.envelope.clone(),
            signing_time: signed.signing_time,
            job: signed.job.to_string(),
            log: Some(
                self.front
                    .prove(which)
                    .await
                    .map_err(|source| self.refused(source))?,
            ),
        })
    }

    fn profile_name(&self) -> Result<signer::ProfileName, SignError> {
        let parsed = self.profile.as_str().parse();
        parsed.map_err(|_| SignError::Profile(self.profile.clone()))
    }

    fn refused(&self, source: SignerClientError) -> SignError {
        SignError::Signer {
            profile: self.profile.clone(),
            source,
        }
    }
}
