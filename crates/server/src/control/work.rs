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
    /// Taking away what runs in an environment: everything, or what was replaced or failed.
    #[serde(rename_all = "camelCase")]
    Retire {
        project: Name,
        environment: Box<Environment>,
        everything: bool,
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

#[cfg(test)]
mod tests {
    use pipeline::run::{ActionOutputs, Event, ProducedImage, step};
    use time::OffsetDateTime;

    use super::*;

    const PROJECT: &str = "
apiVersion: countersign.dev/v1
kind: Project
name: shop
gitRepositories: [{name: shop}]
pipelines:
  - name: development
    trigger: {push: {repository: shop, branch: main}}
    stages:
      - name: build
        actions:
          - {name: image, image: {repository: apps/shop}}
          - {name: licence, attach: {type: licence/example, files: [\"LICENSE:text/plain\"]}}
";

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn run(input: Input, outputs: ActionOutputs) -> (Project, RunState) {
        let project = Project::parse(PROJECT).unwrap();
        let state = RunState::new(&project.pipelines[0], input);
        let now = OffsetDateTime::UNIX_EPOCH;
        let (state, _) = step(&state, Event::Started, now).unwrap();
        let completed = Event::Completed {
            action: name("image"),
            attempt: 1,
            outputs,
        };
        let (state, _) = step(&state, completed, now).unwrap();
        (project, state)
    }

    fn commit() -> Input {
        Input::Commit {
            repository: name("shop"),
            branch: "main".to_owned(),
            commit: "a".repeat(40),
        }
    }

    fn built(digest: &Digest) -> ActionOutputs {
        let image = ProducedImage {
            repository: "apps/shop".parse().unwrap(),
            digest: digest.clone(),
        };
        ActionOutputs {
            image: Some(image),
            ..ActionOutputs::default()
        }
    }

    fn given(digest: &Digest) -> Input {
        Input::Image {
            repository: "apps/shop".parse().unwrap(),
            digest: digest.clone(),
            tag: None,
        }
    }

    #[test]
    fn a_run_has_made_what_it_built_and_attached_and_not_what_it_was_given() {
        let (image, report) = (Digest::sha256(b"image"), Digest::sha256(b"report"));
        let (_, built) = run(commit(), built(&image));
        assert!(produced(&built, &image));
        assert!(!produced(&built, &report));
        let attached = ActionOutputs {
            artifacts: vec![("licence/example".parse().unwrap(), report.clone())],
            ..ActionOutputs::default()
        };
        let (_, given) = run(given(&image), attached);
        assert!(!produced(&given, &image), "somebody else made it");
        assert!(produced(&given, &report));
    }

    #[test]
    fn work_is_over_the_digest_that_was_built() {
        let id = RunId::random();
        let item = |(project, state): (Project, RunState)| {
            let work = project.pipelines[0].stages[0].actions[1].work.clone();
            let context = WorkContext {
                run: &id,
                state: &state,
                project: &project,
                serving: None,
            };
            context.item(&work)
        };
        let image = Digest::sha256(b"image");
        let Ok(WorkItem::Attach {
            image: of, source, ..
        }) = item(run(commit(), built(&image)))
        else {
            panic!("attaching became something else");
        };
        assert_eq!((of.digest, source.commit), (image.clone(), "a".repeat(40)));
        let none = item(run(commit(), ActionOutputs::default()));
        assert_eq!(none, Err(WorkError::NoImage));
        let none = item(run(given(&image), ActionOutputs::default()));
        assert_eq!(none, Err(WorkError::NoSource));
    }
}
