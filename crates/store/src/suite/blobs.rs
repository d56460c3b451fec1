//! Blobs appear whole or not at all.

use oci::{Digest, DigestAlgorithm};
use tokio::io::AsyncReadExt;

use crate::blob::{BlobReader, ByteRange};
use crate::{Blobs, StoreError};

/// Runs the suite over an empty set of blobs.
pub async fn blobs(blobs: &Blobs) {
    a_blob_is_visible_only_after_its_commit(blobs).await;
    a_wrong_digest_keeps_nothing(blobs).await;
    a_sha512_blob_has_its_own_key(blobs).await;
    ranges_are_cut_to_the_blob(blobs).await;
    listing_goes_on_after_a_key(blobs).await;
    deleting_twice_is_harmless(blobs).await;
}

async fn a_blob_is_visible_only_after_its_commit(blobs: &Blobs) {
    let digest = Digest::sha256(b"hello world");
    let mut writer = blobs.writer(DigestAlgorithm::Sha256).await.unwrap();
    writer.write(b"hello ").await.unwrap();
    writer.write(b"world").await.unwrap();
    assert!(blobs.open(&digest).await.unwrap().is_none());
    assert_eq!(writer.commit(&digest).await.unwrap(), 11);
    assert_eq!(blobs.size(&digest).await.unwrap(), Some(11));
    let bytes = blobs.read(&digest, 11).await.unwrap().unwrap();
    assert_eq!(bytes, b"hello world");
    let refused = blobs.read(&digest, 10).await;
    assert!(matches!(
        refused,
        Err(StoreError::TooLarge { limit: 10, .. })
    ));
    // The same bytes again are the same blob.
    assert_eq!(blobs.put(b"hello world").await.unwrap(), digest);
}

async fn a_wrong_digest_keeps_nothing(blobs: &Blobs) {
    let (announced, actual) = (Digest::sha256(b"announced"), Digest::sha256(b"sent"));
    let mut writer = blobs.writer(DigestAlgorithm::Sha256).await.unwrap();
    writer.write(b"sent").await.unwrap();
    let refused = writer.commit(&announced).await;
    assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
    for digest in [announced, actual] {
        assert_eq!(blobs.size(&digest).await.unwrap(), None);
    }
}

async fn a_sha512_blob_has_its_own_key(blobs: &Blobs) {
    let digest = Digest::of(DigestAlgorithm::Sha512, b"long");
    let mut writer = blobs.writer(DigestAlgorithm::Sha512).await.unwrap();
    writer.write(b"long").await.unwrap();
    writer.commit(&digest).await.unwrap();
    assert_eq!(blobs.read(&digest, 100).await.unwrap().unwrap(), b"long");
    assert_eq!(blobs.size(&Digest::sha256(b"long")).await.unwrap(), None);
}

async fn ranges_are_cut_to_the_blob(blobs: &Blobs) {
    let digest = blobs.put(b"0123456789").await.unwrap();
    for (start, length, expected) in [
        (0, 3, "012"),
        (4, 2, "45"),
        (8, 100, "89"),
        (10, 1, ""),
        (99, 1, ""),
        (0, 0, ""),
    ] {
        let range = ByteRange { start, length };
        let reader = blobs.open_range(&digest, range).await.unwrap().unwrap();
        assert_eq!(reader.size, 10);
        assert_eq!(read(reader).await, expected, "{start}+{length}");
    }
}

async fn listing_goes_on_after_a_key(blobs: &Blobs) {
    for number in 0..40_u8 {
        blobs.put(&[number]).await.unwrap();
    }
    let all = blobs.backend().list(None, usize::MAX).await.unwrap();
    assert!(all.len() >= 40 && all.is_sorted());
    let mut paged: Vec<Digest> = Vec::new();
    loop {
        let page = blobs.backend().list(paged.last(), 7).await.unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

async fn deleting_twice_is_harmless(blobs: &Blobs) {
    let digest = blobs.put(b"short-lived").await.unwrap();
    assert!(blobs.delete(&digest).await.unwrap());
    assert!(!blobs.delete(&digest).await.unwrap());
    assert!(blobs.open(&digest).await.unwrap().is_none());
}

async fn read(mut reader: BlobReader) -> String {
    let mut text = String::new();
    reader.bytes.read_to_string(&mut text).await.unwrap();
    text
}
