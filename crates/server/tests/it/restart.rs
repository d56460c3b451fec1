//! What was acknowledged is there after a restart.

use oci::Digest;

use crate::harness::{TestServer, send};

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_in(folder.path(), None).await;
    let bytes = server.push_image("a", "t", "x").await;
    let begun = server.ask("POST", "/v2/a/blobs/uploads/").await;
    let session = begun.header("location").to_owned();
    send(server.request("PATCH", &session).body("01234")).await;
    let token = server.admin.clone();
    // Dropped, not stopped: nothing gets the chance to write anything down.
    drop(server);

    let server = TestServer::start_in(folder.path(), None).await;
    let ask = async |method: &str, path: &str, body: &'static str| {
        send(
            server
                .anonymous(method, path)
                .bearer_auth(&token)
                .body(body),
        )
        .await
    };
    let manifest = ask("GET", "/v2/a/manifests/t", "").await;
    assert_eq!(manifest.body, bytes);
    let layer = Digest::sha256(b"x");
    assert_eq!(
        ask("GET", &format!("/v2/a/blobs/{layer}"), "").await.body,
        "x"
    );
    // The upload goes on where it was.
    assert_eq!(ask("GET", &session, "").await.header("range"), "0-4");
    let digest = Digest::sha256(b"0123456789");
    let done = ask("PUT", &format!("{session}?digest={digest}"), "56789").await;
    assert_eq!(done.status, 201);
}

#[tokio::test]
async fn an_upload_that_broke_off_leaves_nothing_to_pull() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_in(folder.path(), None).await;
    let broken = vec![Ok("01234"), Err(std::io::Error::other("gone"))];
    let digest = Digest::sha256(b"01234");
    let request = server
        .request("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"))
        .body(reqwest::Body::wrap_stream(futures_util::stream::iter(
            broken,
        )));
    assert!(request.send().await.is_err());
    drop(server);
    let server = TestServer::start_in(folder.path(), None).await;
    let answer = server.ask("HEAD", &format!("/v2/a/blobs/{digest}")).await;
    assert_eq!(answer.status, 404);
}
