//! Health, counters, graceful stop.

use crate::harness::{TestServer, send};

#[tokio::test]
async fn health_names_the_role_that_is_down() {
    let server = TestServer::start().await;
    let answer = send(server.anonymous("GET", "/healthz")).await;
    insta::assert_snapshot!(
        String::from_utf8_lossy(&answer.body),
        @r#"{"status":"degraded","roles":{"front":"up","signer":"down","worker":"down"}}"#
    );
    assert_eq!(answer.status, 200);
    // The worker shows itself by asking for anything at all.
    send(server.anonymous("GET", "/v2/").bearer_auth("worker-secret")).await;
    let answer = send(server.anonymous("GET", "/healthz")).await;
    assert_eq!(answer.json()["roles"]["worker"], "up");
}

#[tokio::test]
async fn counters_count() {
    let server = TestServer::start().await;
    let digest = server.push_blob("a", b"0123456789").await;
    server.ask("GET", &format!("/v2/a/blobs/{digest}")).await;
    let answer = send(server.anonymous("GET", "/metrics")).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        "countersign_blob_received_bytes_total 10",
        "countersign_blob_sent_bytes_total 10",
        "countersign_requests_total{area=\"Registry\",method=\"POST\",status=\"201\"} 1",
        "countersign_role_up{role=\"signer\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let server = TestServer::start().await;
    let one = server.ask("GET", "/v2/").await;
    let two = server.ask("GET", "/nothing").await;
    assert_eq!(two.message(), "there is nothing at `/nothing`");
    let ids = [one.header("x-request-id"), two.header("x-request-id")];
    assert!(
        ids.iter().all(|id| id.len() == 36) && ids[0] != ids[1],
        "{ids:?}"
    );
}

#[tokio::test]
async fn a_stop_lets_a_request_in_flight_finish() {
    let server = TestServer::start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<&str, std::io::Error>>(1);
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let digest = oci::Digest::sha256(b"0123456789");
    let request = server
        .request("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"))
        .body(reqwest::Body::wrap_stream(pieces));
    let pushing = tokio::spawn(send(request));
    sender.send(Ok("01234")).await.unwrap();
    // The second piece is taken out of the channel only when the first is on its way.
    sender.send(Ok("5")).await.unwrap();
    let front = server.front.clone();
    let stopping = tokio::spawn(server.stop());
    sender.send(Ok("6789")).await.unwrap();
    drop(sender);
    assert_eq!(pushing.await.unwrap().status, 201);
    stopping.await.unwrap();
    let name = "a".parse().unwrap();
    let links = &front.store.links;
    let size = links.blob_in_repository(&name, &digest).await.unwrap();
    assert_eq!(size, Some(10));
}
