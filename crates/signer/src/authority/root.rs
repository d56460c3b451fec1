//! The root: it certifies intermediates, revokes them, and does nothing else.
//!
//! After the ceremony its folder belongs on a machine or a medium of its own. Its revocation list
//! is valid for a year, because somebody has to fetch the key to sign another.

use std::path::{Path, PathBuf};

use der::{DecodePem as _, Encode as _};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;

use super::crl::{CrlTimes, RevocationEntry, list_params};
use super::request::CertificateRequest;
use super::root_list::RootList;
use super::{
    AuthorityError, AuthoritySubject, BACKDATED, MAX_PEM_BYTES, not_signed, pem, random_serial,
    read, unusable, whole_seconds, write,
};
use crate::custody::{Custody, KeyAlgorithm};
use crate::keys::AuthorityKey;

/// The life of the root.
pub const ROOT_LIFE: Duration = Duration::days(40 * 365);
/// The life of an intermediate.
pub const INTERMEDIATE_LIFE: Duration = Duration::days(20 * 365);
/// How long a revocation list of the root may be used.
pub const ROOT_LIST_LIFE: Duration = Duration::days(365);

/// The label of the root's key, and the name of its files.
pub(super) const ROOT: &str = "root";
const COMMON_NAME: &str = "Countersign Root CA";

/// The root and its key.
pub struct RootAuthority {
    folder: PathBuf,
    certificate: Certificate,
    subject: AuthoritySubject,
    issuer: Issuer<'static, AuthorityKey>,
}

impl RootAuthority {
    /// Makes a root in `folder`, or opens the one that is there.
    pub fn make(
        folder: &Path,
        subject: &AuthoritySubject,
        custody: &dyn Custody,
        now: OffsetDateTime,
    ) -> Result<Self, AuthorityError> {
        if root_certificate(folder)?.is_none() {
            let key = match custody.open(ROOT)? {
                Some(key) => key,
                None => custody.generate(ROOT, KeyAlgorithm::P384)?,
            };
            let key = AuthorityKey::new(key)?;
            let signed = root_params(subject, now)?.self_signed(&key);
            let signed = signed.map_err(|error| not_signed(error, &key))?;
            write(&certificate_path(folder), pem(signed.der()).as_bytes())?;
        }
        Self::open(folder, custody)
    }

