//! Rules over HTTP: what the front verifies itself, and what it says about hypothetical requests.

use serde_json::{Value, json};

use crate::harness::{Answer, MANIFEST, send};
use crate::signing::{Fixture, error};

impl Fixture {
    pub(crate) async fn put(&self, token: &str, path: &str, body: Value) -> Answer {
        let path = format!("/api/v1/{path}");
        let request = self.server.anonymous("PUT", &path).bearer_auth(token);
        send(request.json(&body)).await
    }

    async fn rules(&self, rules: Value) {
        let admin = self.server.admin.clone();
        let put = self.put(&admin, "profiles/ci-build/rules", json!({"rules": rules}));
        let put = put.await;
        assert_eq!(put.status, 200, "{put:?}");
    }

    async fn sign_in(&self, digest: &oci::Digest, repository: Option<&str>) -> Answer {
        let artifact = json!({"mediaType": MANIFEST, "digest": digest, "size": 2, "artifactType": "sbom/example"});
        let mut body = json!({"profile": "ci-build", "artifact": artifact});
        if let Some(repository) = repository {
            body["repository"] = json!(repository);
        }
        self.post(&self.dev, "signatures", body).await
    }
}

fn bound() -> Value {
    json!([{"id": "apps", "allow": {"accounts": ["dev"]}, "repositories": ["apps/*"], "artifactTypes": ["example/*"]}])
}

#[tokio::test]
async fn the_repository_and_type_are_verified_and_never_believed() {
    let fixture = Fixture::start().await;
    fixture.rules(bound()).await;
    let image = fixture.server.push_image("apps/shop", "1", "one").await;
    let image = oci::Digest::sha256(&image);
    let other = fixture.server.push_image("tools/x", "1", "two").await;
    let other = oci::Digest::sha256(&other);

    let signed = fixture.sign_in(&image, Some("apps/shop")).await;
    assert_eq!(signed.status, 201, "{signed:?}");
    let job = signed.json()["job"].as_str().unwrap().to_owned();
    let shown = fixture
        .get(&fixture.dev, &format!("signatures/{job}"))
        .await;
    assert_eq!(shown.json()["rule"], "apps");

    for (digest, repository, expected) in [
        (&image, None, "the request names no repository"),
        // It lies somewhere else than the client says.
        (&other, Some("apps/shop"), "the digest is not a manifest"),
        (&image, Some("apps/none"), "the digest is not a manifest"),
        (
            &other,
            Some("tools/x"),
            "it is not about repository `tools/x`",
        ),
        (
            &oci::Digest::sha256(b"elsewhere"),
            Some("apps/shop"),
            "the digest is not a manifest",
        ),
    ] {
        let denied = fixture.sign_in(digest, repository).await;
        assert_eq!(error(&denied), "403 no-rule-matches", "{denied:?}");
        assert!(denied.message().contains(expected), "{denied:?}");
        assert!(
            denied.message().contains("rule `apps` would match"),
            "{denied:?}"
        );
    }
}

#[tokio::test]
async fn the_type_is_that_of_the_stored_manifest() {
    let fixture = Fixture::start().await;
    // The client says `sbom/example`; the configuration of the stored image is `example/config`.
    fixture
        .rules(
            json!([{"id": "sboms", "allow": {"accounts": ["dev"]}, "artifactTypes": ["sbom/*"]}]),
        )
        .await;
    let image = fixture.server.push_image("apps/shop", "1", "one").await;
    let denied = fixture
        .sign_in(&oci::Digest::sha256(&image), Some("apps/shop"))
        .await;
    assert_eq!(error(&denied), "403 no-rule-matches");
    assert!(
        denied.message().contains("type `example/config`"),
        "{denied:?}"
    );
}

#[tokio::test]
async fn a_repository_that_one_may_not_read_is_not_known() {
    let fixture = Fixture::start().await;
    fixture
        .rules(json!([{"id": "eve", "allow": {"accounts": ["eve"]}, "repositories": ["**"]}]))
        .await;
    let image = fixture.server.push_image("apps/shop", "1", "one").await;
    let eve = fixture
        .server
        .account("eve", json!({"pull": ["tools/**"]}))
        .await;
    let denied = fixture.sign(&eve, &oci::Digest::sha256(&image)).await;
    assert_eq!(error(&denied), "403 no-rule-matches");
    assert!(denied.message().contains("that you may read"), "{denied:?}");
}

