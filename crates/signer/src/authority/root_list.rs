//! The revocation list of the root, as it is kept beside a certificate.

use std::path::Path;

use der::{Decode as _, Encode as _};
use time::OffsetDateTime;
use x509_cert::Certificate;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::CrlNumber;

use super::crl::RevocationEntry;
use super::verify::is_signed_by;
use super::{AuthorityError, moment, read, write};

/// The longest list that is read, in bytes: a root has a handful of intermediates.
const MAX_LIST_BYTES: usize = 32 * 1024;
const FILE: &str = "root.crl";

/// A list of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootList {
    /// The list in DER.
    pub der: Vec<u8>,
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub this_update: OffsetDateTime,
    /// Until when it may be used.
    pub next_update: OffsetDateTime,
    /// What is revoked.
    pub entries: Vec<RevocationEntry>,
}

impl RootList {
    /// Parses a list in DER. Its signature is not looked at.
    pub fn parse(der: &[u8]) -> Result<Self, AuthorityError> {
        if der.len() > MAX_LIST_BYTES {
            let reason = format!("a list of the root is at most {MAX_LIST_BYTES} bytes long");
            return Err(AuthorityError::Unfit(reason));
        }
        let tbs = CertificateList::<Rfc5280>::from_der(der)?.tbs_cert_list;
        let unfit = |reason: &str| AuthorityError::Unfit(reason.to_owned());
        let mut extensions = tbs.crl_extensions.iter().flatten();
        let number =
            extensions.find(|one| one.extn_id == <CrlNumber as der::oid::AssociatedOid>::OID);
        let number = number.ok_or_else(|| unfit("the list has no number"))?;
        let number = CrlNumber::from_der(number.extn_value.as_bytes())?;
        let next = tbs.next_update.as_ref();
        let entry = |one: &x509_cert::crl::RevokedCert| RevocationEntry {
            serial: one.serial_number.as_bytes().to_vec(),
            revoked_at: moment(&one.revocation_date),
            invalid_from: None,
        };
        Ok(Self {
            der: der.to_vec(),
            number: small_number(number.0.as_bytes())
                .ok_or_else(|| unfit("the number of the list is too large"))?,
            this_update: moment(&tbs.this_update),
            next_update: moment(
                next.ok_or_else(|| unfit("the list does not say when the next is due"))?,
            ),
            entries: tbs
                .revoked_certificates
                .iter()
                .flatten()
                .map(entry)
                .collect(),
        })
    }

    /// Returns the list in `folder`, if there is one and `root` signed it.
    pub fn load(folder: &Path, root: &Certificate) -> Result<Option<Self>, AuthorityError> {
        let path = folder.join(FILE);
        let Some(der) = read(&path, MAX_LIST_BYTES)? else {
            return Ok(None);
        };
        let list = Self::parse(&der)?;
        list.check_signature(root)?;
        Ok(Some(list))
    }

    /// Writes the list into `folder`.
    pub fn keep(&self, folder: &Path) -> Result<(), AuthorityError> {
        write(&folder.join(FILE), &self.der)
    }

    /// Returns nothing when `root` signed the list.
    pub fn check_signature(&self, root: &Certificate) -> Result<(), AuthorityError> {
        let list = CertificateList::<Rfc5280>::from_der(&self.der)?;
        let body = list.tbs_cert_list.to_der()?;
        let algorithm = list.signature_algorithm.oid;
        match is_signed_by(root, (algorithm, list.signature.raw_bytes()), &body) {
            true => Ok(()),
            false => {
                let reason = "the list is not signed by the root of this authority";
                Err(AuthorityError::Unfit(reason.to_owned()))
            }
        }
    }

    /// Returns whether the certificate is on the list.
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        let serial = certificate.tbs_certificate().serial_number().as_bytes();
        self.entries.iter().any(|entry| entry.serial == serial)
    }
}

fn small_number(bytes: &[u8]) -> Option<u64> {
    if bytes.len() > 8 {
        return None;
    }
    Some(
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}
