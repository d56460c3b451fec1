//! Downloads of blobs: ranges, deletion, who may read.

use oci::{Digest, DigestAlgorithm};

use crate::harness::{TestServer, send};

#[tokio::test]
async fn a_blob_comes_back_whole_and_in_ranges() {
    let server = TestServer::start().await;
    let digest = server.push_blob("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let whole = server.ask("GET", &path).await;
    assert_eq!(
        (whole.status.as_u16(), &*whole.body),
        (200, &b"0123456789"[..])
    );
    assert_eq!(whole.header("docker-content-digest"), digest.as_str());
    let head = server.ask("HEAD", &path).await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, "10")
    );
    assert_eq!(head.header("docker-content-digest"), digest.as_str());
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=8-", 206, "bytes 8-9/10", "89"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=5-500", 206, "bytes 5-9/10", "56789"),
        ("bytes=0-0,2-2", 200, "", "0123456789"),
    ] {
        let answer = send(server.request("GET", &path).header("range", range)).await;
        assert_eq!(answer.status, status, "{range}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        assert_eq!(answer.body, body, "{range}");
    }
    for range in ["bytes=10-", "bytes=5-0"] {
        let answer = send(server.request("GET", &path).header("range", range)).await;
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.header("content-range"), "bytes */10", "{range}");
    }
}

#[tokio::test]
async fn the_empty_blob_is_a_blob() {
    let server = TestServer::start().await;
    let digest = server.push_blob("a", b"").await;
    let answer = server.ask("GET", &format!("/v2/a/blobs/{digest}")).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
}

#[tokio::test]
async fn sha512_is_a_digest_of_its_own() {
    let server = TestServer::start().await;
    let digest = Digest::of(DigestAlgorithm::Sha512, b"x");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let pushed = send(server.request("POST", &path).body("x")).await;
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let answer = server.ask("GET", &format!("/v2/a/blobs/{digest}")).await;
    assert_eq!(answer.header("docker-content-digest"), digest.as_str());
    let other = Digest::sha256(b"x");
    let answer = server.ask("GET", &format!("/v2/a/blobs/{other}")).await;
    assert_eq!(answer.error(), "404 BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_repository_gives_out_only_its_own_blobs() {
    let server = TestServer::start().await;
    let digest = server.push_blob("secret", b"x").await;
    server.push_blob("public", b"y").await;
    for method in ["GET", "HEAD"] {
        let answer = server
            .ask(method, &format!("/v2/public/blobs/{digest}"))
            .await;
        assert_eq!(answer.status, 404, "{method}");
    }
}

#[tokio::test]
async fn a_deleted_blob_is_gone_from_its_repository_alone() {
    let server = TestServer::start().await;
    let digest = server.push_blob("a", b"x").await;
    server.push_blob("b", b"x").await;
    let path = format!("/v2/a/blobs/{digest}");
    assert_eq!(server.ask("DELETE", &path).await.status, 202);
    assert_eq!(server.ask("GET", &path).await.error(), "404 BLOB_UNKNOWN");
    assert_eq!(
        server.ask("DELETE", &path).await.error(),
        "404 BLOB_UNKNOWN"
    );
    let other = server.ask("GET", &format!("/v2/b/blobs/{digest}")).await;
    assert_eq!(other.body, "x");
    // Pushed to another repository again, it stays gone here (distribution CVE-2026-35172).
    server.push_blob("c", b"x").await;
    assert_eq!(server.ask("HEAD", &path).await.status, 404);
}
