//! Manifests: what is refused, what comes back, what a delete takes along.

use oci::{Descriptor, Digest, DigestAlgorithm, MediaType};
use serde_json::json;
use server::state::Change;

use crate::harness::{INDEX, MANIFEST, TestServer, image, send};

#[tokio::test]
async fn the_exact_bytes_come_back_under_the_pushed_media_type() {
    let server = TestServer::start().await;
    server.push_image("a", "one", "x").await;
    // White space and unknown members are part of the digest.
    let text = String::from_utf8(image("x", None)).unwrap();
    let bytes = text.replacen('{', "{ \"unknown\": [1], ", 1).into_bytes();
    let pushed = server
        .push_manifest("a", "two", (MANIFEST, bytes.clone()))
        .await;
    let digest = Digest::sha256(&bytes);
    assert_eq!(pushed.header("docker-content-digest"), digest.as_str());
    assert_eq!(
        pushed.header("location"),
        format!("/v2/a/manifests/{digest}")
    );
    for name in ["two", digest.as_str()] {
        let path = format!("/v2/a/manifests/{name}");
        let answer = server.ask("GET", &path).await;
        assert_eq!(answer.body, bytes, "{name}");
        assert_eq!(answer.header("content-type"), MANIFEST);
        assert_eq!(answer.header("docker-content-digest"), digest.as_str());
        let head = server.ask("HEAD", &path).await;
        assert_eq!(head.header("content-length"), bytes.len().to_string());
        assert_eq!(head.header("docker-content-digest"), digest.as_str());
    }
}

#[tokio::test]
async fn documents_that_two_readers_could_see_differently_are_refused() {
    let server = TestServer::start().await;
    server.push_image("a", "one", "x").await;
    let image = |member: &str| {
        let text = String::from_utf8(image("x", None)).unwrap();
        text.replacen('{', &format!("{{{member}"), 1).into_bytes()
    };
    let good = image("");
    for (what, media_type, bytes) in [
        ("both kinds", MANIFEST, image("\"manifests\":[],")),
        ("both kinds, as an index", INDEX, image("\"manifests\":[],")),
        ("an image that came as an index", INDEX, good.clone()),
        ("a member twice", MANIFEST, image("\"schemaVersion\":2,")),
        ("not JSON", MANIFEST, b"{".to_vec()),
        ("empty", MANIFEST, Vec::new()),
        ("not a manifest", "application/json", good.clone()),
        ("not a media type", "x", good.clone()),
        ("trailing bytes", MANIFEST, [&good[..], b"{}"].concat()),
    ] {
        let answer = server.push_manifest("a", "bad", (media_type, bytes)).await;
        assert_eq!(answer.error(), "400 MANIFEST_INVALID", "{what}");
    }
    let tag = server.ask("GET", "/v2/a/manifests/bad").await;
    assert_eq!(tag.error(), "404 MANIFEST_UNKNOWN");
    let parameters = format!("{MANIFEST}; charset=utf-8");
    let answer = server.push_manifest("a", "good", (&parameters, good)).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn an_image_whose_parts_are_not_here_is_refused() {
    let server = TestServer::start().await;
    server.push_blob("a", b"{}").await;
    server.push_blob("b", b"x").await;
    let push = || server.push_manifest("a", "t", (MANIFEST, image("x", None)));
    let answer = push().await;
    assert_eq!(answer.error(), "400 MANIFEST_BLOB_UNKNOWN");
    let layer = Digest::sha256(b"x");
    assert!(answer.message().contains(layer.as_str()), "{answer:?}");
    server.push_blob("a", b"x").await;
    assert_eq!(push().await.status, 201);
    // A size that is not the blob's would let two clients read two layers.
    let text = String::from_utf8(image("x", None)).unwrap();
    let lying = text.replace("\"size\":1}", "\"size\":2}").into_bytes();
    let answer = server.push_manifest("a", "u", (MANIFEST, lying)).await;
    assert_eq!(answer.error(), "400 MANIFEST_INVALID");
}

#[tokio::test]
async fn a_missing_subject_and_a_missing_platform_are_accepted() {
    let server = TestServer::start().await;
    server.push_image("a", "t", "x").await;
    let absent = Descriptor::of(MediaType::IMAGE_MANIFEST, b"absent");
    let evidence = image("x", Some(&absent));
    let answer = server.push_manifest("a", "e", (MANIFEST, evidence)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("oci-subject"), absent.digest.as_str());
    let index = json!({"schemaVersion": 2, "manifests": [&absent], "subject": &absent});
    let index = serde_json::to_vec(&index).unwrap();
    let answer = server.push_manifest("a", "i", (INDEX, index)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("oci-subject"), absent.digest.as_str());
}

#[tokio::test]
async fn a_manifest_has_a_size_limit() {
    let server = TestServer::start().await;
    server.push_image("a", "t", "x").await;
    let padded = |length: usize| {
        let mut bytes = image("x", None);
        bytes.resize(length, b' ');
        bytes
    };
    let limit = 4 * 1024 * 1024;
    let answer = server
        .push_manifest("a", "t", (MANIFEST, padded(limit)))
        .await;
    assert_eq!(answer.status, 201);
    let answer = server
        .push_manifest("a", "t", (MANIFEST, padded(limit + 1)))
        .await;
    assert_eq!(answer.error(), "413 MANIFEST_INVALID");
    // Without a length announced, the bytes are counted.
    let pieces = futures_util::stream::iter(vec![Ok::<_, std::io::Error>(padded(limit + 1))]);
    let request = server.request("PUT", "/v2/a/manifests/t");
    let request = request.header("content-type", MANIFEST);
    let answer = send(request.body(reqwest::Body::wrap_stream(pieces))).await;
    assert_eq!(answer.error(), "413 MANIFEST_INVALID");
}

#[tokio::test]
async fn a_push_by_digest_checks_the_digest_and_may_set_tags() {
    let server = TestServer::start().await;
    let bytes = server.push_image("a", "t", "x").await;
    let wrong = Digest::sha256(b"wrong");
    let answer = server
        .push_manifest("a", wrong.as_str(), (MANIFEST, bytes.clone()))
        .await;
    assert_eq!(answer.error(), "400 DIGEST_INVALID");
    let digest = Digest::of(DigestAlgorithm::Sha512, &bytes);
    let name = format!("{digest}?tag=one&tag=two");
    let answer = server
        .push_manifest("a", &name, (MANIFEST, bytes.clone()))
        .await;
    assert_eq!(answer.status, 201);
    let tags: Vec<_> = answer.headers.get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["one", "two"]);
    let answer = server.ask("GET", "/v2/a/manifests/two").await;
    assert_eq!(answer.header("docker-content-digest"), digest.as_str());
    let many: String = (0..101).map(|n| format!("&tag=t{n}")).collect();
    let name = format!("{digest}?{many}");
    let answer = server.push_manifest("a", &name, (MANIFEST, bytes)).await;
    assert_eq!(answer.error(), "414 MANIFEST_INVALID");
}

