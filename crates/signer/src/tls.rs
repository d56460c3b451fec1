//! The certificate of the server's own TLS socket, when nobody gives it one.
//!
//! It has nothing to do with the signing authority: another root, other keys, trusted by whoever
//! talks to the server and by no verifier. The root signs one certificate and its key is then
//! forgotten, so that whoever trusts it trusts no second one.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

/// How long the certificate is valid. Clients that were given its root must be given another then.
pub const SELF_SIGNED_LIFE: Duration = Duration::days(5 * 365);
/// Valid from a little before it is made, for clients whose clock is behind.
const BACKDATED: Duration = Duration::hours(1);

/// A certificate for a TLS socket, its key, and the root that clients must trust.
pub struct SelfSigned {
    /// The root in PEM.
    pub root_pem: String,
    /// The certificate and the root in PEM.
    pub chain_pem: String,
    /// The certificate's key in PEM (PKCS#8).
    pub key_pem: String,
}

/// Returns the names that clients of a service at `host` use: AWS's older and newer SDKs put a
/// prefix before it for one operation each.
pub fn host_names(host: &str) -> [String; 3] {
    [
        host.to_owned(),
        format!("data-{host}"),
        format!("verification.{host}"),
    ]
}

/// Makes a certificate for `host`, its two prefixed names, and this machine's loopback addresses.
///
/// # Errors
/// When `host` cannot stand in a certificate, or the cryptographic library fails.
pub fn self_signed(host: &str, now: OffsetDateTime) -> Result<SelfSigned, rcgen::Error> {
    let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut root = params(&format!("Countersign TLS root of {host}"), now);
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root_pem = crate::authority::pem(root.self_signed(&root_key)?.der());
    let issuer = Issuer::new(root, root_key);

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut leaf = params(host, now);
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for name in host_names(host).into_iter().chain(["localhost".to_owned()]) {
        leaf.subject_alt_names
            .push(SanType::DnsName(name.try_into()?));
    }
    let loopback = [
        std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::Ipv6Addr::LOCALHOST.into(),
    ];
    leaf.subject_alt_names
        .extend(loopback.map(SanType::IpAddress));
    let certificate = leaf.signed_by(&key, &issuer)?;
    Ok(SelfSigned {
        chain_pem: crate::authority::pem(certificate.der()) + &root_pem,
        root_pem,
        key_pem: key.serialize_pem(),
    })
}

fn params(common_name: &str, now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = now - BACKDATED;
    params.not_after = now + SELF_SIGNED_LIFE;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // 64 characters at most (RFC 5280, ub-common-name); clients look at the other names.
    let name: String = common_name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use trust::trust_store::certificates_in;

    #[test]
    fn the_certificate_is_for_all_three_names_and_signed_by_the_root() {
        let now = time::macros::datetime!(2026-03-01 12:00 UTC);
        let made = self_signed("signer.example", now).unwrap();
        let root = certificates_in(made.root_pem.as_bytes()).unwrap();
        let chain = certificates_in(made.chain_pem.as_bytes()).unwrap();
        assert_eq!(chain.len(), 2);
        assert_eq!(chain[1], root[0]);
        assert!(chain[0].is_signed_by(&root[0]) && root[0].is_self_signed());
        assert!(!chain[0].is_authority());
        let der = String::from_utf8_lossy(chain[0].der()).into_owned();
        for name in host_names("signer.example") {
            assert!(der.contains(&name), "{name}");
        }
        assert!(made.key_pem.contains("PRIVATE KEY"));
    }
}
