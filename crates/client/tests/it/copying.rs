//! Copying between registries and layouts.

use std::sync::Mutex;

use client::copy::{CopyEvent, CopyScope, copy};
use client::{ArtifactSink, ArtifactSource, Layout};
use oci::graph::GraphLimits;
use oci::{Index, Manifest, MediaType};

use crate::artifacts::push;
use crate::server::{Reply, TestRegistry};

fn silent(_: CopyEvent<'_>) {}

/// Returns an index over two images, one of which has a signed report.
async fn release(sink: &dyn ArtifactSink) -> Manifest {
    let one = push(sink, "image/example", b"one", None).await;
    let two = push(sink, "image/example", b"two", None).await;
    let report = push(sink, "cve/example", b"report", Some(&one)).await;
    push(sink, "signature/example", b"signature", Some(&report)).await;
    let index = Index::new(vec![one.descriptor().bare(), two.descriptor().bare()]);
    let bytes = serde_json::to_vec(&index).unwrap();
    let index = Manifest::parse(MediaType::IMAGE_INDEX, bytes).unwrap();
    sink.push_manifest(&index, None).await.unwrap();
    index
}

async fn graph_root(source: &dyn ArtifactSource, root: &Manifest) -> oci::Digest {
    let graph = client::walk(source, root.descriptor(), GraphLimits::default()).await;
    assert!(graph.nodes().all(|node| node.problem.is_none()));
    graph.graph_root().unwrap()
}

#[tokio::test]
async fn a_graph_arrives_whole_wherever_it_goes() {
    let registry = TestRegistry::start().await;
    let other = TestRegistry::start_without_referrers().await;
    let folder = tempfile::tempdir().unwrap();
    let from = registry.repository();
    let layout = Layout::create(folder.path()).unwrap();
    let to = other.repository();
    let root = release(&from).await;
    let tag = "v1".parse().unwrap();
    let descriptor = root.descriptor();

    let first = copy(
        (&from, &descriptor),
        (&layout, Some(&tag)),
        CopyScope::Graph,
        &silent,
    );
    let first = first.await.unwrap();
    assert_eq!(
        (first.manifests, first.blobs, first.skipped),
        (5, 5, vec![])
    );
    let second = copy(
        (&layout, &descriptor),
        (&to, Some(&tag)),
        CopyScope::Graph,
        &silent,
    );
    assert_eq!(second.await.unwrap().manifests, 5);

    let expected = graph_root(&from, &root).await;
    assert_eq!(graph_root(&layout, &root).await, expected);
    assert_eq!(graph_root(&to, &root).await, expected);
    let resolved = to.resolve(&tag.into()).await.unwrap();
    assert_eq!(resolved.digest, *root.digest());
}

#[tokio::test]
async fn an_artifact_alone_goes_without_its_referrers() {
    let registry = TestRegistry::start().await;
    let folder = tempfile::tempdir().unwrap();
    let from = registry.repository();
    let layout = Layout::create(folder.path()).unwrap();
    let root = release(&from).await;
    let descriptor = root.descriptor();
    let copied = copy(
        (&from, &descriptor),
        (&layout, None),
        CopyScope::Artifact,
        &silent,
    );
    assert_eq!(copied.await.unwrap().manifests, 3);
}

#[tokio::test]
async fn what_is_there_is_not_sent_again() {
    let registry = TestRegistry::start().await;
    let folder = tempfile::tempdir().unwrap();
    let from = registry.repository();
    let layout = Layout::create(folder.path()).unwrap();
    let root = release(&from).await;
    let descriptor = root.descriptor();
    for expected in [0, 5] {
        let present = Mutex::new(0);
        let count = |event: CopyEvent<'_>| {
            *present.lock().unwrap() += i32::from(matches!(event, CopyEvent::Present(_)));
        };
        copy(
            (&from, &descriptor),
            (&layout, None),
            CopyScope::Graph,
            &count,
        )
        .await
        .unwrap();
        assert_eq!(*present.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn an_unreadable_referrer_is_left_behind_and_named() {
    let registry = TestRegistry::start().await;
    let folder = tempfile::tempdir().unwrap();
    let from = registry.repository();
    let layout = Layout::create(folder.path()).unwrap();
    let image = push(&from, "image/example", b"image", None).await;
    let report = push(&from, "cve/example", b"report", Some(&image)).await;
    let path = format!("/manifests/{}", report.digest());
    registry.hook(move |request| request.is("GET", &path).then(|| Reply::new(404)));
    let descriptor = image.descriptor();
    let copied = copy(
        (&from, &descriptor),
        (&layout, None),
        CopyScope::Graph,
        &silent,
    );
    let copied = copied.await.unwrap();
    assert_eq!(copied.manifests, 1);
    assert_eq!(copied.skipped[0].0, *report.digest());
}

#[tokio::test]
async fn a_missing_platform_or_blob_fails_the_copy_before_the_tag() {
    for part in ["/manifests/sha256:", "/blobs/"] {
        let registry = TestRegistry::start().await;
        let folder = tempfile::tempdir().unwrap();
        let from = registry.repository();
        let layout = Layout::create(folder.path()).unwrap();
        let root = release(&from).await;
        let own = root.digest().to_string();
        registry.hook(move |request| {
            let is_part = request.is("GET", part) && !request.path.contains(&own);
            is_part.then(|| Reply::new(404))
        });
        let tag = "v1".parse().unwrap();
        let descriptor = root.descriptor();
        let copied = copy(
            (&from, &descriptor),
            (&layout, Some(&tag)),
            CopyScope::Graph,
            &silent,
        );
        assert!(copied.await.is_err(), "{part}");
        assert!(layout.tags().unwrap().is_empty(), "{part}");
    }
}
