//! Revocation lists.
//!
//! RFC 5280 §5 and §6.3, as far as a complete list of one issuer goes. Delta lists, indirect lists
//! and lists for some reasons only are refused, which leaves the status unknown.

use std::collections::BTreeMap;

use der::Decode;
use der::asn1::{GeneralizedTime, ObjectIdentifier};
use time::OffsetDateTime;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{CrlReason, IssuingDistributionPoint};
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::RevocationStatus;
use crate::certificate::{Certificate, SignedBytes, moment, one, point_uris};
use crate::encoding::rfc3339;

/// The largest revocation list, in bytes: what the reference implementation takes.
pub const MAX_CRL_BYTES: usize = 32 << 20;
/// How far the issuer's clock may be ahead of ours. A list that was made while it was fetched is
/// a second ahead of the time that the verification began with; five minutes are what Kerberos
/// allows between two machines (RFC 4120 §8.2, clockskew).
const MAX_CLOCK_SKEW: time::Duration = time::Duration::minutes(5);

const CRL_REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const INVALIDITY_DATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");
const DELTA_INDICATOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const CERTIFICATE_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.29");
const FRESHEST_CRL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

/// Says why bytes are not a revocation list that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// The list is larger than [`MAX_CRL_BYTES`].
    #[error("the revocation list has {0} bytes, more than {MAX_CRL_BYTES}")]
    TooLarge(usize),
    /// The bytes are not a revocation list in DER or PEM.
    #[error("not a revocation list: {0}")]
    Der(String),
    /// The list uses a feature that is not supported, so its silence means nothing.
    #[error("the revocation list {0}, which is not supported")]
    Unsupported(String),
    /// The list says that it will be issued in the future.
    #[error("the revocation list is from the future: issued at {0}")]
    FromTheFuture(String),
}

/// A revocation list that could be read. Who signed it is not known yet.
#[derive(Clone, Debug)]
pub(super) struct Crl {
    signed: SignedBytes,
    issuer: Name,
    this_update: OffsetDateTime,
    next_update: Option<OffsetDateTime>,
    scope: Scope,
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// Which certificates the list is about.
#[derive(Clone, Debug, Default)]
struct Scope {
    urls: Vec<String>,
    only_users: bool,
    only_authorities: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    at: OffsetDateTime,
    reason: CrlReason,
    invalid_since: Option<OffsetDateTime>,
}

impl Crl {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, CrlError> {
        if bytes.len() > MAX_CRL_BYTES {
            return Err(CrlError::TooLarge(bytes.len()));
        }
        let unreadable = |error: der::Error| CrlError::Der(error.to_string());
        let der = der_of(bytes)?;
        let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&der)
            .map_err(unreadable)?;
        let tbs = list.tbs_cert_list;
        if tbs.signature != list.signature_algorithm {
            let problem = "the two signature algorithms differ".to_owned();
            return Err(CrlError::Der(problem));
        }
        let extensions = tbs.crl_extensions.unwrap_or_default();
        let mut entries = BTreeMap::new();
        for revoked in tbs.revoked_certificates.unwrap_or_default() {
            let serial = revoked.serial_number.as_bytes().to_vec();
            entries.insert(serial, Entry::read(revoked)?);
        }
        Ok(Self {
            signed: SignedBytes::read(&der).map_err(unreadable)?,
            issuer: tbs.issuer,
            this_update: moment(&tbs.this_update),
            next_update: tbs.next_update.as_ref().map(moment),
            scope: Scope::read(&extensions)?,
            entries,
        })
    }

    pub(super) fn not_from_the_future(self, now: OffsetDateTime) -> Result<Self, CrlError> {
        match self.this_update > now + MAX_CLOCK_SKEW {
            true => Err(CrlError::FromTheFuture(rfc3339(self.this_update))),
            false => Ok(self),
        }
    }

    /// Returns what the list says about a certificate, or why it says nothing.
    pub(super) fn status(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        signed_at: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<RevocationStatus, String> {
        self.check_issuer(issuer)?;
        self.scope.check(certificate)?;
        let entry = self.entries.get(certificate.serial_bytes());
        let revoked = entry.and_then(|entry| entry.status(signed_at));
        // An expired list still revokes, but not for a reason that may have gone (R086).
        let lasting = entry.is_some_and(|entry| entry.reason != CrlReason::CertificateHold);
        match (revoked, self.expired(now)) {
            (Some(status), None) => Ok(status),
            (Some(status), Some(_)) if lasting => Ok(status),
            (_, Some(problem)) => Err(problem),
            (None, None) => Ok(RevocationStatus::Good),
        }
    }

    fn check_issuer(&self, issuer: &Certificate) -> Result<(), String> {
        if self.issuer != *issuer.subject_name() {
            return Err("the revocation list is another issuer's".to_owned());
        }
        let usage = issuer.extensions.key_usage.as_ref();
        if usage.is_some_and(|(_, usage)| !usage.crl_sign()) {
            return Err("the issuer may not sign revocation lists".to_owned());
        }
        match issuer.public_key().verify_signed(&self.signed) {
            true => Ok(()),
            false => Err("the signature of the revocation list is not the issuer's".to_owned()),
        }
    }

    fn expired(&self, now: OffsetDateTime) -> Option<String> {
        match self.next_update {
            None => Some("the revocation list does not say until when it holds".to_owned()),
            Some(next) if next < now => {
                Some(format!("the revocation list expired at {}", rfc3339(next)))
            }
            Some(_) => None,
        }
    }
}

impl Entry {
    fn read(revoked: RevokedCert) -> Result<Self, CrlError> {
        let extensions = revoked.crl_entry_extensions.unwrap_or_default();
        let known = [CRL_REASON, INVALIDITY_DATE];
        refuse_unknown(&extensions, &known, "an entry")?;
        let wrong = |error: crate::certificate::CertificateError| CrlError::Der(error.to_string());
        let reason = one::<CrlReason>(&extensions, CRL_REASON, "cRLReason").map_err(wrong)?;
        let date = one::<GeneralizedTime>(&extensions, INVALIDITY_DATE, "invalidityDate");
        Ok(Self {
            at: moment(&revoked.revocation_date),
            reason: reason.map_or(CrlReason::Unspecified, |(_, reason)| reason),
            invalid_since: date
                .map_err(wrong)?
                .map(|(_, date)| moment(&Time::GeneralTime(date))),
        })
    }