    /// Opens the root in `folder`.
    pub fn open(folder: &Path, custody: &dyn Custody) -> Result<Self, AuthorityError> {
        let path = certificate_path(folder);
        let certificate = root_certificate(folder)?
            .ok_or_else(|| unusable(path.clone(), "there is no root".to_owned()))?;
        let Some(key) = custody.open(ROOT)? else {
            return Err(AuthorityError::KeyMissing {
                certificate: path,
                key: ROOT.to_owned(),
                custody: custody.describe(),
            });
        };
        let key = AuthorityKey::new(key)?;
        let info = certificate.tbs_certificate().subject_public_key_info();
        if info.subject_public_key.raw_bytes() != key.public_bits() {
            let reason = format!("it is not the certificate of key `{ROOT}`");
            return Err(unusable(path, reason));
        }
        let subject = AuthoritySubject::of_certificate(&certificate)?;
        let params = root_params(&subject, OffsetDateTime::UNIX_EPOCH + BACKDATED)?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
            certificate,
            subject,
        })
    }

    /// Returns the certificate in PEM: the trust anchor.
    pub fn certificate_pem(&self) -> Result<String, AuthorityError> {
        Ok(pem(&self.certificate.to_der()?))
    }

    /// Returns the attributes that all subjects below it share.
    pub fn subject(&self) -> &AuthoritySubject {
        &self.subject
    }

    /// Certifies the intermediate that asks. Returns its certificate and the root's in PEM.
    pub fn certify(
        &self,
        request: &CertificateRequest,
        list_url: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<String, AuthorityError> {
        let mut params = intermediate_params(&self.subject, request, now)?;
        if let Some(url) = list_url {
            let uris = vec![url.to_owned()];
            params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
        }
        let signed = params.signed_by(&request.key, &self.issuer);
        let signed = signed.map_err(|error| not_signed(error, self.issuer.key()))?;
        Ok(pem(signed.der()) + &self.certificate_pem()?)
    }

    /// Revokes the certificate, which must be one of the root's. Returns the new list in DER.
    pub fn revoke(
        &self,
        certificate: &Certificate,
        now: OffsetDateTime,
    ) -> Result<RootList, AuthorityError> {
        let tbs = certificate.tbs_certificate();
        let root = self.certificate.tbs_certificate();
        if tbs.issuer() != root.subject() || tbs.subject() == root.subject() {
            let reason = "it is not a certificate of an intermediate that this root certified";
            return Err(AuthorityError::Unfit(reason.to_owned()));
        }
        let serial = tbs.serial_number().as_bytes().to_vec();
        let mut entries = self.kept_list()?.map_or_else(Vec::new, |list| list.entries);
        if entries.iter().all(|entry| entry.serial != serial) {
            entries.push(RevocationEntry {
                serial,
                revoked_at: now,
                invalid_from: None,
            });
        }
        self.sign_list(&entries, now)
    }

    /// Returns a fresh list that revokes what the last one did.
    pub fn refresh_list(&self, now: OffsetDateTime) -> Result<RootList, AuthorityError> {
        let entries = self.kept_list()?.map_or_else(Vec::new, |list| list.entries);
        self.sign_list(&entries, now)
    }

    fn kept_list(&self) -> Result<Option<RootList>, AuthorityError> {
        RootList::load(&self.folder, &self.certificate)
    }

    fn sign_list(
        &self,
        entries: &[RevocationEntry],
        now: OffsetDateTime,
    ) -> Result<RootList, AuthorityError> {
        // The seconds of the clock, so that a folder restored from a backup counts on; and more
        // than the last, whatever the clock says.
        let last = self.kept_list()?.map_or(0, |list| list.number);
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        let number = seconds.max(last.saturating_add(1));
        let times = CrlTimes {
            this_update: now,
            next_update: now + ROOT_LIST_LIFE,
        };
        let params = list_params(number, times, entries, KeyIdMethod::Sha256);
        let signed = params.signed_by(&self.issuer);
        let signed = signed.map_err(|error| not_signed(error, self.issuer.key()))?;
        let list = RootList::parse(signed.der())?;
        list.keep(&self.folder)?;
        Ok(list)
    }
}

/// Returns the certificate of the root in `folder`.
pub(super) fn root_certificate(folder: &Path) -> Result<Option<Certificate>, AuthorityError> {
    let path = certificate_path(folder);
    match read(&path, MAX_PEM_BYTES)? {
        None => Ok(None),
        Some(text) => match Certificate::from_pem(&text) {
            Ok(certificate) => Ok(Some(certificate)),
            Err(error) => Err(unusable(path, error.to_string())),
        },
    }
}

fn certificate_path(folder: &Path) -> PathBuf {
    folder.join("root.pem")
}

fn root_params(
    subject: &AuthoritySubject,
    now: OffsetDateTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = authority_params(now, ROOT_LIFE)?;
    params.distinguished_name = subject.with_common_name(COMMON_NAME)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}

fn intermediate_params(
    subject: &AuthoritySubject,
    request: &CertificateRequest,
    now: OffsetDateTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = authority_params(now, INTERMEDIATE_LIFE)?;
    params.distinguished_name = subject.with_common_name(&request.common_name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn authority_params(
    now: OffsetDateTime,
    life: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(random_serial()?);
    params.not_before = whole_seconds(now - BACKDATED);
    params.not_after = whole_seconds(now + life);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::Sha256;
    Ok(params)
}

/// Parses the certificate of an intermediate, from the first block of a PEM file.
pub fn first_certificate(text: &[u8]) -> Result<Certificate, AuthorityError> {
    let all = Certificate::load_pem_chain(text)?;
    let first = all.into_iter().next();
    first.ok_or_else(|| AuthorityError::Unfit("there is no certificate in the file".to_owned()))
}
