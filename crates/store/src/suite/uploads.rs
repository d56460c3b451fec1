//! Upload sessions go on where they were.

use bytes::Bytes;
use futures_util::stream;
use oci::{Digest, DigestAlgorithm, RepositoryName};

use super::at;
use crate::blob::{UploadError, UploadId};
use crate::{Blobs, StoreError, Uploads};

/// Runs the suite.
pub async fn uploads(blobs: &Blobs, uploads: &Uploads) {
    pieces_become_a_blob(blobs, uploads).await;
    a_broken_stream_keeps_what_arrived(uploads).await;
    a_sha512_upload_is_hashed_again(blobs, uploads).await;
    a_session_belongs_to_its_repository(uploads).await;
    a_mismatch_ends_the_session(blobs, uploads).await;
    old_sessions_expire(uploads).await;
}

fn repository() -> RepositoryName {
    "team/app".parse().unwrap()
}

async fn append(uploads: &Uploads, id: UploadId, offset: Option<u64>, text: &'static str) -> u64 {
    let pieces = stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
    let appended = uploads.append(&repository(), id, offset, pieces).await;
    appended.unwrap()
}

async fn pieces_become_a_blob(blobs: &Blobs, uploads: &Uploads) {
    let id = uploads.start(&repository(), at(0)).await.unwrap();
    assert_eq!(uploads.status(&repository(), id).await.unwrap().size, 0);
    assert_eq!(append(uploads, id, Some(0), "abc").await, 3);
    assert_eq!(append(uploads, id, None, "def").await, 6);
    let pieces = stream::iter([Ok(Bytes::from_static(b"x"))]);
    let refused = uploads.append(&repository(), id, Some(3), pieces).await;
    assert!(matches!(
        refused,
        Err(UploadError::OutOfOrder {
            expected: 6,
            given: 3
        })
    ));
    assert_eq!(append(uploads, id, Some(6), "ghi").await, 9);
    let digest = Digest::sha256(b"abcdefghi");
    let finished = uploads.finish(&repository(), id, &digest).await;
    assert_eq!(finished.unwrap(), 9);
    assert_eq!(blobs.read(&digest, 9).await.unwrap().unwrap(), b"abcdefghi");
    let gone = uploads.status(&repository(), id).await;
    assert!(matches!(gone, Err(UploadError::Unknown(_))));
}

async fn a_broken_stream_keeps_what_arrived(uploads: &Uploads) {
    let id = uploads.start(&repository(), at(0)).await.unwrap();
    let pieces = stream::iter([
        Ok(Bytes::from_static(b"first ")),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
        Ok(Bytes::from_static(b"never")),
    ]);
    let broken = uploads.append(&repository(), id, Some(0), pieces).await;
    assert!(matches!(
        broken,
        Err(UploadError::Store(StoreError::Incoming(_)))
    ));
    assert_eq!(uploads.status(&repository(), id).await.unwrap().size, 6);
    assert_eq!(append(uploads, id, Some(6), "second").await, 12);
    let digest = Digest::sha256(b"first second");
    uploads.finish(&repository(), id, &digest).await.unwrap();
}

async fn a_sha512_upload_is_hashed_again(blobs: &Blobs, uploads: &Uploads) {
    let id = uploads.start(&repository(), at(0)).await.unwrap();
    append(uploads, id, None, "in pieces").await;
    let digest = Digest::of(DigestAlgorithm::Sha512, b"in pieces");
    uploads.finish(&repository(), id, &digest).await.unwrap();
    assert_eq!(blobs.size(&digest).await.unwrap(), Some(9));
}

async fn a_session_belongs_to_its_repository(uploads: &Uploads) {
    let id = uploads.start(&repository(), at(0)).await.unwrap();
    let other: RepositoryName = "team/other".parse().unwrap();
    let digest = Digest::sha256(b"");
    let unknown = |result| matches!(result, Err(UploadError::Unknown(_)));
    assert!(unknown(uploads.cancel(&other, id).await));
    assert!(unknown(uploads.finish(&other, id, &digest).await.map(drop)));
    assert!(unknown(uploads.status(&other, id).await.map(drop)));
    uploads.cancel(&repository(), id).await.unwrap();
    assert!(unknown(uploads.cancel(&repository(), id).await));
}

async fn a_mismatch_ends_the_session(blobs: &Blobs, uploads: &Uploads) {
    for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
        let id = uploads.start(&repository(), at(0)).await.unwrap();
        append(uploads, id, None, "not this").await;
        let digest = Digest::of(algorithm, b"that");
        let refused = uploads.finish(&repository(), id, &digest).await;
        assert!(matches!(
            refused,
            Err(UploadError::Store(StoreError::DigestMismatch { .. }))
        ));
        assert_eq!(blobs.size(&digest).await.unwrap(), None);
        assert!(uploads.status(&repository(), id).await.is_err());
    }
}

async fn old_sessions_expire(uploads: &Uploads) {
    let old = uploads.start(&repository(), at(100)).await.unwrap();
    let young = uploads.start(&repository(), at(200)).await.unwrap();
    assert_eq!(uploads.expire(at(200)).await.unwrap(), 1);
    assert!(uploads.status(&repository(), old).await.is_err());
    let status = uploads.status(&repository(), young).await.unwrap();
    assert_eq!(status.started_at, at(200));
    uploads.cancel(&repository(), young).await.unwrap();
}
