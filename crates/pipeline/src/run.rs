//! Runs: one execution of a pipeline, as a pure state machine.
//!
//! [`step()`] takes a state and an event and returns the next state and what must be done about it.
//! The front stores the new state and the queue jobs of the effects in one transaction, so that a
//! crash between two steps loses nothing. Nothing here reads a clock: events carry the time.
//!
//! Actions run one after the other, in the order of the file. The states of stages and of the run
//! are not stored but derived from those of the actions, so they cannot contradict them. Every
//! attempt at an action has a number, and a message about an earlier attempt is refused.

use oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::project::{Action, Name, Pipeline, Work};

mod outputs;
mod step;

pub use outputs::{
    ActionOutputs, Deployed, Outputs, ProducedArtifact, ProducedImage, ProducedVerdict,
};
pub use step::{Effect, Event, StepError, step};

/// The version of the stored form of a run.
pub const STATE_VERSION: u32 = 1;

/// What a run was started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Input {
    /// A commit that was pushed.
    #[serde(rename_all = "camelCase")]
    Commit {
        /// The git repository.
        repository: Name,
        /// The branch.
        branch: String,
        /// The commit, in hexadecimal.
        commit: String,
    },
    /// An image. Whoever started the run resolved the tag, once.
    #[serde(rename_all = "camelCase")]
    Image {
        /// The repository.
        repository: RepositoryName,
        /// The digest.
        digest: Digest,
        /// The tag that was resolved, if the run was started with one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
    },
}

/// The state of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    version: u32,
    pipeline: Name,
    input: Input,
    stages: Vec<StageState>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    started: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded_by: Option<String>,
    outputs: Outputs,
}

/// A stage of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageState {
    /// The name.
    pub name: Name,
    /// Its actions.
    pub actions: Vec<ActionState>,
}

/// An action of a run. It carries its definition: a run goes on as it was started, also when the
/// pipeline is changed meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionState {
    /// The definition.
    pub action: Action,
    /// Where it stands.
    pub status: ActionStatus,
    /// The number of the attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// When the attempt began.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub started: Option<OffsetDateTime>,
    /// When the attempt ended.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub finished: Option<OffsetDateTime>,
}

/// Where an action stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum ActionStatus {
    /// Its turn has not come.
    Pending,
    /// It waits for a worker, or for the front to begin.
    Queued,
    /// Somebody works on it.
    Running {
        /// Who.
        by: String,
    },
    /// It waits for a person.
    WaitingForApproval {
        /// When it stops waiting.
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
    /// It succeeded.
    Succeeded,
    /// It failed, and may be tried again.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// A person said no.
    Rejected {
        /// Who.
        account: Name,
        /// Why.
        comment: String,
    },
    /// An action before it did not succeed.
    Skipped,
    /// The run was replaced by a newer one.
    Superseded,
}

/// Why an action failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable code, such as `command-failed` or one of the gate's.
    pub code: String,
    /// One sentence.
    pub message: String,
}

/// Where a stage or a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It has not begun.
    Pending,
    /// It is under way.
    Running,
    /// It waits for a person.
    WaitingForApproval,
    /// Everything succeeded.
    Succeeded,
    /// An action failed. A retry goes on from there.
    Failed,
    /// A person said no.
    Rejected,
    /// An earlier stage did not succeed.
    Skipped,
    /// A newer run has taken its place.
    Superseded,
}

impl Status {
    /// Returns the word, as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::WaitingForApproval => "waiting-for-approval",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
        }
    }

    /// Returns whether nothing happens any more by itself.
    pub fn is_finished(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::Running | Self::WaitingForApproval
        )
    }

    /// Returns whether nothing can happen any more at all: a failed run can still be retried.
    pub fn is_final(self) -> bool {
        self.is_finished() && self != Self::Failed
    }
}

impl ActionStatus {
    /// Returns the status without its particulars.
    pub fn kind(&self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Queued | Self::Running { .. } => Status::Running,
            Self::WaitingForApproval { .. } => Status::WaitingForApproval,
            Self::Succeeded => Status::Succeeded,
            Self::Failed { .. } => Status::Failed,
            Self::Rejected { .. } => Status::Rejected,
            Self::Skipped => Status::Skipped,
            Self::Superseded => Status::Superseded,
        }
    }
}

impl StageState {
    /// Returns where the stage stands.
    pub fn status(&self) -> Status {
        summary(self.actions.iter().map(|action| action.status.kind()))
    }
}

