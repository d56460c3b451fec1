//! The journal: new jobs, committed in groups.
//!
//! A signature is given out only once its job is durable, and a durable commit costs milliseconds.
//! Jobs that arrive while one commit runs share the next one, so the rate does not depend on it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::SignerError;
use crate::job::SigningJob;
use crate::records::{Records, RecordsError};

/// The most jobs in one commit.
const MAX_GROUP: usize = 512;

type Answer = Result<(), Arc<RecordsError>>;
type Entry = (SigningJob, oneshot::Sender<Answer>);

pub(super) struct Journal {
    entries: mpsc::Sender<Entry>,
}

impl Journal {
    pub(super) fn start(records: Arc<dyn Records>) -> Self {
        let (entries, receiver) = mpsc::channel(MAX_GROUP);
        tokio::spawn(write_groups(records, receiver));
        Self { entries }
    }

    /// Returns when `job` is durable.
    pub(super) async fn add(&self, job: SigningJob) -> Result<(), SignerError> {
        let (sender, receiver) = oneshot::channel();
        let ended = || SignerError::Internal("the journal ended".to_owned());
        self.entries
            .send((job, sender))
            .await
            .map_err(|_| ended())?;
        let answer = receiver.await.map_err(|_| ended())?;
        answer.map_err(SignerError::Records)
    }
}

async fn write_groups(records: Arc<dyn Records>, mut entries: mpsc::Receiver<Entry>) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    while entries.recv_many(&mut group, MAX_GROUP).await > 0 {
        let (jobs, senders): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        let answer = records.add_jobs(&jobs).await.map_err(Arc::new);
        for sender in senders {
            // A caller that went away keeps its record: the signature was made.
            let _ = sender.send(answer.clone());
        }
    }
}
