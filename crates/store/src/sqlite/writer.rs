//! The one writer: a thread that puts waiting changes into one transaction.
//!
//! A commit costs one fsync however many changes are in it, so changes that wait for the same
//! disk share it. Each has a savepoint of its own: one that fails undoes only itself. Nobody is
//! told of success before the commit.

use std::sync::mpsc;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::StoreError;

/// The most changes in one transaction, so that the first does not wait for ever.
const MAX_BATCH: usize = 128;

type Done = Box<dyn FnOnce(bool) + Send>;
type Change = Box<dyn FnOnce(&Connection) -> Done + Send>;

/// The sending side of the writer thread; it ends when this is dropped.
pub(crate) struct Writer {
    sender: mpsc::Sender<Change>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || serve(&connection, &receiver))
            .map_err(|_| StoreError::Closed)?;
        Ok(Self { sender })
    }

    /// Runs a change and returns after it is on the disk.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let boxed: Change = Box::new(move |connection| {
            let result = in_savepoint(connection, change);
            Box::new(move |committed| {
                let told = match result {
                    Ok(_) if !committed => Err(StoreError::Closed),
                    other => other,
                };
                // The asker may have gone away; the change stays.
                let _ = reply.send(told);
            })
        });
        self.sender.send(boxed).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

fn serve(connection: &Connection, receiver: &mpsc::Receiver<Change>) {
    while let Ok(first) = receiver.recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH {
            match receiver.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        run_batch(connection, batch);
    }
}

fn run_batch(connection: &Connection, batch: Vec<Change>) {
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        // Dropping the changes drops their replies, which tells the askers.
        tracing::error!(%error, "could not begin a transaction");
        return;
    }
    let replies: Vec<Done> = batch.into_iter().map(|change| change(connection)).collect();
    let committed = match connection.execute_batch("COMMIT") {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "could not commit");
            let _ = connection.execute_batch("ROLLBACK");
            false
        }
    };
    for reply in replies {
        reply(committed);
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    change: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Some failures, a full disk among them, end the whole transaction. A savepoint would then
    // begin one of its own, and commit before the others are told that they failed.
    if connection.is_autocommit() {
        return Err(StoreError::Closed);
    }
    connection.execute_batch("SAVEPOINT one_change")?;
    match change(connection) {
        Ok(value) => {
            connection.execute_batch("RELEASE one_change")?;
            Ok(value)
        }
        Err(error) => {
            connection.execute_batch("ROLLBACK TO one_change; RELEASE one_change")?;
            Err(error)
        }
    }
}
