//! Certificates that tests issue: good ones by default, and bent ones through their parameters.

use oci::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose,
    PublicKeyData, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;

use crate::{KeyKind, TestKey, after, before};

/// A certificate with its key and everything above it.
#[derive(Clone)]
pub struct TestCertificate {
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// The key.
    pub key: TestKey,
    /// What it was made from.
    pub params: CertificateParams,
    above: Vec<Vec<u8>>,
}

/// Returns parameters of a certificate authority, `C=US, ST=WA, O=Example, CN=…`, valid from ten
/// years before now to ten years after.
pub fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(common_name);
    params.not_before = before(3650);
    params.not_after = after(3650);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Returns parameters of a signing certificate, `C=US, ST=WA, O=Example, CN=…`, valid from one day
/// before now to seven days after.
pub fn leaf_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(common_name);
    params.not_before = before(1);
    params.not_after = after(7);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params
}

/// Issues a root.
pub fn root(params: CertificateParams, kind: KeyKind) -> TestCertificate {
    let key = TestKey::new(kind);
    let params = with_serial(params, &key);
    let certificate = params.self_signed(key.pair());
    TestCertificate {
        der: certificate
            .expect("the parameters are sound")
            .der()
            .to_vec(),
        key,
        params,
        above: Vec::new(),
    }
}

impl TestCertificate {
    /// Issues a certificate under this one, with a new key. Whether this one may is not asked.
    pub fn issue(&self, params: CertificateParams, kind: KeyKind) -> Self {
        self.issue_for(params, TestKey::new(kind))
    }

    /// Issues a certificate under this one for a key that exists.
    pub fn issue_for(&self, params: CertificateParams, key: TestKey) -> Self {
        let params = with_serial(params, &key);
        let issuer = Issuer::from_params(&self.params, self.key.pair());
        let certificate = params.signed_by(key.pair(), &issuer);
        Self {
            der: certificate
                .expect("the parameters are sound")
                .der()
                .to_vec(),
            key,
            params,
            above: self.chain(),
        }
    }

    /// Returns the chain in DER, from this certificate to the root.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        let mut chain = vec![self.der.clone()];
        chain.extend_from_slice(&self.above);
        chain
    }

    /// Returns the certificate in PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// Returns the serial number.
    pub fn serial(&self) -> SerialNumber {
        let serial = self.params.serial_number.clone();
        serial.expect("every certificate is made with a serial number")
    }

    /// Returns SHA-256 of the certificate, in hexadecimal.
    pub fn sha256(&self) -> String {
        Digest::sha256(&self.der).hex().to_owned()
    }

    /// Issues a revocation list under this certificate, in DER.
    pub fn crl(&self, params: &CertificateRevocationListParams) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, self.key.pair());
        let crl = params.signed_by(&issuer);
        crl.expect("the parameters are sound").der().to_vec()
    }
}

/// Returns parameters of a revocation list, issued one day before now and good for seven days.
pub fn crl_params(revoked_certs: Vec<RevokedCertParams>) -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: before(1),
        next_update: after(6),
        crl_number: SerialNumber::from(7),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

/// Returns the entry of a certificate in a revocation list, without a reason.
pub fn revoked(certificate: &TestCertificate, at: OffsetDateTime) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: certificate.serial(),
        revocation_time: at,
        reason_code: None,
        invalidity_date: None,
    }
}

/// Returns DER in PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    name.push(DnType::StateOrProvinceName, "WA");
    name.push(DnType::OrganizationName, "Example");
    name.push(DnType::CommonName, common_name);
    name
}

/// Gives a certificate a serial number that follows from its name and key.
fn with_serial(mut params: CertificateParams, key: &TestKey) -> CertificateParams {
    if params.serial_number.is_none() {
        let mut seed = key.pair().der_bytes().to_vec();
        seed.extend(format!("{:?}", params.distinguished_name).into_bytes());
        let digest = Digest::sha256(&seed);
        let mut bytes = digest.hex().as_bytes()[..16].to_vec();
        bytes[0] = 0x41;
        params.serial_number = Some(SerialNumber::from(bytes));
    }
    params
}

/// Returns the place of a revocation list, for [`CertificateParams::crl_distribution_points`].
pub fn crl_at(url: &str) -> CrlDistributionPoint {
    CrlDistributionPoint {
        uris: vec![url.to_owned()],
    }
}
