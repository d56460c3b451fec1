//! Everything goes on after a restart: what a run is lies in the store.

use serde_json::{Value, json};

use super::{apply, build, commit};
use crate::workshop::Workshop;

#[tokio::test]
async fn a_push_while_the_server_was_down_starts_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    apply(&shop).await;
    let branch = shop.front.folder.join("git/shop.git/refs/heads/main");
    let address = shop.address();
    shop.stop().await;
    std::fs::write(branch, format!("{}\n", "b".repeat(40))).unwrap();

    let shop = Workshop::start_at(folder.path(), address).await;
    let job = shop.lease("image").await;
    assert_eq!(job["work"]["source"]["commit"], "b".repeat(40));
    shop.stop().await;
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_waits_on() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    let tokens = apply(&shop).await;
    commit(&shop, "a");
    build(&shop, "one").await;
    let before = shop.run("production", "waiting-for-approval").await;
    let address = shop.address();
    // As a kill would: nothing is told to stop, and nobody says goodbye.
    shop.kill().await;

    let shop = Workshop::start_at(folder.path(), address).await;
    let run = shop.run("production", "waiting-for-approval").await;
    assert_eq!(run["id"], before["id"], "it was not started twice");
    let path = format!("/api/v1/runs/{}/approve", run["id"].as_str().unwrap());
    shop.get(&tokens.manager, ("POST", &path), json!({})).await;
    let job = shop.lease("deploy").await;
    let address = shop.address();
    shop.kill().await;

    // The worker kept its lease through the front's restart, and reports when it is back.
    let shop = Workshop::start_at(folder.path(), address).await;
    let serving = json!({"kind": "deployed", "endpoint": "127.0.0.1:3999"});
    shop.complete(&job, serving).await;
    shop.run("production", "succeeded").await;
    let what = ("GET", "/api/v1/deployments");
    let serving = shop.get(&shop.admin, what, Value::Null).await;
    assert_eq!(serving[0]["state"], "current");
    shop.stop().await;
}

#[tokio::test]
async fn an_action_of_the_front_that_was_interrupted_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::start(folder.path()).await;
    apply(&shop).await;
    commit(&shop, "a");
    build(&shop, "one").await;
    // The signing is under way at this moment, or has not begun.
    let address = shop.address();
    shop.kill().await;
    let shop = Workshop::start_at(folder.path(), address).await;
    shop.run("development", "succeeded").await;
    shop.stop().await;
}
