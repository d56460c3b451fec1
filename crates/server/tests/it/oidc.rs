//! Workload identities: tokens of an issuer on this machine, exchanged for ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use crate::harness::{Answer, send};
use crate::signing::{Fixture, error};

const AUDIENCE: &str = "https://countersign.example";

/// An issuer that answers over HTTP and counts how often it is asked for its keys.
struct Issuer {
    url: String,
    key: EcdsaKeyPair,
    asked: Arc<AtomicUsize>,
    _serving: tokio::task::JoinHandle<()>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string();
        let (keys, count) = (document(&key).to_string(), asked.clone());
        let app = axum::Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async move || discovery),
            )
            .route(
                "/keys",
                get(async move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    keys
                }),
            );
        let serving = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            key,
            asked,
            _serving: serving,
        }
    }

    fn token(&self, kid: &str, change: impl FnOnce(&mut Value)) -> String {
        let now = server::clock::now().unix_timestamp();
        let mut claims = json!({
            "iss": self.url, "sub": "repo:shop/web:ref:refs/heads/main", "aud": AUDIENCE,
            "iat": now, "exp": now + 300, "jti": uuid::Uuid::new_v4().to_string(),
            "environment": "production",
        });
        change(&mut claims);
        let part = |value: &Value| BASE64URL.encode(value.to_string());
        let header = json!({"alg": "ES256", "kid": kid});
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", BASE64URL.encode(signature.as_ref()))
    }
}

fn document(key: &EcdsaKeyPair) -> Value {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "one", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)});
    json!({"keys": [key]})
}

impl Fixture {
    async fn trust(&self, issuer: Value) -> Answer {
        let admin = self.server.admin.clone();
        self.post(&admin, "oidc/issuers", issuer).await
    }

    async fn exchange(&self, token: &str) -> Answer {
        let request = self.server.anonymous("POST", "/api/v1/oidc/token");
        send(request.json(&json!({"token": token}))).await
    }

    async fn rule_for(&self, issuer: &str, claims: Value) {
        let workload = json!({"issuer": issuer, "subject": "repo:shop/*:ref:refs/heads/main", "claims": claims});
        let rules = json!({"rules": [{"id": "ci", "allow": {"workloads": [workload]}}]});
        let admin = self.server.admin.clone();
        assert_eq!(
            self.put(&admin, "profiles/ci-build/rules", rules)
                .await
                .status,
            200
        );
    }
}

fn settings(issuer: &Issuer) -> Value {
    json!({"issuer": issuer.url, "audience": AUDIENCE, "claims": ["environment"]})
}

