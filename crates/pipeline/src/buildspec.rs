//! Buildspecs, version 0.2: the file that describes a build.
//!
//! The format is that of AWS CodeBuild. What we cannot honour is refused by name, with what to do
//! instead, and never skipped: a build that silently runs without its secrets or its cache is not
//! the build that was asked for. The one thing that is accepted without effect, because a
//! container image has its languages already, is reported by [`Buildspec::warnings`].

use std::collections::BTreeMap;
use std::fmt;

use gate::yaml::{self, DocumentError};
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::project::RelativePath;

mod check;
mod on_failure;

pub use on_failure::{OnFailure, Retry};

/// Says what is wrong with a buildspec: line, column, member and reason.
pub type BuildspecError = DocumentError;

/// A build: variables, phases and artifacts.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Buildspec {
    /// The version; only 0.2 is supported.
    pub version: String,
    /// The user that commands run as, where the phase names none.
    #[serde(default)]
    pub run_as: Option<String>,
    /// The shell and the variables.
    #[serde(default)]
    pub env: Env,
    /// The phases.
    pub phases: Phases,
    /// The files that the build leaves behind.
    #[serde(default)]
    pub artifacts: Option<Artifacts>,
    #[serde(default)]
    proxy: Option<Refused>,
    #[serde(default)]
    batch: Option<Refused>,
    #[serde(default)]
    reports: Option<Refused>,
    #[serde(default)]
    cache: Option<Refused>,
}

/// A member of CodeBuild that we do not honour. It is read so that the refusal can name it.
type Refused = IgnoredAny;

/// The shell and the variables of a build.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Env {
    /// The shell that runs the commands.
    #[serde(default)]
    pub shell: Shell,
    /// Variables, taken literally: `$PATH` inside a value is not expanded.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Variables whose values at the end of the build are handed on to later actions.
    #[serde(default)]
    pub exported_variables: Vec<String>,
    #[serde(default)]
    parameter_store: Option<Refused>,
    #[serde(default)]
    secrets_manager: Option<Refused>,
    #[serde(default)]
    git_credential_helper: Option<String>,
}

/// The shell that runs the commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shell {
    /// `/bin/sh`.
    #[default]
    #[serde(rename = "sh", alias = "/bin/sh")]
    Sh,
    /// `bash`.
    #[serde(rename = "bash", alias = "/bin/bash")]
    Bash,
}

impl Shell {
    /// Returns the program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Sh => "/bin/sh",
            Self::Bash => "bash",
        }
    }
}

/// The phases of a build.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// Installs what the build needs.
    #[serde(default)]
    pub install: Option<Phase>,
    /// Comes before the build.
    #[serde(default)]
    pub pre_build: Option<Phase>,
    /// The build.
    #[serde(default)]
    pub build: Option<Phase>,
    /// Comes after the build, also when it failed.
    #[serde(default)]
    pub post_build: Option<Phase>,
}

/// The name of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Installs what the build needs.
    Install,
    /// Comes before the build.
    PreBuild,
    /// The build.
    Build,
    /// Comes after the build.
    PostBuild,
}

impl PhaseName {
    /// Returns the name as it stands in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::PreBuild => "pre_build",
            Self::Build => "build",
            Self::PostBuild => "post_build",
        }
    }

    /// Returns whether this phase still runs when `failed`, an earlier phase without
    /// `on-failure`, failed. Only `post_build` does, and only after `build`; it finds
    /// `CODEBUILD_BUILD_SUCCEEDING=0`.
    pub fn runs_after_failure_of(self, failed: Self) -> bool {
        self == Self::PostBuild && failed == Self::Build
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One phase.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Phase {
    /// The user that the commands run as.
    #[serde(default)]
    pub run_as: Option<String>,
    /// What happens when a command fails.
    #[serde(default)]
    pub on_failure: Option<OnFailure>,
    /// The commands. All commands of all phases share one shell, so `cd` and variables last. A
    /// command of several lines is one command, with the status of its last line.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Commands that run afterwards, also when one of `commands` failed.
    #[serde(default)]
    pub finally: Vec<String>,
    #[serde(default)]
    runtime_versions: Option<Refused>,
}

/// The files that a build leaves behind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Artifacts {
    /// The files, as globs below the base folder. One may be written without a list.
    #[serde(deserialize_with = "one_or_more")]
    pub files: Vec<String>,
    /// The folder that they are looked for in.
    #[serde(default)]
    pub base_directory: Option<RelativePath>,
    /// Whether the folders of the files are dropped.
    #[serde(default, deserialize_with = "yes_or_no")]
    pub discard_paths: bool,
    /// The name of the whole.
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    exclude_paths: Option<Refused>,
    #[serde(default)]
    enable_symlinks: Option<Refused>,
    #[serde(default)]
    s3_prefix: Option<Refused>,
    #[serde(default)]
    secondary_artifacts: Option<Refused>,
}

impl Buildspec {
    /// Parses a buildspec.
    ///
    /// # Errors
    /// If the text is not a buildspec of version 0.2, or asks for something that we cannot honour.
    pub fn parse(text: &str) -> Result<Self, BuildspecError> {
        yaml::parse(text, check::buildspec)
    }

    /// Returns the phases that are there, in the order in which they run.
    pub fn phases(&self) -> impl Iterator<Item = (PhaseName, &Phase)> {
        let phases = &self.phases;
        [
            (PhaseName::Install, &phases.install),
            (PhaseName::PreBuild, &phases.pre_build),
            (PhaseName::Build, &phases.build),
            (PhaseName::PostBuild, &phases.post_build),
        ]
        .into_iter()
        .filter_map(|(name, phase)| phase.as_ref().map(|phase| (name, phase)))
    }

    /// Returns the user that the commands of `phase` run as, if one is named.
    pub fn user_of<'a>(&'a self, phase: &'a Phase) -> Option<&'a str> {
        phase.run_as.as_deref().or(self.run_as.as_deref())
    }

    /// Returns what was accepted and changes nothing here.
    pub fn warnings(&self) -> Vec<String> {
        let runtimes = |(name, phase): (PhaseName, &Phase)| {
            phase.runtime_versions.is_some().then(|| {
                format!("`phases.{name}.runtime-versions` has no effect: the languages are those of the image")
            })
        };
        self.phases().filter_map(runtimes).collect()
    }
}

fn yes_or_no<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!(
            "expected `yes` or `no`, found `{other}`"
        ))),
    }
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a file or a list of files")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut files = Vec::new();
            while let Some(file) = list.next_element()? {
                files.push(file);
            }
            Ok(files)
        }
    }

    deserializer.deserialize_any(OneOrMore)
}

#[cfg(test)]
mod tests;
