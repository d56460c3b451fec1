//! What the control loop refuses, each for one reason.

use serde_json::{Value, json};

use super::{Tokens, apply, build, commit, manifest};
use crate::workshop::Workshop;

/// Brings a shop to the point where production waits for an approval.
async fn waiting(shop: &Workshop) -> (Tokens, oci::Descriptor, Value) {
    let tokens = apply(shop).await;
    commit(shop, "a");
    let image = build(shop, "one").await;
    let run = shop.run("production", "waiting-for-approval").await;
    (tokens, image, run)
}

async fn approve(shop: &Workshop, tokens: &Tokens, run: &Value) {
    let path = format!("/api/v1/runs/{}/approve", run["id"].as_str().unwrap());
    let comment = json!({"comment": "yes"});
    shop.get(&tokens.manager, ("POST", &path), comment).await;
}

fn failure(run: &Value, action: &str) -> String {
    let actions = run["actions"].as_array().unwrap();
    let found = actions.iter().find(|one| one["name"] == action).unwrap();
    found["detail"]["status"]["failure"]["code"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_tag_that_moved_after_the_approval_is_not_deployed() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let (tokens, _, first) = waiting(&shop).await;
    let start = json!({"pipeline": "production", "reference": "apps/shop:latest"});
    // The worker of this test does not tag, so a person does.
    let source = first["input"]["image"]["digest"].as_str().unwrap();
    tag(&shop, source).await;
    let run = shop
        .get(&tokens.manager, ("POST", "/api/v1/runs"), start)
        .await;
    assert_eq!(run["input"]["image"]["tag"], "latest");
    let run = shop.run("production", "waiting-for-approval").await;
    approve(&shop, &tokens, &run).await;
    let evil = manifest("evil", None);
    shop.push_blob(&tokens.mallory, "apps/shop", b"evil").await;
    let evil = shop.push(&tokens.mallory, "apps/shop", &evil).await;
    tag(&shop, evil.digest.as_str()).await;

    assert_eq!(shop.lease_nothing().await, Value::Null);
    let run = shop.run("production", "failed").await;
    assert_eq!(failure(&run, "deploy"), "tag-moved");
    shop.stop().await;
}

#[tokio::test]
async fn evidence_that_changed_while_it_was_starting_gets_no_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let (tokens, image, run) = waiting(&shop).await;
    approve(&shop, &tokens, &run).await;
    let job = shop.lease("deploy").await;
    let more = manifest("one", Some(("note/example", &image)));
    shop.push(&tokens.mallory, "apps/shop", &more).await;
    let serving = json!({"kind": "deployed", "endpoint": "127.0.0.1:3999"});
    shop.complete(&job, serving).await;
    let failed = shop.run("production", "failed").await;
    assert_eq!(failure(&failed, "deploy"), "approval-outdated");
    let what = ("GET", "/api/v1/deployments");
    let serving = shop.get(&shop.admin, what, Value::Null).await;
    assert_eq!(serving, json!([]));
    // The container that was started is taken away.
    let job = shop.lease("retire").await;
    let id = run["id"].as_str().unwrap();
    assert_eq!(
        job["work"]["deployments"],
        json!([format!("production-{id}")])
    );
    shop.stop().await;
}

async fn tag(shop: &Workshop, digest: &str) {
    let path = format!("/v2/apps/shop/manifests/{digest}");
    let manifest = shop.ask(&shop.admin, ("GET", &path), Value::Null).await;
    let path = "/v2/apps/shop/manifests/latest";
    let manifest: Value = serde_json::from_slice(&manifest.body).unwrap();
    shop.put_manifest(path, &manifest).await;
}

#[tokio::test]
async fn evidence_that_changed_after_the_verdict_is_not_approved() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let (tokens, image, run) = waiting(&shop).await;
    let hold = manifest("one", Some(("hold/example", &image)));
    shop.push(&tokens.mallory, "apps/shop", &hold).await;
    let path = format!("/api/v1/runs/{}/approve", run["id"].as_str().unwrap());
    let answer = shop.ask(&tokens.manager, ("POST", &path), json!({})).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["error"]["code"], "approval-outdated");
    shop.stop().await;
}

#[tokio::test]
async fn evidence_that_changed_after_the_approval_is_not_deployed() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let (tokens, image, run) = waiting(&shop).await;
    approve(&shop, &tokens, &run).await;
    let more = manifest("one", Some(("note/example", &image)));
    shop.push(&tokens.mallory, "apps/shop", &more).await;
    assert_eq!(shop.lease_nothing().await, Value::Null);
    let run = shop.run("production", "failed").await;
    assert_eq!(failure(&run, "deploy"), "approval-outdated");
    shop.stop().await;
}

