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
    // A savepoint's journal that outgrows its memory goes to a file in `/var/tmp`, where the
    // confined signer may not write: a busy signer then failed with "unable to open database file".
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use landlock::{
        ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
        path_beneath_rules,
    };

    use super::*;

    const SCHEMA: Migrations = &["CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB)"];
    /// Together far more than the 64 KiB of before-images that a savepoint keeps in memory
    /// (`SQLITE_STMTJRNL_SPILL`).
    const ROWS: u32 = 200;
    const BYTES: usize = 2000;

    fn confine_this_thread(folder: &Path) {
        let all = AccessFs::from_all(ABI::V1);
        let ruleset = Ruleset::default().handle_access(all).unwrap();
        let rules = path_beneath_rules([folder], all);
        let ruleset = ruleset.create().unwrap().add_rules(rules).unwrap();
        let _ = ruleset.restrict_self().unwrap();
    }

    async fn fill(database: &Database, byte: u8) -> Result<(), StoreError> {
        let change = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("INSERT OR REPLACE INTO t (id, bytes) VALUES (?1, ?2)")?;
            for id in 0..ROWS {
                statement.execute(rusqlite::params![id, vec![byte; BYTES]])?;
            }
            Ok(())
        };
        database.write(change).await
    }

    /// The signer may use its own folder and no other (landlock).
    #[test]
    fn a_large_change_needs_no_folder_for_temporary_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        // The rules hold for this thread and those that it starts: the writer's is one.
        let confined = std::thread::spawn(move || {
            confine_this_thread(&path);
            let database = Database::open(&path.join("db.sqlite"), SCHEMA).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(async {
                // Both in one transaction: the second changes pages that the first changed.
                let both = tokio::join!(fill(&database, 1), fill(&database, 2));
                both.0.unwrap();
                both.1.unwrap();
            });
        });
        confined.join().unwrap();
    }
}