#[tokio::test]
async fn a_tag_is_deleted_alone_and_a_manifest_with_its_tags() {
    let server = TestServer::start().await;
    let bytes = server.push_image("a", "one", "x").await;
    server.push_image("a", "two", "x").await;
    let by_digest = format!("/v2/a/manifests/{}", Digest::sha256(&bytes));
    assert_eq!(
        server.ask("DELETE", "/v2/a/manifests/one").await.status,
        202
    );
    for (path, status) in [("/v2/a/manifests/one", 404), ("/v2/a/manifests/two", 200)] {
        assert_eq!(server.ask("GET", path).await.status, status, "{path}");
    }
    assert_eq!(server.ask("GET", &by_digest).await.status, 200);
    assert_eq!(server.ask("DELETE", &by_digest).await.status, 202);
    for path in ["/v2/a/manifests/two", &by_digest] {
        let answer = server.ask("GET", path).await;
        assert_eq!(answer.error(), "404 MANIFEST_UNKNOWN", "{path}");
        let answer = server.ask("DELETE", path).await;
        assert_eq!(answer.error(), "404 MANIFEST_UNKNOWN", "{path}");
    }
}

#[tokio::test]
async fn every_change_is_told() {
    let server = TestServer::start().await;
    let mut events = server.front.events.subscribe();
    let bytes = server.push_image("a", "t", "x").await;
    let digest = Digest::sha256(&bytes);
    server.ask("DELETE", "/v2/a/manifests/t").await;
    server
        .ask("DELETE", &format!("/v2/a/manifests/{digest}"))
        .await;
    let tag: oci::Tag = "t".parse().unwrap();
    for expected in [
        Change::Pushed {
            digest: digest.clone(),
            media_type: MediaType::IMAGE_MANIFEST,
            subject: None,
            tags: vec![tag.clone()],
        },
        Change::Untagged { tag: tag.clone() },
        Change::Deleted {
            digest: digest.clone(),
        },
    ] {
        let event = events.try_recv().unwrap();
        assert_eq!((event.account.as_str(), event.change), ("admin", expected));
    }
}
