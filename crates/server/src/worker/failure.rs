//! How work fails: a stable code, one sentence, and whether trying again may help.

use client::control::ControlError;
use client::{ClientError, ErrorKind};
use pipeline::builder::BuildError;
use pipeline::container::ContainerError;
use pipeline::deploy::DeployError;
use pipeline::engine::EngineError;
use pipeline::git::GitError;

use crate::error::chain;

/// Why a job did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkFailure {
    /// A stable code.
    pub(crate) code: &'static str,
    /// Why, in one sentence.
    pub(crate) reason: String,
    /// Whether trying again may help.
    pub(crate) retry: bool,
}

impl WorkFailure {
    /// Returns a failure of the work itself: it would fail again.
    pub(crate) fn of_work(code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            retry: false,
        }
    }

    /// Returns a failure of something around the work.
    pub(crate) fn around(code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            retry: true,
        }
    }

    /// Returns a failure of this machine's files.
    pub(crate) fn io(error: std::io::Error) -> Self {
        Self::around("worker-files", format!("a file of the worker: {error}"))
    }
}

impl From<ClientError> for WorkFailure {
    fn from(error: ClientError) -> Self {
        let retry = error.kind() == ErrorKind::Unavailable;
        Self {
            code: "registry",
            reason: chain(&error),
            retry,
        }
    }
}

impl From<ControlError> for WorkFailure {
    fn from(error: ControlError) -> Self {
        let retry = match &error {
            ControlError::Refused { status, .. } => *status >= 500,
            ControlError::Unavailable { .. } => true,
            _ => false,
        };
        Self {
            code: "front",
            reason: chain(&error),
            retry,
        }
    }
}

impl From<GitError> for WorkFailure {
    fn from(error: GitError) -> Self {
        let retry = matches!(error, GitError::Run(_) | GitError::Folder { .. });
        Self {
            code: "source-unavailable",
            reason: chain(&error),
            retry,
        }
    }
}

impl From<EngineError> for WorkFailure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Missing(_) => Self::of_work("engine-missing", chain(&error)),
            _ => Self::around("engine-failed", chain(&error)),
        }
    }
}

impl From<ContainerError> for WorkFailure {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::NoShell { .. } | ContainerError::NoDigest(_) => {
                Self::of_work("container-unusable", chain(&error))
            }
            _ => Self::around("container-failed", chain(&error)),
        }
    }
}

impl From<BuildError> for WorkFailure {
    fn from(error: BuildError) -> Self {
        let reason = chain(&error);
        match error {
            BuildError::Base(refusal) if refusal.is_verdict => {
                Self::of_work("base-not-vouched-for", reason)
            }
            BuildError::Base(_) | BuildError::Push { .. } | BuildError::ReadBack(_) => {
                Self::around("build-unavailable", reason)
            }
            BuildError::Dockerfile { .. } => Self::of_work("dockerfile-refused", reason),
            BuildError::Source { .. } => Self::of_work("source-refused", reason),
            BuildError::Prepare(_) => Self::around("engine-failed", reason),
            _ => Self::of_work("build-failed", reason),
        }
    }
}

impl From<DeployError> for WorkFailure {
    fn from(error: DeployError) -> Self {
        let reason = chain(&error);
        match error {
            DeployError::Unhealthy { .. } | DeployError::Ended(_) => {
                Self::of_work("not-healthy", reason)
            }
            DeployError::Deviation(_) => Self::of_work("engine-deviates", reason),
            DeployError::NoDigest(_) | DeployError::Name(_) => {
                Self::of_work("deploy-refused", reason)
            }
            _ => Self::around("engine-failed", reason),
        }
    }
}
