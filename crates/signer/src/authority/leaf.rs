//! Leaf certificates: the key that signs, and the chain that vouches for it.

use rcgen::{
    CertificateParams, CrlDistributionPoint, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::{Authority, AuthorityError, not_signed, random_serial, whole_seconds};
use crate::ProfileName;
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

/// A leaf: its key and its chain.
pub(crate) struct Leaf {
    pub(crate) key: LeafKey,
    /// Leaf, intermediate, root, in DER.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The SHA-256 fingerprints of the chain, in hexadecimal.
    pub(crate) fingerprints: Vec<String>,
    /// The serial number, in hexadecimal.
    pub(crate) serial: String,
    pub(crate) times: LeafTimes,
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
    /// Issues a leaf for `profile` and `key`.
    pub(crate) fn issue_leaf(
        &self,
        profile: &ProfileName,
        times: LeafTimes,
        key: LeafKey,
    ) -> Result<Leaf, AuthorityError> {
        let serial = random_serial()?;
        let times = LeafTimes {
            not_before: whole_seconds(times.not_before),
            not_after: whole_seconds(times.not_after),
        };
        let mut params = self.leaf_params(profile, times)?;
        let serial_text = hex::encode(serial.as_ref());
        params.serial_number = Some(serial);
        let signed = params.signed_by(&key, &self.issuer);
        let signed = signed.map_err(|error| not_signed(error, self.issuer.key()))?;
        let der = signed.der().to_vec();
        let fingerprints = [&der, &self.intermediate_der, &self.root_der].map(|der| sha256(der));
        Ok(Leaf {
            key,
            fingerprints: fingerprints.into(),
            chain: vec![der, self.intermediate_der.clone(), self.root_der.clone()],
            serial: serial_text,
            times,
        })
    }

    fn leaf_params(
        &self,
        profile: &ProfileName,
        times: LeafTimes,
    ) -> Result<CertificateParams, AuthorityError> {
        let mut params = CertificateParams::default();
        params.not_before = times.not_before;
        params.not_after = times.not_after;
        params.distinguished_name = self.subject.with_common_name(profile.as_str())?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.use_authority_key_identifier_extension = true;
        if let Some(url) = &self.crl_url {
            let uris = vec![url.clone()];
            params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
        }
        Ok(params)
    }
}

fn sha256(bytes: &[u8]) -> String {
    oci::Digest::sha256(bytes).hex().to_owned()
}
