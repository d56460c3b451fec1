//! Malformed names, digests and paths, sent byte for byte: an HTTP client would tidy them up.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::TestServer;

/// Sends one request line as it is and returns the status and the body.
async fn raw(server: &TestServer, method: &str, path: &str) -> (u16, String) {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (host, token) = (address, &server.admin);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[tokio::test]
async fn no_path_leads_out_of_a_repository() {
    let server = TestServer::start().await;
    let digest = server.push_blob("a", b"x").await;
    let long = "a".repeat(300);
    for (path, expected) in [
        (
            "/v2/a/blobs/sha256:../../../../etc/passwd".to_owned(),
            "NAME_UNKNOWN",
        ),
        (
            "/v2/a/blobs/sha256:..%2f..%2fstore.sqlite".to_owned(),
            "DIGEST_INVALID",
        ),
        ("/v2/a/blobs/..".to_owned(), "DIGEST_INVALID"),
        (format!("/v2/a/../a/blobs/{digest}"), "NAME_INVALID"),
        (format!("/v2/a%2f..%2fa/blobs/{digest}"), "NAME_INVALID"),
        (format!("/v2/a%00/blobs/{digest}"), "NAME_INVALID"),
        (format!("/v2/A/blobs/{digest}"), "NAME_INVALID"),
        (format!("/v2/{long}/blobs/{digest}"), "NAME_INVALID"),
        (format!("/v2//a/blobs/{digest}"), "NAME_INVALID"),
        (
            format!("/v2/a/blobs/{}", digest.as_str().to_uppercase()),
            "DIGEST_INVALID",
        ),
        ("/v2/a/manifests/..".to_owned(), "MANIFEST_INVALID"),
        (format!("/v2/a/manifests/{long}"), "MANIFEST_INVALID"),
        (
            "/v2/a/manifests/sha256:baddigeststring".to_owned(),
            "DIGEST_INVALID",
        ),
        ("/v2/a/blobs/uploads/../../x".to_owned(), "NAME_UNKNOWN"),
        (
            "/v2/a/blobs/uploads/%2e%2e".to_owned(),
            "BLOB_UPLOAD_UNKNOWN",
        ),
        ("/v2/a".to_owned(), "NAME_UNKNOWN"),
    ] {
        let (status, answer) = raw(&server, "GET", &path).await;
        assert!(matches!(status, 400 | 404), "{path}: {answer}");
        assert!(
            answer.contains(&format!("\"{expected}\"")),
            "{path}: {answer}"
        );
    }
}

#[tokio::test]
async fn unknown_methods_are_not_supported() {
    let server = TestServer::start().await;
    for (method, path) in [
        ("POST", "/v2/"),
        ("DELETE", "/v2/_catalog"),
        ("POST", "/v2/a/manifests/t"),
        ("PUT", "/v2/a/blobs/uploads/"),
        ("BREW", "/v2/a/tags/list"),
    ] {
        let (status, answer) = raw(&server, method, path).await;
        assert_eq!(status, 405, "{method} {path}: {answer}");
        assert!(
            answer.contains("\"UNSUPPORTED\""),
            "{method} {path}: {answer}"
        );
    }
}

#[tokio::test]
async fn what_is_not_http_costs_one_connection() {
    let server = TestServer::start().await;
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"\x16\x03\x01\x00\xff\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(server.ask("GET", "/v2/").await.status, 200);
    let header = format!(
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(header.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(server.ask("GET", "/v2/").await.status, 200);
}
