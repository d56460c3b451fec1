//! Images from an image layout on disk, whole and broken.

use client::{ArtifactSink, Layout};
use oci::{Digest, ImageManifest, Index, MediaType};

use super::*;

const NAME: ImageName<'_> = ImageName {
    reference: "oci:x:1",
    repository: "x",
    tag: Some("1"),
};

/// A plain tar archive with one file.
fn archive(path: &str, content: &str) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[156] = b'0';
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(content.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

/// Pushes an image with these layers, and returns its manifest.
async fn push(layout: &Layout, layers: &[(MediaType, Vec<u8>)]) -> Manifest {
    let config = br#"{"architecture":"amd64","os":"linux"}"#;
    let config_descriptor = Descriptor::of(MediaType::IMAGE_CONFIG, config);
    layout
        .push_blob_from(&config_descriptor, &mut &config[..])
        .await
        .unwrap();
    let mut descriptors = Vec::new();
    for (media_type, bytes) in layers {
        let descriptor = Descriptor::of(media_type.clone(), bytes);
        layout
            .push_blob_from(&descriptor, &mut &bytes[..])
            .await
            .unwrap();
        descriptors.push(descriptor);
    }
    let manifest = Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type: None,
        config: config_descriptor,
        layers: descriptors,
        subject: None,
        annotations: Default::default(),
    });
    layout.push_manifest(&manifest, None).await.unwrap();
    manifest
}

fn status(package: &str) -> (MediaType, Vec<u8>) {
    let content = format!("Package: {package}\nVersion: 1\nStatus: install ok installed\n");
    (
        MediaType::LAYER_TAR,
        archive("var/lib/dpkg/status", &content),
    )
}

async fn scan(layout: &Layout, manifest: &Manifest) -> Result<Vec<String>, ImageScanError> {
    let (described, catalog) = scan_image(layout, &manifest.descriptor(), NAME, None).await?;
    assert_eq!(described.architecture.as_deref(), Some("amd64"));
    Ok(catalog
        .packages
        .into_iter()
        .map(|package| package.name)
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upper_layer_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let manifest = push(&layout, &[status("lower"), status("upper")]).await;
    assert_eq!(scan(&layout, &manifest).await.unwrap(), ["upper"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_larger_than_the_pipe_that_is_refused_at_once_is_no_deadlock() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let large = vec![b'x'; 4 * PIPE_BYTES];
    let manifest = push(&layout, &[(MediaType::LAYER_TAR_GZIP, large)]).await;
    let error = scan(&layout, &manifest).await.unwrap_err();
    assert!(
        matches!(error, ImageScanError::Layer(LayerError::Magic(..))),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_cannot_be_fetched_is_the_fault_of_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let layer = status("a");
    let digest = Digest::sha256(&layer.1);
    let manifest = push(&layout, &[layer]).await;
    let blob = dir.path().join(oci::layout::blob_path(&digest));
    std::fs::write(&blob, b"changed").unwrap();
    let error = scan(&layout, &manifest).await.unwrap_err();
    assert!(matches!(error, ImageScanError::Fetch(_)), "{error}");
    std::fs::remove_file(&blob).unwrap();
    let error = scan(&layout, &manifest).await.unwrap_err();
    assert!(matches!(error, ImageScanError::Fetch(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_the_image_for_the_platform_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let image = push(&layout, &[status("a")]).await;
    let platform = |architecture: &str| Platform {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
        variant: None,
    };
    let mut entry = image.descriptor();
    entry.platform = Some(platform("s390x"));
    let index = Index::new(vec![entry]);
    let bytes = serde_json::to_vec(&index).unwrap();
    let index = Manifest::parse(MediaType::IMAGE_INDEX, bytes).unwrap();
    layout.push_manifest(&index, None).await.unwrap();
    let root = index.descriptor();
    let wanted = platform("s390x");
    let (described, _) = scan_image(&layout, &root, NAME, Some(&wanted))
        .await
        .unwrap();
    assert_eq!(described.digest(), image.digest());
    let error = scan_image(&layout, &root, NAME, Some(&platform("riscv64")))
        .await
        .unwrap_err();
    let expected = format!(
        "`{}` has no image for `linux/riscv64`: it has `linux/s390x`",
        index.digest()
    );
    assert_eq!(error.to_string(), expected);
}