#[tokio::test]
async fn a_worker_is_not_believed_about_what_it_attached() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    apply(&shop).await;
    commit(&shop, "a");
    let job = shop.lease("image").await;
    let token = job["token"].as_str().unwrap();
    shop.push_blob(token, "apps/shop", b"{}").await;
    shop.push_blob(token, "apps/shop", b"one").await;
    let image = shop.push(token, "apps/shop", &manifest("one", None)).await;
    let absent = oci::Descriptor::of(image.media_type.clone(), b"absent");
    let built = |image: &oci::Descriptor| {
        json!({"outcome": {
            "kind": "image", "repository": "apps/shop", "image": image, "bases": [],
            "provenance": super::provenance(&image.digest),
        }})
    };
    let answer = shop.report(&job, ("complete", built(&absent))).await;
    assert_eq!(answer.status, 400, "an image that nobody pushed");
    let answer = shop.report(&job, ("complete", built(&image))).await;
    assert_eq!(answer.status, 204);
    let late = shop.report(&job, ("complete", built(&image))).await;
    assert_eq!(late.status, 409, "the same job twice");

    let job = shop.lease("attach").await;
    let token = job["token"].as_str().unwrap();
    let stray = manifest("one", Some(("licence/example", &absent)));
    let other = manifest("one", Some(("sbom/example", &image)));
    for (case, manifest) in [("another subject", stray), ("another type", other)] {
        let pushed = shop.push(token, "apps/shop", &manifest).await;
        let kind = manifest["artifactType"].clone();
        let artifacts = json!([{"artifactType": kind, "descriptor": pushed}]);
        let outcome = json!({"outcome": {"kind": "attached", "artifacts": artifacts}});
        let answer = shop.report(&job, ("complete", outcome)).await;
        assert_eq!(answer.status, 400, "{case}");
    }
    let outcome = json!({"outcome": {"kind": "deployed", "endpoint": "127.0.0.1:1"}});
    let answer = shop.report(&job, ("complete", outcome)).await;
    assert_eq!(answer.status, 400, "an outcome of another action");
    shop.stop().await;
}

#[tokio::test]
async fn a_runs_token_opens_its_own_repository_and_ends_with_its_action() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    apply(&shop).await;
    commit(&shop, "a");
    let job = shop.lease("image").await;
    let token = job["token"].as_str().unwrap();
    let start = "/v2/apps/shop/blobs/uploads/";
    let elsewhere = "/v2/base/python/blobs/uploads/";
    let run = format!("/api/v1/runs/{}", job["run"].as_str().unwrap());
    let signature = json!({"profile": "ci-build", "artifact": oci::Descriptor::empty()});
    for (what, body, expected) in [
        (("POST", start), Value::Null, 202),
        (("POST", elsewhere), Value::Null, 403),
        (("GET", run.as_str()), Value::Null, 200),
        (("GET", "/api/v1/projects"), Value::Null, 403),
        (
            ("POST", "/api/v1/worker/lease"),
            json!({"owner": "x", "waitSecs": 0}),
            403,
        ),
        (("POST", "/api/v1/signatures"), signature, 403),
        (
            ("POST", "/api/v1/runs"),
            json!({"pipeline": "development"}),
            403,
        ),
    ] {
        let answer = shop.ask(token, what, body).await;
        assert_eq!(answer.status, expected, "{what:?} {answer:?}");
    }
    let failed = json!({"code": "no-disk", "reason": "it is full", "retry": false});
    assert_eq!(shop.report(&job, ("fail", failed)).await.status, 204);
    let answer = shop.ask(token, ("POST", start), Value::Null).await;
    assert_eq!(answer.status, 401, "the action is over");
    shop.stop().await;
}

#[tokio::test]
async fn a_failed_action_is_tried_again_by_a_person_who_may() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let tokens = apply(&shop).await;
    commit(&shop, "a");
    let job = shop.lease("image").await;
    let failed = json!({"code": "no-disk", "reason": "it is full", "retry": false});
    assert_eq!(shop.report(&job, ("fail", failed)).await.status, 204);
    let run = shop.run("development", "failed").await;
    assert_eq!(failure(&run, "image"), "no-disk");
    let path = format!("/api/v1/runs/{}/retry", run["id"].as_str().unwrap());
    let denied = shop.ask(&tokens.mallory, ("POST", &path), json!({})).await;
    assert_eq!(denied.status, 404, "a run that may not be seen");
    shop.get(&tokens.dev, ("POST", &path), json!({})).await;
    let job = shop.lease("image").await;
    assert_eq!(job["run"], run["id"]);
    let twice = shop.ask(&tokens.dev, ("POST", &path), json!({})).await;
    assert_eq!(twice.status, 409, "it is under way");
    shop.stop().await;
}

#[tokio::test]
async fn a_gate_answers_with_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let tokens = apply(&shop).await;
    shop.push_blob(&tokens.mallory, "apps/shop", b"{}").await;
    shop.push_blob(&tokens.mallory, "apps/shop", b"raw").await;
    let raw = manifest("raw", None);
    let image = shop.push(&tokens.mallory, "apps/shop", &raw).await;
    let what = ("POST", "/api/v1/gate/check");
    let own = shop.url.strip_prefix("http://").unwrap();
    for reference in [
        format!("apps/shop@{}", image.digest),
        format!("{own}/apps/shop@{}", image.digest),
    ] {
        let question = json!({"policy": "candidate", "reference": reference});
        let decision = shop.get(&tokens.dev, what, question).await;
        assert_eq!(decision["decision"], "deny");
        assert_eq!(decision["requirements"][0]["code"], "signature-missing");
    }
    for (policy, reference, expected) in [
        ("candidate", "apps/shop:none", 404),
        ("nothing", "apps/shop:none", 404),
        ("candidate", "apps/shop", 400),
        ("candidate", "base/python:1", 403),
        ("candidate", "registry.example/a/b:1", 422),
    ] {
        let question = json!({"policy": policy, "reference": reference});
        let answer = shop.ask(&tokens.dev, what, question).await;
        assert_eq!(answer.status, expected, "{policy} {reference}");
    }
    shop.stop().await;
}
