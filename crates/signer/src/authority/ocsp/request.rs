//! OCSP requests (RFC 6960 §4.1), parsed strictly.

use der::asn1::OctetStringRef;
use der::oid::ObjectIdentifier;
use der::{AnyRef, Decode as _, Sequence};
use x509_cert::ext::Extension;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{MAX_NONCE_BYTES, NONCE, SHA1, SHA256};

/// The longest request that is read, in bytes: sixteen certificates by SHA-256 and the longest
/// nonce need less than half of it.
pub const MAX_OCSP_REQUEST_BYTES: usize = 4096;
/// The most certificates that one request may ask about.
pub const MAX_OCSP_CERTIFICATES: usize = 16;
/// The longest serial number, in bytes (RFC 5280 §4.1.2.2).
const MAX_SERIAL_BYTES: usize = 20;

/// A question about certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspRequest {
    /// The certificates, 1 to [`MAX_OCSP_CERTIFICATES`].
    pub certificates: Vec<CertificateId>,
    /// What the answer must repeat, so that it is not an old one (RFC 9654).
    pub nonce: Option<Vec<u8>>,
}

/// How a request names a certificate: by its issuer and its serial number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId {
    /// The hash that the issuer is named by.
    pub hash: IssuerHash,
    /// The hash of the issuer's name.
    pub issuer_name: Vec<u8>,
    /// The hash of the issuer's key.
    pub issuer_key: Vec<u8>,
    /// The serial number, without leading zeros.
    pub serial: Vec<u8>,
    /// The CertID as it came, for the answer.
    pub(super) der: Vec<u8>,
}

/// The hashes that an issuer may be named by. SHA-1 only names; nothing is trusted because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuerHash {
    /// What nearly all clients use.
    Sha1,
    /// What RFC 9654 recommends.
    Sha256,
    /// Another one, which no issuer of ours is known by.
    Other,
}

/// Says why bytes are not an OCSP request that can be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OcspRequestError {
    /// It is too long.
    #[error("an OCSP request of {0} bytes is longer than {MAX_OCSP_REQUEST_BYTES}")]
    TooLong(usize),
    /// It is not DER, or not a request.
    #[error("not an OCSP request: {0}")]
    Shape(String),
    /// It asks about none, or about too many.
    #[error("an OCSP request for {0} certificates: ask about 1 to {MAX_OCSP_CERTIFICATES}")]
    Count(usize),
    /// A serial number is not positive, or too long.
    #[error("a serial number in the OCSP request is not a positive number of at most 20 bytes")]
    Serial,
    /// The nonce is empty or too long, or there are two.
    #[error("the nonce of the OCSP request is not one octet string of 1 to 128 bytes")]
    Nonce,
    /// A critical extension is not known.
    #[error("the OCSP request has critical extension `{0}`, which is not known")]
    Critical(ObjectIdentifier),
}

#[derive(Sequence)]
struct Outer<'a> {
    tbs_request: Tbs<'a>,
    /// Who asks changes no answer, so a signature over the question is not looked at.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    _signature: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct Tbs<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "version_1")]
    version: u8,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    _requestor: Option<AnyRef<'a>>,
    requests: Vec<Single<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct Single<'a> {
    certificate: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct Id<'a> {
    hash: AlgorithmIdentifierOwned,
    issuer_name: &'a OctetStringRef,
    issuer_key: &'a OctetStringRef,
    serial: der::asn1::IntRef<'a>,
}

fn version_1() -> u8 {
    0
}

impl OcspRequest {
    /// Parses a request in DER.
    pub fn parse(der: &[u8]) -> Result<Self, OcspRequestError> {
        if der.len() > MAX_OCSP_REQUEST_BYTES {
            return Err(OcspRequestError::TooLong(der.len()));
        }
        let outer = Outer::from_der(der).map_err(shape)?;
        let tbs = outer.tbs_request;
        if tbs.version != version_1() {
            return Err(OcspRequestError::Shape("its version is not 1".to_owned()));
        }
        let count = tbs.requests.len();
        if !(1..=MAX_OCSP_CERTIFICATES).contains(&count) {
            return Err(OcspRequestError::Count(count));
        }
        let singles = tbs.requests.iter().flat_map(|single| &single.extensions);
        for extension in singles.flatten() {
            refuse_critical(extension)?;
        }
        let certificates = tbs
            .requests
            .iter()
            .map(|single| certificate(single.certificate));
        Ok(Self {
            certificates: certificates.collect::<Result<_, _>>()?,
            nonce: nonce(tbs.extensions.as_deref().unwrap_or_default())?,
        })
    }
}

fn certificate(any: AnyRef<'_>) -> Result<CertificateId, OcspRequestError> {
    let id: Id<'_> = any.decode_as().map_err(shape)?;
    let serial = id.serial.as_bytes();
    let is_negative = serial.first().is_some_and(|first| first & 0x80 != 0);
    let start = serial.iter().position(|byte| *byte != 0);
    let digits = start.map_or(&[][..], |start| &serial[start..]);
    if is_negative || digits.is_empty() || digits.len() > MAX_SERIAL_BYTES {
        return Err(OcspRequestError::Serial);
    }
    let hash = match id.hash.oid {
        SHA1 => IssuerHash::Sha1,
        SHA256 => IssuerHash::Sha256,
        _ => IssuerHash::Other,
    };
    Ok(CertificateId {
        hash,
        issuer_name: id.issuer_name.as_bytes().to_vec(),
        issuer_key: id.issuer_key.as_bytes().to_vec(),
        serial: digits.to_vec(),
        der: der::Encode::to_der(&any).map_err(shape)?,
    })
}

fn nonce(extensions: &[Extension]) -> Result<Option<Vec<u8>>, OcspRequestError> {
    let mut found = None;
    for extension in extensions {
        if extension.extn_id != NONCE {
            refuse_critical(extension)?;
            continue;
        }
        let value = extension.extn_value.as_bytes();
        let value = <&OctetStringRef>::from_der(value).map_err(|_| OcspRequestError::Nonce)?;
        let length = value.as_bytes().len();
        if found.is_some() || !(1..=MAX_NONCE_BYTES).contains(&length) {
            return Err(OcspRequestError::Nonce);
        }
        found = Some(value.as_bytes().to_vec());
    }
    Ok(found)
}

fn refuse_critical(extension: &Extension) -> Result<(), OcspRequestError> {
    match extension.critical {
        true => Err(OcspRequestError::Critical(extension.extn_id)),
        false => Ok(()),
    }
}

fn shape(error: der::Error) -> OcspRequestError {
    OcspRequestError::Shape(error.to_string())
}