    /// Returns the revocation, unless the signature was made before the certificate became
    /// invalid. A hold says nothing about since when, so it always counts (R083).
    fn status(&self, signed_at: Option<OffsetDateTime>) -> Option<RevocationStatus> {
        if self.reason == CrlReason::RemoveFromCRL {
            return None;
        }
        let hold = self.reason == CrlReason::CertificateHold;
        if let (Some(since), Some(signed_at), false) = (self.invalid_since, signed_at, hold)
            && signed_at < since
        {
            return None;
        }
        Some(RevocationStatus::Revoked {
            at: self.invalid_since.unwrap_or(self.at),
            reason: reason_name(self.reason).to_owned(),
        })
    }
}

impl Scope {
    fn read(extensions: &[Extension]) -> Result<Self, CrlError> {
        if extensions.iter().any(|one| one.extn_id == DELTA_INDICATOR) {
            return Err(CrlError::Unsupported("holds only changes".to_owned()));
        }
        if extensions.iter().any(|one| one.extn_id == FRESHEST_CRL) {
            return Err(CrlError::Unsupported("points to later changes".to_owned()));
        }
        let known = [ISSUING_DISTRIBUTION_POINT, CRL_NUMBER, AUTHORITY_KEY_ID];
        refuse_unknown(extensions, &known, "it")?;
        let name = "issuingDistributionPoint";
        let point = one::<IssuingDistributionPoint>(extensions, ISSUING_DISTRIBUTION_POINT, name)
            .map_err(|error| CrlError::Der(error.to_string()))?;
        let Some((_, point)) = point else {
            return Ok(Self::default());
        };
        if point.indirect_crl || point.only_some_reasons.is_some() {
            return Err(CrlError::Unsupported("is not a complete list".to_owned()));
        }
        if point.only_contains_attribute_certs {
            return Err(CrlError::Unsupported("is about other things".to_owned()));
        }
        Ok(Self {
            urls: point
                .distribution_point
                .as_ref()
                .map_or(Vec::new(), point_uris),
            only_users: point.only_contains_user_certs,
            only_authorities: point.only_contains_ca_certs,
        })
    }

    /// Checks that the list is about this certificate (RFC 5280 §6.3.3 b 2).
    fn check(&self, certificate: &Certificate) -> Result<(), String> {
        let authority = certificate.is_authority();
        if (self.only_users && authority) || (self.only_authorities && !authority) {
            return Err("the revocation list is about another kind of certificate".to_owned());
        }
        let urls = &certificate.extensions.crl_urls;
        match self.urls.is_empty() || self.urls.iter().any(|url| urls.contains(url)) {
            true => Ok(()),
            false => Err("the revocation list belongs to another distribution point".to_owned()),
        }
    }
}

/// Refuses critical extensions that are not understood (RFC 5280 §5.2 and §5.3).
fn refuse_unknown(
    extensions: &[Extension],
    known: &[ObjectIdentifier],
    whose: &str,
) -> Result<(), CrlError> {
    let unknown = |one: &&Extension| {
        (one.critical && !known.contains(&one.extn_id)) || one.extn_id == CERTIFICATE_ISSUER
    };
    match extensions.iter().find(unknown) {
        Some(one) => {
            let problem = format!("has the critical extension {} ({whose})", one.extn_id);
            Err(CrlError::Unsupported(problem))
        }
        None => Ok(()),
    }
}

fn der_of(bytes: &[u8]) -> Result<Vec<u8>, CrlError> {
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok(bytes.to_vec());
    }
    let (label, der) =
        der::pem::decode_vec(bytes).map_err(|error| CrlError::Der(error.to_string()))?;
    match label {
        "X509 CRL" => Ok(der),
        other => Err(CrlError::Der(format!("the PEM block is a `{other}`"))),
    }
}

fn reason_name(reason: CrlReason) -> &'static str {
    match reason {
        CrlReason::Unspecified => "unspecified",
        CrlReason::KeyCompromise => "keyCompromise",
        CrlReason::CaCompromise => "cACompromise",
        CrlReason::AffiliationChanged => "affiliationChanged",
        CrlReason::Superseded => "superseded",
        CrlReason::CessationOfOperation => "cessationOfOperation",
        CrlReason::CertificateHold => "certificateHold",
        CrlReason::RemoveFromCRL => "removeFromCRL",
        CrlReason::PrivilegeWithdrawn => "privilegeWithdrawn",
        CrlReason::AaCompromise => "aACompromise",
    }
}
