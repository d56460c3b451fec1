//! Threads for signing: as many as there are processors, or more where the keys lie elsewhere and
//! signing is waiting.
//!
//! A P-384 signature takes about 160 µs: too long for the threads that serve sockets. tokio's
//! blocking pool would start up to 512 threads for a burst; here a burst waits in line.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::SignerError;

/// The most tasks that wait. The socket server admits fewer requests at once than this.
const MAX_WAITING: usize = 4096;

type Task = Box<dyn FnOnce() + Send>;

/// The pool. Dropping it lets the threads finish what waits, and end.
pub(super) struct CpuPool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CpuPool {
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        for number in 0..threads {
            let shared = shared.clone();
            thread::Builder::new()
                .name(format!("sign-{number}"))
                .spawn(move || work(&shared))?;
        }
        Ok(Self { shared })
    }

    /// Runs `task` on one of the threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T, SignerError> + Send + 'static,
    ) -> Result<T, SignerError> {
        let (sender, receiver) = oneshot::channel();
        let task = Box::new(move || {
            // A caller that went away is not worth a signature.
            if !sender.is_closed() {
                let _ = sender.send(task());
            }
        });
        {
            let mut queue = self.shared.queue();
            if queue.tasks.len() >= MAX_WAITING {
                return Err(SignerError::Busy);
            }
            queue.tasks.push_back(task);
        }
        self.shared.wake.notify_one();
        let lost = |_| SignerError::Internal("a signing thread panicked".to_owned());
        receiver.await.map_err(lost)?
    }
}

impl Drop for CpuPool {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_all();
    }
}

fn work(shared: &Shared) {
    while let Some(task) = next(shared) {
        // A panic loses one request, never a thread.
        let _ = catch_unwind(AssertUnwindSafe(task));
    }
}

fn next(shared: &Shared) -> Option<Task> {
    let mut queue = shared.queue();
    loop {
        if let Some(task) = queue.tasks.pop_front() {
            return Some(task);
        }
        if queue.closed {
            return None;
        }
        queue = shared
            .wake
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_loses_one_task_and_no_thread() {
        let pool = CpuPool::start(2).unwrap();
        for _ in 0..64 {
            let lost = pool
                .run(|| -> Result<(), SignerError> { panic!("expected") })
                .await;
            assert!(matches!(lost, Err(SignerError::Internal(_))));
        }
        assert_eq!(pool.run(|| Ok(7)).await.unwrap(), 7);
    }
}
