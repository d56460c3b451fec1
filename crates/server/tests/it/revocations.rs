//! Revocations over HTTP: made, looked at beforehand, pushed, carried; and what expires.

use std::sync::Arc;
use std::time::Duration;

use client::control::ControlClient;
use client::revocation_feed::FeedReader;
use oci::{Descriptor, Digest};
use serde_json::{Value, json};
use trust::revocation::feed::{Bundle, FeedHandle, FeedStatus, Revoked};
use trust::tlog::VerifierKey;

use crate::harness::{Answer, MANIFEST, TestServer, send};

struct Fixture {
    server: TestServer,
}

impl Fixture {
    /// A front with a signer and the profile `ci-build`, whose leaf is shared.
    async fn start() -> Self {
        let server = TestServer::start().await;
        let fixture = Self { server };
        let new = json!({"name": "ci-build", "validity": "7 days",
                         "leaf": {"rotating": {"days": 3}}, "grants": {"accounts": ["admin"]}});
        assert_eq!(fixture.post("profiles", new).await.status, 201);
        fixture
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let request = self.server.request("POST", &format!("/api/v1/{path}"));
        send(request.json(&body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.server.ask("GET", &format!("/api/v1/{path}")).await
    }

    /// Pushes an image and signs it; returns its digest and the job.
    async fn signed(&self, tag: &str) -> (Digest, String) {
        let bytes = self.server.push_image("apps/shop", tag, tag).await;
        let image = Descriptor::of(MANIFEST.parse().unwrap(), &bytes);
        let body = json!({"profile": "ci-build", "artifact": image});
        let signed = self.post("signatures", body).await;
        assert_eq!(signed.status, 201, "{signed:?}");
        let job = signed.json()["job"].as_str().unwrap().to_owned();
        (image.digest, job)
    }

    async fn key(&self) -> VerifierKey {
        let shown = self.server.ask("GET", "/log/key").await;
        let text = String::from_utf8(shown.body.to_vec()).unwrap();
        text.trim().parse().unwrap()
    }

    /// A reader that is connected and has heard a heartbeat.
    async fn reader(&self) -> FeedHandle {
        let base = format!("{}/", self.server.url).parse().unwrap();
        let control = ControlClient::new(base, Some(self.server.admin.clone())).unwrap();
        let feed = FeedHandle::new(self.key().await);
        let reader = FeedReader::new(control, feed.clone(), Arc::new(server::clock::now));
        tokio::spawn(async move { reader.run().await });
        until(|| matches!(feed.status(server::clock::now()), FeedStatus::Fresh { .. })).await;
        feed
    }
}

/// Returns once it holds.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap();
}

fn error(answer: &Answer) -> String {
    let code = answer.json()["error"]["code"].clone();
    format!(
        "{} {}",
        answer.status.as_u16(),
        code.as_str().unwrap_or("-")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_whoever_hears_the_feed() {
    let fixture = Fixture::start().await;
    let (_, job) = fixture.signed("v1").await;
    let feed = fixture.reader().await;
    assert_eq!(feed.sequence(), 0);
    let body = json!({"target": {"job": {"id": job}}, "reason": "leaked"});
    let revoked = fixture.post("revocations", body.clone()).await.json();
    assert_eq!(
        revoked,
        json!({"changed": true, "fromPosition": 1, "signatures": 1, "sequence": 1})
    );
    // Our own gates know of it when the answer is there, others a moment later.
    let own = fixture.server.front.revocations.feed().unwrap();
    assert_eq!(own.sequence(), 1);
    until(|| feed.sequence() == 1).await;
    let again = fixture.post("revocations", body).await.json();
    assert_eq!(again["changed"], false);
    // One that comes later reads the same.
    let later = fixture.reader().await;
    assert_eq!(later.sequence(), 1);
    let page = fixture.get("revocations?after=0").await;
    let lines = String::from_utf8(page.body.to_vec()).unwrap();
    assert_eq!(lines.lines().count(), 1);
    let ahead = fixture.get("revocations/feed?after=9").await;
    assert_eq!(error(&ahead), "409 feed-ahead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_where_it_lies_and_changes_nothing() {
    let fixture = Fixture::start().await;
    let (digest, job) = fixture.signed("v1").await;
    fixture.signed("v2").await;
    let target = json!({"profile": {"name": "ci-build"}});
    let shown = fixture
        .post("revocations/preview", json!({"target": target}))
        .await;
    let shown = shown.json();
    let numbers = ["signatures", "inForce", "artifacts", "fromPosition"];
    assert_eq!(numbers.map(|name| shown[name].clone()), [2, 2, 2, 0]);
    assert_eq!(shown["byProfile"], json!({"ci-build": 2}));
    assert_eq!(shown["byRepository"], json!({"apps/shop": 2}));
    assert_eq!(shown["newest"].as_array().unwrap().len(), 2);
    assert_eq!(shown["newest"][1]["job"], json!(job));
    let placed = json!({"digest": digest, "repository": "apps/shop", "tags": ["v1"]});
    assert!(shown["places"].as_array().unwrap().contains(&placed));
    assert_eq!(shown["deployed"], json!([]));
    let shown = fixture.get(&format!("signatures/{job}")).await;
    assert_eq!(shown.json()["status"], "Succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_for_accounts_and_most_for_administrators() {
    let fixture = Fixture::start().await;
    let dev = fixture.server.account("dev", json!({})).await;
    let target = json!({"profile": {"name": "ci-build"}});
    let body = json!({"target": target, "reason": "x"});
    let refused = |method: &str, path: &str, body: &Value, token: &str| {
        let request = fixture.server.anonymous(method, &format!("/api/v1/{path}"));
        send(request.bearer_auth(token).json(body))
    };
    let preview = json!({"target": target});
    for (path, body) in [("revocations", &body), ("revocations/preview", &preview)] {
        let answer = refused("POST", path, body, &dev).await;
        assert_eq!(error(&answer), "403 administrators-only", "{path}");
    }
    for path in [
        "revocations?after=0",
        "revocations/feed?after=0",
        "forecast?withinSecs=1",
    ] {
        let answer = refused("GET", path, &json!(null), "worker-secret").await;
        assert_eq!(answer.status, 403, "{path}");
        let answer = send(fixture.server.anonymous("GET", &format!("/api/v1/{path}"))).await;
        assert_eq!(answer.status, 401, "{path}");
    }
    let nothing = json!({"target": {"digest": Digest::sha256(b"none")}, "reason": "x"});
    let answer = fixture.post("revocations", nothing).await;
    assert_eq!(error(&answer), "404 nothing-signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_read_with_the_key_of_the_log() {
    let fixture = Fixture::start().await;
    let (digest, _) = fixture.signed("v1").await;
    let body = json!({"target": {"digest": digest}, "reason": "leaked"});
    fixture.post("revocations", body).await;
    let bundle = fixture
        .post("revocations/bundle", json!({"validForSecs": 60}))
        .await;
    assert_eq!(bundle.status, 200, "{bundle:?}");
    let bundle = Bundle::read(&bundle.body, &fixture.key().await).unwrap();
    let now = server::clock::now();
    assert_eq!(bundle.unusable_at(now), None);
    assert!(
        bundle
            .unusable_at(now + time::Duration::minutes(2))
            .is_some()
    );
    let first = &bundle.lines()[0].revoked;
    assert!(matches!(first, Revoked::Digest { digest: found, .. } if *found == digest));
    for seconds in [0, 91 * 86_400] {
        let body = json!({"validForSecs": seconds});
        let refused = fixture.post("revocations/bundle", body).await;
        assert_eq!(refused.status, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_forecast_lists_artifacts_whose_last_signature_expires() {
    let fixture = Fixture::start().await;
    let (first, _) = fixture.signed("v1").await;
    let (renewed, _) = fixture.signed("v2").await;
    let (revoked, job) = fixture.signed("v3").await;
    let longer = json!({"name": "longer", "validity": "1 year", "grants": {"accounts": ["admin"]}});
    fixture.post("profiles", longer).await;
    let artifact = json!({"mediaType": MANIFEST, "digest": renewed, "size": 2});
    let body = json!({"profile": "longer", "artifact": artifact});
    assert_eq!(fixture.post("signatures", body).await.status, 201);
    let body = json!({"target": {"job": {"id": job}}, "reason": "x"});
    fixture.post("revocations", body).await;
    let digests = async |seconds: u64| {
        let shown = fixture
            .get(&format!("forecast?withinSecs={seconds}"))
            .await
            .json();
        let artifacts = shown["artifacts"].as_array().unwrap().clone();
        let digest = |one: &Value| one["digest"].as_str().unwrap().to_owned();
        artifacts.iter().map(digest).collect::<Vec<_>>()
    };
    let day = 86_400;
    assert!(digests(6 * day).await.is_empty());
    assert_eq!(digests(8 * day).await, [first.to_string()]);
    assert_eq!(
        digests(400 * day).await,
        [first.to_string(), renewed.to_string()]
    );
    assert!(!digests(400 * day).await.contains(&revoked.to_string()));
    let far = fixture
        .get("forecast?withinSecs=99999999999999999999")
        .await;
    assert_eq!(far.status, 400);
    let shown = fixture.get("forecast?withinSecs=1").await.json();
    assert_eq!(shown["certificates"], json!([]));
}
