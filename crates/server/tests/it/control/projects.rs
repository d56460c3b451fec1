//! Applying and removing projects.

use serde_json::{Value, json};

use super::{PROJECT, apply, project};
use crate::workshop::Workshop;

const SHOP: &str = "/api/v1/projects/shop";

#[tokio::test]
async fn applying_twice_changes_nothing_and_shows_no_token_again() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let tokens = apply(&shop).await;
    let again = shop.get(&shop.admin, ("PUT", SHOP), project()).await;
    assert_eq!(again["tokens"], json!([]));
    assert_eq!(
        again["environments"]["production"],
        "http://127.0.0.1:18099"
    );
    let whoami = shop
        .get(&tokens.dev, ("GET", "/api/v1/whoami"), Value::Null)
        .await;
    assert_eq!(whoami["project"], "shop");
    let denied = shop.ask(&tokens.dev, ("PUT", SHOP), project()).await;
    assert_eq!(denied.status, 403);
    shop.stop().await;
}

#[tokio::test]
async fn a_mistake_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let broken = |from: &str, to: &str| {
        assert!(project().to_string().contains(from), "{from}");
        let text = project().to_string().replacen(from, to, 1);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for (body, status, expected) in [
        (broken("name: dev", "nam: dev"), 422, "countersign.yaml"),
        (
            broken("name: candidate", "name: other"),
            422,
            "candidate.yaml",
        ),
        (broken("by: build", "by: nobody"), 422, "`nobody`"),
        (broken("strict", "lenient"), 422, "trust-policy.json"),
        (
            broken("policies/approved.yaml\"", "x.yaml\""),
            400,
            "approved.yaml",
        ),
        (broken("name: shop", "name: shoe"), 400, "`shoe`"),
    ] {
        let answer = shop.ask(&shop.admin, ("PUT", SHOP), body).await;
        assert_eq!(answer.status, status, "{expected}");
        let message = answer.message();
        assert!(message.contains(expected), "{message}");
    }
    let accounts = ("GET", "/api/v1/accounts");
    let accounts = shop.get(&shop.admin, accounts, Value::Null).await;
    assert_eq!(accounts.as_array().unwrap().len(), 1, "the administrator");
    let shown = shop.ask(&shop.admin, ("GET", SHOP), Value::Null).await;
    assert_eq!(shown.status, 404);
    shop.stop().await;
}

#[tokio::test]
async fn what_another_project_has_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    apply(&shop).await;
    let mut other = project();
    other["text"] = json!(PROJECT.replacen("name: shop\n", "name: other\n", 1));
    let what = ("PUT", "/api/v1/projects/other");
    let answer = shop.ask(&shop.admin, what, other).await;
    assert_eq!(answer.status, 409);
    let message = answer.message();
    assert!(message.contains("belongs to project `shop`"), "{message}");
    shop.stop().await;
}

#[tokio::test]
async fn removing_takes_everything_away() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let tokens = apply(&shop).await;
    super::commit(&shop, "a");
    let job = shop.lease("image").await;
    let removing = shop.get(&shop.admin, ("DELETE", SHOP), Value::Null);
    let worker = async {
        let job = shop.lease("retire").await;
        assert!(job["work"]["deployments"].is_null(), "all go");
        shop.complete(&job, json!({"kind": "done"})).await;
    };
    let (removed, ()) = tokio::join!(removing, worker);
    assert_eq!(removed["containersLeft"], 0);
    let lost = shop.report(&job, ("extend", json!({}))).await;
    assert_eq!(lost.status, 409, "the run was stopped");
    let gone = shop
        .ask(&tokens.dev, ("GET", "/api/v1/whoami"), Value::Null)
        .await;
    assert_eq!(gone.status, 401);
    let profile = ("GET", "/api/v1/profiles/ci-build");
    let profile = shop.get(&shop.admin, profile, Value::Null).await;
    assert_eq!(profile["status"], "Canceled");
    assert!(!shop.front.folder.join("git/shop.git").exists());
    let again = shop.ask(&shop.admin, ("DELETE", SHOP), Value::Null).await;
    assert_eq!(again.status, 404);

    // And it can be made again.
    apply(&shop).await;
    let profile = ("GET", "/api/v1/profiles/ci-build");
    let profile = shop.get(&shop.admin, profile, Value::Null).await;
    assert_eq!(profile["status"], "Active");
    shop.stop().await;
}
