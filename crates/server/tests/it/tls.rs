//! TLS: HTTP/2 and HTTP/1.1, and what is refused before anything listens.

use reqwest::{Certificate, Version};
use server::listen::{Listener, TlsFiles};

use crate::harness::TestServer;

fn files() -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    TlsFiles {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    }
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = files();
    let server = TestServer::start_in(folder.path(), Some(&files)).await;
    assert!(server.url.starts_with("https://"), "{}", server.url);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let certificate = Certificate::from_pem(files.certificate.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([certificate]);
        let client = match version {
            Version::HTTP_11 => client.http1_only(),
            _ => client.http2_prior_knowledge(),
        };
        let request = client.build().unwrap().get(format!("{}/v2/", server.url));
        let answer = request.bearer_auth(&server.admin).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_before_it_listens() {
    let address = "127.0.0.1:0".parse().unwrap();
    let (one, two) = (files(), files());
    for (what, certificate, key) in [
        ("no certificate", "", one.key.as_str()),
        ("no key", one.certificate.as_str(), ""),
        ("another key", &one.certificate, &two.key),
    ] {
        let files = TlsFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        assert!(
            Listener::bind(address, Some(&files)).await.is_err(),
            "{what}"
        );
    }
    let network = "0.0.0.0:0".parse().unwrap();
    let error = Listener::bind(network, None).await.err().unwrap();
    assert!(error.to_string().contains("--tls-cert"), "{error}");
    assert!(Listener::bind(network, Some(&one)).await.is_ok());
}
