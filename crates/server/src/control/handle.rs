//! What the control loop, the handlers and the workers share in memory.
//!
//! Nothing of it must survive: after a restart everybody looks at the store.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipeline::project::Name;
use store::runs::RunId;
use tokio::sync::{Notify, OwnedMutexGuard, watch};

/// How long somebody who waits for a change sleeps at most before looking by himself: a retry's
/// time comes without anybody telling.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Signals and locks of the control loop.
pub struct Control {
    wake: Notify,
    jobs: Notify,
    changes: watch::Sender<u64>,
    routes: watch::Sender<u64>,
    locks: Mutex<HashMap<RunId, Arc<tokio::sync::Mutex<()>>>>,
    under_way: Mutex<BTreeSet<(RunId, Name, u32)>>,
    tokens: Mutex<HashMap<i64, String>>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            wake: Notify::new(),
            jobs: Notify::new(),
            changes: watch::Sender::new(0),
            routes: watch::Sender::new(0),
            locks: Mutex::default(),
            under_way: Mutex::default(),
            tokens: Mutex::default(),
        }
    }
}

/// Marks an action that the front works on; nobody else begins with it until this is dropped.
pub(crate) struct UnderWay {
    control: crate::state::Front,
    key: (RunId, Name, u32),
}

impl Control {
    /// Makes the loop look at all runs that are not finished, and at the triggers.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tells workers that there may be a job, and followers that a run has changed.
    pub(crate) fn changed(&self) {
        self.jobs.notify_waiters();
        self.changes.send_modify(|count| *count += 1);
    }

    /// Tells the reverse proxies that projects or routes have changed.
    pub(crate) fn routes_changed(&self) {
        self.routes.send_modify(|count| *count += 1);
    }

    /// Returns a receiver that sees every change of projects and of what serves.
    pub fn routes(&self) -> watch::Receiver<u64> {
        self.routes.subscribe()
    }

    /// Returns a receiver that sees every change of a run or its log.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until there may be a job, for one second at most.
    pub(crate) async fn job_may_wait(&self) {
        let _ = tokio::time::timeout(LOOK_AGAIN, self.jobs.notified()).await;
    }

    /// Waits for the run's turn: its steps are computed one after the other.
    pub(super) async fn lock(&self, run: &RunId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = lock(&self.locks);
            // Nobody waits for a lock that only this map holds.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(run.clone()).or_default())
        };
        lock.lock_owned().await
    }

    pub(crate) fn remember_token(&self, job: i64, id: &str) {
        lock(&self.tokens).insert(job, id.to_owned());
    }

    pub(crate) fn take_token(&self, job: i64) -> Option<String> {
        lock(&self.tokens).remove(&job)
    }
}

impl UnderWay {
    /// Marks an action as being worked on, unless it is already.
    pub(super) fn begin(
        front: &crate::state::Front,
        run: &RunId,
        action: &Name,
        attempt: u32,
    ) -> Option<Self> {
        let key = (run.clone(), action.clone(), attempt);
        let is_new = lock(&front.control.under_way).insert(key.clone());
        is_new.then(|| Self {
            control: front.clone(),
            key,
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.control.control.under_way).remove(&self.key);
    }
}

/// A panic elsewhere leaves these maps whole: every change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
