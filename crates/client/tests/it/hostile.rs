//! Registries that misbehave: each test is one thing that another client once got wrong.

use client::http_client::HttpOptions;
use client::{ArtifactSink, ArtifactSource, ClientError, ErrorKind};
use client::{RegistryClient, RegistryOptions};
use oci::graph::GraphLimits;
use oci::{Descriptor, Digest, Index, MediaType};

use crate::artifacts::{manifest, push};
use crate::server::{End, Reply, TestRegistry, options};

fn index_reply(manifests: Vec<Descriptor>) -> Reply {
    Reply::ok(serde_json::to_vec(&Index::new(manifests)).unwrap())
}

#[tokio::test]
async fn other_bytes_than_the_digest_says_are_refused() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let image = push(&app, "image/example", b"right", None).await;
    let other = push(&app, "image/example", b"other", None).await;
    let swapped = other.bytes().to_vec();
    registry.hook(move |request| {
        if request.is("GET", "/blobs/") {
            return Some(Reply::ok("wrong"));
        }
        let reply = Reply::ok(swapped.clone());
        let is_manifest = request.is("GET", "/manifests/sha256:");
        is_manifest.then(|| reply.header("content-type", MediaType::IMAGE_MANIFEST.as_str()))
    });
    let layer = &image.as_image().unwrap().layers[0];
    let error = app.blob(layer, 100).await.unwrap_err();
    assert!(
        matches!(error, ClientError::DigestMismatch { .. }),
        "{error}"
    );
    let error = app.manifest(&image.descriptor()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::DigestMismatch { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_tag_whose_digest_contradicts_its_content_is_refused() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let image = push(&app, "image/example", b"right", None).await;
    let bytes = image.bytes().to_vec();
    registry.hook(move |request| {
        let reply = Reply::ok(bytes.clone())
            .header("content-type", MediaType::IMAGE_MANIFEST.as_str())
            .header("docker-content-digest", Digest::sha256(b"other").as_str());
        request.is("GET", "/manifests/v1").then_some(reply)
    });
    let tag: oci::Tag = "v1".parse().unwrap();
    let error = app.resolve(&tag.into()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::DigestMismatch { .. }),
        "{error}"
    );
}