/// One status for several, in the order in which they run.
fn summary(statuses: impl Iterator<Item = Status> + Clone) -> Status {
    const DECIDING: [Status; 5] = [
        Status::Superseded,
        Status::Rejected,
        Status::Failed,
        Status::WaitingForApproval,
        Status::Running,
    ];
    let has = |wanted: &Status| statuses.clone().any(|status| status == *wanted);
    if let Some(status) = DECIDING.into_iter().find(has) {
        return status;
    }
    let mut all = statuses.clone();
    match all.next() {
        Some(first) if all.all(|status| status == first) => first,
        // Between two actions, or between the last of a stage and the first of the next.
        Some(_) => Status::Running,
        None => Status::Succeeded,
    }
}

impl RunState {
    /// Returns a run of `pipeline` that has not begun.
    pub fn new(pipeline: &Pipeline, input: Input) -> Self {
        let stages = pipeline.stages.iter().map(|stage| StageState {
            name: stage.name.clone(),
            actions: stage.actions.iter().map(ActionState::new).collect(),
        });
        Self {
            version: STATE_VERSION,
            pipeline: pipeline.name.clone(),
            outputs: Outputs::of_input(&input),
            input,
            stages: stages.collect(),
            started: None,
            superseded_by: None,
        }
    }

    /// Returns the pipeline.
    pub fn pipeline(&self) -> &Name {
        &self.pipeline
    }

    /// Returns what the run was started with.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Returns the stages.
    pub fn stages(&self) -> &[StageState] {
        &self.stages
    }

    /// Returns what the actions produced so far.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Returns when the run began.
    pub fn started(&self) -> Option<OffsetDateTime> {
        self.started
    }

    /// Returns the run that took this one's place.
    pub fn superseded_by(&self) -> Option<&str> {
        self.superseded_by.as_deref()
    }

    /// Returns where the run stands.
    pub fn status(&self) -> Status {
        if self.superseded_by.is_some() {
            return Status::Superseded;
        }
        summary(self.actions().map(|action| action.status.kind()))
    }

    /// Returns all actions, in the order in which they run.
    pub fn actions(&self) -> impl Iterator<Item = &ActionState> + Clone {
        self.stages.iter().flat_map(|stage| &stage.actions)
    }

    /// Returns the action with this name.
    pub fn action(&self, name: &Name) -> Option<&ActionState> {
        self.actions().find(|state| state.action.name == *name)
    }

    /// Returns the stage that holds the action with this name.
    pub fn stage_of(&self, name: &Name) -> Option<&Name> {
        let holds = |stage: &&StageState| stage.actions.iter().any(|a| a.action.name == *name);
        self.stages.iter().find(holds).map(|stage| &stage.name)
    }

    /// Returns the action that is under way or waits for a person.
    pub fn current(&self) -> Option<&ActionState> {
        self.actions().find(|state| state.is_active())
    }

    /// Returns the action that failed.
    pub fn failed(&self) -> Option<&ActionState> {
        let failed = |state: &&ActionState| matches!(state.status, ActionStatus::Failed { .. });
        self.actions().find(failed)
    }

    /// Returns the approval that the run waits for, and until when.
    pub fn awaited_approval(&self) -> Option<(&Name, OffsetDateTime)> {
        self.actions().find_map(|state| match &state.status {
            ActionStatus::WaitingForApproval { until } => Some((&state.action.name, *until)),
            _ => None,
        })
    }

    /// Returns the verdict that those who approve `action` are shown: that of the last gate before
    /// it.
    pub fn verdict_before(&self, action: &Name) -> Option<&ProducedVerdict> {
        let before = self
            .actions()
            .take_while(|state| state.action.name != *action);
        let gates = before.filter(|state| matches!(state.action.work, Work::Gate(_)));
        let last = gates.last()?;
        self.outputs
            .verdicts
            .iter()
            .find(|v| v.action == last.action.name)
    }

    fn actions_mut(&mut self) -> impl Iterator<Item = &mut ActionState> {
        self.stages.iter_mut().flat_map(|stage| &mut stage.actions)
    }
}

impl ActionState {
    fn new(action: &Action) -> Self {
        Self {
            action: action.clone(),
            status: ActionStatus::Pending,
            attempt: 0,
            started: None,
            finished: None,
        }
    }

    /// Returns whether it is under way or waits for a person.
    pub fn is_active(&self) -> bool {
        matches!(
            self.status.kind(),
            Status::Running | Status::WaitingForApproval
        )
    }
}

#[cfg(test)]
mod tests;
