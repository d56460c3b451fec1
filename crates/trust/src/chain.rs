//! The certificate chain of an envelope, from the leaf to the root, and the rules for it.
//!
//! signature-specification.md, Certificate Requirements (R041–R052). The rules hold whatever the
//! trust store says. Certificates that are trusted but break a rule do not sign.

use time::OffsetDateTime;
use x509_cert::ext::pkix::KeyUsages;

use crate::certificate::{Certificate, CertificateError};
use crate::encoding::rfc3339;

/// The most certificates in a chain: real ones have two to five.
pub const MAX_CHAIN_CERTIFICATES: usize = 16;

/// Uses of a key that the leaf of a signing chain must not have (R044).
const FORBIDDEN_USES: &[(&str, &str)] = &[
    ("2.5.29.37.0", "any extended key usage"),
    ("1.3.6.1.5.5.7.3.1", "server authentication"),
    ("1.3.6.1.5.5.7.3.2", "client authentication"),
    ("1.3.6.1.5.5.7.3.4", "e-mail protection"),
    ("1.3.6.1.5.5.7.3.8", "timestamping"),
    ("1.3.6.1.5.5.7.3.9", "OCSP signing"),
];

/// Usages of a key that the leaf of a signing chain must not have (R043).
const FORBIDDEN_USAGES: &[(KeyUsages, &str)] = &[
    (KeyUsages::KeyEncipherment, "keyEncipherment"),
    (KeyUsages::DataEncipherment, "dataEncipherment"),
    (KeyUsages::KeyAgreement, "keyAgreement"),
    (KeyUsages::KeyCertSign, "keyCertSign"),
    (KeyUsages::CRLSign, "cRLSign"),
    (KeyUsages::EncipherOnly, "encipherOnly"),
    (KeyUsages::DecipherOnly, "decipherOnly"),
];

/// Certificates that an envelope carries, from the leaf to the root, read but not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateChain {
    leaf: Certificate,
    above: Vec<Certificate>,
}

/// Says why bytes are not a certificate chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is no certificate.
    #[error("there is no certificate")]
    Empty,
    /// There are more than [`MAX_CHAIN_CERTIFICATES`].
    #[error("there are {0} certificates, more than {MAX_CHAIN_CERTIFICATES}")]
    TooLong(usize),
    /// A certificate cannot be read.
    #[error("certificate {number} of the chain: {source}")]
    Certificate {
        /// Which one, counted from 1, the leaf.
        number: usize,
        /// Why.
        source: CertificateError,
    },
}

impl CertificateChain {
    /// Reads a chain of certificates in DER, leaf first.
    pub fn from_ders<T: AsRef<[u8]>>(ders: &[T]) -> Result<Self, ChainError> {
        if ders.len() > MAX_CHAIN_CERTIFICATES {
            return Err(ChainError::TooLong(ders.len()));
        }
        let read = |(index, der): (usize, &T)| {
            Certificate::from_der(der.as_ref()).map_err(|source| ChainError::Certificate {
                number: index + 1,
                source,
            })
        };
        let mut certificates = ders.iter().enumerate().map(read);
        let leaf = certificates.next().ok_or(ChainError::Empty)??;
        Ok(Self {
            leaf,
            above: certificates.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the certificate of the key that signed.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// Returns all certificates, leaf first.
    pub fn certificates(&self) -> impl DoubleEndedIterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.above)
    }

    /// Returns every certificate with its issuer, from the leaf to below the root.
    pub(crate) fn issued(&self) -> impl DoubleEndedIterator<Item = (&Certificate, &Certificate)> {
        let all: Vec<_> = self.certificates().collect();
        let pairs: Vec<_> = all.windows(2).map(|pair| (pair[0], pair[1])).collect();
        pairs.into_iter()
    }

    /// Returns every certificate that somebody else in the chain issued.
    pub(crate) fn below_root(&self) -> impl Iterator<Item = &Certificate> {
        self.issued().map(|(certificate, _)| certificate)
    }

    /// Checks every rule that needs no time and no trust store, and says which one is broken.
    pub fn check_rules(&self) -> Result<(), String> {
        for certificate in self.certificates() {
            check_algorithms(certificate)?;
        }
        self.check_order()?;
        for (below, certificate) in self.above.iter().enumerate() {
            check_authority(certificate, below)?;
        }
        check_leaf(&self.leaf)
    }

    /// Every certificate is signed by the next, and only the last by itself (R047).
    fn check_order(&self) -> Result<(), String> {
        for (certificate, issuer) in self.issued() {
            let subject = certificate.subject();
            if certificate.is_self_signed() {
                return Err(format!(
                    "`{subject}` is signed by itself, but is not the last certificate"
                ));
            }
            if !certificate.is_signed_by(issuer) {
                return Err(format!(
                    "`{subject}` is not signed by the next certificate, `{}`",
                    issuer.subject()
                ));
            }
        }
        let last = self.above.last().unwrap_or(&self.leaf);
        match last.is_self_signed() {
            true => Ok(()),
            false => Err(format!(
                "the chain ends at `{}`, which is not a root: its issuer `{}` is missing",
                last.subject(),
                last.issuer()
            )),
        }
    }
}

/// Checks that certificates are valid at a moment (R050, R051), which `what` names.
pub(crate) fn check_valid_at<'a>(
    mut certificates: impl Iterator<Item = &'a Certificate>,
    at: OffsetDateTime,
    what: &str,
) -> Result<(), String> {
    match certificates.find(|one| !one.is_valid_at(at)) {
        None => Ok(()),
        Some(certificate) => Err(format!(
            "the certificate `{}` is valid from {} to {}, not at {what} {}",
            certificate.subject(),
            rfc3339(certificate.not_before()),
            rfc3339(certificate.not_after()),
            rfc3339(at)
        )),
    }
}

