//! Reading from a registry that behaves.

use client::{ArtifactSink, ArtifactSource};
use oci::graph::GraphLimits;

use crate::artifacts::push;
use crate::server::{End, Reply, TestRegistry, client};

#[tokio::test]
async fn a_graph_is_walked_down_to_what_refers_to_referrers() {
    for registry in [
        TestRegistry::start().await,
        TestRegistry::start_without_referrers().await,
    ] {
        let app = registry.repository();
        let image = push(&app, "image/example", b"image", None).await;
        let report = push(&app, "cve/example", b"report", Some(&image)).await;
        let other = push(&app, "sbom/example", b"sbom", Some(&image)).await;
        let signature = push(&app, "signature/example", b"signature", Some(&report)).await;

        let graph = client::walk(&app, image.descriptor(), GraphLimits::default()).await;
        let mut found: Vec<_> = graph.nodes().map(|node| &node.descriptor.digest).collect();
        let mut expected = [&image, &report, &other, &signature].map(|m| m.digest());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        assert!(graph.nodes().all(|node| node.problem.is_none()));
        assert!(graph.graph_root().is_some());
    }
}

#[tokio::test]
async fn a_tag_is_resolved_and_its_manifest_read_in_one_request() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let image = push(&app, "image/example", b"image", None).await;
    app.tag(image.digest(), &"v1".parse().unwrap())
        .await
        .unwrap();

    let before = registry.log().len();
    let app = registry.repository();
    let tag: oci::Tag = "v1".parse().unwrap();
    let resolved = app.resolve(&tag.clone().into()).await.unwrap();
    let manifest = app.manifest(&resolved).await.unwrap();
    assert_eq!(manifest.bytes(), image.bytes());
    assert_eq!(registry.log().len(), before + 1);
    assert_eq!(app.tags().await.unwrap(), [tag]);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let registry = TestRegistry::start().await;
    registry.hook(|request| {
        if request.path != "/v2/_catalog" {
            return None;
        }
        Some(match request.query.contains("last=b") {
            false => Reply::ok(r#"{"repositories":["a","NOT A NAME","b"]}"#)
                .header("link", r#"</v2/_catalog?last=b&n=2>; rel="next""#),
            true => Reply::ok(r#"{"repositories":["c"]}"#),
        })
    });
    let names = client(Default::default())
        .repositories(&registry.name())
        .await
        .unwrap();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let nothing = oci::Digest::sha256(b"nothing");
    let tag: oci::Tag = "v9".parse().unwrap();
    assert!(app.resolve(&tag.into()).await.unwrap_err().is_not_found());
    assert!(app.delete(&nothing).await.unwrap_err().is_not_found());
    assert!(app.referrers(&nothing).await.unwrap().is_empty());
    assert!(!app.has_blob(&nothing).await.unwrap());
}

#[tokio::test]
async fn a_failure_that_passes_is_not_seen() {
    for fault in [
        Reply::new(503),
        Reply::new(429).header("retry-after", "0"),
        Reply::new(500),
    ] {
        let registry = TestRegistry::start().await;
        let app = registry.repository();
        let image = push(&app, "image/example", b"image", None).await;
        let mut left = 2;
        registry.hook(move |request| {
            let failing = request.is("GET", "/manifests/") && left > 0;
            left -= i32::from(failing);
            failing.then(|| fault.clone())
        });
        let found = app.manifest(&image.descriptor()).await.unwrap();
        assert_eq!(found.digest(), image.digest());
    }
}

#[tokio::test]
async fn a_failure_that_stays_is_unavailable() {
    let registry = TestRegistry::start().await;
    registry.hook(|_| Some(Reply::new(503)));
    let error = registry
        .repository()
        .referrers(&oci::Digest::sha256(b"x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), client::ErrorKind::Unavailable);
    assert_eq!(registry.log().len(), 3);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_be_bytes).collect();
    let manifest = push(&app, "image/example", &content, None).await;
    let layer = &manifest.as_image().unwrap().layers[0];
    let whole = content.clone();
    registry.hook(move |request| {
        let first = request.is("GET", "/blobs/") && request.header("range").is_none();
        first.then(|| Reply::ok(whole.clone()).end(End::BreakAfter(50_000)))
    });
    assert_eq!(app.blob(layer, 1 << 20).await.unwrap(), content);
    assert_eq!(registry.count("GET", "/blobs/"), 2);
}
