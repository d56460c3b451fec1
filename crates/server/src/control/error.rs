//! What can go wrong while a run is moved on.

use pipeline::run::StepError;
use store::StoreError;
use store::runs::RunId;

use crate::error::ApiError;

/// Says why a run did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such run.
    #[error("run `{0}` does not exist")]
    NoRun(RunId),
    /// The stored run cannot be read by this version.
    #[error("run `{run}` cannot be read")]
    Unreadable {
        /// The run.
        run: RunId,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The event does not fit where the run stands: it came late, or twice.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The store failed, or somebody else holds the lease now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NoRun(_) => Self::not_found(error.to_string()),
            ControlError::Step(StepError::NotAnApprover { .. }) => Self::denied(error.to_string()),
            ControlError::Step(_) => Self::conflict(error.to_string()),
            ControlError::Store(error) => error.into(),
            ControlError::Unreadable { .. } => Self::internal(crate::error::chain(&error)),
        }
    }
}
