//! From an action of a run to the work that a worker is asked to do.

use oci::Digest;
use pipeline::project::{Environment, Name, Project, Work};
use pipeline::run::{Input, RunState};
use serde::{Deserialize, Serialize};
use store::runs::RunId;

use crate::api::worker::{RunImage, Source, WorkItem};

/// What a queue job is about. The work itself is put together when it is given out, so that it
/// is over what the run knows then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "camelCase")]
pub(crate) enum JobPayload {
    /// An attempt at an action of a run.
    #[serde(rename_all = "camelCase")]
    Action {
        run: RunId,
        action: Name,
        attempt: u32,
    },
    /// Taking away what runs in an environment, but for one deployment.
    #[serde(rename_all = "camelCase")]
    Retire {
        project: Name,
        environment: Box<Environment>,
        keep: Option<String>,
    },
}

impl JobPayload {
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("names and numbers only")
    }
}

/// Says why an action cannot be begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WorkError {
    #[error("the run has no image to work on")]
    NoImage,
    #[error("the run has no source: it was started with an image")]
    NoSource,
    #[error("the project has no environment `{0}` any more")]
    NoEnvironment(Name),
    #[error("nothing is deployed in environment `{0}`")]
    NothingDeployed(Name),
    #[error("`{0}` is done by the front")]
    NotForWorkers(&'static str),
}

/// Returns the name of the deployment that a run makes in an environment.
pub(crate) fn deployment_id(environment: &Name, run: &RunId) -> String {
    format!("{environment}-{run}")
}

/// What the work of an action is put together from.
pub(crate) struct WorkContext<'a> {
    pub(crate) run: &'a RunId,
    pub(crate) state: &'a RunState,
    pub(crate) project: &'a Project,
    /// What serves in the environment that a test is about.
    pub(crate) serving: Option<String>,
}

impl WorkContext<'_> {
    /// Returns the work of `work`.
    pub(crate) fn item(&self, work: &Work) -> Result<WorkItem, WorkError> {
        Ok(match work.clone() {
            Work::Buildspec(spec) => WorkItem::Buildspec {
                source: self.source().ok_or(WorkError::NoSource)?,
                file: spec.file,
                image: spec.image,
            },
            Work::Image(build) => WorkItem::Image {
                source: self.source().ok_or(WorkError::NoSource)?,
                dockerfile: build.dockerfile,
                context: build.context,
                repository: build.repository,
                tag: build.tag,
                base_policy: build.base.map(|base| base.policy),
            },
            Work::Sbom(sbom) => WorkItem::Sbom {
                image: self.image()?,
                artifact_type: sbom.artifact_type,
                format: sbom.format,
            },
            Work::Scan(scan) => WorkItem::Scan {
                image: self.image()?,
                artifact_type: scan.artifact_type,
            },
            Work::Attach(attach) => WorkItem::Attach {
                image: self.image()?,
                source: self.source().ok_or(WorkError::NoSource)?,
                artifact_type: attach.artifact_type,
                files: attach.files,
            },
            Work::Deploy(deploy) => WorkItem::Deploy {
                image: self.image()?,
                deployment: deployment_id(&deploy.environment, self.run),
                environment: self.environment(&deploy.environment)?,
            },
            Work::Test(test) => WorkItem::Test {
                image: self.image()?,
                environment: self.environment(&test.environment)?,
                deployment: self.serving(&test.environment)?,
                runner: test.image,
                commands: test.commands,
                report: test.report,
                source: self.source(),
            },
            Work::Hook(hook) => WorkItem::Hook {
                image: self.image()?,
                runner: hook.image,
                commands: hook.commands,
                attach: hook.attach,
                source: self.source(),
            },
            Work::Sign(_) | Work::Gate(_) | Work::Approval(_) => {
                return Err(WorkError::NotForWorkers(work.kind()));
            }
        })
    }

    fn source(&self) -> Option<Source> {
        match self.state.input() {
            Input::Commit {
                repository, commit, ..
            } => Some(Source {
                repository: repository.clone(),
                commit: commit.clone(),
            }),
            Input::Image { .. } => None,
        }
    }

    fn image(&self) -> Result<RunImage, WorkError> {
        run_image(self.state).ok_or(WorkError::NoImage)
    }

    fn environment(&self, name: &Name) -> Result<Environment, WorkError> {
        let found = self.project.environment(name).cloned();
        found.ok_or_else(|| WorkError::NoEnvironment(name.clone()))
    }

    fn serving(&self, environment: &Name) -> Result<String, WorkError> {
        let serving = self.serving.clone();
        serving.ok_or_else(|| WorkError::NothingDeployed(environment.clone()))
    }
}

/// Returns the image that a run works on.
pub(crate) fn run_image(state: &RunState) -> Option<RunImage> {
    let image = state.outputs().image.as_ref()?;
    Some(RunImage {
        repository: image.repository.clone(),
        digest: image.digest.clone(),
    })
}

/// Returns whether the run itself made `digest`: the only digests that it may sign.
pub(crate) fn produced(state: &RunState, digest: &Digest) -> bool {
    let outputs = state.outputs();
    let built = matches!(state.input(), Input::Commit { .. })
        && outputs
            .image
            .as_ref()
            .is_some_and(|image| image.digest == *digest);
    built || outputs.artifacts.iter().any(|made| made.digest == *digest)
}
