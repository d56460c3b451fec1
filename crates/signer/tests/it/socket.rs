//! The protocol: limits, concurrency, who may connect, and a signer that comes back.

use std::os::unix::fs::PermissionsExt as _;

use signer::protocol::{FailureKind, MAX_FRAME_BYTES};
use signer::{SignerClientError, SignerError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::fixture::{Fixture, admin, own_uid, request, spec};

fn failure(error: SignerClientError) -> signer::protocol::Failure {
    match error {
        SignerClientError::Failed(failure) => failure,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_all_answered() {
    let fixture = Fixture::start().await;
    let client = &fixture.client;
    client
        .put_profile(admin(), spec("ci-build"), false)
        .await
        .unwrap();
    let one = |_| {
        let client = client.clone();
        tokio::spawn(async move { client.sign(request("ci-build")).await.unwrap().job })
    };
    let tasks: Vec<_> = (0..500).map(one).collect();
    let mut jobs = std::collections::BTreeSet::new();
    for task in tasks {
        jobs.insert(task.await.unwrap());
    }
    assert_eq!(jobs.len(), 500);
    for id in jobs {
        client.job(admin(), id).await.unwrap();
    }
}

#[tokio::test]
async fn failures_carry_kind_code_and_hint() {
    let fixture = Fixture::start().await;
    let client = &fixture.client;
    client
        .put_profile(admin(), spec("ci-build"), false)
        .await
        .unwrap();
    let mut by_eve = request("ci-build");
    by_eve.principal.account = "eve".to_owned();
    let mut bad_payload = request("ci-build");
    bad_payload.payload = b"{}".to_vec();
    let table = [
        (by_eve, FailureKind::Denied, "profile-not-granted"),
        (request("other"), FailureKind::NotFound, "profile-not-found"),
        (bad_payload, FailureKind::Usage, "payload-refused"),
    ];
    for (request, kind, code) in table {
        let failed = failure(client.sign(request).await.unwrap_err());
        assert_eq!((failed.kind, failed.code.as_str()), (kind, code));
    }
    let mut changed = spec("ci-build");
    changed.validity = "8 days".parse().unwrap();
    let failed = failure(
        client
            .put_profile(admin(), changed, false)
            .await
            .unwrap_err(),
    );
    insta::assert_snapshot!(failed, @"signing profile `ci-build` exists with other settings");
    insta::assert_snapshot!(failed.hint.unwrap(), @"choose another name, or replace it by a new version with `--replace`");
}

#[test]
fn reasons_of_ours_stay_in_the_log() {
    let error = SignerError::Internal("/var/lib/secret/path".to_owned());
    let failed = signer::protocol::Failure::from(&error);
    assert!(!failed.message.contains("secret"), "{}", failed.message);
}

#[tokio::test]
async fn long_lists_of_profiles_and_revocations_come_in_pieces() {
    let fixture = Fixture::start().await;
    let client = &fixture.client;
    for number in 0..12 {
        let mut spec = spec(&format!("profile-{number:02}"));
        spec.leaf = signer::LeafPolicy::PerJob;
        let long = (0..100).map(|n| format!("{n:0>100}"));
        spec.grants.pipelines = long.collect();
        client.put_profile(admin(), spec, false).await.unwrap();
    }
    let profiles = client.profiles(admin()).await.unwrap();
    assert_eq!(profiles.len(), 12);
    assert!(profiles.is_sorted_by_key(|profile| profile.name.clone()));

    // A thousand entries are more than one piece.
    let name: signer::ProfileName = "profile-00".parse().unwrap();
    for _ in 0..1000 {
        client.sign(request("profile-00")).await.unwrap();
    }
    client
        .revoke_profile(admin(), name, (None, "all".to_owned()))
        .await
        .unwrap();
    let list = client.revocation_list(None).await.unwrap();
    assert!(
        list.der.len() > signer::protocol::LIST_PIECE_BYTES,
        "{}",
        list.der.len()
    );
    let parsed: x509_cert::crl::CertificateList = der::Decode::from_der(&list.der).unwrap();
    assert_eq!(
        parsed.tbs_cert_list.revoked_certificates.unwrap().len(),
        1000
    );
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_goes_with_the_signer() {
    let mut fixture = Fixture::start().await;
    fixture.client.ping().await.unwrap();
    let mode = std::fs::metadata(fixture.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    fixture.stop().await;
    assert!(!fixture.socket().exists());
}

#[tokio::test]
async fn another_user_is_turned_away() {
    let mut fixture = Fixture::start().await;
    fixture.client.ping().await.unwrap();
    fixture.restart(own_uid(fixture.folder.path()) + 1).await;
    let refused = fixture.client.ping().await.unwrap_err();
    assert!(matches!(refused, SignerClientError::Lost), "{refused}");
}

#[tokio::test]
async fn a_client_finds_a_restarted_signer_and_its_records_again() {
    let mut fixture = Fixture::start().await;
    let uid = own_uid(fixture.folder.path());
    fixture
        .client
        .put_profile(admin(), spec("ci-build"), false)
        .await
        .unwrap();
    let before = fixture.client.sign(request("ci-build")).await.unwrap();
    let root = fixture.client.authority().await.unwrap();
    fixture.restart(uid).await;
    let after = fixture.client.sign(request("ci-build")).await.unwrap();
    assert_ne!(before.job, after.job);
    assert!(fixture.client.job(admin(), before.job).await.is_ok());
    assert_eq!(fixture.client.authority().await.unwrap(), root);
}

/// A stale socket of a killed signer is replaced; a file that is no socket is not.
#[tokio::test]
async fn only_a_stale_socket_is_replaced() {
    let mut fixture = Fixture::start().await;
    fixture.client.ping().await.unwrap();
    fixture.stop().await;
    let stale = std::os::unix::net::UnixListener::bind(fixture.socket()).unwrap();
    drop(stale);
    fixture.restart(own_uid(fixture.folder.path())).await;
    fixture.client.ping().await.unwrap();
}

async fn connected(fixture: &Fixture) -> UnixStream {
    fixture.client.ping().await.unwrap();
    UnixStream::connect(fixture.socket()).await.unwrap()
}

async fn send(stream: &mut UnixStream, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap();
    stream.write_all(&length.to_be_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
}

async fn receive(stream: &mut UnixStream) -> serde_json::Value {
    let length = stream.read_u32().await.unwrap();
    let mut body = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn an_unknown_request_is_answered_and_the_connection_lives() {
    let fixture = Fixture::start().await;
    let mut stream = connected(&fixture).await;
    let table = [
        r#"{"id":7,"body":{"export-key":{"name":"root"}}}"#,
        r#"{"id":7,"body":{"sign":{"principal":{"account":"dev"},"profile":"../x","payload":""}}}"#,
        r#"{"id":7,"body":{"sign":{"principal":{"account":"dev"},"profile":"ci","payload":"!"}}}"#,
    ];
    for body in table {
        send(&mut stream, body.as_bytes()).await;
        let answer = receive(&mut stream).await;
        assert_eq!(answer["id"], 7);
        assert_eq!(
            answer["body"]["failed"]["code"], "request-malformed",
            "{body}"
        );
    }
    send(&mut stream, br#"{"id":8,"body":"ping"}"#).await;
    assert_eq!(
        receive(&mut stream).await,
        serde_json::json!({"id": 8, "body": "pong"})
    );
}

#[tokio::test]
async fn an_unreadable_or_too_long_frame_ends_the_connection() {
    let fixture = Fixture::start().await;
    let too_long = u32::try_from(MAX_FRAME_BYTES + 1).unwrap().to_be_bytes();
    for bytes in [too_long.to_vec(), [&[0, 0, 0, 2][..], b"no"].concat()] {
        let mut stream = connected(&fixture).await;
        stream.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
    fixture.client.ping().await.unwrap();
}