fn check_algorithms(certificate: &Certificate) -> Result<(), String> {
    let subject = certificate.subject();
    if certificate.has_weak_signature() {
        return Err(format!(
            "`{subject}` is not signed with RSA or ECDSA over SHA-256, SHA-384 or SHA-512"
        ));
    }
    let key = certificate.public_key();
    match key.is_strong() {
        true => Ok(()),
        false => Err(format!(
            "the key of `{subject}`, {}, is too weak",
            key.name()
        )),
    }
}

/// Checks a certificate authority's certificate with `below` others between it and the leaf
/// (R042).
fn check_authority(certificate: &Certificate, below: usize) -> Result<(), String> {
    let subject = certificate.subject();
    let wrong = |problem: &str| Err(format!("the authority `{subject}` {problem}"));
    let Some((critical, constraints)) = &certificate.extensions.basic_constraints else {
        return wrong("has no basic constraints");
    };
    if !critical || !constraints.ca {
        return wrong("does not say, critically, that it is a certificate authority");
    }
    let limit = constraints.path_len_constraint.map(usize::from);
    if limit.is_some_and(|limit| below > limit) {
        return wrong("has more authorities below it than its path length allows");
    }
    match &certificate.extensions.key_usage {
        Some((true, usage)) if usage.key_cert_sign() => Ok(()),
        _ => wrong("does not say, critically, that its key signs certificates"),
    }
}

/// Checks the certificate of the key that signs artifacts (R043, R044).
fn check_leaf(leaf: &Certificate) -> Result<(), String> {
    let subject = leaf.subject();
    let wrong = |problem: &str| Err(format!("the signing certificate `{subject}` {problem}"));
    if leaf.is_authority() {
        return wrong("is a certificate authority's");
    }
    match &leaf.extensions.key_usage {
        Some((true, usage)) if usage.digital_signature() => {
            let mut forbidden = FORBIDDEN_USAGES.iter();
            if let Some((_, name)) = forbidden.find(|(one, _)| usage.0.contains(*one)) {
                return wrong(&format!("may also be used for {name}"));
            }
        }
        _ => return wrong("does not say, critically, that its key makes digital signatures"),
    }
    let uses = leaf
        .extensions
        .extended_key_usage
        .iter()
        .flat_map(|uses| &uses.0);
    let named = |oid: &der::asn1::ObjectIdentifier| {
        let oid = oid.to_string();
        FORBIDDEN_USES
            .iter()
            .find(|(forbidden, _)| *forbidden == oid)
    };
    match uses.filter_map(named).next() {
        Some((_, name)) => wrong(&format!("may also be used for {name}")),
        None => Ok(()),
    }
}
