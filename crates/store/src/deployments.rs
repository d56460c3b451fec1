//! Deployments: what runs in which environment, what ran before, and where it answers.

use async_trait::async_trait;
use oci::{Digest, RepositoryName};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::StoreError;

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentState {
    /// Started, not healthy yet: the old one still serves.
    Starting,
    /// It serves.
    Current,
    /// It served before the current one.
    Previous,
    /// It never became healthy, or could not be started.
    Failed,
    /// It was taken away.
    Retired,
}

impl DeploymentState {
    /// Returns the word that is kept and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Failed => "failed",
            Self::Retired => "retired",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        let all = [
            Self::Starting,
            Self::Current,
            Self::Previous,
            Self::Failed,
            Self::Retired,
        ];
        let found = all.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| StoreError::corrupt("deployment", format!("unknown state `{text}`")))
    }
}

/// A deployment as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    /// Its unique name, chosen by the caller so that doing it twice is harmless.
    pub id: String,
    /// The environment.
    pub environment: String,
    /// The run that deployed it.
    pub run: String,
    /// The repository that the image came from.
    pub repository: RepositoryName,
    /// The image.
    pub digest: Digest,
    /// Where it stands.
    pub state: DeploymentState,
    /// Where it answers, as `host:port`.
    pub endpoint: Option<String>,
    /// Why it failed or was taken away.
    pub reason: Option<String>,
    /// When it was started.
    pub started_at: OffsetDateTime,
    /// When its state last changed.
    pub updated_at: OffsetDateTime,
}

/// Deployments by environment. At most one is current in each.
#[async_trait]
pub trait Deployments: Send + Sync {
    /// Notes that a deployment starts. The same name again starts it over, unless it serves.
    async fn begin(&self, deployment: &DeploymentRow) -> Result<(), StoreError>;

    /// Makes a deployment the current one at `endpoint`, and the current one the previous one, in
    /// one transaction.
    async fn switch(&self, id: &str, endpoint: &str, now: OffsetDateTime)
    -> Result<(), StoreError>;

    /// Ends a deployment as failed or retired.
    async fn end(
        &self,
        id: &str,
        state: DeploymentState,
        reason: &str,
        now: OffsetDateTime,
    ) -> Result<(), StoreError>;

    /// Returns a deployment.
    async fn deployment(&self, id: &str) -> Result<Option<DeploymentRow>, StoreError>;

    /// Returns what serves in an environment.
    async fn current(&self, environment: &str) -> Result<Option<DeploymentRow>, StoreError>;

    /// Returns the newest deployments of an environment, at most `limit`.
    async fn history(
        &self,
        environment: &str,
        limit: usize,
    ) -> Result<Vec<DeploymentRow>, StoreError>;

    /// Returns what serves, in all environments by name: the route table.
    async fn routes(&self) -> Result<Vec<DeploymentRow>, StoreError>;

    /// Forgets an environment with all its deployments.
    async fn remove(&self, environment: &str) -> Result<(), StoreError>;
}