/// oras-go GHSA-f36w: memory was taken for the size that a descriptor claims.
#[tokio::test]
async fn a_size_that_is_not_true_costs_nothing() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    push(&app, "image/example", b"content", None).await;
    for size in [0, 6, 8, u64::MAX] {
        let lie = Descriptor::new(MediaType::JSON, Digest::sha256(b"content"), size);
        let error = app.blob(&lie, u64::MAX).await.unwrap_err();
        assert!(
            matches!(error, ClientError::SizeMismatch { .. }),
            "{size}: {error}"
        );
    }
    let honest = Descriptor::of(MediaType::JSON, b"content");
    let error = app.blob(&honest, 6).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_without_end_is_cut_off() {
    let registry = TestRegistry::start().await;
    registry.hook(|_| Some(Reply::ok(vec![b' '; oci::manifest::MAX_MANIFEST_BYTES + 1])));
    let name = Digest::sha256(b"x").into();
    let error = registry.repository().resolve(&name).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_given_up() {
    let registry = TestRegistry::start().await;
    let image = push(&registry.repository(), "image/example", b"content", None).await;
    registry.hook(|request| {
        let reply = Reply::ok("content").end(End::StallAfter(3));
        request.is("GET", "/blobs/").then_some(reply)
    });
    let impatient = RegistryClient::new(RegistryOptions {
        http: HttpOptions {
            read_timeout: std::time::Duration::from_millis(50),
            ..options()
        },
        ..RegistryOptions::default()
    });
    let app = impatient
        .unwrap()
        .named_repository(&registry.name(), &"app".parse().unwrap());
    let layer = &image.as_image().unwrap().layers[0];
    let error = app.blob(layer, 100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Fixed in oras-go 2.6.2.
#[tokio::test]
async fn endless_pages_end() {
    let registry = TestRegistry::start().await;
    let mut page = 0;
    registry.hook(move |request| {
        page += 1;
        let next = format!("<{}?page={page}>; rel=\"next\"", request.path);
        let is_list = request.path.contains("/referrers/") || request.path.contains("/tags/");
        let reply = match request.path.contains("/tags/") {
            true => Reply::ok(r#"{"tags":["a"]}"#),
            false => index_reply(Vec::new()),
        };
        is_list.then(|| reply.header("link", next))
    });
    let app = registry.repository();
    let error = app.referrers(&Digest::sha256(b"x")).await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
    let error = app.tags().await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
}

/// oras-go GHSA-h7vf.
#[tokio::test]
async fn the_next_page_is_not_fetched_from_elsewhere() {
    let elsewhere = TestRegistry::start().await;
    let registry = TestRegistry::start().await;
    let target = elsewhere.url("/v2/app/referrers/x");
    registry.hook(move |_| {
        let link = format!("<{target}>; rel=\"next\"");
        Some(index_reply(Vec::new()).header("link", link))
    });
    let app = registry.repository();
    assert!(app.referrers(&Digest::sha256(b"x")).await.is_err());
    assert!(elsewhere.log().is_empty());
}

/// oras-go GHSA-298f, zot 2026-08.
#[tokio::test]
async fn cyclic_referrers_are_visited_once() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let image = push(&app, "image/example", b"image", None).await;
    let report = push(&app, "cve/example", b"report", Some(&image)).await;
    let everything = vec![image.descriptor(), report.descriptor()];
    registry.hook(move |request| {
        let is_list = request.path.contains("/referrers/");
        is_list.then(|| index_reply(everything.clone()))
    });
    let graph = client::walk(&app, image.descriptor(), GraphLimits::default()).await;
    assert_eq!(graph.nodes().count(), 2);
    assert!(graph.truncated().is_none());
}

#[tokio::test]
async fn one_unreadable_referrer_hides_no_other() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let image = push(&app, "image/example", b"image", None).await;
    let good = push(&app, "cve/example", b"good", Some(&image)).await;
    let bad = push(&app, "cve/example", b"bad", Some(&image)).await;
    let path = format!("/manifests/{}", bad.digest());
    registry.hook(move |request| {
        let is_bad = request.is("GET", &path);
        is_bad.then(|| Reply::ok("{").header("content-type", MediaType::IMAGE_MANIFEST.as_str()))
    });
    let graph = client::walk(&app, image.descriptor(), GraphLimits::default()).await;
    assert!(graph.node(good.digest()).unwrap().problem.is_none());
    let problem = graph.node(bad.digest()).unwrap().problem.as_deref();
    assert!(problem.unwrap().contains("digest"), "{problem:?}");
}

#[tokio::test]
async fn a_list_that_is_no_index_is_refused() {
    let image = manifest("image/example", Vec::new(), None);
    for body in ["", "<html>", "[]", r#"{"schemaVersion":2}"#] {
        let registry = TestRegistry::start().await;
        registry.hook(move |_| Some(Reply::ok(body)));
        let result = registry.repository().referrers(image.digest()).await;
        assert!(result.is_err(), "{body}");
    }
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let registry = TestRegistry::start().await;
    registry.hook(|request| Some(Reply::new(307).header("location", request.path.clone())));
    let app = registry.repository();
    let error = app.blob(&Descriptor::of(MediaType::JSON, b"x"), 10).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn redirects_to_other_protocols_are_not_followed() {
    for location in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://",
        "data:,x",
    ] {
        let registry = TestRegistry::start().await;
        registry.hook(move |_| Some(Reply::new(302).header("location", location)));
        let app = registry.repository();
        let result = app.has_blob(&Digest::sha256(b"x")).await;
        assert!(result.is_err(), "{location}");
        assert_eq!(registry.log().len(), 1, "{location}");
    }
}
