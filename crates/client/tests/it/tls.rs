//! TLS: whom we talk to, and whom we do not.

use client::http_client::HttpOptions;
use client::{ErrorKind, RegistryClient, RegistryOptions};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use testkit::rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use testkit::{KeyKind, TestCertificate};
use tokio_rustls::rustls::ServerConfig;

use crate::server::{TestRegistry, options};

fn authority() -> TestCertificate {
    let mut params = testkit::authority_params("TLS");
    always_valid(&mut params);
    testkit::root(params, KeyKind::P256)
}

/// TLS looks at the real clock.
fn always_valid(params: &mut CertificateParams) {
    params.not_before = testkit::rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = testkit::rcgen::date_time_ymd(2999, 1, 1);
}

/// Returns the settings of a server with a certificate for `name`.
fn config(authority: &TestCertificate, name: SanType) -> ServerConfig {
    let mut params = testkit::leaf_params("registry");
    params.subject_alt_names = vec![name];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    always_valid(&mut params);
    let leaf = authority.issue(params, KeyKind::P256);
    let key = PrivateKeyDer::try_from(leaf.key.pkcs8()).unwrap();
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(leaf.der)], key)
        .unwrap()
}

fn client_trusting(authorities: &[&TestCertificate]) -> RegistryClient {
    let pem = authorities.iter().map(|one| one.pem().into_bytes());
    let http = HttpOptions {
        extra_ca_pem: pem.collect(),
        attempts: 1,
        ..options()
    };
    RegistryClient::new(RegistryOptions {
        http,
        ..RegistryOptions::default()
    })
    .unwrap()
}

fn localhost() -> SanType {
    SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into())
}

#[tokio::test]
async fn a_registry_of_a_named_authority_is_talked_to() {
    let authority = authority();
    let registry = TestRegistry::start_with_tls(config(&authority, localhost())).await;
    let client = client_trusting(&[&authority]);
    client.ping(&registry.name()).await.unwrap();
    assert_eq!(registry.log().len(), 1);
}

#[tokio::test]
async fn a_registry_of_another_authority_or_name_is_not() {
    let (trusted, other) = (authority(), authority());
    let elsewhere = SanType::DnsName("registry.example".try_into().unwrap());
    for config in [config(&other, localhost()), config(&trusted, elsewhere)] {
        let registry = TestRegistry::start_with_tls(config).await;
        let error = client_trusting(&[&trusted]).ping(&registry.name()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(registry.log().is_empty());
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n"] {
        let http = HttpOptions {
            extra_ca_pem: vec![pem.as_bytes().to_vec()],
            ..options()
        };
        let client = RegistryClient::new(RegistryOptions {
            http,
            ..RegistryOptions::default()
        });
        assert!(client.is_err(), "{pem}");
    }
}
