//! OCSP answers (RFC 6960 §4.2).

use der::asn1::{BitString, GeneralizedTime, Null, OctetString};
use der::oid::ObjectIdentifier;
use der::{Any, Choice, Decode as _, Encode as _, Enumerated, Sequence};
use time::OffsetDateTime;
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::CrlReason;
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{CertificateId, CertificateStatus, NONCE};
use crate::authority::AuthorityError;
use crate::authority::signed::{algorithm_of, generalized};
use crate::custody::{KeyHandle, KeyUse};

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const INVALIDITY_DATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");

/// Why there is no answer (RFC 6960 §4.2.1, OCSPResponseStatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumerated)]
#[asn1(type = "ENUMERATED")]
#[repr(u8)]
pub enum OcspFailure {
    /// There is one; never given alone.
    Successful = 0,
    /// The request cannot be read.
    MalformedRequest = 1,
    /// A fault of ours.
    InternalError = 2,
    /// The signer is busy.
    TryLater = 3,
    /// The certificates are of none of our issuers.
    Unauthorized = 6,
}

impl OcspFailure {
    /// Returns the answer in DER. It is not signed: nothing is said about a certificate.
    pub fn to_der(self) -> Vec<u8> {
        let [status] = [self as u8];
        vec![0x30, 0x03, 0x0a, 0x01, status]
    }
}

/// What is said about certificates of one issuer.
pub(super) struct Answer<'a> {
    pub(super) statuses: &'a [(CertificateId, CertificateStatus)],
    pub(super) nonce: Option<&'a [u8]>,
    pub(super) made_at: OffsetDateTime,
    pub(super) next_update: OffsetDateTime,
}

#[derive(Sequence)]
struct Outer {
    status: OcspFailure,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<ResponseBytes>,
}

#[derive(Sequence)]
struct ResponseBytes {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct Basic {
    data: Data,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<Vec<Certificate>>,
}

#[derive(Sequence)]
struct Data {
    responder: ResponderId,
    produced_at: GeneralizedTime,
    responses: Vec<Single>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

/// By name: by key would need SHA-1.
#[derive(Choice)]
enum ResponderId {
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    ByName(Name),
}

#[derive(Sequence)]
struct Single {
    certificate: Any,
    status: Status,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Choice)]
enum Status {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(RevokedInfo),
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    Unknown(Null),
}

#[derive(Sequence)]
struct RevokedInfo {
    at: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    reason: Option<CrlReason>,
}

impl Answer<'_> {
    /// Returns the answer in DER, signed by the responder's key.
    pub(super) fn sign(
        &self,
        responder: &Certificate,
        key: &dyn KeyHandle,
    ) -> Result<Vec<u8>, AuthorityError> {
        let data = Data {
            responder: ResponderId::ByName(responder.tbs_certificate().subject().clone()),
            produced_at: generalized(self.made_at)?,
            responses: self.singles()?,
            extensions: self.nonce.map(nonce).transpose()?.map(|nonce| vec![nonce]),
        };
        let signature = key.sign(KeyUse::Certificate, &data.to_der()?)?;
        let basic = Basic {
            data,
            algorithm: algorithm_of(key.algorithm()),
            signature: BitString::from_bytes(&signature)?,
            certificates: Some(vec![responder.clone()]),
        };
        let bytes = ResponseBytes {
            kind: BASIC,
            response: OctetString::new(basic.to_der()?)?,
        };
        let outer = Outer {
            status: OcspFailure::Successful,
            bytes: Some(bytes),
        };
        Ok(outer.to_der()?)
    }

    fn singles(&self) -> Result<Vec<Single>, AuthorityError> {
        let single = |(id, status): &(CertificateId, CertificateStatus)| {
            Ok(Single {
                certificate: Any::from_der(&id.der)?,
                status: status_of(status)?,
                this_update: generalized(self.made_at)?,
                next_update: Some(generalized(self.next_update)?),
                extensions: invalidity(status)?.map(|extension| vec![extension]),
            })
        };
        self.statuses.iter().map(single).collect()
    }
}

fn status_of(status: &CertificateStatus) -> Result<Status, AuthorityError> {
    Ok(match status {
        CertificateStatus::Good => Status::Good(Null),
        CertificateStatus::Unknown => Status::Unknown(Null),
        CertificateStatus::Revoked { at, .. } => Status::Revoked(RevokedInfo {
            at: generalized(*at)?,
            reason: Some(CrlReason::PrivilegeWithdrawn),
        }),
    })
}

/// The extension of an entry of a revocation list, which may stand here as well (RFC 6960 §4.4.5).
fn invalidity(status: &CertificateStatus) -> Result<Option<Extension>, AuthorityError> {
    let CertificateStatus::Revoked {
        invalid_from: Some(from),
        ..
    } = status
    else {
        return Ok(None);
    };
    let value = generalized(*from)?.to_der()?;
    Ok(Some(extension(INVALIDITY_DATE, value)?))
}

fn nonce(nonce: &[u8]) -> Result<Extension, AuthorityError> {
    extension(NONCE, OctetString::new(nonce)?.to_der()?)
}

fn extension(extn_id: ObjectIdentifier, value: Vec<u8>) -> Result<Extension, AuthorityError> {
    Ok(Extension {
        extn_id,
        critical: false,
        extn_value: OctetString::new(value)?,
    })
}

/// Reading answers back, for tests.
#[cfg(test)]
pub(crate) mod read {
    use der::DateTime;

    use super::*;

    /// What an answer says.
    pub(crate) struct Read {
        pub(crate) statuses: Vec<CertificateStatus>,
        pub(crate) responder: Certificate,
        pub(crate) nonce: Option<Vec<u8>>,
        pub(crate) next_update: DateTime,
    }

    /// Reads an answer whose signature is the responder's; `None` where there is none.
    pub(crate) fn read(der: &[u8]) -> Option<Read> {
        let outer = Outer::from_der(der).unwrap();
        let bytes = outer.bytes?;
        let basic = Basic::from_der(bytes.response.as_bytes()).unwrap();
        let responder = basic.certificates.unwrap().remove(0);
        let signature = (basic.algorithm.oid, basic.signature.raw_bytes());
        let body = basic.data.to_der().unwrap();
        let verified = crate::authority::verify::is_signed_by(&responder, signature, &body);
        assert!(verified, "the responder did not sign the answer");
        let nonce = basic.data.extensions.map(|extensions| {
            let value = extensions[0].extn_value.as_bytes();
            OctetString::from_der(value).unwrap().as_bytes().to_vec()
        });
        Some(Read {
            next_update: basic.data.responses[0].next_update.unwrap().to_date_time(),
            statuses: basic.data.responses.iter().map(status).collect(),
            responder,
            nonce,
        })
    }

    fn status(single: &Single) -> CertificateStatus {
        let moment = |time: &GeneralizedTime| OffsetDateTime::UNIX_EPOCH + time.to_unix_duration();
        match &single.status {
            Status::Good(_) => CertificateStatus::Good,
            Status::Unknown(_) => CertificateStatus::Unknown,
            Status::Revoked(info) => CertificateStatus::Revoked {
                at: moment(&info.at),
                invalid_from: single.extensions.as_ref().map(|extensions| {
                    let value = extensions[0].extn_value.as_bytes();
                    moment(&GeneralizedTime::from_der(value).unwrap())
                }),
            },
        }
    }
}
