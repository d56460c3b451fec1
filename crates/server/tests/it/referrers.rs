//! The Referrers API: filter, paging, and that it never says 404.

use oci::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};

use crate::harness::{INDEX, MANIFEST, TestServer, send};

async fn attach(
    server: &TestServer,
    subject: &Descriptor,
    kind: Option<&str>,
    text: &str,
) -> Digest {
    let mut manifest = json!({
        "schemaVersion": 2,
        "config": Descriptor::of("example/config".parse().unwrap(), b"{}"),
        "layers": [],
        "subject": subject,
        "annotations": {"text": text},
    });
    if let Some(kind) = kind {
        manifest["artifactType"] = json!(kind);
    }
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::sha256(&bytes);
    let answer = server.push_manifest("a", digest.as_str(), (MANIFEST, bytes));
    assert_eq!(answer.await.status, 201);
    digest
}

fn digests(index: &Value) -> Vec<String> {
    let rows = index["manifests"].as_array().unwrap();
    let digest = |row: &Value| row["digest"].as_str().unwrap().to_owned();
    rows.iter().map(digest).collect()
}

#[tokio::test]
async fn referrers_are_listed_with_type_and_annotations() {
    let server = TestServer::start().await;
    let bytes = server.push_image("a", "t", "x").await;
    let subject = Descriptor::of(MediaType::IMAGE_MANIFEST, &bytes);
    let sbom = attach(&server, &subject, Some("sbom/example"), "one").await;
    let plain = attach(&server, &subject, None, "two").await;
    let path = format!("/v2/a/referrers/{}", subject.digest);
    let answer = server.ask("GET", &path).await;
    assert_eq!(answer.header("content-type"), INDEX);
    assert_eq!(answer.header("oci-filters-applied"), "");
    let index = answer.json();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["mediaType"], INDEX);
    let mut expected = vec![sbom.to_string(), plain.to_string()];
    expected.sort();
    assert_eq!(digests(&index), expected);
    let rows = index["manifests"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["digest"] == plain.as_str())
        .unwrap();
    // Without an artifact type, that of the configuration counts.
    assert_eq!(row["artifactType"], "example/config");
    assert_eq!(row["annotations"], json!({"text": "two"}));
    for (kind, expected) in [
        ("sbom/example", vec![sbom.to_string()]),
        ("example/config", vec![plain.to_string()]),
        ("none/such", vec![]),
        ("not%20a%20type", vec![]),
    ] {
        let answer = server
            .ask("GET", &format!("{path}?artifactType={kind}"))
            .await;
        assert_eq!(digests(&answer.json()), expected, "{kind}");
        assert_eq!(
            answer.header("oci-filters-applied"),
            "artifactType",
            "{kind}"
        );
    }
}

#[tokio::test]
async fn pages_keep_the_filter() {
    let server = TestServer::start().await;
    server.push_blob("a", b"{}").await;
    let subject = Descriptor::of(MediaType::IMAGE_MANIFEST, b"not pushed");
    let mut expected = Vec::new();
    for number in 0..5 {
        let kind = ["odd/x", "even/x"][number % 2];
        let digest = attach(&server, &subject, Some(kind), &number.to_string()).await;
        expected.extend((kind == "odd/x").then(|| digest.to_string()));
    }
    expected.sort();
    let mut found = Vec::new();
    let path = format!("/v2/a/referrers/{}?artifactType=odd/x&n=2", subject.digest);
    let mut next = Some(path);
    while let Some(path) = next {
        let answer = server.ask("GET", &path).await;
        found.extend(digests(&answer.json()));
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
        let link = answer.header("link");
        let path = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""));
        next = path.map(str::to_owned);
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn nothing_is_an_empty_list_and_not_an_error() {
    let server = TestServer::start().await;
    let digest = Digest::sha256(b"x");
    let answer = server
        .ask("GET", &format!("/v2/never/used/referrers/{digest}"))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, INDEX)
    );
    assert_eq!(answer.json()["manifests"], json!([]));
    let bad = server.ask("GET", "/v2/a/referrers/sha256:bad").await;
    assert_eq!(bad.error(), "400 DIGEST_INVALID");
}

#[tokio::test]
async fn a_deleted_referrer_is_no_longer_listed() {
    let server = TestServer::start().await;
    server.push_blob("a", b"{}").await;
    let subject = Descriptor::of(MediaType::IMAGE_MANIFEST, b"not pushed");
    let digest = attach(&server, &subject, None, "x").await;
    send(server.request("DELETE", &format!("/v2/a/manifests/{digest}"))).await;
    let answer = server
        .ask("GET", &format!("/v2/a/referrers/{}", subject.digest))
        .await;
    assert_eq!(answer.json()["manifests"], json!([]));
}
