//! One X.509 certificate, read once, with what the rules for signing chains ask of it.
//!
//! RFC 5280. The exact bytes are kept: fingerprints and signatures are over them.

mod key;

use der::asn1::ObjectIdentifier;
use der::{Decode, Reader, SliceReader};
use oci::Digest;
use time::OffsetDateTime;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName, GeneralNames};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage,
};
use x509_cert::time::Time;

pub use key::PublicKey;
pub(crate) use key::SignedBytes;

use crate::DistinguishedName;
use crate::trust_store::StoreKind;

/// The largest certificate, in bytes: real ones for signing have at most a few thousand.
pub const MAX_CERTIFICATE_BYTES: usize = 64 << 10;
/// The most revocation list or responder addresses that are read from one certificate.
pub const MAX_REVOCATION_URLS: usize = 8;

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const AUTHORITY_INFO_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");

/// A certificate. Two are equal if their bytes are.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    signed: SignedBytes,
    inner: x509_cert::Certificate,
    subject: DistinguishedName,
    issuer: DistinguishedName,
    key: PublicKey,
    pub(crate) extensions: Extensions,
}

/// The extensions that are honoured (R049): all others, critical or not, change nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    /// Basic constraints, and whether they are critical.
    pub(crate) basic_constraints: Option<(bool, BasicConstraints)>,
    /// Key usage, and whether it is critical.
    pub(crate) key_usage: Option<(bool, KeyUsage)>,
    /// Extended key usage.
    pub(crate) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Where revocation lists are.
    pub(crate) crl_urls: Vec<String>,
    /// Where responders are.
    pub(crate) ocsp_urls: Vec<String>,
}

/// Says why bytes are not a certificate that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes between the PEM lines are not base64, or the end line is missing.
    #[error("the PEM block is broken")]
    Pem,
    /// The certificate is larger than [`MAX_CERTIFICATE_BYTES`].
    #[error("the certificate has {0} bytes, more than {MAX_CERTIFICATE_BYTES}")]
    TooLarge(usize),
    /// The bytes are not a certificate in DER.
    #[error("not a certificate in DER: {0}")]
    Der(String),
    /// An extension cannot be read, or is there twice.
    #[error("extension {0} cannot be read, or is there twice")]
    Extension(&'static str),
}

