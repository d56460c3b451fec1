//! The wire between the front and its workers: `/api/v1/worker/…`, for the worker's token alone.
//!
//! A worker leases one job at a time, extends the lease while it works, sends log lines in
//! batches, and ends the job by completing or failing it. Whatever it needs besides (registry,
//! git, gate) it asks for with the token of the run, which comes with the job, works for that
//! run only, and ends with it.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /api/v1/worker/lease` | [`LeaseRequest`] | [`Assignment`] or `null` |
//! | `POST /api/v1/worker/jobs/{job}/extend` | [`Holder`] | [`Extended`]; 409 when the lease is lost |
//! | `POST /api/v1/worker/jobs/{job}/log` | [`LogBatch`] | nothing; 409 when the lease is lost |
//! | `POST /api/v1/worker/jobs/{job}/complete` | [`Completion`] | nothing; 409 when the lease is lost |
//! | `POST /api/v1/worker/jobs/{job}/fail` | [`FailureReport`] | nothing; 409 when the lease is lost |

use std::collections::BTreeMap;

use oci::{Descriptor, Digest, MediaType, RepositoryName, Tag};
use pipeline::project::{
    AttachedFile, Environment, HookArtifact, ImageName, Name, RelativePath, SbomFormat, TestReport,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The most log lines of one batch.
pub const MAX_LOG_BATCH_LINES: usize = 500;

/// A request for work. The front answers at once where something waits, and otherwise after
/// `wait_secs` at the latest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseRequest {
    /// Who asks: unique for each start of a worker.
    pub owner: String,
    /// How long the front may keep the request open, in seconds.
    pub wait_secs: u32,
}

/// Who holds a lease: sent along with everything that needs one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Holder {
    /// Who leased it.
    pub owner: String,
    /// Which attempt this is.
    pub attempt: u32,
}

/// A job, with everything that the worker needs for it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The job's number.
    pub job: i64,
    /// The lease.
    pub holder: Holder,
    /// How long the lease runs unless it is extended, in seconds.
    pub lease_secs: u32,
    /// The project that the run belongs to.
    pub project: String,
    /// The pipeline.
    pub pipeline: String,
    /// The run.
    pub run: String,
    /// The action, as it is named in its pipeline.
    pub action: String,
    /// The token of the run: for the registry, git and the gate.
    pub token: String,
    /// The account's name to send with the token, where one must be sent.
    pub account: String,
    /// The host and port under which this server's registry is named in references.
    pub registry: String,
    /// What is to be done.
    pub work: WorkItem,
}

/// The answer to an extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extended {
    /// Whether the run was stopped: the worker ends the work and fails the job.
    #[serde(default)]
    pub cancelled: bool,
}

/// Lines for the run's log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogBatch {
    /// The lease.
    pub holder: Holder,
    /// The lines, in order.
    pub lines: Vec<WorkLine>,
}

/// One line of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkLine {
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The text, without its line end.
    pub text: String,
}

/// The report of finished work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Completion {
    /// The lease.
    pub holder: Holder,
    /// What came out.
    pub outcome: WorkOutcome,
}

/// The report of work that did not succeed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailureReport {
    /// The lease.
    pub holder: Holder,
    /// A stable code, such as `command-failed`.
    pub code: String,
    /// Why, for people: one sentence.
    pub reason: String,
    /// Whether trying again may help: the work itself did not fail, something around it did.
    pub retry: bool,
}

/// The source that a run works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The git repository, as in `/git/NAME.git`.
    pub repository: Name,
    /// The commit, in hexadecimal.
    pub commit: String,
}

/// An image that a run works on: always by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunImage {
    /// The repository.
    pub repository: RepositoryName,
    /// The digest of its manifest.
    pub digest: Digest,
}

