//! Profiles, signatures, attestations and the public side of the authority, with a signer behind
//! its socket.

use serde_json::{Value, json};
use server::auth::{NewTokenRequest, RunScope};
use store::runs::{ActionRow, NewRun, RunId};

use crate::harness::{Answer, MANIFEST, TestServer, image, send};

pub(crate) struct Fixture {
    pub(crate) server: TestServer,
    pub(crate) dev: String,
}

impl Fixture {
    /// A front with a signer, the profile `ci-build`, and the account `dev` that may use it.
    pub(crate) async fn start() -> Self {
        let server = TestServer::start().await;
        let dev = server.account("dev", json!({"push": ["**"]})).await;
        let fixture = Self { server, dev };
        let new =
            json!({"name": "ci-build", "validity": "7 days", "grants": {"accounts": ["dev"]}});
        let made = fixture.post(&fixture.server.admin, "profiles", new).await;
        assert_eq!(made.status, 201, "{made:?}");
        fixture
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        let path = format!("/api/v1/{path}");
        let request = self.server.anonymous("POST", &path).bearer_auth(token);
        send(request.json(&body)).await
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Answer {
        let path = format!("/api/v1/{path}");
        send(self.server.anonymous("GET", &path).bearer_auth(token)).await
    }

    pub(crate) async fn sign(&self, token: &str, digest: &oci::Digest) -> Answer {
        let artifact = json!({"mediaType": MANIFEST, "digest": digest, "size": 2});
        let body = json!({"profile": "ci-build", "artifact": artifact, "repository": "apps/shop"});
        self.post(token, "signatures", body).await
    }
}

/// Status and code of an error.
pub(crate) fn error(answer: &Answer) -> String {
    let json = answer.json();
    let code = json["error"]["code"].as_str().unwrap_or("-");
    format!("{} {code}", answer.status.as_u16())
}

#[tokio::test]
async fn a_signature_is_made_shown_and_revoked() {
    let fixture = Fixture::start().await;
    let digest = oci::Digest::sha256(b"x");
    let signed = fixture.sign(&fixture.dev, &digest).await;
    assert_eq!(signed.status, 201, "{signed:?}");
    let signed = signed.json();
    assert_eq!(signed["mediaType"], "application/jose+json");
    assert_eq!(signed["certificateSha256"].as_array().unwrap().len(), 3);

    let path = format!("signatures/{}", signed["job"].as_str().unwrap());
    let shown = fixture.get(&fixture.dev, &path).await.json();
    assert_eq!(shown["target"], json!(digest));
    assert_eq!(shown["status"], "Succeeded");
    let other = fixture.server.account("other", json!({})).await;
    let hidden = fixture.get(&other, &path).await;
    assert_eq!(error(&hidden), "403 signature-of-another-account");

    let list = async || fixture.server.ask("GET", "/pki/ca.crl").await.body;
    let before = list().await;
    let revoke = format!("{path}/revoke");
    let revoked = fixture
        .post(&fixture.dev, &revoke, json!({"reason": "by mistake"}))
        .await;
    assert_eq!(revoked.json()["status"], "Revoked");
    assert!(list().await.len() > before.len());
}

#[tokio::test]
async fn the_public_side_needs_no_token() {
    let fixture = Fixture::start().await;
    for (path, media_type, begins) in [
        (
            "/pki/root.pem",
            "application/x-pem-file",
            &b"-----BEGIN CERTIFICATE-----"[..],
        ),
        (
            "/pki/chain.pem",
            "application/x-pem-file",
            b"-----BEGIN CERTIFICATE-----",
        ),
        ("/pki/ca.crl", "application/pkix-crl", &[0x30, 0x82]),
    ] {
        let answer = send(fixture.server.anonymous("GET", path)).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), media_type);
        assert!(answer.body.starts_with(begins), "{path}");
    }
    let refused = send(fixture.server.anonymous("GET", "/api/v1/profiles")).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn anybody_may_ask_the_responder_and_the_time_and_is_answered_in_der() {
    let fixture = Fixture::start().await;
    let post = async |path, kind: &str, body: Vec<u8>| {
        let request = fixture.server.anonymous("POST", path);
        send(request.header("Content-Type", kind).body(body)).await
    };
    let (ocsp, time) = ("application/ocsp-request", "application/timestamp-query");
    let answer = post("/pki/ocsp", ocsp, b"nonsense".to_vec()).await;
    assert_eq!(answer.header("content-type"), "application/ocsp-response");
    assert_eq!(answer.body[..], [0x30, 3, 0x0a, 1, 1], "malformedRequest");
    for path in [
        "/pki/ocsp/bm9uc2Vuc2U=",
        "/pki/ocsp/bm9uc2Vuc2U%3D",
        "/pki/ocsp/+/%",
    ] {
        let answer = send(fixture.server.anonymous("GET", path)).await;
        assert!(
            matches!(answer.status.as_u16(), 200 | 400),
            "{path}: {answer:?}"
        );
    }
    let answer = post("/pki/tsa", time, b"nonsense".to_vec()).await;
    assert_eq!(answer.header("content-type"), "application/timestamp-reply");
    assert_eq!(answer.status, 200);
    for (path, kind, bytes, expected) in [
        ("/pki/ocsp", time, 10, 400),
        ("/pki/tsa", ocsp, 10, 400),
        ("/pki/ocsp", ocsp, 8 * 1024 + 1, 413),
        ("/pki/tsa", time, 8 * 1024 + 1, 413),
    ] {
        let answer = post(path, kind, vec![0x30; bytes]).await;
        assert_eq!(answer.status, expected, "{path} {kind} {bytes}");
    }
    let unknown = send(fixture.server.anonymous("GET", "/pki/crl/00.crl")).await;
    assert_eq!(error(&unknown), "404 issuer-not-found");
}