impl Certificate {
    /// Reads a certificate in DER; nothing may follow it.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let unreadable = |error: der::Error| CertificateError::Der(error.to_string());
        let inner = x509_cert::Certificate::from_der(der).map_err(unreadable)?;
        let signed = SignedBytes::read(der).map_err(unreadable)?;
        let tbs = inner.tbs_certificate();
        if tbs.signature() != inner.signature_algorithm() {
            let problem = "the two signature algorithms differ".to_owned();
            return Err(CertificateError::Der(problem));
        }
        Ok(Self {
            subject: DistinguishedName::from_x509(tbs.subject()),
            issuer: DistinguishedName::from_x509(tbs.issuer()),
            key: PublicKey::from_x509(tbs.subject_public_key_info()).map_err(unreadable)?,
            extensions: Extensions::read(tbs.extensions().map_or(&[], Vec::as_slice))?,
            der: der.to_vec(),
            signed,
            inner,
        })
    }

    /// Returns the exact bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the subject.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// Returns the issuer.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// Returns the public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Returns the first moment of validity.
    pub fn not_before(&self) -> OffsetDateTime {
        moment(&self.inner.tbs_certificate().validity().not_before)
    }

    /// Returns the last moment of validity.
    pub fn not_after(&self) -> OffsetDateTime {
        moment(&self.inner.tbs_certificate().validity().not_after)
    }

    /// Returns whether the certificate is valid at this moment (both ends included, RFC 5280
    /// §4.1.2.5).
    pub fn is_valid_at(&self, at: OffsetDateTime) -> bool {
        // In whole seconds: the end can be the last second that the type can hold.
        let at = at.unix_timestamp();
        self.not_before().unix_timestamp() <= at && at <= self.not_after().unix_timestamp()
    }

    /// Returns SHA-256 of the certificate in DER, in lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        Digest::sha256(&self.der).hex().to_owned()
    }

    /// Returns SHA-384 of the to-be-signed part, in lower-case hexadecimal: by this AWS Signer asks
    /// whether a certificate was revoked.
    pub fn tbs_sha384(&self) -> String {
        self.signed.sha384()
    }

    /// Returns the serial number in lower-case hexadecimal.
    pub fn serial_number(&self) -> String {
        hex::encode(self.serial_bytes())
    }

    pub(crate) fn serial_bytes(&self) -> &[u8] {
        self.inner.tbs_certificate().serial_number().as_bytes()
    }

    pub(crate) fn issuer_name(&self) -> &x509_cert::name::Name {
        self.inner.tbs_certificate().issuer()
    }

    pub(crate) fn subject_name(&self) -> &x509_cert::name::Name {
        self.inner.tbs_certificate().subject()
    }

    /// Returns whether the subject of `issuer` is the issuer named here, and its key made the
    /// signature.
    pub fn is_signed_by(&self, issuer: &Self) -> bool {
        self.issuer_name() == issuer.subject_name() && issuer.key.verify_signed(&self.signed)
    }

    /// Returns whether the certificate is signed with its own key.
    pub fn is_self_signed(&self) -> bool {
        self.is_signed_by(self)
    }

    /// Returns whether the certificate says that it belongs to a certificate authority.
    pub fn is_authority(&self) -> bool {
        let constraints = self.extensions.basic_constraints.as_ref();
        constraints.is_some_and(|(_, constraints)| constraints.ca)
    }

    /// Returns whether the certificate was signed with SHA-1, or with anything else that is not
    /// on our list (R048).
    pub(crate) fn has_weak_signature(&self) -> bool {
        !self.signed.is_supported()
    }

    /// Returns whether trust may start from this certificate (R056).
    pub(crate) fn may_be_anchor(&self, kind: StoreKind) -> bool {
        match kind {
            StoreKind::Ca | StoreKind::SigningAuthority => {
                self.is_authority() || self.is_self_signed()
            }
            StoreKind::Tsa => self.is_authority() && self.is_self_signed(),
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl Extensions {
    fn read(extensions: &[Extension]) -> Result<Self, CertificateError> {
        let mut all = Self::default();
        if let Some((critical, value)) = one(extensions, BASIC_CONSTRAINTS, "basicConstraints")? {
            all.basic_constraints = Some((critical, value));
        }
        if let Some((critical, value)) = one(extensions, KEY_USAGE, "keyUsage")? {
            all.key_usage = Some((critical, value));
        }
        all.extended_key_usage =
            one(extensions, EXTENDED_KEY_USAGE, "extKeyUsage")?.map(|(_, value)| value);
        if let Some((_, points)) = one::<CrlDistributionPoints>(
            extensions,
            CRL_DISTRIBUTION_POINTS,
            "cRLDistributionPoints",
        )? {
            all.crl_urls = crl_urls(&points);
        }
        if let Some((_, access)) = one::<AuthorityInfoAccessSyntax>(
            extensions,
            AUTHORITY_INFO_ACCESS,
            "authorityInfoAccess",
        )? {
            let ocsp = access.0.iter().filter(|one| one.access_method == OCSP);
            let urls = ocsp.filter_map(|one| uri(&one.access_location));
            all.ocsp_urls = urls.take(MAX_REVOCATION_URLS).collect();
        }
        Ok(all)
    }
}

/// Returns an extension and whether it is critical; it may be there once only (RFC 5280 §4.2).
pub(crate) fn one<'a, T: Decode<'a, Error = der::Error>>(
    extensions: &'a [Extension],
    oid: ObjectIdentifier,
    name: &'static str,
) -> Result<Option<(bool, T)>, CertificateError> {
    let mut found = extensions.iter().filter(|one| one.extn_id == oid);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => T::from_der(only.extn_value.as_bytes())
            .map(|value| Some((only.critical, value)))
            .map_err(|_| CertificateError::Extension(name)),
        (Some(_), Some(_)) => Err(CertificateError::Extension(name)),
    }
}

fn crl_urls(points: &CrlDistributionPoints) -> Vec<String> {
    let names = points
        .0
        .iter()
        .filter_map(|point| point.distribution_point.as_ref());
    let urls = names.flat_map(point_uris);
    urls.take(MAX_REVOCATION_URLS).collect()
}

/// Returns the addresses in the name of a distribution point.
pub(crate) fn point_uris(name: &DistributionPointName) -> Vec<String> {
    let empty = GeneralNames::new();
    let names = match name {
        DistributionPointName::FullName(names) => names,
        DistributionPointName::NameRelativeToCRLIssuer(_) => &empty,
    };
    names.iter().filter_map(uri).collect()
}

fn uri(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    }
}

/// Returns the moment that a certificate or a revocation list names.
pub(crate) fn moment(time: &Time) -> OffsetDateTime {
    // A DER time lies between the years 1950 and 9999, which both types can hold.
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

impl SignedBytes {
    /// Takes a signed structure (`SEQUENCE { tbs, algorithm, signature }`) apart, keeping the
    /// exact bytes that were signed.
    pub(crate) fn read(der: &[u8]) -> Result<Self, der::Error> {
        let mut outer = SliceReader::new(der)?;
        let body = der::asn1::AnyRef::decode(&mut outer)?;
        let mut reader = SliceReader::new(body.value())?;
        let to_be_signed = reader.tlv_bytes()?.to_vec();
        let algorithm = x509_cert::spki::AlgorithmIdentifierOwned::decode(&mut reader)?;
        let signature = der::asn1::BitString::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self::new(to_be_signed, &algorithm, signature.raw_bytes()))
    }
}
