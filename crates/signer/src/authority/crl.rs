//! The revocation list of an intermediate (RFC 5280 §5).
//!
//! It is complete and has no issuing distribution point: stock `notation` refuses lists with
//! critical extensions. An entry with an invalidity date revokes only what was signed at that
//! moment or later, which is how a profile is revoked from a time on; `notation` compares it with
//! the authentic signing time.

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;

use super::issuer::SigningIssuer;
use super::{AuthorityError, not_signed, whole_seconds};

/// When a list was made, and until when it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlTimes {
    /// When it was made.
    pub this_update: OffsetDateTime,
    /// Until when it may be used.
    pub next_update: OffsetDateTime,
}

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationEntry {
    /// The serial number.
    pub serial: Vec<u8>,
    /// When it was revoked.
    pub revoked_at: OffsetDateTime,
    /// From when on signatures made with it are bad; all of them when absent.
    pub invalid_from: Option<OffsetDateTime>,
}

impl SigningIssuer {
    /// Returns the list with the given number, in DER.
    pub(crate) fn sign_crl(
        &self,
        number: u64,
        times: CrlTimes,
        entries: &[RevocationEntry],
    ) -> Result<Vec<u8>, AuthorityError> {
        let (issuer, key_id) = self.list_signer();
        let params = list_params(number, times, entries, key_id);
        let signed = params.signed_by(issuer);
        let signed = signed.map_err(|error| not_signed(error, issuer.key()))?;
        Ok(signed.der().to_vec())
    }
}

/// Returns what a list says.
pub(super) fn list_params(
    number: u64,
    times: CrlTimes,
    entries: &[RevocationEntry],
    key_identifier_method: KeyIdMethod,
) -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: whole_seconds(times.this_update),
        next_update: whole_seconds(times.next_update),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: entries.iter().map(entry_params).collect(),
        key_identifier_method,
    }
}

fn entry_params(entry: &RevocationEntry) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(&entry.serial),
        revocation_time: whole_seconds(entry.revoked_at),
        reason_code: Some(RevocationReason::PrivilegeWithdrawn),
        invalidity_date: entry.invalid_from.map(whole_seconds),
    }
}
