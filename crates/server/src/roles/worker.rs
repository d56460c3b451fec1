//! The worker: leases work from the front and does it; holds no keys and no standing credentials.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use client::control::ControlClient;
use client::http_client::HttpOptions;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::api::worker::Assignment;
use crate::worker::engines::Engines;
use crate::worker::front::{Delivery, FrontClient};
use crate::worker::job::{Job, Shared};
use crate::worker::{WorkFailure, journal};

/// How many jobs are worked on at once. Builds use every core that they get; two keep the
/// machine busy while one waits for a probe or the disk.
const JOBS_AT_ONCE: usize = 2;
/// How long to wait before asking a front again that does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a lease is extended while it runs: one lost message does not lose it.
const EXTENSIONS_PER_LEASE: u32 = 3;

/// What the worker is started with.
#[derive(Serialize, Deserialize)]
pub struct WorkerSettings {
    /// The worker's own folder: workspaces, container storage.
    pub folder: PathBuf,
    /// The front's URL.
    pub front_url: String,
    /// The worker's token: it opens `/api/v1/worker` alone.
    pub token: String,
    /// The certificate to trust for the front, in PEM, where it speaks TLS.
    pub front_certificate: Option<String>,
}

/// Runs the worker until `stop` becomes true. Work that is under way then is given up, and given
/// out again to whoever asks next.
///
/// # Errors
/// When its folder or the front's URL cannot be used.
pub async fn run(settings: WorkerSettings, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let folder = &settings.folder;
    tracing::info!(folder = %folder.display(), "ready: worker");
    say_user();
    let jobs = folder.join("jobs");
    // What an earlier worker left half done is done again from the start.
    let _ = fs::remove_dir_all(&jobs);
    fs::create_dir_all(&jobs).with_context(|| format!("cannot make `{}`", jobs.display()))?;
    let front: url::Url = settings.front_url.parse().context("the front's URL")?;
    let certificate = settings.front_certificate.map(String::into_bytes);
    let http = HttpOptions {
        extra_ca_pem: certificate.into_iter().collect(),
        ..HttpOptions::default()
    };
    let control = ControlClient::with_options(front.clone(), Some(settings.token), &http)?;
    let shared = Arc::new(Shared {
        folder: jobs,
        front,
        http,
        engines: Engines::new(folder.clone()),
    });
    let mut slots = tokio::task::JoinSet::new();
    for slot in 0..JOBS_AT_ONCE {
        let owner = format!("worker-{}-{slot}", uuid::Uuid::new_v4().simple());
        let front = FrontClient::new(control.clone(), owner);
        slots.spawn(work(shared.clone(), front, stop.clone()));
    }
    while slots.join_next().await.is_some() {}
    shared.engines.close().await;
    tracing::info!("worker stopped");
    Ok(())
}

/// Builds need root for their isolation; that the worker has it must not go unsaid.
fn say_user() {
    if rustix::process::geteuid().is_root() {
        tracing::info!("the worker runs as root: builds and deployments need it to be isolated");
    } else {
        tracing::info!("the worker does not run as root: builds and deployments are refused");
    }
}

/// Asks for jobs and does them, one after the other.
async fn work(shared: Arc<Shared>, front: FrontClient, mut stop: watch::Receiver<bool>) {
    loop {
        let leased = tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            leased = front.lease() => leased,
        };
        match leased {
            Ok(Some(assignment)) => do_job(&shared, &front, assignment, stop.clone()).await,
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "no work can be asked for");
                tokio::select! {
                    _ = stop.wait_for(|stopped| *stopped) => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// How work on a job came to an end.
#[expect(
    clippy::large_enum_variant,
    reason = "made once for each job, and never in numbers"
)]
enum End {
    /// It is done, or has failed.
    Done(Result<crate::api::worker::WorkOutcome, WorkFailure>),
    /// The lease is lost: somebody else does it, or nobody wants it any more.
    Lost,
    /// This worker stops.
    Stopped,
}

async fn do_job(
    shared: &Arc<Shared>,
    front: &FrontClient,
    assignment: Assignment,
    mut stop: watch::Receiver<bool>,
) {
    let (id, holder) = (assignment.job, assignment.holder.clone());
    let period = Duration::from_secs(assignment.lease_secs.into()) / EXTENSIONS_PER_LEASE;
    let kind = assignment.work.kind();
    tracing::info!(job = id, run = assignment.run, kind, "work begins");
    let (journal, delivery) = journal::open(front.clone(), id, holder.clone());
    let end = match Job::new(shared.clone(), assignment, journal) {
        Err(failure) => End::Done(Err(failure)),
        Ok(job) => {
            let end = tokio::select! {
                result = job.perform() => End::Done(result),
                () = keep_lease(front, (id, &holder), period) => End::Lost,
                _ = stop.wait_for(|stopped| *stopped) => End::Stopped,
            };
            job.clean();
            end
        }
    };
    // The journal ended with the job; what it still holds belongs before the result.
    let result = match end {
        End::Done(result) => {
            let _ = delivery.await;
            result
        }
        End::Stopped => Err(WorkFailure::around("worker-stopped", "the worker stops")),
        End::Lost => {
            tracing::info!(job = id, "the lease is lost, the work was given up");
            return;
        }
    };
    match &result {
        Ok(_) => tracing::info!(job = id, kind, "work done"),
        Err(failure) => {
            let WorkFailure { code, reason, .. } = failure;
            tracing::info!(job = id, kind, code, reason, "work failed");
        }
    }
    front.report(id, &holder, result).await;
}

/// Extends the lease until it is lost.
async fn keep_lease(
    front: &FrontClient,
    (job, holder): (i64, &crate::api::worker::Holder),
    period: Duration,
) {
    loop {
        tokio::time::sleep(period).await;
        if front.extend(job, holder).await == Delivery::Lost {
            return;
        }
    }
}
