//! Certificate signing requests (RFC 2986): what an intermediate's key asks the root for.

use der::{DecodePem as _, Encode as _};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, PublicKeyData};
use x509_cert::name::Name;
use x509_cert::request::CertReq;

use super::subject::common_name;
use super::verify::verifies;
use super::{AuthorityError, AuthoritySubject, IssuerRole, not_signed};
use crate::custody::KeyAlgorithm;
use crate::keys::AuthorityKey;

/// The longest request that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// A request that its key signed.
pub struct CertificateRequest {
    /// The common name that is asked for.
    pub common_name: String,
    /// The whole name that is asked for.
    pub subject: Name,
    pub(super) key: RequestedKey,
}

/// The public key of a request.
pub(super) struct RequestedKey {
    algorithm: KeyAlgorithm,
    bits: Vec<u8>,
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm.of_certificates()
    }
}

impl CertificateRequest {
    /// Parses a request in PEM, and checks that its key signed it.
    pub fn from_pem(text: &[u8]) -> Result<Self, AuthorityError> {
        let unfit = |reason: &str| AuthorityError::Unfit(reason.to_owned());
        if text.len() > MAX_REQUEST_BYTES {
            return Err(unfit("the request is longer than 16 KiB"));
        }
        let request = CertReq::from_pem(text)
            .map_err(|error| AuthorityError::Unfit(format!("not a signing request: {error}")))?;
        let info = &request.info.public_key;
        let signature = (request.algorithm.oid, request.signature.raw_bytes());
        if !verifies(info, signature, &request.info.to_der()?) {
            return Err(unfit("the request is not signed by the key that it is for"));
        }
        let algorithm = KeyAlgorithm::of_public_key(&info.to_der()?)
            .ok_or_else(|| unfit("the key is not P-256, P-384 or RSA of 3072 bits"))?;
        Ok(Self {
            common_name: common_name(&request.info.subject)
                .ok_or_else(|| unfit("the request names no common name"))?,
            key: RequestedKey {
                algorithm,
                bits: info.subject_public_key.raw_bytes().to_vec(),
            },
            subject: request.info.subject,
        })
    }
}

/// Returns the request of an intermediate's key, in PEM.
pub(super) fn request_pem(
    subject: &AuthoritySubject,
    (role, generation): (IssuerRole, u32),
    key: &AuthorityKey,
) -> Result<String, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.with_common_name(&role.common_name(generation))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let request = params.serialize_request(key);
    let request = request.map_err(|error| not_signed(error, key))?;
    request.pem().map_err(AuthorityError::Encode)
}
