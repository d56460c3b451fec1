//! Jobs are given out once at a time, again when a lease ran out, and never lost.

use std::time::Duration;

use serde_json::json;

use super::at;
use crate::StoreError;
use crate::queue::{Failure, JobId, JobRow, JobState, Lease, LeaseRequest, NewJob, Queue};

/// Runs the suite over an empty queue.
pub async fn queue(queue: &dyn Queue) {
    a_lease_excludes_others_until_it_runs_out(queue).await;
    a_job_waits_for_its_time_and_for_its_kind(queue).await;
    an_extended_lease_runs_longer(queue).await;
    a_failed_job_is_retried_and_dies_in_the_end(queue).await;
    a_worker_that_never_comes_back_uses_up_attempts(queue).await;
    the_same_key_is_the_same_job(queue).await;
    two_workers_share_the_work(queue).await;
}

const MINUTE: Duration = Duration::from_secs(60);

fn request(kind: &str, owner: &str) -> LeaseRequest {
    LeaseRequest {
        kinds: vec!["other".to_owned(), kind.to_owned()],
        owner: owner.to_owned(),
        duration: MINUTE,
    }
}

async fn lease(
    queue: &dyn Queue,
    kind: &str,
    owner: &str,
    seconds: i64,
) -> Option<(Lease, JobRow)> {
    let leased = queue.lease(&request(kind, owner), at(seconds)).await;
    leased.unwrap()
}

async fn a_lease_excludes_others_until_it_runs_out(queue: &dyn Queue) {
    let job = NewJob::new("build", json!({"n": 1}), at(0));
    let id = queue.enqueue(&job).await.unwrap();
    let (first, row) = lease(queue, "build", "a", 0).await.unwrap();
    assert_eq!((row.id, &row.payload, row.attempts), (id, &job.payload, 1));
    assert_eq!(row.state, JobState::Leased);
    assert!(lease(queue, "build", "b", 59).await.is_none());
    let (second, row) = lease(queue, "build", "b", 60).await.unwrap();
    assert_eq!((row.id, row.attempts), (id, 2));
    // The first worker comes back too late: nothing of what it says counts.
    for lost in [
        queue.complete(&first).await,
        queue.extend(&first, MINUTE, at(61)).await,
        queue.fail(&first, &failure(Some(70))).await.map(drop),
    ] {
        assert!(matches!(lost, Err(StoreError::Conflict(_))));
    }
    queue.complete(&second).await.unwrap();
    assert_eq!(queue.job(id).await.unwrap(), None);
}

async fn a_job_waits_for_its_time_and_for_its_kind(queue: &dyn Queue) {
    let id = queue
        .enqueue(&NewJob::new("scan", json!(null), at(10)))
        .await
        .unwrap();
    assert!(lease(queue, "scan", "a", 9).await.is_none());
    assert!(lease(queue, "deploy", "a", 10).await.is_none());
    let (held, _) = lease(queue, "scan", "a", 10).await.unwrap();
    assert_eq!(held.job, id);
    queue.complete(&held).await.unwrap();
}

async fn an_extended_lease_runs_longer(queue: &dyn Queue) {
    queue
        .enqueue(&NewJob::new("build", json!(null), at(0)))
        .await
        .unwrap();
    let (held, _) = lease(queue, "build", "a", 0).await.unwrap();
    queue.extend(&held, MINUTE, at(50)).await.unwrap();
    assert!(lease(queue, "build", "b", 109).await.is_none());
    queue.complete(&held).await.unwrap();
}

fn failure(retry_at: Option<i64>) -> Failure {
    Failure {
        reason: "no disk".to_owned(),
        retry_at: retry_at.map(at),
    }
}

async fn a_failed_job_is_retried_and_dies_in_the_end(queue: &dyn Queue) {
    let job = NewJob {
        max_attempts: 2,
        ..NewJob::new("build", json!(null), at(0))
    };
    let id = queue.enqueue(&job).await.unwrap();
    let (held, _) = lease(queue, "build", "a", 0).await.unwrap();
    let state = queue.fail(&held, &failure(Some(30))).await.unwrap();
    assert_eq!(state, JobState::Waiting);
    assert!(lease(queue, "build", "a", 29).await.is_none());
    let (held, _) = lease(queue, "build", "a", 30).await.unwrap();
    let state = queue.fail(&held, &failure(Some(60))).await.unwrap();
    assert_eq!(state, JobState::Dead);
    assert!(lease(queue, "build", "a", 600).await.is_none());
    let dead = queue.dead(at(600)).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason.as_deref(), Some("no disk"));
    assert!(queue.forget(id).await.unwrap());
    assert!(queue.dead(at(600)).await.unwrap().is_empty());

    let id = queue.enqueue(&NewJob::new("build", json!(0), at(0))).await;
    let (held, _) = lease(queue, "build", "a", 0).await.unwrap();
    let state = queue.fail(&held, &failure(None)).await.unwrap();
    assert_eq!(state, JobState::Dead, "a hopeless job is not tried again");
    assert!(queue.forget(id.unwrap()).await.unwrap());
}

async fn a_worker_that_never_comes_back_uses_up_attempts(queue: &dyn Queue) {
    let job = NewJob::new("build", json!(null), at(0));
    let id = queue.enqueue(&job).await.unwrap();
    for attempt in 0..3 {
        assert!(queue.dead(at(attempt * 60)).await.unwrap().is_empty());
        assert!(lease(queue, "build", "a", attempt * 60).await.is_some());
    }
    assert!(queue.dead(at(179)).await.unwrap().is_empty());
    assert!(lease(queue, "build", "a", 180).await.is_none());
    let dead = queue.dead(at(180)).await.unwrap();
    assert_eq!((dead[0].id, dead[0].state), (id, JobState::Dead));
    assert!(dead[0].reason.is_some());
    queue.forget(id).await.unwrap();
}

async fn the_same_key_is_the_same_job(queue: &dyn Queue) {
    let job = NewJob::new("scan", json!(1), at(0)).once("run-1/scan");
    let id = queue.enqueue(&job).await.unwrap();
    assert_eq!(queue.enqueue(&job).await.unwrap(), id);
    let (held, _) = lease(queue, "scan", "a", 0).await.unwrap();
    assert_eq!(queue.enqueue(&job).await.unwrap(), id);
    queue.complete(&held).await.unwrap();
    let again = queue.enqueue(&job).await.unwrap();
    assert_ne!(again, id, "a finished job is no hindrance");
    assert!(queue.forget(again).await.unwrap());
}

async fn two_workers_share_the_work(queue: &dyn Queue) {
    let mut expected: Vec<JobId> = Vec::new();
    for number in 0..20 {
        let job = NewJob::new("build", json!(number), at(0));
        expected.push(queue.enqueue(&job).await.unwrap());
    }
    let worker = async |owner: &str| {
        let mut done = Vec::new();
        while let Some((held, row)) = lease(queue, "build", owner, 1).await {
            queue.complete(&held).await.unwrap();
            done.push(row.id);
        }
        done
    };
    let (mut all, rest) = tokio::join!(worker("a"), worker("b"));
    all.extend(rest);
    all.sort();
    assert_eq!(all, expected);
}
