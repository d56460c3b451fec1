//! Copying a database that is in use.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;

/// Writes a consistent copy of the SQLite database at `from` to `to`, which must not exist. Whoever
/// writes meanwhile is not held up, and the copy is as one moment was (SQLite, `VACUUM INTO`).
///
/// # Errors
/// When one cannot be read or the other not be written.
pub fn copy_database(from: &Path, to: &Path) -> Result<(), StoreError> {
    let connection = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    let target = to.to_string_lossy();
    connection.execute("VACUUM INTO ?1", [target.as_ref()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_what_was_committed_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let writer = Connection::open(&from).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer
            .execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1)")
            .unwrap();
        writer
            .execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)")
            .unwrap();
        copy_database(&from, &to).unwrap();
        writer.execute_batch("COMMIT").unwrap();
        let count = |path: &Path| {
            let connection = Connection::open(path).unwrap();
            let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
            count.unwrap()
        };
        assert_eq!((count(&from), count(&to)), (2, 1));
        assert!(copy_database(&from, &to).is_err(), "it must not exist");
    }
}
