use oci::ImageManifest;
use oci::descriptor::Annotations;

use super::*;

fn artifact(subject: Option<Descriptor>, layers: Vec<Descriptor>) -> Manifest {
    Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type: Some("cve/example".parse().unwrap()),
        config: Descriptor::empty(),
        layers,
        subject,
        annotations: Annotations::new(),
    })
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn layout() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    (dir, layout)
}

#[tokio::test]
async fn what_was_pushed_is_resolved_and_read() {
    let (dir, layout) = layout();
    let blob = Descriptor::of(MediaType::JSON, b"{\"a\":1}");
    layout
        .push_blob_from(&blob, &mut &b"{\"a\":1}"[..])
        .await
        .unwrap();
    let image = artifact(None, vec![blob.clone()]);
    layout
        .push_manifest(&image, Some(&tag("v1")))
        .await
        .unwrap();
    let report = artifact(Some(image.descriptor()), vec![blob.clone()]);
    layout.push_manifest(&report, None).await.unwrap();

    let again = Layout::open(dir.path()).unwrap();
    let resolved = again.resolve(&tag("v1").into()).await.unwrap();
    assert_eq!(resolved.digest, *image.digest());
    assert_eq!(
        again.manifest(&resolved).await.unwrap().bytes(),
        image.bytes()
    );
    let referrers = again.referrers(image.digest()).await.unwrap();
    assert_eq!(referrers, [report.descriptor()]);
    assert_eq!(again.blob(&blob, 100).await.unwrap(), b"{\"a\":1}");
    assert_eq!(again.tags().unwrap(), [tag("v1")]);

    again.delete(report.digest()).await.unwrap();
    assert!(again.referrers(image.digest()).await.unwrap().is_empty());
    let error = again.resolve(&report.digest().clone().into()).await;
    assert!(error.unwrap_err().is_not_found());
}

#[tokio::test]
async fn content_that_is_not_what_it_is_called_leaves_nothing_behind() {
    let (dir, layout) = layout();
    let right = Descriptor::of(MediaType::JSON, b"right");
    for wrong in ["wrong", "righ", "right and more"] {
        let result = layout.push_blob_from(&right, &mut wrong.as_bytes()).await;
        assert!(result.is_err(), "{wrong}");
    }
    let folder = dir.path().join("blobs/sha256");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

#[tokio::test]
async fn a_blob_that_was_changed_on_disk_is_refused() {
    let (dir, layout) = layout();
    let blob = Descriptor::of(MediaType::JSON, b"right");
    layout
        .push_blob_from(&blob, &mut &b"right"[..])
        .await
        .unwrap();
    let path = dir.path().join(layout::blob_path(&blob.digest));
    std::fs::write(path, "wrong").unwrap();
    let error = layout.blob(&blob, 100).await.unwrap_err();
    assert!(
        matches!(error, ClientError::DigestMismatch { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let (dir, _layout) = layout();
    let push = |number: u32| {
        let layout = Layout::open(dir.path()).unwrap();
        async move {
            let name = tag(&format!("v{number}"));
            let subject = Descriptor::of(MediaType::IMAGE_MANIFEST, &number.to_be_bytes());
            let manifest = artifact(Some(subject), Vec::new());
            layout.push_manifest(&manifest, Some(&name)).await.unwrap();
        }
    };
    let tasks: Vec<_> = (0..12).map(|number| tokio::spawn(push(number))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(Layout::open(dir.path()).unwrap().tags().unwrap().len(), 12);
}

#[test]
fn folders_without_a_layout_are_refused() {
    for content in [None, Some("{"), Some(r#"{"imageLayoutVersion":"2.0.0"}"#)] {
        let dir = tempfile::tempdir().unwrap();
        if let Some(content) = content {
            std::fs::write(dir.path().join("oci-layout"), content).unwrap();
        }
        assert!(Layout::open(dir.path()).is_err(), "{content:?}");
    }
}
