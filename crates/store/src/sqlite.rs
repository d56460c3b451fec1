//! The SQLite back end of the metadata traits.

mod access_keys;
mod accounts;
pub(crate) mod columns;
mod database;
mod deployments;
mod documents;
mod migrations;
mod queue;
mod repositories;
mod runs;
mod used_tokens;
mod writer;

pub(crate) use database::Database;
pub(crate) use migrations::{FRONT, SIGNER};
pub(crate) use repositories::SqliteRepositories;

/// Makes a metadata trait's implementation over the shared database.
macro_rules! over_database {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) std::sync::Arc<crate::sqlite::Database>);
    };
}

over_database!(
    /// Accounts in SQLite.
    SqliteAccounts
);
over_database!(
    /// Access keys in SQLite.
    SqliteAccessKeys
);
over_database!(
    /// Used tokens in SQLite.
    SqliteUsedTokens
);
over_database!(
    /// The queue in SQLite.
    SqliteQueue
);
over_database!(
    /// Runs in SQLite.
    SqliteRuns
);
over_database!(
    /// Deployments in SQLite.
    SqliteDeployments
);
over_database!(
    /// Documents in SQLite.
    SqliteDocuments
);
