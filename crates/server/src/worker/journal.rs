//! The log of a job on its way to the front, in batches.

use std::time::Duration;

use async_trait::async_trait;
use pipeline::runner::LogSink;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::front::{Delivery, FrontClient};
use crate::api::worker::{Holder, MAX_LOG_BATCH_LINES, WorkLine};
use crate::clock;

/// How many lines wait for the front before the work waits as well.
const BACKLOG_LINES: usize = 4096;
/// How long to wait for further lines before a batch is sent: short enough to be called live.
const GATHER: Duration = Duration::from_millis(150);
/// How long to wait before a batch is sent again.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes the lines of a job.
#[derive(Clone)]
pub(crate) struct Journal {
    lines: mpsc::Sender<WorkLine>,
}

#[async_trait]
impl LogSink for Journal {
    async fn line(&self, text: &str) {
        let line = WorkLine {
            at: clock::now(),
            text: text.to_owned(),
        };
        // The receiver goes when the lease is lost; nobody reads the rest then.
        let _ = self.lines.send(line).await;
    }
}

/// Starts a journal and the task that delivers it, which ends when the journal is dropped.
pub(crate) fn open(front: FrontClient, job: i64, holder: Holder) -> (Journal, JoinHandle<()>) {
    let (lines, receiver) = mpsc::channel(BACKLOG_LINES);
    let task = tokio::spawn(deliver(front, (job, holder), receiver));
    (Journal { lines }, task)
}

async fn deliver(
    front: FrontClient,
    (job, holder): (i64, Holder),
    mut lines: mpsc::Receiver<WorkLine>,
) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, MAX_LOG_BATCH_LINES).await > 0 {
        if batch.len() < MAX_LOG_BATCH_LINES {
            tokio::time::sleep(GATHER).await;
            while batch.len() < MAX_LOG_BATCH_LINES {
                match lines.try_recv() {
                    Ok(line) => batch.push(line),
                    Err(_) => break,
                }
            }
        }
        let sent = std::mem::take(&mut batch);
        if send(&front, job, &holder, sent).await == Delivery::Lost {
            return;
        }
    }
}

/// Sends a batch until the front has it. One that is sent twice because the answer was lost
/// shows twice; one that is not sent at all would be worse.
async fn send(front: &FrontClient, job: i64, holder: &Holder, lines: Vec<WorkLine>) -> Delivery {
    loop {
        match front.log(job, holder, lines.clone()).await {
            Ok(delivery) => return delivery,
            Err(error) => tracing::debug!(job, %error, "log lines wait for the front"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
