//! Everything that the front keeps, opened at once.

use std::path::Path;
use std::sync::Arc;

use crate::sqlite::{
    Database, FRONT, SqliteAccessKeys, SqliteAccounts, SqliteDeployments, SqliteDocuments,
    SqliteQueue, SqliteRepositories, SqliteRuns, SqliteUsedTokens,
};
use crate::{
    AccessKeys, Accounts, BlobBackend, BlobLinks, Blobs, Deployments, Documents, FileBackend,
    Inventory, Queue, Repositories, Runs, StoreError, Uploads, UsedTokens,
};

/// What the front keeps. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// The bytes of blobs.
    pub blobs: Blobs,
    /// Upload sessions.
    pub uploads: Uploads,
    /// Manifests, tags, referrers.
    pub repositories: Arc<dyn Repositories>,
    /// What is in a repository, tagged or not.
    pub inventory: Arc<dyn Inventory>,
    /// Which blobs a repository may give out.
    pub links: Arc<dyn BlobLinks>,
    /// Accounts, tokens, grants.
    pub accounts: Arc<dyn Accounts>,
    /// Access keys, and the account numbers of accounts.
    pub access_keys: Arc<dyn AccessKeys>,
    /// Foreign tokens that were used.
    pub used_tokens: Arc<dyn UsedTokens>,
    /// Work for workers.
    pub queue: Arc<dyn Queue>,
    /// Runs of pipelines.
    pub runs: Arc<dyn Runs>,
    /// What is deployed where.
    pub deployments: Arc<dyn Deployments>,
    /// Projects, policies and other small documents.
    pub documents: Arc<dyn Documents>,
}

/// The name of the database file.
const DATABASE: &str = "store.sqlite";

impl Store {
    /// Opens or makes everything in one folder: files for blobs, SQLite for the rest.
    ///
    /// # Errors
    /// When the folder cannot be written, or a newer version wrote the database.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let backend = FileBackend::open(&folder.join("blobs"))?;
        Self::with_blobs(folder, Arc::new(backend))
    }

    /// Opens or makes everything but the bytes of blobs, which `backend` keeps.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_blobs(folder: &Path, backend: Arc<dyn BlobBackend>) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(StoreError::file("make", folder))?;
        let blobs = Blobs::new(backend, &folder.join("staging"))?;
        let uploads = Uploads::open(blobs.clone(), &folder.join("uploads"))?;
        let database = Arc::new(Database::open(&folder.join(DATABASE), FRONT)?);
        let repositories = Arc::new(SqliteRepositories::new(Arc::clone(&database)));
        Ok(Self {
            blobs,
            uploads,
            repositories: Arc::clone(&repositories) as _,
            inventory: Arc::clone(&repositories) as _,
            links: repositories,
            accounts: Arc::new(SqliteAccounts(Arc::clone(&database))),
            access_keys: Arc::new(SqliteAccessKeys(Arc::clone(&database))),
            used_tokens: Arc::new(SqliteUsedTokens(Arc::clone(&database))),
            queue: Arc::new(SqliteQueue(Arc::clone(&database))),
            runs: Arc::new(SqliteRuns(Arc::clone(&database))),
            deployments: Arc::new(SqliteDeployments(Arc::clone(&database))),
            documents: Arc::new(SqliteDocuments(database)),
        })
    }
}
