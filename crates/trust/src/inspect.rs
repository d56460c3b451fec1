//! What an envelope claims, for people who want to look at it. Nothing here was verified.

use oci::{Digest, MediaType};
use serde::Serialize;
use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::chain::CertificateChain;
use crate::dsse::ParsedAttestation;
use crate::jws::{ParsedEnvelope, SignedAttributes};
use crate::outcome::{FailureCode, Refusal};
use crate::{DistinguishedName, TargetArtifact};

/// What an envelope claims. Anybody can write anything here.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnverifiedView {
    /// The media type of the envelope.
    pub media_type: MediaType,
    /// The signed attributes of a Notary signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_attributes: Option<SignedAttributes>,
    /// What says that it made the signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_agent: Option<String>,
    /// The artifact that a Notary signature names, if its payload can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetArtifact>,
    /// The statement of an attestation, if its payload can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<UnverifiedStatement>,
    /// The certificates, leaf first.
    pub certificates: Vec<CertificateView>,
}

/// What an attestation claims.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnverifiedStatement {
    /// The payload type.
    pub payload_type: String,
    /// The predicate type.
    pub predicate_type: String,
    /// The digests of the subjects.
    pub subjects: Vec<Digest>,
    /// The predicate.
    pub predicate: serde_json::Value,
}

/// A certificate as people look at it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// Who holds the key.
    pub subject: DistinguishedName,
    /// Who says so.
    pub issuer: DistinguishedName,
    /// The serial number, in hexadecimal.
    pub serial_number: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
    /// The kind and size of the key.
    pub key: String,
    /// The first moment of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// The last moment of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Where revocation lists are.
    pub crl_urls: Vec<String>,
    /// Where responders are.
    pub ocsp_urls: Vec<String>,
}

impl CertificateView {
    /// Returns the view of a certificate.
    pub fn of(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject().clone(),
            issuer: certificate.issuer().clone(),
            serial_number: certificate.serial_number(),
            sha256: certificate.sha256(),
            key: certificate.public_key().name(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            crl_urls: certificate.extensions.crl_urls.clone(),
            ocsp_urls: certificate.extensions.ocsp_urls.clone(),
        }
    }
}

/// Reads what an envelope claims, without verifying anything.
pub fn inspect(media_type: &MediaType, envelope: &[u8]) -> Result<UnverifiedView, Refusal> {
    if *media_type == MediaType::JOSE_JSON {
        let parsed = ParsedEnvelope::parse(envelope)?;
        return Ok(UnverifiedView {
            signed_attributes: Some(parsed.claimed_attributes().clone()),
            signing_agent: parsed.claimed_agent().map(str::to_owned),
            target: parsed.claimed_target(),
            ..view(media_type, parsed.chain())
        });
    }
    if *media_type == MediaType::DSSE {
        let parsed = ParsedAttestation::parse(envelope)?;
        let statement = parsed
            .claimed_statement()
            .map(|claimed| UnverifiedStatement {
                payload_type: parsed.claimed_payload_type().to_owned(),
                predicate_type: claimed.predicate_type,
                subjects: claimed.subjects,
                predicate: claimed.predicate,
            });
        return Ok(UnverifiedView {
            statement,
            ..view(media_type, parsed.chain())
        });
    }
    let problem = format!("envelope type `{media_type}` is not supported");
    Err(Refusal::new(FailureCode::EnvelopeUnsupported, problem))
}

fn view(media_type: &MediaType, chain: &CertificateChain) -> UnverifiedView {
    UnverifiedView {
        media_type: media_type.clone(),
        signed_attributes: None,
        signing_agent: None,
        target: None,
        statement: None,
        certificates: chain.certificates().map(CertificateView::of).collect(),
    }
}
