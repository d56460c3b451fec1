//! Leaf certificates: the key that signs, and the chain that vouches for it.

use std::sync::atomic::AtomicBool;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SerialNumber};
use time::{Duration, OffsetDateTime};

use super::issuer::SigningIssuer;
use super::{Authority, AuthorityError, PkiSettings, random_serial, whole_seconds};
use crate::ProfileName;
use crate::job::JobId;
use crate::keys::LeafKey;

/// The life of a leaf that signs one Notary envelope.
///
/// One day is enough, whatever the signature's validity: in the scheme
/// `notary.x509.signingAuthority` the signed `authenticSigningTime` must lie inside the leaf's
/// validity, and the leaf may be expired when the signature is verified. The signature's own
/// `expiry` ends it.
pub const LEAF_LIFE: Duration = Duration::days(1);

/// When a leaf is valid. A DSSE signature has no times of its own, so there these are the
/// signature's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafTimes {
    /// First moment.
    pub not_before: OffsetDateTime,
    /// Last moment.
    pub not_after: OffsetDateTime,
}

/// The serial number of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafSerial {
    /// The identifier of the job that it signs for, so that it is found by that alone.
    Job(JobId),
    /// A random one, for a leaf that several jobs share.
    Random,
}

/// A leaf: its key and its chain.
pub(crate) struct Leaf {
    pub(crate) key: LeafKey,
    /// Leaf, intermediate, what is above it, root, in DER.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The SHA-256 fingerprints of the chain, in hexadecimal.
    pub(crate) fingerprints: Vec<String>,
    /// The serial number, in hexadecimal.
    pub(crate) serial: String,
    /// The number of the intermediate that issued it.
    pub(crate) issuer: u32,
    pub(crate) times: LeafTimes,
    /// Whether a leaf that several jobs share has its row in the records.
    pub(crate) is_on_record: AtomicBool,
}

impl Leaf {
    /// Returns the SHA-384 of the to-be-signed part of the certificate, in hexadecimal.
    pub(crate) fn tbs_sha384(&self) -> String {
        // The first of the chain is a certificate that was made here.
        let certificate = trust::Certificate::from_der(&self.chain[0]);
        certificate.map(|one| one.tbs_sha384()).unwrap_or_default()
    }
}

impl Authority {
    /// Issues a leaf for `profile` and `key` under the newest intermediate.
    pub(crate) fn issue_leaf(
        &self,
        profile: &ProfileName,
        times: LeafTimes,
        key: (LeafKey, LeafSerial),
    ) -> Result<Leaf, AuthorityError> {
        self.current().issue_leaf(profile, times, key, &self.pki)
    }
}

impl SigningIssuer {
    pub(super) fn issue_leaf(
        &self,
        profile: &ProfileName,
        times: LeafTimes,
        (key, serial): (LeafKey, LeafSerial),
        pki: &PkiSettings,
    ) -> Result<Leaf, AuthorityError> {
        let serial = match serial {
            LeafSerial::Job(id) => SerialNumber::from_slice(&id.serial()),
            LeafSerial::Random => random_serial()?,
        };
        let times = LeafTimes {
            not_before: whole_seconds(times.not_before),
            not_after: whole_seconds(times.not_after),
        };
        let mut params = leaf_params(times);
        params.distinguished_name = self.subject().with_common_name(profile.as_str())?;
        params.crl_distribution_points = pki.crl_points(self);
        params.custom_extensions = pki.ocsp_access()?.into_iter().collect();
        let serial_text = hex::encode(serial.as_ref());
        params.serial_number = Some(serial);
        let mut chain = vec![self.issue(params, &key)?];
        chain.extend_from_slice(self.chain());
        Ok(Leaf {
            key,
            fingerprints: chain.iter().map(|der| sha256(der)).collect(),
            chain,
            serial: serial_text,
            issuer: self.generation(),
            times,
            is_on_record: AtomicBool::new(false),
        })
    }
}

fn leaf_params(times: LeafTimes) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = times.not_before;
    params.not_after = times.not_after;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.use_authority_key_identifier_extension = true;
    params
}

fn sha256(bytes: &[u8]) -> String {
    oci::Digest::sha256(bytes).hex().to_owned()
}
