//! Time-stamp answers: the token (RFC 3161 §2.4.2), which is signed data (RFC 5652 §5) over a
//! TSTInfo, with the signing certificate named by its SHA-256 (RFC 5816).

use der::asn1::{BitString, GeneralizedTime, Int, OctetString, SetOfVec, Uint, Utf8StringRef};
use der::oid::ObjectIdentifier;
use der::{Any, Encode as _, Sequence, ValueOrd};
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::request::{MessageImprint, TimestampRefusal};
use crate::authority::AuthorityError;
use crate::authority::signed::{algorithm_of, hash_of};
use crate::custody::{KeyHandle, KeyUse};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// PKIStatus: granted, and rejection.
const GRANTED: u8 = 0;
const REJECTION: u8 = 2;

/// What a token says.
#[derive(Sequence)]
pub(super) struct TstInfo {
    pub(super) version: u8,
    pub(super) policy: ObjectIdentifier,
    pub(super) imprint: MessageImprint,
    pub(super) serial: Uint,
    pub(super) time: GeneralizedTime,
    pub(super) accuracy: Accuracy,
    #[asn1(optional = "true")]
    pub(super) nonce: Option<Int>,
}

/// How far off the time may be.
#[derive(Sequence)]
pub(super) struct Accuracy {
    pub(super) seconds: u8,
}

/// Who signs a token.
pub(super) struct TokenSigner<'a> {
    pub(super) key: &'a dyn KeyHandle,
    pub(super) certificate: &'a Certificate,
    /// The certificates that the token carries.
    pub(super) carried: &'a [Certificate],
}

#[derive(Sequence)]
struct Response<'a> {
    status: StatusInfo<'a>,
    #[asn1(optional = "true")]
    token: Option<ContentInfo>,
}

#[derive(Sequence)]
struct StatusInfo<'a> {
    status: u8,
    #[asn1(optional = "true")]
    text: Option<Vec<Utf8StringRef<'a>>>,
    #[asn1(optional = "true")]
    failure: Option<BitString>,
}

#[derive(Sequence)]
struct ContentInfo {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: SignedData,
}

#[derive(Sequence)]
struct SignedData {
    version: u8,
    hashes: SetOfVec<AlgorithmIdentifierOwned>,
    content: EncapsulatedContent,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<Certificate>>,
    signers: SetOfVec<SignerInfo>,
}

#[derive(Sequence)]
struct EncapsulatedContent {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: OctetString,
}

#[derive(Sequence, ValueOrd)]
struct SignerInfo {
    version: u8,
    signer: IssuerAndSerial,
    hash: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: SetOfVec<Attribute>,
    algorithm: AlgorithmIdentifierOwned,
    signature: OctetString,
}

#[derive(Sequence, ValueOrd)]
struct IssuerAndSerial {
    issuer: Name,
    serial: SerialNumber,
}

/// ESSCertIDv2 with its default hash, SHA-256.
#[derive(Sequence)]
struct SigningCertificate {
    certificates: Vec<CertificateHash>,
}

#[derive(Sequence)]
struct CertificateHash {
    sha256: OctetString,
}

impl TstInfo {
    /// Returns the answer that grants this token, in DER.
    pub(super) fn grant(&self, signer: &TokenSigner<'_>) -> Result<Vec<u8>, AuthorityError> {
        let content = signed_data(self.to_der()?, signer)?;
        let status = StatusInfo {
            status: GRANTED,
            text: None,
            failure: None,
        };
        let token = ContentInfo {
            kind: SIGNED_DATA,
            content,
        };
        let response = Response {
            status,
            token: Some(token),
        };
        Ok(response.to_der()?)
    }
}

/// Returns the answer that refuses, in DER.
pub(super) fn refuse(refusal: &TimestampRefusal) -> Result<Vec<u8>, AuthorityError> {
    let text = refusal.to_string();
    let status = StatusInfo {
        status: REJECTION,
        text: Some(vec![Utf8StringRef::new(&text)?]),
        failure: Some(named_bit(refusal.bit())?),
    };
    let response = Response {
        status,
        token: None,
    };
    Ok(response.to_der()?)
}

/// Returns a list of named bits with one of them set, without zeros at its end (X.690 §11.2.2).
fn named_bit(number: u8) -> Result<BitString, der::Error> {
    let mut bytes = vec![0; usize::from(number / 8) + 1];
    let last = bytes.len() - 1;
    bytes[last] = 0x80 >> (number % 8);
    BitString::new(7 - number % 8, bytes)
}

fn signed_data(content: Vec<u8>, by: &TokenSigner<'_>) -> Result<SignedData, AuthorityError> {
    let algorithm = by.key.algorithm();
    let attributes = attributes(&algorithm.hash(&content), by.certificate)?;
    // Signed as a SET OF, whatever tag they have in the structure (RFC 5652 §5.4).
    let signature = by.key.sign(KeyUse::Certificate, &attributes.to_der()?)?;
    let tbs = by.certificate.tbs_certificate();
    let signer = SignerInfo {
        version: 1,
        signer: IssuerAndSerial {
            issuer: tbs.issuer().clone(),
            serial: tbs.serial_number().clone(),
        },
        hash: hash_of(algorithm),
        attributes,
        algorithm: algorithm_of(algorithm),
        signature: OctetString::new(signature)?,
    };
    let carried = by.carried.to_vec();
    let certificates = match carried.is_empty() {
        true => None,
        false => Some(SetOfVec::try_from(carried)?),
    };
    Ok(SignedData {
        version: 3,
        hashes: SetOfVec::try_from(vec![hash_of(algorithm)])?,
        content: EncapsulatedContent {
            kind: TST_INFO,
            content: OctetString::new(content)?,
        },
        certificates,
        signers: SetOfVec::try_from(vec![signer])?,
    })
}

fn attributes(
    message_digest: &[u8],
    certificate: &Certificate,
) -> Result<SetOfVec<Attribute>, AuthorityError> {
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.to_der()?);
    let sha256 = OctetString::new(sha256.as_ref())?;
    let named = SigningCertificate {
        certificates: vec![CertificateHash { sha256 }],
    };
    let values = [
        (CONTENT_TYPE, Any::encode_from(&TST_INFO)?),
        (
            MESSAGE_DIGEST,
            Any::encode_from(&OctetString::new(message_digest)?)?,
        ),
        (SIGNING_CERTIFICATE_V2, Any::encode_from(&named)?),
    ];
    let attribute = |(oid, value)| {
        let values = SetOfVec::try_from(vec![value])?;
        Ok(Attribute { oid, values })
    };
    let attributes = values.into_iter().map(attribute);
    let attributes: Vec<_> = attributes.collect::<Result<_, der::Error>>()?;
    Ok(SetOfVec::try_from(attributes)?)
}
