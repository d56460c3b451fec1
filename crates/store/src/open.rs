//! Everything that the front keeps, opened at once.

use std::path::Path;
use std::sync::Arc;

use crate::{
    Accounts, BlobLinks, Blobs, Deployments, Documents, FileBackend, Queue, Repositories, Runs,
    StoreError, Uploads,
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
    /// Which blobs a repository may give out.
    pub links: Arc<dyn BlobLinks>,
    /// Accounts, tokens, grants.
    pub accounts: Arc<dyn Accounts>,
    /// Work for workers.
    pub queue: Arc<dyn Queue>,
    /// Runs of pipelines.
    pub runs: Arc<dyn Runs>,
    /// What is deployed where.
    pub deployments: Arc<dyn Deployments>,
    /// Projects, policies and other small documents.
    pub documents: Arc<dyn Documents>,
}
