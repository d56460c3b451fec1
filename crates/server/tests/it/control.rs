//! The control loop, from an applied project to a switched route, with a real signer.

mod projects;
mod refusals;
mod restart;

use serde_json::{Value, json};

use crate::harness::MANIFEST;
use crate::workshop::Workshop;

const PROJECT: &str = r#"
apiVersion: countersign.dev/v1
kind: Project
name: shop
accounts:
  - {name: dev, git: {push: [shop]}, pull: ["apps/**"]}
  - {name: manager, profiles: [release], approve: [production], pull: ["**"]}
  - {name: mallory, profiles: [marketing], pull: ["**"], push: ["apps/**"]}
profiles:
  - {name: ci-build, validity: 7 days, pipelines: [development]}
  - {name: release, validity: 7 days}
  - {name: marketing, validity: 7 days}
gitRepositories: [{name: shop}]
trustPolicy: trust-policy.json
gatePolicies: [policies/candidate.yaml, policies/approved.yaml]
environments:
  - {name: production, listen: "127.0.0.1:18099", target: {engine: podman}, container: {port: 8080}}
pipelines:
  - name: development
    trigger: {push: {repository: shop, branch: main}}
    stages:
      - name: build
        actions:
          - {name: image, image: {repository: apps/shop, tag: latest}}
          - {name: licence, attach: {type: licence/example, files: ["LICENSE:text/plain"]}}
          - {name: sign, sign: {profile: ci-build, what: [image, licence/example, provenance]}}
          - {name: candidate, gate: {policy: candidate}}
  - name: production
    trigger: {evidence: {repository: apps/shop, policy: candidate}}
    stages:
      - name: verify
        actions: [{name: verdict, gate: {policy: candidate}}]
      - name: approve
        actions: [{name: approval, approval: {by: [manager], profile: release}}]
      - name: deploy
        actions: [{name: deploy, deploy: {environment: production, policy: approved}}]
"#;

const CANDIDATE: &str = r#"
apiVersion: countersign.dev/v1
kind: GatePolicy
name: candidate
roles:
  build: {profiles: [ci-build]}
require:
  - id: image
    signed: {by: build}
  - id: licence
    artifact: {type: licence/example, pick: latest, signedBy: build}
  - id: provenance
    artifact: {type: application/vnd.countersign.provenance.v1+json, pick: latest, signedBy: build}
"#;

const APPROVED: &str = r#"
apiVersion: countersign.dev/v1
kind: GatePolicy
name: approved
roles:
  build: {profiles: [ci-build]}
  release: {profiles: [release]}
require:
  - id: image
    signed: {by: build}
  - id: approved
    approval: {by: [manager], signedBy: release, over: candidate, maxAge: 24h}
"#;

const TRUST: &str = r#"{"version": "1.0", "trustPolicies": [{"name": "shop", "registryScopes": ["*"],
  "signatureVerification": {"level": "strict"}, "trustStores": ["signingAuthority:countersign"],
  "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Countersign"]}]}"#;

fn project() -> Value {
    json!({"text": PROJECT, "files": {
        "trust-policy.json": TRUST,
        "policies/candidate.yaml": CANDIDATE,
        "policies/approved.yaml": APPROVED,
    }})
}

/// The tokens of a project's accounts.
struct Tokens {
    manager: String,
    mallory: String,
    dev: String,
}

async fn apply(shop: &Workshop) -> Tokens {
    let what = ("PUT", "/api/v1/projects/shop");
    let applied = shop.get(&shop.admin, what, project()).await;
    let token = |name: &str| {
        let all = applied["tokens"].as_array().unwrap();
        let found = all.iter().find(|token| token["account"] == name).unwrap();
        found["token"].as_str().unwrap().to_owned()
    };
    Tokens {
        manager: token("manager"),
        mallory: token("mallory"),
        dev: token("dev"),
    }
}

/// Moves the branch as a push would.
fn commit(shop: &Workshop, commit: &str) {
    let branch = shop.front.folder.join("git/shop.git/refs/heads/main");
    std::fs::write(branch, format!("{}\n", commit.repeat(40))).unwrap();
    shop.front.control.wake();
}

fn layer(text: &str) -> oci::Descriptor {
    oci::Descriptor::of("text/plain".parse().unwrap(), text.as_bytes())
}

fn manifest(text: &str, attached: Option<(&str, &oci::Descriptor)>) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": oci::Descriptor::empty(), "layers": [layer(text)],
    });
    if let Some((kind, subject)) = attached {
        manifest["artifactType"] = json!(kind);
        manifest["subject"] = json!(subject.bare());
    }
    manifest
}

