//! Runs: every step whole or not at all.

use serde_json::json;

use super::at;
use crate::queue::{LeaseRequest, NewJob};
use crate::runs::{
    ActionRow, LogLine, MAX_LOG_LINE_BYTES, NewRun, RunFilter, RunId, Started, Transition,
};
use crate::{Store, StoreError};

/// Runs the suite over a store without runs.
pub async fn runs(store: &Store) {
    the_same_event_starts_one_run(store).await;
    a_step_from_an_old_version_changes_nothing(store).await;
    a_step_without_its_lease_changes_nothing(store).await;
    a_step_takes_jobs_away_by_their_key(store).await;
    logs_are_read_on_from_a_line(store).await;
    listings_are_filtered(store).await;
}

fn new_run(id: &str, pipeline: &str, trigger_key: Option<&str>) -> NewRun {
    NewRun {
        id: id.parse().unwrap(),
        project: "shop".to_owned(),
        pipeline: pipeline.to_owned(),
        trigger_key: trigger_key.map(str::to_owned),
        state: "running".to_owned(),
        document: json!({"stage": 0}),
        at: at(0),
    }
}

fn action(name: &str, position: u32, state: &str) -> ActionRow {
    ActionRow {
        stage: "build".to_owned(),
        name: name.to_owned(),
        position,
        state: state.to_owned(),
        document: json!({}),
        started_at: None,
        finished_at: None,
    }
}

fn transition(run: &str, expected_version: u64) -> Transition {
    Transition {
        run: run.parse().unwrap(),
        expected_version,
        state: "succeeded".to_owned(),
        finished: true,
        document: json!({"stage": 1}),
        actions: vec![action("image", 0, "succeeded")],
        enqueue: Vec::new(),
        completes: None,
        forget: Vec::new(),
        at: at(5),
    }
}

async fn the_same_event_starts_one_run(store: &Store) {
    let actions = [action("unit", 1, "pending"), action("image", 0, "pending")];
    let first = new_run("one", "development", Some("push/abc"));
    let started = store.runs.start(&first, &actions).await.unwrap();
    assert_eq!(started, Started::New);
    let second = new_run("two", "development", Some("push/abc"));
    let started = store.runs.start(&second, &actions).await.unwrap();
    assert_eq!(started, Started::Already(first.id.clone()));
    assert_eq!(store.runs.run(&second.id).await.unwrap(), None);
    let kept = store.runs.actions(&first.id).await.unwrap();
    assert_eq!(kept, [actions[1].clone(), actions[0].clone()]);
}

async fn a_step_from_an_old_version_changes_nothing(store: &Store) {
    let run = new_run("versions", "development", None);
    store.runs.start(&run, &[]).await.unwrap();
    let job = NewJob::new("versions", json!(null), at(0));
    let step = Transition {
        enqueue: vec![job],
        ..transition("versions", 1)
    };
    assert_eq!(store.runs.apply(&step).await.unwrap(), 2);
    let row = store.runs.run(&run.id).await.unwrap().unwrap();
    assert_eq!((row.version, row.finished), (2, true));
    assert_eq!(row.document, json!({"stage": 1}));
    assert_eq!((row.started_at, row.updated_at), (at(0), at(5)));
    let again = store.runs.apply(&step).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    let lease = LeaseRequest {
        kinds: vec!["versions".to_owned()],
        owner: "w".to_owned(),
        duration: std::time::Duration::from_secs(1),
    };
    let given = store.queue.lease(&lease, at(0)).await.unwrap().unwrap();
    assert_eq!(
        store.queue.lease(&lease, at(0)).await.unwrap(),
        None,
        "the refused step must not have enqueued anything"
    );
    store.queue.complete(&given.0).await.unwrap();
}

async fn a_step_without_its_lease_changes_nothing(store: &Store) {
    let run = new_run("leases", "development", None);
    store.runs.start(&run, &[]).await.unwrap();
    let job = NewJob::new("leases", json!(null), at(0));
    store.queue.enqueue(&job).await.unwrap();
    let request = |owner: &str| LeaseRequest {
        kinds: vec!["leases".to_owned()],
        owner: owner.to_owned(),
        duration: std::time::Duration::from_secs(10),
    };
    let late = store.queue.lease(&request("a"), at(0)).await.unwrap();
    let held = store.queue.lease(&request("b"), at(20)).await.unwrap();
    let step = |lease| Transition {
        completes: Some(lease),
        ..transition("leases", 1)
    };
    let refused = store.runs.apply(&step(late.unwrap().0)).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    let row = store.runs.run(&run.id).await.unwrap().unwrap();
    assert_eq!((row.version, row.state.as_str()), (1, "running"));
    assert_eq!(store.runs.actions(&run.id).await.unwrap(), []);
    let (held, job) = held.unwrap();
    store.runs.apply(&step(held)).await.unwrap();
    assert_eq!(store.queue.job(job.id).await.unwrap(), None);
}

async fn a_step_takes_jobs_away_by_their_key(store: &Store) {
    let run = new_run("cancelled", "development", None);
    store.runs.start(&run, &[]).await.unwrap();
    let job = NewJob::new("cancelled", json!(null), at(0)).once("cancelled/image/1");
    let id = store.queue.enqueue(&job).await.unwrap();
    let step = Transition {
        forget: vec!["cancelled/image/1".to_owned(), "unknown".to_owned()],
        ..transition("cancelled", 1)
    };
    store.runs.apply(&step).await.unwrap();
    assert_eq!(store.queue.job(id).await.unwrap(), None);
}

async fn logs_are_read_on_from_a_line(store: &Store) {
    let id: RunId = "one".parse().unwrap();
    let line = |text: &str| LogLine {
        seq: 0,
        action: "image".to_owned(),
        at: at(1),
        text: text.to_owned(),
    };
    let first = store.runs.append_log(&id, &[line("a"), line("b")]).await;
    assert_eq!(first.unwrap(), 2);
    let long = "é".repeat(MAX_LOG_LINE_BYTES);
    let second = store.runs.append_log(&id, &[line(&long)]).await;
    assert_eq!(second.unwrap(), 3);
    let lines = store.runs.log(&id, 1, 10).await.unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].seq, lines[0].text.as_str()), (2, "b"));
    assert!(lines[1].text.len() < long.len() && lines[1].text.ends_with("(cut)"));
    assert_eq!(store.runs.log(&id, 0, 1).await.unwrap().len(), 1);
    assert_eq!(store.runs.log(&id, 3, 10).await.unwrap(), []);
    let nowhere = "nowhere".parse().unwrap();
    assert!(store.runs.append_log(&nowhere, &[line("x")]).await.is_err());
}

async fn listings_are_filtered(store: &Store) {
    let production = new_run("production-1", "production", None);
    store.runs.start(&production, &[]).await.unwrap();
    let ids = async |filter: RunFilter| {
        let rows = store.runs.list(&filter).await.unwrap();
        rows.into_iter()
            .map(|row| row.id.to_string())
            .collect::<Vec<_>>()
    };
    let all = ids(RunFilter::default()).await;
    assert_eq!(
        all,
        ["production-1", "cancelled", "leases", "versions", "one"]
    );
    let unfinished = RunFilter {
        unfinished: true,
        ..RunFilter::default()
    };
    assert_eq!(ids(unfinished).await, ["production-1", "one"]);
    let newest = RunFilter {
        pipeline: Some("development".to_owned()),
        project: Some("shop".to_owned()),
        limit: 2,
        ..RunFilter::default()
    };
    assert_eq!(ids(newest).await, ["cancelled", "leases"]);
}