/// What a worker is asked to do. Doing it twice is harmless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum WorkItem {
    /// Runs a buildspec in a container, over the source. Answered by [`WorkOutcome::Built`].
    #[serde(rename_all = "camelCase")]
    Buildspec {
        /// The source.
        source: Source,
        /// The buildspec, below the root of the source.
        file: RelativePath,
        /// The image that the commands run in.
        image: ImageName,
    },
    /// Builds an image and pushes it. Answered by [`WorkOutcome::Image`].
    #[serde(rename_all = "camelCase")]
    Image {
        /// The source.
        source: Source,
        /// The Dockerfile, below the root of the source.
        dockerfile: RelativePath,
        /// The folder of the source that is sent to the build.
        context: RelativePath,
        /// The repository that the image goes to.
        repository: RepositoryName,
        /// A tag that is moved to it as well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
        /// The gate policy that every base image must pass.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_policy: Option<Name>,
    },
    /// Lists the packages of the image and attaches the list. Answered by
    /// [`WorkOutcome::Attached`].
    #[serde(rename_all = "camelCase")]
    Sbom {
        /// The image.
        image: RunImage,
        /// The type of the artifact.
        artifact_type: MediaType,
        /// The format of the document.
        format: SbomFormat,
    },
    /// Matches the packages of the image with advisories and attaches the report. Answered by
    /// [`WorkOutcome::Attached`].
    #[serde(rename_all = "camelCase")]
    Scan {
        /// The image.
        image: RunImage,
        /// The type of the artifact.
        artifact_type: MediaType,
    },
    /// Attaches files of the source. Answered by [`WorkOutcome::Attached`].
    #[serde(rename_all = "camelCase")]
    Attach {
        /// The image.
        image: RunImage,
        /// The source.
        source: Source,
        /// The type of the artifact.
        artifact_type: MediaType,
        /// The files.
        files: Vec<AttachedFile>,
    },
    /// Starts the image in an environment beside what runs there, and waits until it is well.
    /// Answered by [`WorkOutcome::Deployed`]; the front then switches, and retires the old one.
    #[serde(rename_all = "camelCase")]
    Deploy {
        /// The image, which the front has just judged.
        image: RunImage,
        /// The environment.
        environment: Environment,
        /// The unique name of the deployment.
        deployment: String,
    },
    /// Takes containers of an environment away. Answered by [`WorkOutcome::Done`].
    #[serde(rename_all = "camelCase")]
    Retire {
        /// The environment.
        environment: Environment,
        /// The deployments that go; without them, all that there are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deployments: Option<Vec<String>>,
    },
    /// Runs commands against the container that serves an environment, and attaches the report.
    /// Answered by [`WorkOutcome::Attached`].
    #[serde(rename_all = "camelCase")]
    Test {
        /// The image that is tested: the report refers to it.
        image: RunImage,
        /// The environment.
        environment: Environment,
        /// The deployment whose container is tested.
        deployment: String,
        /// The image that the commands run in.
        runner: ImageName,
        /// The commands.
        commands: Vec<String>,
        /// What is attached afterwards.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<TestReport>,
        /// The source, where the run has one: the commands find it in their folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
    },
    /// Runs commands and attaches what they make; signing it is left to the front. Answered by
    /// [`WorkOutcome::Attached`].
    #[serde(rename_all = "camelCase")]
    Hook {
        /// The image that the artifacts refer to.
        image: RunImage,
        /// The image that the commands run in.
        runner: ImageName,
        /// The commands.
        commands: Vec<String>,
        /// What is attached afterwards.
        attach: Vec<HookArtifact>,
        /// The source, where the run has one: the commands find it in their folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
    },
}

impl WorkItem {
    /// Returns the word for the kind, which is also the kind of the queue job.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Buildspec { .. } => "buildspec",
            Self::Image { .. } => "image",
            Self::Sbom { .. } => "sbom",
            Self::Scan { .. } => "scan",
            Self::Attach { .. } => "attach",
            Self::Deploy { .. } => "deploy",
            Self::Retire { .. } => "retire",
            Self::Test { .. } => "test",
            Self::Hook { .. } => "hook",
        }
    }
}

/// What came out of finished work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[expect(
    clippy::large_enum_variant,
    reason = "made once for each job, and never in numbers"
)]
pub enum WorkOutcome {
    /// A buildspec ran.
    #[serde(rename_all = "camelCase")]
    Built {
        /// The variables that it exported.
        #[serde(default)]
        exported: BTreeMap<String, String>,
    },
    /// An image was built and pushed.
    #[serde(rename_all = "camelCase")]
    Image {
        /// The repository that it was pushed to.
        repository: RepositoryName,
        /// The image.
        image: Descriptor,
        /// The base images, as they are named in the Dockerfile, and their digests.
        bases: Vec<Base>,
        /// The provenance statement: in-toto, at most 4096 bytes, to be signed as it is.
        provenance: String,
    },
    /// Artifacts were attached to the image.
    #[serde(rename_all = "camelCase")]
    Attached {
        /// The artifacts.
        artifacts: Vec<AttachedArtifact>,
    },
    /// A container runs and is well.
    #[serde(rename_all = "camelCase")]
    Deployed {
        /// Where it answers, as `host:port`.
        endpoint: String,
    },
    /// There is nothing to report.
    Done,
}

/// A base image that a build used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// The name in the Dockerfile.
    pub name: String,
    /// The digest that it was resolved to.
    pub digest: Digest,
}

/// An artifact that was attached to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachedArtifact {
    /// Its type.
    pub artifact_type: MediaType,
    /// The descriptor of its manifest.
    pub descriptor: Descriptor,
}
