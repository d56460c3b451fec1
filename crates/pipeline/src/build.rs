//! Running a buildspec: phases, failures, exported variables, artifacts, and the log lines that
//! users of AWS CodeBuild know.
//!
//! Which phase runs after which failure is CodeBuild's rule: nothing after a failed `install` or
//! `pre_build`; `post_build` after a failed `build`, with `CODEBUILD_BUILD_SUCCEEDING=0`;
//! artifacts in any case. Where commands run is a [`Executor`]'s business.
//!
//! Build specification reference for CodeBuild; Build phase transitions.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::artifacts::{self, FoundFile};
use crate::buildspec::{Artifacts, Buildspec, OnFailure, Phase, PhaseName};
use crate::container::{CommandStatus, ContainerError, ShellChoice, WORKSPACE, WorkContainer};
use crate::runner::LogSink;

/// The most characters of a command that are repeated in messages.
const SHOWN_COMMAND_CHARACTERS: usize = 300;
/// The largest compiled pattern of `on-failure`, in bytes: a pattern comes from the source.
const MAX_PATTERN_BYTES: usize = 64 * 1024;
/// The variable that tells `post_build` how the build went.
const SUCCEEDING: &str = "CODEBUILD_BUILD_SUCCEEDING";

/// Runs commands, all in one shell as far as the user stays the same.
#[async_trait]
pub trait Executor: Send {
    /// Runs one command and logs what it writes.
    async fn run(
        &mut self,
        user: &str,
        command: &str,
        log: &dyn LogSink,
    ) -> Result<CommandStatus, ContainerError>;

    /// Returns the values of variables in the shell.
    async fn variables(
        &mut self,
        user: &str,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, ContainerError>;
}

/// Runs commands in a container.
pub struct InContainer<'a, 'b> {
    /// The container.
    pub container: &'b mut WorkContainer<'a>,
    /// The shell.
    pub shell: &'b str,
}

#[async_trait]
impl Executor for InContainer<'_, '_> {
    async fn run(
        &mut self,
        user: &str,
        command: &str,
        log: &dyn LogSink,
    ) -> Result<CommandStatus, ContainerError> {
        let shell = ShellChoice {
            program: self.shell,
            user,
        };
        self.container.run(shell, command, log).await
    }

    async fn variables(
        &mut self,
        user: &str,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, ContainerError> {
        let shell = ShellChoice {
            program: self.shell,
            user,
        };
        self.container.variables(shell, names).await
    }
}

/// What a build is told about itself.
#[derive(Clone, Debug)]
pub struct BuildFacts<'a> {
    /// The project.
    pub project: &'a str,
    /// The pipeline.
    pub pipeline: &'a str,
    /// The run.
    pub run: &'a str,
    /// The commit.
    pub commit: &'a str,
    /// The URL of the source.
    pub source_url: &'a str,
    /// The image that the commands run in.
    pub image: &'a str,
    /// When the build started.
    pub started: OffsetDateTime,
}

/// Returns the variables that every command finds: CodeBuild's own, and those of the buildspec,
/// which cannot replace them.
pub fn environment(facts: &BuildFacts<'_>, spec: &Buildspec) -> BTreeMap<String, String> {
    let millis = facts.started.unix_timestamp_nanos() / 1_000_000;
    let own = [
        ("CI", "true".to_owned()),
        (
            "CODEBUILD_BUILD_ID",
            format!("{}:{}", facts.project, facts.run),
        ),
        ("CODEBUILD_BUILD_IMAGE", facts.image.to_owned()),
        (
            "CODEBUILD_INITIATOR",
            format!("codepipeline/{}", facts.pipeline),
        ),
        ("CODEBUILD_RESOLVED_SOURCE_VERSION", facts.commit.to_owned()),
        ("CODEBUILD_SOURCE_REPO_URL", facts.source_url.to_owned()),
        ("CODEBUILD_SOURCE_VERSION", facts.commit.to_owned()),
        ("CODEBUILD_SRC_DIR", WORKSPACE.to_owned()),
        ("CODEBUILD_START_TIME", millis.to_string()),
        (SUCCEEDING, "1".to_owned()),
    ];
    let mut variables = spec.env.variables.clone();
    variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
    variables
}

/// How a build went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildReport {
    /// The first thing that failed, as `PHASE: message`.
    pub failure: Option<String>,
    /// The exported variables.
    pub exported: BTreeMap<String, String>,
}