fn provenance(digest: &oci::Digest) -> String {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "apps/shop", "digest": {"sha256": digest.hex()}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": {}, "runDetails": {}},
    })
    .to_string()
}

/// Plays the worker through the build of an image, and returns the image.
async fn build(shop: &Workshop, text: &str) -> oci::Descriptor {
    let job = shop.lease("image").await;
    let token = job["token"].as_str().unwrap();
    shop.push_blob(token, "apps/shop", b"{}").await;
    shop.push_blob(token, "apps/shop", text.as_bytes()).await;
    let image = shop.push(token, "apps/shop", &manifest(text, None)).await;
    let outcome = json!({
        "kind": "image", "repository": "apps/shop", "image": image, "bases": [],
        "provenance": provenance(&image.digest),
    });
    let line = json!({"lines": [{"at": "2026-01-02T03:04:05Z", "text": "building"}]});
    assert!(shop.report(&job, ("log", line)).await.status.is_success());
    shop.complete(&job, outcome).await;

    let job = shop.lease("attach").await;
    let token = job["token"].as_str().unwrap();
    let licence = manifest(text, Some(("licence/example", &image)));
    let licence = shop.push(token, "apps/shop", &licence).await;
    let artifacts = json!([{"artifactType": "licence/example", "descriptor": licence}]);
    shop.complete(&job, json!({"kind": "attached", "artifacts": artifacts}))
        .await;
    image
}

#[tokio::test]
async fn from_a_push_to_a_switched_route() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let tokens = apply(&shop).await;
    commit(&shop, "a");
    let image = build(&shop, "one").await;

    let development = shop.run("development", "succeeded").await;
    let log = shop.log(development["id"].as_str().unwrap()).await;
    assert!(log.contains("image: building"), "{log}");
    assert!(log.contains("candidate: "), "{log}");
    // Evidence is complete: production begins by itself, and waits for a person.
    let waiting = shop.run("production", "waiting-for-approval").await;
    assert_eq!(waiting["awaiting"]["by"], json!(["manager"]));
    assert_eq!(waiting["awaiting"]["decision"]["decision"], "allow");
    let id = waiting["id"].as_str().unwrap();
    let approve = format!("/api/v1/runs/{id}/approve");
    let comment = json!({"comment": "looks good"});
    for stranger in [&tokens.mallory, &tokens.dev, &shop.admin] {
        let answer = shop
            .ask(stranger, ("POST", &approve), comment.clone())
            .await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    shop.get(&tokens.manager, ("POST", &approve), comment.clone())
        .await;
    let twice = shop.ask(&tokens.manager, ("POST", &approve), comment).await;
    assert_eq!(twice.status, 409);

    let job = shop.lease("deploy").await;
    assert_eq!(job["work"]["image"]["digest"], json!(image.digest));
    let serving = json!({"kind": "deployed", "endpoint": "127.0.0.1:3999"});
    shop.complete(&job, serving).await;
    let done = shop.run("production", "succeeded").await;
    assert_eq!(
        done["outputs"]["deployments"][0]["url"],
        "http://127.0.0.1:18099"
    );
    let what = ("GET", "/api/v1/deployments/production");
    let deployments = shop.get(&tokens.dev, what, Value::Null).await;
    assert_eq!(deployments[0]["state"], "current");
    assert_eq!(deployments[0]["digest"], json!(image.digest));
    let job = shop.lease("retire").await;
    assert_eq!(job["work"]["deployments"], json!([]), "it is the first");
    shop.complete(&job, json!({"kind": "done"})).await;

    // The next version takes its place, and only the replaced one goes.
    commit(&shop, "b");
    build(&shop, "two").await;
    let waiting = shop.run("production", "waiting-for-approval").await;
    let approve = format!("/api/v1/runs/{}/approve", waiting["id"].as_str().unwrap());
    shop.get(&tokens.manager, ("POST", &approve), json!({}))
        .await;
    let job = shop.lease("deploy").await;
    let serving = json!({"kind": "deployed", "endpoint": "127.0.0.1:3998"});
    shop.complete(&job, serving).await;
    let job = shop.lease("retire").await;
    let first = json!([format!("production-{id}")]);
    assert_eq!(job["work"]["deployments"], first);
    shop.complete(&job, json!({"kind": "done"})).await;
    shop.stop().await;
}
