//! Actions: the units of work of a pipeline.
//!
//! In the file an action is a mapping of its `name` and of exactly one member that says what it
//! does: `{name: cve, scan: {type: cve/example}}`.

use std::fmt;
use std::str::FromStr;

use oci::{MediaType, Tag};

use super::names::{NameError, as_text};
use super::*;

/// One unit of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawAction", into = "RawAction")]
pub struct Action {
    /// The name, unique in its pipeline.
    pub name: Name,
    /// What it does.
    pub work: Work,
}

/// What an action does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Runs a buildspec in a container, over the source.
    Buildspec(RunBuildspec),
    /// Builds an image from the source and pushes it.
    Image(BuildImage),
    /// Lists the packages of the image, and attaches the list.
    Sbom(Sbom),
    /// Matches the packages of the image with known vulnerabilities, and attaches the report.
    Scan(Scan),
    /// Attaches files of the source.
    Attach(Attach),
    /// Signs what the run produced.
    Sign(Sign),
    /// Decides over the image; the run goes on only if everything passes.
    Gate(Gate),
    /// Waits for people.
    Approval(Approval),
    /// Starts the image in an environment.
    Deploy(Deploy),
    /// Runs commands against the container of an environment, and attaches their report.
    Test(Test),
    /// Runs commands, and attaches and signs what they make.
    Hook(Hook),
}

macro_rules! works {
    ($($field:ident: $type:ident as $variant:ident),* $(,)?) => {
        #[derive(Clone, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct RawAction {
            name: Name,
            $(#[serde(default, skip_serializing_if = "Option::is_none")]
            $field: Option<$type>,)*
        }

        /// The members of an action that say what it does.
        const WORKS: &[&str] = &[$(stringify!($field)),*];

        impl TryFrom<RawAction> for Action {
            type Error = String;

            fn try_from(raw: RawAction) -> Result<Self, String> {
                let mut works = Vec::new();
                $(works.extend(raw.$field.map(Work::$variant));)*
                match works.len() {
                    1 => Ok(Self { name: raw.name, work: works.remove(0) }),
                    0 => Err(format!("action `{}` does nothing: add one of {}", raw.name, WORKS.join(", "))),
                    _ => Err(format!("action `{}` does more than one thing: write two actions", raw.name)),
                }
            }
        }

        impl From<Action> for RawAction {
            fn from(action: Action) -> Self {
                let mut raw = Self { name: action.name, $($field: None),* };
                match action.work {
                    $(Work::$variant(work) => raw.$field = Some(work)),*
                }
                raw
            }
        }

        impl Work {
            /// Returns the member that says this in the file, such as `scan`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($field)),*
                }
            }
        }
    };
}

works! {
    buildspec: RunBuildspec as Buildspec,
    image: BuildImage as Image,
    sbom: Sbom as Sbom,
    scan: Scan as Scan,
    attach: Attach as Attach,
    sign: Sign as Sign,
    gate: Gate as Gate,
    approval: Approval as Approval,
    deploy: Deploy as Deploy,
    test: Test as Test,
    hook: Hook as Hook,
}

impl Work {
    /// Returns whether the front does this itself; everything else is a job for a worker.
    pub fn is_done_by_front(&self) -> bool {
        matches!(self, Self::Sign(_) | Self::Gate(_) | Self::Approval(_))
    }

    /// Returns the types of the artifacts that this attaches.
    pub fn artifact_types(&self) -> Vec<&MediaType> {
        match self {
            Self::Sbom(sbom) => vec![&sbom.artifact_type],
            Self::Scan(scan) => vec![&scan.artifact_type],
            Self::Attach(attach) => vec![&attach.artifact_type],
            Self::Test(test) => test.report.iter().map(|r| &r.artifact_type).collect(),
            Self::Hook(hook) => hook.attach.iter().map(|a| &a.artifact_type).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the signing profile that this uses.
    pub fn profile(&self) -> Option<&Name> {
        match self {
            Self::Sign(sign) => Some(&sign.profile),
            Self::Approval(approval) => Some(&approval.profile),
            Self::Hook(hook) => hook.sign.as_ref(),
            _ => None,
        }
    }
}

/// Runs a buildspec in a container, over the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunBuildspec {
    /// The buildspec, below the root of the source.
    #[serde(default = "buildspec_file")]
    pub file: RelativePath,
    /// The image that the commands run in.
    pub image: ImageName,
}

/// Builds an image from the source and pushes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildImage {
    /// The Dockerfile, below the root of the source.
    #[serde(default = "dockerfile")]
    pub dockerfile: RelativePath,
    /// The folder of the source that is sent to the build.
    #[serde(default = "whole_source")]
    pub context: RelativePath,
    /// The repository that the image goes to.
    pub repository: RepositoryName,
    /// A tag that is moved to the new image. Nothing in a pipeline reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// What the base images must satisfy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseImage>,
}

