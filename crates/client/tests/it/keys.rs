//! What key management services are asked, and how their refusals are taken.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use client::kms::{KmsClient, KmsError, KmsOptions, KmsSignature};
use client::sigv4::AccessKey;
use client::vault::{TransitSignature, VaultClient, VaultError, VaultOptions};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::server::{Reply, TestRegistry, options};

fn vault(server: &TestRegistry) -> VaultClient {
    let options = VaultOptions {
        server: server.url("/").parse().unwrap(),
        mount: "team/transit".to_owned(),
        token: "s.token".to_owned().into(),
        http: options(),
    };
    VaultClient::new(options).unwrap()
}

fn kms(server: &TestRegistry) -> KmsClient {
    let options = KmsOptions {
        endpoint: server.url("/").parse().unwrap(),
        region: "eu-central-1".to_owned(),
        key: AccessKey {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "secret".to_owned().into(),
            session_token: None,
        },
        clock: Arc::new(|| datetime!(2026-03-01 12:00 UTC)),
        http: options(),
    };
    KmsClient::new(options).unwrap()
}

fn signature() -> TransitSignature<'static> {
    TransitSignature {
        hash: b"hash",
        hash_algorithm: "sha2-384",
        padding: Some("pss"),
    }
}

#[tokio::test]
async fn vault_is_asked_for_the_first_version_of_a_key_and_sent_a_hash() {
    let server = TestRegistry::start().await;
    server.hook(|request| {
        let data = match request.method.as_str() {
            "GET" => json!({
                "keys": { "1": { "public_key": "first" }, "2": { "public_key": "second" } },
                "exportable": false,
            }),
            _ => json!({ "signature": format!("vault:v1:{}", BASE64_STANDARD.encode("sig")) }),
        };
        Some(Reply::ok(json!({ "data": data }).to_string()))
    });
    let vault = vault(&server);
    let key = vault.key("ours-root").await.unwrap().unwrap();
    assert_eq!(
        (key.public_key_pem.as_str(), key.exportable),
        ("first", false)
    );
    assert_eq!(vault.sign("ours-root", signature()).await.unwrap(), b"sig");
    let log = server.log();
    assert_eq!(log[0].path, "/v1/team/transit/keys/ours-root");
    assert_eq!(log[1].path, "/v1/team/transit/sign/ours-root/sha2-384");
    assert!(
        log.iter()
            .all(|one| one.header("x-vault-token") == Some("s.token"))
    );
    let body: Value = serde_json::from_slice(&log[1].body).unwrap();
    let expected = json!({
        "input": BASE64_STANDARD.encode("hash"), "prehashed": true, "key_version": 1,
        "marshaling_algorithm": "asn1", "signature_algorithm": "pss", "salt_length": "hash",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn what_vault_says_is_told_apart() {
    for (status, body, expected) in [
        (403, r#"{"errors":["permission denied"]}"#, "token"),
        (503, r#"{"errors":["Vault is sealed"]}"#, "unavailable"),
        (400, r#"{"errors":["unsupported"]}"#, "refused"),
        (
            200,
            r#"{"data":{"signature":"vault:v2:c2ln"}}"#,
            "malformed",
        ),
        (200, "not JSON", "malformed"),
    ] {
        let server = TestRegistry::start().await;
        server.hook(move |_| {
            Some(Reply {
                status,
                ..Reply::ok(body)
            })
        });
        let error = vault(&server).sign("root", signature()).await.unwrap_err();
        let found = match &error {
            VaultError::Token(_) => "token",
            VaultError::Unavailable { .. } => "unavailable",
            VaultError::Refused(_) => "refused",
            _ => "malformed",
        };
        assert_eq!(found, expected, "{error}");
        assert!(!error.to_string().contains("s.token"));
    }
    let server = TestRegistry::start().await;
    server.hook(|_| {
        Some(Reply {
            status: 404,
            ..Reply::ok(r#"{"errors":[]}"#)
        })
    });
    assert_eq!(vault(&server).key("root").await.unwrap(), None);
}

#[tokio::test]
async fn kms_is_asked_with_a_signature_for_its_region() {
    let server = TestRegistry::start().await;
    server.hook(|_| {
        let answer = json!({ "Signature": BASE64_STANDARD.encode("sig") });
        Some(Reply::ok(answer.to_string()))
    });
    let what = KmsSignature {
        hash: b"hash",
        algorithm: "ECDSA_SHA_384",
    };
    let signed = kms(&server).sign("alias/ours-root", what).await.unwrap();
    assert_eq!(signed, b"sig");
    let request = server.log().remove(0);
    assert_eq!(request.header("x-amz-target"), Some("TrentService.Sign"));
    let authorization = request.header("authorization").unwrap();
    let scope = "Credential=AKIDEXAMPLE/20260301/eu-central-1/kms/aws4_request";
    assert!(authorization.contains(scope), "{authorization}");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["MessageType"], "DIGEST");
}

#[tokio::test]
async fn what_kms_says_is_told_apart() {
    for (status, code, expected) in [
        (400, "NotFoundException", "none"),
        (400, "AccessDeniedException", "credential"),
        (400, "InvalidSignatureException", "credential"),
        (400, "ThrottlingException", "unavailable"),
        (500, "KMSInternalException", "unavailable"),
        (400, "DisabledException", "refused"),
    ] {
        let server = TestRegistry::start().await;
        server.hook(move |_| {
            let body = json!({ "__type": format!("com.amazonaws#{code}"), "message": "no" });
            Some(Reply {
                status,
                ..Reply::ok(body.to_string())
            })
        });
        let found = match kms(&server).public_key("alias/root").await {
            Ok(None) => "none",
            Err(KmsError::Credential { .. }) => "credential",
            Err(KmsError::Unavailable { .. }) => "unavailable",
            Err(KmsError::Refused { .. }) => "refused",
            _ => "other",
        };
        assert_eq!(found, expected, "{code}");
    }
}