#[tokio::test]
async fn denials_have_status_and_code() {
    let fixture = Fixture::start().await;
    let digest = oci::Digest::sha256(b"x");
    let stranger = fixture
        .server
        .account("eve", json!({"profiles": ["other"]}))
        .await;
    let admin = fixture.server.admin.clone();
    for (token, expected) in [
        (&stranger, "403 profile-not-granted"),
        (&admin, "403 profile-not-granted"),
    ] {
        assert_eq!(error(&fixture.sign(token, &digest).await), expected);
    }
    let worker = fixture.sign("worker-secret", &digest).await;
    assert_eq!(worker.status, 403);
    let new = json!({"name": "mine", "validity": "7 days"});
    let made = fixture.post(&fixture.dev, "profiles", new.clone()).await;
    assert_eq!(made.status, 403);
    let table = [
        (
            "profiles",
            json!({"name": "x", "validity": "7 days"}),
            "400 bad-request",
        ),
        (
            "profiles",
            json!({"name": "mine", "validity": "7 weeks"}),
            "400 bad-request",
        ),
        (
            "profiles",
            json!({"name": "ci-build", "validity": "8 days"}),
            "409 profile-exists",
        ),
        ("profiles/none/cancel", json!({}), "404 profile-not-found"),
        (
            "profiles/ci-build/revoke",
            json!({"reason": ""}),
            "400 reason-invalid",
        ),
        (
            "profiles/ci-build/revoke",
            json!({"reason": "x", "from": "2999-01-01T00:00:00Z"}),
            "409 revocation-time-refused",
        ),
        (
            "signatures/not-a-job/revoke",
            json!({"reason": "x"}),
            "400 bad-request",
        ),
    ];
    for (path, body, expected) in table {
        let answer = fixture.post(&admin, path, body).await;
        assert_eq!(error(&answer), expected, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_limited_token_signs_only_with_what_it_names() {
    let fixture = Fixture::start().await;
    let digest = oci::Digest::sha256(b"x");
    for (limits, status) in [
        (json!({"profiles": ["ci-build"]}), 201),
        (json!({"profiles": ["other"]}), 403),
        (json!({"push": ["**"]}), 403),
    ] {
        let request = NewTokenRequest {
            limits: Some(serde_json::from_value(limits.clone()).unwrap()),
            ..NewTokenRequest::default()
        };
        let token = fixture.server.token("dev", request).await;
        assert_eq!(
            fixture.sign(&token, &digest).await.status,
            status,
            "{limits}"
        );
    }
}

/// An account's grants and a profile's grants say the same, in whatever order they are made.
#[tokio::test]
async fn grants_of_accounts_reach_the_signer() {
    let fixture = Fixture::start().await;
    let (admin, digest) = (fixture.server.admin.clone(), oci::Digest::sha256(b"x"));
    let granted = json!({"name": "ops", "grants": {"profiles": ["ci-build", "later"]}});
    assert_eq!(fixture.post(&admin, "accounts", granted).await.status, 201);
    let ops = fixture
        .server
        .token("ops", NewTokenRequest::default())
        .await;
    assert_eq!(fixture.sign(&ops, &digest).await.status, 201);

    let later = json!({"name": "later", "validity": "1 day"});
    let made = fixture.post(&admin, "profiles", later).await.json();
    assert_eq!(made["grants"]["accounts"], json!(["ops"]));

    let taken = json!({"name": "ops", "grants": {}});
    let put = fixture
        .server
        .request("PUT", "/api/v1/accounts/ops")
        .json(&taken);
    assert_eq!(send(put).await.status, 200);
    assert_eq!(
        error(&fixture.sign(&ops, &digest).await),
        "403 profile-not-granted"
    );
    assert_eq!(fixture.sign(&fixture.dev, &digest).await.status, 201);
}

#[tokio::test]
async fn a_profile_shows_its_identity_and_can_be_canceled() {
    let fixture = Fixture::start().await;
    let shown = fixture.get(&fixture.dev, "profiles/ci-build").await.json();
    let identity = "x509.subject: C=US, ST=WA, O=Countersign, CN=ci-build";
    assert_eq!(shown["identity"], identity);
    let listed = fixture.get(&fixture.dev, "profiles").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let admin = fixture.server.admin.clone();
    let canceled = fixture
        .post(&admin, "profiles/ci-build/cancel", json!({}))
        .await;
    assert_eq!(canceled.json()["status"], "Canceled");
    let refused = fixture.sign(&fixture.dev, &oci::Digest::sha256(b"x")).await;
    assert_eq!(error(&refused), "403 profile-canceled");
}

/// A run of pipeline `build` of project `shop` that reported one digest.
async fn run_token(fixture: &Fixture, profiles: Value, made: &oci::Digest) -> String {
    let runs = &fixture.server.front.store.runs;
    let id: RunId = "run-1".parse().unwrap();
    let new = NewRun {
        id: id.clone(),
        project: "shop".to_owned(),
        pipeline: "build".to_owned(),
        trigger_key: None,
        state: "running".to_owned(),
        document: json!({}),
        at: server::clock::now(),
    };
    let action = ActionRow {
        stage: "build".to_owned(),
        name: "image".to_owned(),
        position: 0,
        state: "succeeded".to_owned(),
        document: json!({"outputs": {"digest": made}}),
        started_at: None,
        finished_at: None,
    };
    runs.start(&new, &[action]).await.unwrap();
    let grants = serde_json::from_value(json!({"profiles": profiles, "push": ["apps/shop"]}));
    let expires = server::clock::now() + time::Duration::HOUR;
    let scope = RunScope {
        run: id.to_string(),
    };
    let auth = &fixture.server.front.auth;
    let token = auth.issue_for_run(scope, grants.unwrap(), expires).await;
    token.unwrap().text().to_owned()
}

#[tokio::test]
async fn a_run_signs_what_it_made_with_the_profile_of_its_pipeline() {
    let fixture = Fixture::start().await;
    let admin = fixture.server.admin.clone();
    let bytes = fixture.server.push_image("apps/shop", "1.0", "made").await;
    let made = oci::Descriptor::of(oci::MediaType::IMAGE_MANIFEST, &bytes);
    let token = run_token(&fixture, json!(["ci-build"]), &made.digest).await;

    // The profile does not name the pipeline yet.
    let refused = fixture.sign(&token, &made.digest).await;
    assert_eq!(error(&refused), "403 profile-not-granted");
    let grants = json!({"accounts": ["dev"], "pipelines": ["shop/build"]});
    let new = json!({"name": "ci-build", "validity": "7 days", "grants": grants, "replace": true});
    assert_eq!(fixture.post(&admin, "profiles", new).await.status, 200);

    assert_eq!(fixture.sign(&token, &made.digest).await.status, 201);
    // What refers to it, and nothing else.
    let report = image("made", Some(&made));
    let pushed = (MANIFEST, report.clone());
    let answer = fixture
        .server
        .push_manifest("apps/shop", "report", pushed)
        .await;
    assert_eq!(answer.status, 201);
    let report = oci::Digest::sha256(&report);
    assert_eq!(fixture.sign(&token, &report).await.status, 201);
    let foreign = fixture.server.push_image("apps/shop", "2.0", "made").await;
    assert_eq!(oci::Digest::sha256(&foreign), made.digest);
    let foreign = oci::Digest::sha256(b"somebody else's");
    let refused = fixture.sign(&token, &foreign).await;
    assert_eq!(error(&refused), "403 denied");
    assert!(refused.message().contains("did not make"), "{refused:?}");
}

#[tokio::test]
async fn a_run_attests_only_what_it_made() {
    use base64::Engine as _;
    let fixture = Fixture::start().await;
    let made = oci::Digest::sha256(b"made");
    let token = run_token(&fixture, json!(["ci-build"]), &made).await;
    let grants = json!({"pipelines": ["shop/build"]});
    let new = json!({"name": "ci-build", "validity": "7 days", "grants": grants, "replace": true});
    let admin = fixture.server.admin.clone();
    assert_eq!(fixture.post(&admin, "profiles", new).await.status, 200);
    let attest = async |digest: &oci::Digest| {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.hex()}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {},
        });
        let payload = base64::prelude::BASE64_STANDARD.encode(statement.to_string());
        let body = json!({
            "profile": "ci-build",
            "payloadType": "application/vnd.in-toto+json",
            "payload": payload,
        });
        fixture.post(&token, "attestations", body).await
    };
    let attested = attest(&made).await;
    assert_eq!(attested.status, 201, "{attested:?}");
    assert_eq!(
        attested.json()["mediaType"],
        "application/vnd.dsse.envelope.v1+json"
    );
    let refused = attest(&oci::Digest::sha256(b"other")).await;
    assert_eq!(error(&refused), "403 denied");
}

#[tokio::test]
async fn where_the_keys_lie_is_for_administrators() {
    let fixture = Fixture::start().await;
    let denied = fixture.get(&fixture.dev, "custody").await;
    assert_eq!(error(&denied), "403 denied");
    let shown = fixture.server.ask("GET", "/api/v1/custody").await;
    let text = shown.json()["custody"].as_str().unwrap().to_owned();
    assert!(text.starts_with("the folder of sealed keys"), "{text}");
}