fn buildspec_file() -> RelativePath {
    known("buildspec.yml")
}

fn dockerfile() -> RelativePath {
    known("Dockerfile")
}

fn whole_source() -> RelativePath {
    known(".")
}

fn known(text: &str) -> RelativePath {
    text.parse().expect("a path that we wrote")
}

/// What the base images of a build must satisfy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BaseImage {
    /// The gate policy.
    pub policy: Name,
}

/// Lists the packages of the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sbom {
    /// The type of the artifact.
    #[serde(rename = "type")]
    pub artifact_type: MediaType,
    /// The format of the document.
    pub format: SbomFormat,
}

/// The format of an SBOM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SbomFormat {
    /// SPDX 2.3 in JSON.
    SpdxJson,
    /// CycloneDX 1.6 in JSON.
    #[serde(rename = "cyclonedx-json")]
    CycloneDxJson,
}

/// Matches the packages of the image with known vulnerabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scan {
    /// The type of the artifact.
    #[serde(rename = "type")]
    pub artifact_type: MediaType,
}

/// Attaches files of the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attach {
    /// The type of the artifact.
    #[serde(rename = "type")]
    pub artifact_type: MediaType,
    /// The files, each as `path:mediaType`.
    pub files: Vec<AttachedFile>,
}

as_text!(AttachedFile, SignWhat);

/// A file and its media type, written `path:mediaType`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedFile {
    /// The file, below the root of the source.
    pub path: RelativePath,
    /// Its media type.
    pub media_type: MediaType,
}

impl FromStr for AttachedFile {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str = "expected `path:mediaType`, such as `LICENSE:text/plain`";
        let error = || NameError::new(text, "a file to attach", EXPECTED);
        let (path, media_type) = text.rsplit_once(':').ok_or_else(error)?;
        Ok(Self {
            path: path.parse()?,
            media_type: media_type.parse().map_err(|_| error())?,
        })
    }
}

impl fmt::Display for AttachedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.media_type)
    }
}

/// Signs what the run produced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sign {
    /// The signing profile.
    pub profile: Name,
    /// What is signed.
    pub what: Vec<SignWhat>,
}

/// Something that a run signs: the `image`, its `provenance`, or artifacts by their type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignWhat {
    /// The image.
    Image,
    /// The build provenance.
    Provenance,
    /// The artifacts of this type that the run produced.
    Artifacts(MediaType),
}

impl FromStr for SignWhat {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str = "expected `image`, `provenance`, or the type of an artifact";
        match text {
            "image" => Ok(Self::Image),
            "provenance" => Ok(Self::Provenance),
            _ => match text.parse() {
                Ok(artifact_type) => Ok(Self::Artifacts(artifact_type)),
                Err(_) => Err(NameError::new(text, "something to sign", EXPECTED)),
            },
        }
    }
}

impl fmt::Display for SignWhat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("image"),
            Self::Provenance => f.write_str("provenance"),
            Self::Artifacts(artifact_type) => write!(f, "{artifact_type}"),
        }
    }
}

/// Decides over the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// The gate policy.
    pub policy: Name,
}

/// Waits for a person, who sees the verdict of the last gate and approves exactly that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// The accounts of which one must approve.
    pub by: Vec<Name>,
    /// The signing profile under which the approval is signed.
    pub profile: Name,
    /// How long the run waits.
    #[serde(default = "one_week")]
    pub timeout: Span,
}

fn one_week() -> Span {
    Span::hours(7 * 24)
}

/// Starts the image in an environment, after a last check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deploy {
    /// The environment.
    pub environment: Name,
    /// The gate policy that is checked immediately before.
    pub policy: Name,
}

/// Runs commands against the container of an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Test {
    /// The environment, whose URL the commands find in `COUNTERSIGN_URL`.
    pub environment: Name,
    /// The image that the commands run in.
    pub image: ImageName,
    /// The commands.
    pub commands: Vec<String>,
    /// What is attached afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<TestReport>,
}

/// The report of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestReport {
    /// The type of the artifact.
    #[serde(rename = "type")]
    pub artifact_type: MediaType,
    /// The file that the commands wrote.
    pub file: RelativePath,
    /// Its media type.
    #[serde(default = "json")]
    pub media_type: MediaType,
}

fn json() -> MediaType {
    MediaType::JSON
}

/// Runs commands, and attaches and signs what they make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// The image that the commands run in.
    pub image: ImageName,
    /// The commands.
    pub commands: Vec<String>,
    /// What is attached afterwards.
    #[serde(default)]
    pub attach: Vec<HookArtifact>,
    /// The signing profile under which it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<Name>,
}

/// One artifact that a hook makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookArtifact {
    /// The type of the artifact.
    #[serde(rename = "type")]
    pub artifact_type: MediaType,
    /// The file that the commands wrote.
    pub file: RelativePath,
    /// Its media type.
    pub media_type: MediaType,
}