/// Takes log lines of the agent and adds what CodeBuild puts before them.
pub struct AgentLog<'a> {
    sink: &'a dyn LogSink,
    clock: &'a (dyn Fn() -> OffsetDateTime + Send + Sync),
}

impl<'a> AgentLog<'a> {
    /// Logs to `sink` with the times of `clock`.
    pub fn new(
        sink: &'a dyn LogSink,
        clock: &'a (dyn Fn() -> OffsetDateTime + Send + Sync),
    ) -> Self {
        Self { sink, clock }
    }

    /// Writes one line, or one for each line of a text of several.
    pub async fn say(&self, text: &str) {
        let format = format_description!(
            "[year]/[month]/[day] [hour]:[minute]:[second].[subsecond digits:6]"
        );
        let at = (self.clock)().format(&format).unwrap_or_default();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        self.sink.line(&format!("[Container] {at} {first}")).await;
        for line in lines {
            self.sink.line(line).await;
        }
    }
}

/// Runs all phases. That a command failed is in the report.
///
/// # Errors
/// If commands cannot be run at all.
pub async fn run_phases(
    spec: &Buildspec,
    executor: &mut dyn Executor,
    log: &AgentLog<'_>,
) -> Result<BuildReport, ContainerError> {
    let phases = spec.phases().count();
    log.say("Processing environment variables").await;
    log.say(&format!("Phases found in YAML: {phases}")).await;
    for warning in spec.warnings() {
        log.say(&format!("Warning: {warning}")).await;
    }
    let mut build = Build {
        spec,
        executor,
        log,
        failure: None,
    };
    let mut stopped_by: Option<(PhaseName, bool)> = None;
    for (name, phase) in spec.phases() {
        let runs = match stopped_by {
            None => true,
            Some((failed, by_rule)) => by_rule && name.runs_after_failure_of(failed),
        };
        if !runs || build.phase(name, phase).await? {
            continue;
        }
        stopped_by = match phase.on_failure {
            Some(OnFailure::Continue) => stopped_by,
            // `ABORT` was asked for; without a word, the rule of the phases decides.
            Some(OnFailure::Abort) => Some((name, false)),
            None | Some(OnFailure::Retry(_)) => Some((name, true)),
        };
    }
    build.finish().await
}

struct Build<'a> {
    spec: &'a Buildspec,
    executor: &'a mut dyn Executor,
    log: &'a AgentLog<'a>,
    failure: Option<String>,
}

