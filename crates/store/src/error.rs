//! What can go wrong while keeping things.

use std::path::{Path, PathBuf};

use oci::Digest;

/// Says why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file could not be read or written. The machine's fault: disk, permissions.
    #[error("could not {doing} `{}`", path.display())]
    File {
        /// What was being done, as a verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The caller's stream of bytes broke off.
    #[error("the incoming bytes ended early")]
    Incoming(#[source] std::io::Error),
    /// The database refused or failed.
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
    /// A row holds something that this version cannot read. Somebody edited the database.
    #[error("{what} in the database is unreadable: {reason}")]
    Corrupt {
        /// Which row or file.
        what: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// The database was written by a newer version. Start that version, or restore a backup.
    #[error(
        "database `{}` has schema {found}, and this version knows {known} at most",
        path.display()
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// The schema that it has.
        found: u32,
        /// The newest schema that this version knows.
        known: u32,
    },
    /// Bytes do not have the digest that they were announced with. The sender's fault.
    #[error("content has digest `{actual}`, not `{expected}`")]
    DigestMismatch {
        /// The announced digest.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// More bytes or items than a limit allows.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in the unit that `what` is counted in.
        limit: u64,
    },
    /// Somebody else changed the row in between. Read it again and decide again.
    #[error("{0} was changed by somebody else")]
    Conflict(String),
    /// There is no such row.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The writer thread is gone: an earlier failure ended it, or the process is stopping.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns a function that puts a file's path and what was being done onto an input or output
    /// error.
    pub(crate) fn file(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }

    /// Returns an error for something in the database that cannot be read back.
    pub(crate) fn corrupt(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Corrupt {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}
