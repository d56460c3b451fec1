//! Writing to a registry.

use client::{ArtifactSink, ArtifactSource, ClientError};
use oci::{Descriptor, MediaType};

use crate::artifacts::{manifest, push};
use crate::server::{Reply, TestRegistry};

/// Larger than what is held in memory for another attempt.
fn large() -> Vec<u8> {
    (0..1_500_000u32).flat_map(u32::to_be_bytes).collect()
}

#[tokio::test]
async fn blobs_of_any_size_arrive_and_are_sent_once() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    for content in [Vec::new(), b"small".to_vec(), large()] {
        let blob = Descriptor::of(MediaType::OCTET_STREAM, &content);
        for _ in 0..2 {
            app.push_blob_from(&blob, &mut &content[..]).await.unwrap();
        }
        assert_eq!(app.blob(&blob, 1 << 30).await.unwrap(), content);
    }
    assert_eq!(registry.count("PUT", "/blobs/uploads/"), 3);
}

#[tokio::test]
async fn content_that_is_not_what_it_is_called_is_not_stored() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    for content in [b"small".to_vec(), large()] {
        let blob = Descriptor::of(MediaType::OCTET_STREAM, &content);
        let mut changed = content.clone();
        changed[0] ^= 1;
        let longer = [content.clone(), vec![0]].concat();
        for wrong in [&changed[..], &content[1..], &longer[..]] {
            assert!(app.push_blob_from(&blob, &mut &*wrong).await.is_err());
        }
        assert!(!app.has_blob(&blob.digest).await.unwrap());
    }
}

#[tokio::test]
async fn a_refused_upload_says_why() {
    let registry = TestRegistry::start().await;
    registry.hook(|request| {
        let refused = request.is("PUT", "/blobs/uploads/");
        refused.then(|| Reply::error(403, "DENIED"))
    });
    let app = registry.repository();
    for content in [b"small".to_vec(), large()] {
        let blob = Descriptor::of(MediaType::OCTET_STREAM, &content);
        let error = app.push_blob_from(&blob, &mut &content[..]).await;
        let error = error.unwrap_err();
        assert!(matches!(error, ClientError::Denied { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn without_the_api_referrers_are_listed_under_a_tag() {
    let registry = TestRegistry::start_without_referrers().await;
    let app = registry.repository();
    let image = push(&app, "image/example", b"image", None).await;
    let one = push(&app, "cve/example", b"one", Some(&image)).await;
    let two = push(&app, "cve/example", b"two", Some(&image)).await;
    app.push_manifest(&two, None).await.unwrap();

    let listed = app.referrers(image.digest()).await.unwrap();
    assert_eq!(listed, [one.descriptor(), two.descriptor()]);
    let tags: Vec<String> = app
        .tags()
        .await
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(tags, [image.digest().referrers_tag()]);
}

#[tokio::test]
async fn a_lost_race_for_the_referrers_tag_is_run_again() {
    let registry = TestRegistry::start_without_referrers().await;
    let app = registry.repository();
    let image = push(&app, "image/example", b"image", None).await;
    let mut lost = 0;
    // The first write is taken, and then replaced by somebody else's older view.
    registry.hook(move |request| {
        let is_tag = request.is("PUT", "/manifests/sha256-");
        lost += i32::from(is_tag);
        (is_tag && lost == 1).then(|| Reply::new(201))
    });
    let report = push(&app, "cve/example", b"report", Some(&image)).await;
    let listed = app.referrers(image.digest()).await.unwrap();
    assert_eq!(listed, [report.descriptor()]);
    assert_eq!(registry.count("PUT", "/manifests/sha256-"), 2);
}

#[tokio::test]
async fn a_subject_need_not_be_there() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let absent = manifest("image/example", Vec::new(), None);
    let report = push(&app, "cve/example", b"report", Some(&absent)).await;
    let listed = app.referrers(absent.digest()).await.unwrap();
    assert_eq!(listed, [report.descriptor()]);
}

#[tokio::test]
async fn a_deleted_manifest_is_gone() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let image = push(&app, "image/example", b"image", None).await;
    app.delete(image.digest()).await.unwrap();
    let name = image.digest().clone().into();
    assert!(app.resolve(&name).await.unwrap_err().is_not_found());
}
