//! Uploads: sessions, pieces, mounts.

use oci::Digest;
use serde_json::json;

use crate::harness::{Answer, TestServer, send};

async fn begin(server: &TestServer) -> String {
    let answer = server.ask("POST", "/v2/a/blobs/uploads/").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("range")),
        (202, "0-0")
    );
    answer.header("location").to_owned()
}

async fn piece(server: &TestServer, session: &str, range: &str, body: &'static str) -> Answer {
    let request = server.request("PATCH", session).body(body);
    let request = match range {
        "" => request,
        range => request.header("content-range", range),
    };
    send(request).await
}

#[tokio::test]
async fn pieces_in_order_become_a_blob() {
    let server = TestServer::start().await;
    let session = begin(&server).await;
    let first = piece(&server, &session, "0-4", "01234").await;
    assert_eq!((first.status.as_u16(), first.header("range")), (202, "0-4"));
    let second = piece(&server, &session, "", "56").await;
    assert_eq!(second.header("range"), "0-6");
    let status = server.ask("GET", &session).await;
    assert_eq!(
        (status.status.as_u16(), status.header("range")),
        (204, "0-6")
    );
    assert_eq!(status.header("location"), session);
    let digest = Digest::sha256(b"0123456789");
    let last = server
        .request("PUT", &format!("{session}?digest={digest}"))
        .header("content-range", "7-9")
        .body("789");
    let done = send(last).await;
    assert_eq!(done.status, 201);
    assert_eq!(done.header("location"), format!("/v2/a/blobs/{digest}"));
    assert_eq!(
        server.ask("GET", done.header("location")).await.body,
        "0123456789"
    );
    let over = server.ask("GET", &session).await;
    assert_eq!(over.error(), "404 BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_piece_out_of_order_is_refused_and_the_session_goes_on() {
    let server = TestServer::start().await;
    let session = begin(&server).await;
    piece(&server, &session, "0-4", "01234").await;
    for range in ["0-4", "6-10", "4-8"] {
        let answer = piece(&server, &session, range, "xxxxx").await;
        assert_eq!(answer.error(), "416 BLOB_UPLOAD_INVALID", "{range}");
        assert_eq!(answer.header("range"), "0-4", "{range}");
    }
    let digest = Digest::sha256(b"0123456789");
    let path = format!("{session}?digest={digest}");
    let last = server.request("PUT", &path).header("content-range", "6-9");
    let answer = send(last.body("6789")).await;
    assert_eq!(answer.error(), "416 BLOB_UPLOAD_INVALID");
    assert_eq!(piece(&server, &session, "5-9", "56789").await.status, 202);
    assert_eq!(server.ask("PUT", &path).await.status, 201);
}

#[tokio::test]
async fn malformed_pieces_are_refused() {
    let server = TestServer::start().await;
    let session = begin(&server).await;
    for (range, expected) in [
        ("4-0", "400 BLOB_UPLOAD_INVALID"),
        ("0--1", "400 BLOB_UPLOAD_INVALID"),
        ("x", "400 BLOB_UPLOAD_INVALID"),
        ("0-18446744073709551615", "400 BLOB_UPLOAD_INVALID"),
        ("0-9", "400 SIZE_INVALID"),
    ] {
        let answer = piece(&server, &session, range, "01234").await;
        assert_eq!(answer.error(), expected, "{range}");
    }
    assert_eq!(server.ask("GET", &session).await.header("range"), "0-0");
}

#[tokio::test]
async fn a_wrong_digest_leaves_no_blob() {
    let server = TestServer::start().await;
    let (wrong, right) = (Digest::sha256(b"other"), Digest::sha256(b"x"));
    let at_once = format!("/v2/a/blobs/uploads/?digest={wrong}");
    let answer = send(server.request("POST", &at_once).body("x")).await;
    assert_eq!(answer.error(), "400 DIGEST_INVALID");
    let session = begin(&server).await;
    let path = format!("{session}?digest={wrong}");
    let answer = send(server.request("PUT", &path).body("x")).await;
    assert_eq!(answer.error(), "400 DIGEST_INVALID");
    for digest in [wrong, right] {
        let answer = server.ask("HEAD", &format!("/v2/a/blobs/{digest}")).await;
        assert_eq!(answer.status, 404, "{digest}");
    }
    for query in ["", "?digest=sha256:..", "?digest=md5:00"] {
        let session = begin(&server).await;
        let answer = server.ask("PUT", &format!("{session}{query}")).await;
        assert_eq!(answer.error(), "400 DIGEST_INVALID", "{query}");
    }
}

#[tokio::test]
async fn a_session_belongs_to_its_repository_and_can_be_cancelled() {
    let server = TestServer::start().await;
    let session = begin(&server).await;
    let elsewhere = session.replace("/v2/a/", "/v2/b/");
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = server.ask(method, &elsewhere).await;
        assert_eq!(answer.error(), "404 BLOB_UPLOAD_UNKNOWN", "{method}");
    }
    assert_eq!(server.ask("DELETE", &session).await.status, 204);
    let again = server.ask("DELETE", &session).await;
    assert_eq!(again.error(), "404 BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_mount_needs_reading_rights_on_the_source() {
    let server = TestServer::start().await;
    let digest = server.push_blob("secret", b"x").await;
    let grants = json!({"push": ["mine"], "pull": ["shared"]});
    let dev = server.account("dev", grants).await;
    let mount = async |from: &str, digest: &Digest| {
        let path = format!("/v2/mine/blobs/uploads/?mount={digest}{from}");
        send(server.anonymous("POST", &path).bearer_auth(&dev)).await
    };
    // Not readable, not there, and no source at all: one and the same answer.
    let unknown = Digest::sha256(b"unknown");
    for (from, digest) in [
        ("&from=secret", &digest),
        ("&from=secret", &unknown),
        ("&from=shared", &unknown),
        ("", &digest),
    ] {
        let answer = mount(from, digest).await;
        assert_eq!(answer.status, 202, "{from}");
        assert!(answer.header("location").contains("/uploads/"), "{from}");
    }
    server.push_blob("shared", b"x").await;
    let mounted = mount("&from=shared", &digest).await;
    assert_eq!(mounted.status, 201);
    let read = server.anonymous("GET", mounted.header("location"));
    assert_eq!(send(read.bearer_auth(&dev)).await.body, "x");
}
