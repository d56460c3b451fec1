//! The connections to one SQLite file: one writer, several readers.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::StoreError;
use crate::sqlite::migrations::{Migrations, migrate};
use crate::sqlite::writer::Writer;

/// How many queries run at the same time. They take turns on the machine's few cores anyway.
const READERS: usize = 8;
/// How long a connection waits for another process, such as a backup, to let go.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many statements each connection keeps prepared: more than we have.
const PREPARED_STATEMENTS: usize = 128;

/// One SQLite file.
pub(crate) struct Database {
    path: PathBuf,
    writer: Writer,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Database {
    /// Opens the file, making it if needed, and brings its schema up to date.
    pub(crate) fn open(path: &Path, migrations: Migrations) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        prepare(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What was acknowledged survives a power cut, not only a crash of the process.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrate(&mut connection, path, migrations)?;
        Ok(Self {
            path: path.to_owned(),
            writer: Writer::start(connection)?,
            idle: Mutex::default(),
            permits: Semaphore::new(READERS),
        })
    }

    /// Runs a query on a connection that cannot write.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| StoreError::Closed)?;
        let idle = self.idle().pop();
        let path = self.path.clone();
        let work = move || {
            let connection = match idle {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            let result = query(&connection);
            Ok::<_, StoreError>((connection, result))
        };
        let done = tokio::task::spawn_blocking(work).await;
        let (connection, result) = done.map_err(|_| StoreError::Closed)??;
        self.idle().push(connection);
        result
    }

    /// Runs changes in a transaction, and returns when they are on the disk. An error undoes them.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(change).await
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    Ok(())
}