#[tokio::test]
async fn groups_and_kinds_of_accounts_reach_the_rules() {
    let fixture = Fixture::start().await;
    let admin = fixture.server.admin.clone();
    let account = |kind: &str, groups: Value| json!({"name": "dev", "kind": kind, "groups": groups, "grants": {"push": ["**"]}});
    fixture
        .rules(json!([
            {"id": "no-robots", "deny": {"kinds": ["robot"]}},
            {"id": "release", "allow": {"groups": ["release"]}},
        ]))
        .await;
    let digest = oci::Digest::sha256(b"x");
    let mut said = Vec::new();
    for (kind, groups) in [
        ("person", json!([])),
        ("person", json!(["release"])),
        ("robot", json!(["release"])),
    ] {
        let put = fixture
            .put(&admin, "accounts/dev", account(kind, groups.clone()))
            .await;
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(put.json()["kind"], kind);
        said.push(match fixture.sign(&fixture.dev, &digest).await {
            signed if signed.status == 201 => "201".to_owned(),
            denied => error(&denied),
        });
    }
    assert_eq!(said, ["403 no-rule-matches", "201", "403 rule-denies"]);
    let bad = fixture
        .put(&admin, "accounts/dev", account("person", json!(["A B"])))
        .await;
    assert_eq!(error(&bad), "400 bad-request");
}

#[tokio::test]
async fn a_quota_answers_429() {
    let fixture = Fixture::start().await;
    fixture
        .rules(json!([{"id": "few", "allow": {"accounts": ["dev"]}, "quota": "1 per day"}]))
        .await;
    let digest = oci::Digest::sha256(b"x");
    assert_eq!(fixture.sign(&fixture.dev, &digest).await.status, 201);
    let over = fixture.sign(&fixture.dev, &digest).await;
    assert_eq!(error(&over), "429 quota-used-up");
    assert!(over.message().contains("rule `few`"), "{over:?}");
}

#[tokio::test]
async fn a_test_says_which_rule_decides() {
    let fixture = Fixture::start().await;
    fixture.rules(bound()).await;
    let admin = fixture.server.admin.clone();
    let ask = async |question: Value| {
        let answer = fixture
            .post(&admin, "profiles/ci-build/rules/test", question)
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let stored = json!({"asker": {"account": "dev"}, "repository": "apps/shop", "artifactType": "example/x"});
    let allowed = ask(stored.clone()).await;
    assert_eq!(
        (&allowed["allowed"], &allowed["rule"]),
        (&json!(true), &json!("apps"))
    );
    let bare = ask(json!({"asker": {"account": "dev"}})).await;
    assert_eq!(bare["allowed"], false);
    assert_eq!(
        bare["steps"][0]["misses"],
        json!([
            "it is bound to artifact types, and SignPayload does not say which",
            "it is bound to repositories, and SignPayload does not say which",
        ])
    );
    let run = ask(json!({"asker": {"pipeline": "shop/build"}})).await;
    assert_eq!(run["steps"][0]["misses"][0], "it does not name the caller");
    let mut tried = stored;
    tried["rules"] = json!([{"id": "closed", "deny": {"anyone": true}}]);
    assert_eq!(
        ask(tried).await["reason"],
        "rule `closed` of profile `ci-build` denies account `dev` this"
    );
    let own = fixture
        .post(&fixture.dev, "profiles/ci-build/rules/test", json!({}))
        .await;
    assert_eq!(own.status, 200);
    let nosy = json!({"asker": {"account": "admin"}});
    let nosy = fixture
        .post(&fixture.dev, "profiles/ci-build/rules/test", nosy)
        .await;
    assert_eq!(nosy.status, 403);
}

#[tokio::test]
async fn rules_and_grants_exclude_each_other() {
    let fixture = Fixture::start().await;
    let admin = fixture.server.admin.clone();
    let shown = fixture.get(&admin, "profiles/ci-build/rules").await.json();
    assert_eq!(shown["ofGrants"], true);
    assert_eq!(
        shown["rules"],
        json!([{"id": "grants", "allow": {"accounts": ["dev"]}}])
    );
    let both = json!({"name": "both", "validity": "1 day", "grants": {"accounts": ["dev"]}, "rules": bound()});
    let refused = fixture.post(&admin, "profiles", both).await;
    assert_eq!(error(&refused), "400 profile-invalid");
    let empty = fixture
        .put(&admin, "profiles/ci-build/rules", json!({"rules": []}))
        .await;
    assert_eq!(error(&empty), "400 bad-request");
    fixture.rules(bound()).await;
    let granted = json!({"name": "ops", "grants": {"profiles": ["ci-build"]}});
    let refused = fixture.post(&admin, "accounts", granted).await;
    assert_eq!(error(&refused), "409 conflict");
    assert!(refused.message().contains("has rules"), "{refused:?}");
}
