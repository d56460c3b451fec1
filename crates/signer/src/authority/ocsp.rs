//! The OCSP responder (RFC 6960, RFC 9654).
//!
//! An answer is signed by a responder of the issuer that was asked about: a certificate of its own
//! with `id-pkix-ocsp-nocheck`, thirty days long, whose key lives in memory and is made anew long
//! before it ends. P-256 is enough for a month, and six times cheaper than the issuer's own P-384:
//! anybody may ask.
//!
//! What is known of a serial number is told to this module; it knows names, bytes and times.

mod request;
mod response;

use std::sync::{Arc, Mutex, PoisonError};

use der::Decode as _;
use der::oid::ObjectIdentifier;
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;

pub use request::{
    CertificateId, IssuerHash, MAX_OCSP_CERTIFICATES, MAX_OCSP_REQUEST_BYTES, OcspRequest,
    OcspRequestError,
};
pub use response::OcspFailure;
#[cfg(test)]
pub(crate) use response::read;

use super::issuer::SigningIssuer;
use super::{AuthorityError, AuthoritySubject, BACKDATED, random_serial, whole_seconds};
use crate::custody::{KeyAlgorithm, SoftwareKey};
use crate::keys::LeafKey;
use response::Answer;

/// The life of a responder's certificate.
pub const RESPONDER_LIFE: Duration = Duration::days(30);
/// The longest nonce, in bytes (RFC 9654 §2.1).
pub const MAX_NONCE_BYTES: usize = 128;

const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1); its value is NULL.
const NO_CHECK: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1, 5];
const NULL: [u8; 2] = [5, 0];
const COMMON_NAME: &str = "Countersign OCSP Responder";

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateStatus {
    /// We issued it, and it is not revoked.
    Good,
    /// It is revoked.
    Revoked {
        /// When that was done.
        at: OffsetDateTime,
        /// From when on its signatures are bad; all of them when absent.
        invalid_from: Option<OffsetDateTime>,
    },
    /// We did not issue it.
    Unknown,
}

/// When an answer was made, and until when it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerTimes {
    /// When it was made.
    pub made_at: OffsetDateTime,
    /// Until when it may be used.
    pub next_update: OffsetDateTime,
}

/// The responder of one issuer.
#[derive(Default)]
pub(super) struct Responder {
    current: Mutex<Option<Arc<Delegate>>>,
}

/// A responder's key, and the certificate by which the issuer delegates to it.
struct Delegate {
    key: SoftwareKey,
    certificate: Certificate,
    renew_at: OffsetDateTime,
}

impl SigningIssuer {
    /// Returns whether a request means this issuer.
    pub(crate) fn is_named_by(&self, id: &CertificateId) -> bool {
        use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
        let algorithm = match id.hash {
            IssuerHash::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            IssuerHash::Sha256 => &SHA256,
            IssuerHash::Other => return false,
        };
        digest(algorithm, self.name_der()).as_ref() == id.issuer_name
            && digest(algorithm, self.public_bits()).as_ref() == id.issuer_key
    }

    /// Returns a signed answer in DER.
    pub(crate) fn sign_ocsp(
        &self,
        statuses: &[(CertificateId, CertificateStatus)],
        nonce: Option<&[u8]>,
        times: AnswerTimes,
    ) -> Result<Vec<u8>, AuthorityError> {
        let delegate = self.delegate(times.made_at)?;
        let answer = Answer {
            statuses,
            nonce,
            made_at: times.made_at,
            next_update: times.next_update,
        };
        answer.sign(&delegate.certificate, &delegate.key)
    }

    fn delegate(&self, now: OffsetDateTime) -> Result<Arc<Delegate>, AuthorityError> {
        let current = self.responder.current.lock();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        if let Some(delegate) = &*current
            && now < delegate.renew_at
        {
            return Ok(delegate.clone());
        }
        // Issued under the lock: whoever else needs it now would only issue another.
        let delegate = Arc::new(self.issue_delegate(now)?);
        *current = Some(delegate.clone());
        Ok(delegate)
    }

    fn issue_delegate(&self, now: OffsetDateTime) -> Result<Delegate, AuthorityError> {
        let key = Arc::new(SoftwareKey::generate(KeyAlgorithm::P256)?);
        let params = responder_params(self.subject(), now)?;
        let der = self.issue(params, &LeafKey::new(key.clone())?)?;
        Ok(Delegate {
            key: Arc::into_inner(key).ok_or(aws_lc_rs::error::Unspecified)?,
            certificate: Certificate::from_der(&der)?,
            renew_at: now + RESPONDER_LIFE / 2,
        })
    }
}

fn responder_params(
    subject: &AuthoritySubject,
    now: OffsetDateTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(random_serial()?);
    params.not_before = whole_seconds(now - BACKDATED);
    params.not_after = whole_seconds(now + RESPONDER_LIFE);
    params.distinguished_name = subject.with_common_name(COMMON_NAME)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    params.use_authority_key_identifier_extension = true;
    let no_check = CustomExtension::from_oid_content(NO_CHECK, NULL.to_vec());
    params.custom_extensions = vec![no_check];
    Ok(params)
}

#[cfg(test)]
mod tests;