impl Build<'_> {
    /// Runs one phase, as often as it may be tried. Returns whether it succeeded.
    async fn phase(&mut self, name: PhaseName, phase: &Phase) -> Result<bool, ContainerError> {
        let shown = name.as_str().to_ascii_uppercase();
        let user = self.spec.user_of(phase).unwrap_or("root");
        let mut attempts_left = match &phase.on_failure {
            Some(OnFailure::Retry(retry)) => retry.attempts,
            _ => 0,
        };
        loop {
            self.log.say(&format!("Entering phase {shown}")).await;
            let failure = self.attempt(user, phase).await?;
            let (state, context) = match &failure {
                None => (
                    "SUCCEEDED",
                    "Phase context status code:  Message: ".to_owned(),
                ),
                Some(message) => (
                    "FAILED",
                    format!(
                        "Phase context status code: COMMAND_EXECUTION_ERROR Message: {message}"
                    ),
                ),
            };
            self.log
                .say(&format!("Phase complete: {shown} State: {state}"))
                .await;
            self.log.say(&context).await;
            let Some(message) = failure else {
                return Ok(true);
            };
            if attempts_left > 0 && may_retry(phase, &message) {
                attempts_left -= 1;
                self.log
                    .say(&format!(
                        "Retrying phase {shown}: {attempts_left} attempts left"
                    ))
                    .await;
                continue;
            }
            self.failure.get_or_insert(format!("{shown}: {message}"));
            return Ok(false);
        }
    }

    /// Runs the commands, and `finally` in any case. Returns what failed first.
    async fn attempt(
        &mut self,
        user: &str,
        phase: &Phase,
    ) -> Result<Option<String>, ContainerError> {
        let succeeding = u8::from(self.failure.is_none());
        let export = format!("export {SUCCEEDING}={succeeding}");
        self.executor.run(user, &export, self.log.sink).await?;
        let commands = self.commands(user, &phase.commands).await?;
        let finally = self.commands(user, &phase.finally).await?;
        Ok(commands.or(finally))
    }

    async fn commands(
        &mut self,
        user: &str,
        commands: &[String],
    ) -> Result<Option<String>, ContainerError> {
        for command in commands {
            self.log.say(&format!("Running command {command}")).await;
            let status = self.executor.run(user, command, self.log.sink).await?;
            if !status.is_success() {
                let shown = shown(command);
                let CommandStatus(status) = status;
                self.log
                    .say(&format!(
                        "Command did not exit successfully {shown} exit status {status}"
                    ))
                    .await;
                return Ok(Some(format!(
                    "Error while executing command: {shown}. Reason: exit status {status}"
                )));
            }
        }
        Ok(None)
    }

    async fn finish(self) -> Result<BuildReport, ContainerError> {
        let names = &self.spec.env.exported_variables;
        let user = self.spec.run_as.as_deref().unwrap_or("root");
        let exported = match names.is_empty() {
            true => BTreeMap::new(),
            false => self.executor.variables(user, names).await?,
        };
        Ok(BuildReport {
            failure: self.failure,
            exported,
        })
    }
}

fn may_retry(phase: &Phase, message: &str) -> bool {
    let Some(OnFailure::Retry(retry)) = &phase.on_failure else {
        return false;
    };
    let Some(pattern) = &retry.pattern else {
        return true;
    };
    let pattern = regex::RegexBuilder::new(pattern)
        .size_limit(MAX_PATTERN_BYTES)
        .build();
    // One that is no pattern matches nothing: trying again is the exception.
    pattern.is_ok_and(|pattern| pattern.is_match(message))
}

fn shown(command: &str) -> String {
    let line = command.lines().next().unwrap_or_default();
    line.chars().take(SHOWN_COMMAND_CHARACTERS).collect()
}

/// Collects the artifacts of a build, after its container has ended. Returns the files, or what
/// to report as the failure of this phase.
pub async fn upload_artifacts(
    artifacts: &Artifacts,
    workspace: &Path,
    log: &AgentLog<'_>,
) -> Result<Vec<FoundFile>, String> {
    let base = artifacts.base_directory.as_ref();
    let base = base.map_or(".", |path| path.as_str());
    log.say("Entering phase UPLOAD_ARTIFACTS").await;
    log.say(&format!("Expanding base directory path: {base}"))
        .await;
    log.say("Assembling file list").await;
    let found = match artifacts::collect(workspace, base, &artifacts.files) {
        Ok(files) if files.is_empty() => Err("no matching artifact paths found".to_owned()),
        Ok(files) => Ok(files),
        Err(error) => Err(crate::runner::chain(&error)),
    };
    let (state, context) = match &found {
        Ok(files) => {
            log.say(&format!("Found {} file(s)", files.len())).await;
            ("SUCCEEDED", " Message: ".to_owned())
        }
        Err(message) => ("FAILED", format!("CLIENT_ERROR Message: {message}")),
    };
    log.say(&format!("Phase complete: UPLOAD_ARTIFACTS State: {state}"))
        .await;
    log.say(&format!("Phase context status code: {context}"))
        .await;
    found
}

#[cfg(test)]
mod tests;