#[tokio::test]
async fn a_workload_signs_where_a_rule_names_it_and_does_nothing_else() {
    let (fixture, issuer) = (Fixture::start().await, Issuer::start().await);
    assert_eq!(fixture.trust(settings(&issuer)).await.status, 200);
    fixture
        .rule_for(&issuer.url, json!({"environment": "production"}))
        .await;
    let digest = oci::Digest::sha256(b"x");
    let token = async |change: fn(&mut Value)| {
        let answer = fixture.exchange(&issuer.token("one", change)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    };

    let good = token(|_| {}).await;
    assert_eq!(good["account"], "@workload");
    assert_eq!(
        good["workload"]["claims"],
        json!({"environment": "production"})
    );
    let good = good["token"].as_str().unwrap().to_owned();
    let signed = fixture.sign(&good, &digest).await;
    assert_eq!(signed.status, 201, "{signed:?}");
    let job = signed.json()["job"].as_str().unwrap().to_owned();
    let shown = fixture
        .get(&good, &format!("signatures/{job}"))
        .await
        .json();
    assert_eq!(
        shown["caller"]["workload"]["subject"],
        "repo:shop/web:ref:refs/heads/main"
    );
    assert_eq!(shown["rule"], "ci");

    // Another branch, another environment: known, and named by no rule.
    let branch = token(|claims| claims["sub"] = json!("repo:shop/web:ref:refs/heads/dev")).await;
    let staging = token(|claims| claims["environment"] = json!("staging")).await;
    for other in [branch, staging] {
        let other = other["token"].as_str().unwrap();
        assert_eq!(
            error(&fixture.sign(other, &digest).await),
            "403 no-rule-matches"
        );
        // They share an account with the first, and see nothing of it.
        let hidden = fixture.get(other, &format!("signatures/{job}")).await;
        assert_eq!(error(&hidden), "403 signature-of-another-account");
        let revoke = fixture
            .post(
                other,
                &format!("signatures/{job}/revoke"),
                json!({"reason": "x"}),
            )
            .await;
        assert_eq!(error(&revoke), "403 signature-of-another-account");
    }
    for (method, path) in [
        ("GET", "/api/v1/whoami"),
        ("GET", "/api/v1/accounts"),
        ("GET", "/api/v1/oidc/issuers"),
        ("GET", "/v2/apps/shop/tags/list"),
        ("POST", "/v2/apps/shop/blobs/uploads/"),
    ] {
        let request = fixture.server.anonymous(method, path).bearer_auth(&good);
        assert_eq!(send(request).await.status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn each_refusal_has_its_code() {
    let (fixture, issuer) = (Fixture::start().await, Issuer::start().await);
    let other = Issuer::start().await;
    let unknown = fixture.exchange(&issuer.token("one", |_| {})).await;
    assert_eq!(error(&unknown), "401 token-issuer-unknown");
    fixture.trust(settings(&issuer)).await;

    let once = issuer.token("one", |_| {});
    assert_eq!(fixture.exchange(&once).await.status, 201);
    assert_eq!(error(&fixture.exchange(&once).await), "401 token-replayed");
    let same_id = |claims: &mut Value| claims["jti"] = json!("same");
    assert_eq!(
        fixture.exchange(&issuer.token("one", same_id)).await.status,
        201
    );
    assert_eq!(
        error(&fixture.exchange(&issuer.token("one", same_id)).await),
        "401 token-replayed"
    );

    let forged = other.token("one", |claims| claims["iss"] = json!(issuer.url));
    for (token, expected) in [
        (
            issuer.token("one", |claims| claims["aud"] = json!("x")),
            "401 token-audience-mismatch",
        ),
        (
            issuer.token("one", |claims| claims["exp"] = json!(1_700_000_000)),
            "401 token-expired",
        ),
        (issuer.token("two", |_| {}), "401 token-key-unknown"),
        (forged, "401 token-signature-invalid"),
        ("a.b".to_owned(), "401 token-malformed"),
        ("x".repeat(20_000), "401 token-malformed"),
    ] {
        let refused = fixture.exchange(&token).await;
        assert_eq!(error(&refused), expected, "{refused:?}");
        assert!(
            !refused.message().contains(&token),
            "a token is in a message"
        );
    }
}

#[tokio::test]
async fn unknown_keys_do_not_make_us_ask_again_and_again() {
    let (fixture, issuer) = (Fixture::start().await, Issuer::start().await);
    fixture.trust(settings(&issuer)).await;
    for number in 0..10 {
        let token = issuer.token(&format!("made-up-{number}"), |_| {});
        assert_eq!(
            error(&fixture.exchange(&token).await),
            "401 token-key-unknown"
        );
    }
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
    assert_eq!(
        fixture.exchange(&issuer.token("one", |_| {})).await.status,
        201
    );
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn given_keys_are_not_fetched_and_access_is_what_the_subject_gets() {
    let (fixture, issuer) = (Fixture::start().await, Issuer::start().await);
    let mut settings = settings(&issuer);
    settings["jwks"] = document(&issuer.key);
    settings["access"] =
        json!([{"subject": "repo:shop/*:ref:refs/heads/main", "push": ["apps/*"]}]);
    assert_eq!(fixture.trust(settings).await.status, 200);
    let token = fixture.exchange(&issuer.token("one", |_| {})).await.json();
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 0);
    let upload = async |repository: &str| {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let request = fixture.server.anonymous("POST", &path);
        send(request.bearer_auth(token["token"].as_str().unwrap()))
            .await
            .status
    };
    assert_eq!(upload("apps/shop").await, 202);
    assert_eq!(upload("tools/shop").await, 403);
}

#[tokio::test]
async fn an_issuer_is_checked_and_can_be_removed() {
    let (fixture, issuer) = (Fixture::start().await, Issuer::start().await);
    for (change, expected) in [
        (json!({"issuer": "http://ci.example"}), "only HTTPS"),
        (json!({"audience": ""}), "an audience has"),
        (json!({"jwks": {"keys": []}}), "none of the keys"),
        (
            json!({"access": [{"subject": "**", "claims": {"actor": "x"}, "pull": ["**"]}]}),
            "claim `actor`",
        ),
    ] {
        let mut bad = settings(&issuer);
        for (name, value) in change.as_object().unwrap() {
            bad[name] = value.clone();
        }
        let refused = fixture.trust(bad).await;
        assert_eq!(error(&refused), "400 bad-request");
        assert!(refused.message().contains(expected), "{refused:?}");
    }
    let added = fixture.trust(settings(&issuer)).await.json();
    let path = format!("/api/v1/oidc/issuers/{}", added["id"].as_str().unwrap());
    assert_eq!(fixture.server.ask("DELETE", &path).await.status, 204);
    let refused = fixture.exchange(&issuer.token("one", |_| {})).await;
    assert_eq!(error(&refused), "401 token-issuer-unknown");
}

/// An issuer whose discovery document is of another could speak for that one.
#[tokio::test]
async fn a_discovery_document_must_be_the_issuers_own() {
    let (fixture, issuer) = (Fixture::start().await, Issuer::start().await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let discovery =
        json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url)}).to_string();
    let app = axum::Router::new().route(
        "/.well-known/openid-configuration",
        get(async move || discovery),
    );
    let serving = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    fixture
        .trust(json!({"issuer": url, "audience": AUDIENCE}))
        .await;
    let refused = fixture
        .exchange(&issuer.token("one", |claims| claims["iss"] = json!(url)))
        .await;
    assert_eq!(error(&refused), "503 unavailable");
    serving.abort();
}
