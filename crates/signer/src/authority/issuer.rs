//! An intermediate at work: it issues certificates and signs its revocation list.

use der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use der::{Encode as _, Tag, Tagged as _};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, Issuer, KeyIdMethod, KeyUsagePurpose,
    PublicKeyData,
};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::name::Name;

use super::ocsp::Responder;
use super::{AuthorityError, AuthoritySubject, not_signed};
use crate::keys::AuthorityKey;

/// What an intermediate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IssuerRole {
    /// It issues the leaves that sign envelopes.
    Signing,
    /// It issues the certificate that signs time-stamps, and nothing else: it outlives a signing
    /// intermediate that was revoked.
    TimeStamping,
}

impl IssuerRole {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Signing, Self::TimeStamping];

    /// Returns the name of the key and of the certificate's file, for the intermediates one after
    /// the other, from 1 on.
    pub fn label(self, generation: u32) -> String {
        let stem = match self {
            Self::Signing => "intermediate",
            Self::TimeStamping => "timestamping-ca",
        };
        match generation {
            1 => stem.to_owned(),
            later => format!("{stem}-{later}"),
        }
    }

    /// Returns the common name of the intermediate. Each has another, because issuer and serial
    /// number together must name one certificate.
    pub fn common_name(self, generation: u32) -> String {
        let name = match self {
            Self::Signing => "Countersign Signing CA",
            Self::TimeStamping => "Countersign Time-Stamping CA",
        };
        match generation {
            1 => name.to_owned(),
            later => format!("{name} {later}"),
        }
    }
}

/// An intermediate and its key.
pub(crate) struct SigningIssuer {
    pub(super) responder: Responder,
    generation: u32,
    /// Itself first, the root last.
    certificates: Vec<Certificate>,
    ders: Vec<Vec<u8>>,
    subject: AuthoritySubject,
    name_der: Vec<u8>,
    key_id: Vec<u8>,
    issuer: Issuer<'static, AuthorityKey>,
}

impl SigningIssuer {
    /// Returns the issuer of `key`, whose certificate comes first in `certificates`; the root comes
    /// last.
    pub(super) fn new(
        generation: u32,
        certificates: Vec<Certificate>,
        key: AuthorityKey,
    ) -> Result<Self, AuthorityError> {
        let own = &certificates[0];
        let name = own.tbs_certificate().subject();
        let name_der = name.to_der()?;
        let key_id = key_id(own)?.ok_or_else(|| unfit("it has no subject key identifier"))?;
        let distinguished_name = distinguished_name(name)
            .ok_or_else(|| unfit("its subject has a form that cannot be repeated in leaves"))?;
        let params = issuer_params(distinguished_name, key_id.clone());
        let ders = certificates.iter().map(|one| Ok(one.to_der()?));
        Ok(Self {
            responder: Responder::default(),
            generation,
            subject: AuthoritySubject::of_certificate(own)?,
            name_der,
            key_id,
            ders: ders.collect::<Result<_, AuthorityError>>()?,
            issuer: Issuer::new(params, key),
            certificates,
        })
    }

    /// Returns its number among the intermediates, from 1 on.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns the identifier of its key in hexadecimal, which stands in what it issues.
    pub(crate) fn key_id(&self) -> String {
        hex::encode(&self.key_id)
    }

    /// Returns itself and what is above it, in DER.
    pub(crate) fn chain(&self) -> &[Vec<u8>] {
        &self.ders
    }

    pub(super) fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    pub(crate) fn subject(&self) -> &AuthoritySubject {
        &self.subject
    }

    pub(super) fn name_der(&self) -> &[u8] {
        &self.name_der
    }

    pub(super) fn public_bits(&self) -> &[u8] {
        self.issuer.key().public_bits()
    }

    /// Issues a certificate for `key`, in DER.
    pub(super) fn issue(
        &self,
        params: CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<Vec<u8>, AuthorityError> {
        let signed = params.signed_by(key, &self.issuer);
        let signed = signed.map_err(|error| not_signed(error, self.issuer.key()))?;
        Ok(signed.der().to_vec())
    }

    /// Returns what signs its revocation list, and the key's identifier that stands in it.
    pub(super) fn list_signer(&self) -> (&Issuer<'static, AuthorityKey>, KeyIdMethod) {
        let method = KeyIdMethod::PreSpecified(self.key_id.clone());
        (&self.issuer, method)
    }
}

fn issuer_params(distinguished_name: DistinguishedName, key_id: Vec<u8>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id);
    params
}

/// Returns the identifier of a certificate's key, if it says one.
pub(super) fn key_id(certificate: &Certificate) -> Result<Option<Vec<u8>>, AuthorityError> {
    let found = certificate
        .tbs_certificate()
        .get_extension::<SubjectKeyIdentifier>()?;
    Ok(found.map(|(_, identifier)| identifier.0.as_bytes().to_vec()))
}

/// Returns a name as the certificate library has it; `None` where it could not write it as it is.
pub(super) fn distinguished_name(name: &Name) -> Option<DistinguishedName> {
    let mut result = DistinguishedName::new();
    for set in name.iter_rdn() {
        let mut attributes = set.iter();
        let (attribute, None) = (attributes.next()?, attributes.next()) else {
            return None;
        };
        let arcs = attribute.oid.arcs().map(u64::from).collect();
        let kind = DnType::CustomDnType(arcs);
        // The library keeps one attribute of a kind.
        if result.get(&kind).is_some() {
            return None;
        }
        result.push(kind, value(&attribute.value)?);
    }
    Some(result)
}

fn value(value: &der::Any) -> Option<DnValue> {
    use rcgen::string::{Ia5String, PrintableString, TeletexString};
    Some(match value.tag() {
        Tag::Utf8String => {
            let text: Utf8StringRef<'_> = value.decode_as().ok()?;
            DnValue::Utf8String(text.as_str().to_owned())
        }
        Tag::PrintableString => {
            let text: PrintableStringRef<'_> = value.decode_as().ok()?;
            DnValue::PrintableString(PrintableString::try_from(text.as_str()).ok()?)
        }
        Tag::Ia5String => {
            let text: Ia5StringRef<'_> = value.decode_as().ok()?;
            DnValue::Ia5String(Ia5String::try_from(text.as_str()).ok()?)
        }
        Tag::TeletexString => {
            let text: TeletexStringRef<'_> = value.decode_as().ok()?;
            DnValue::TeletexString(TeletexString::try_from(text.as_str()).ok()?)
        }
        _ => return None,
    })
}

fn unfit(reason: &str) -> AuthorityError {
    AuthorityError::Unfit(reason.to_owned())
}
