//! Commands in containers: buildspecs, tests and hooks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::Reference;
use pipeline::build::{
    AgentLog, BuildFacts, BuildReport, Executor, InContainer, environment, run_phases,
    upload_artifacts,
};
use pipeline::buildspec::Buildspec;
use pipeline::container::{
    ContainerLimits, ContainerNetwork, ContainerRequest, ShellChoice, WORKSPACE, WorkContainer,
};
use pipeline::deploy::container_name;
use pipeline::project::{Engine, HookArtifact, ImageName, RelativePath};
use pipeline::runner::LogSink;

use super::WorkFailure;
use super::evidence::{NewFile, attach_files, title};
use super::images::resolve;
use super::job::Job;
use crate::api::worker::{RunImage, Source, WorkItem, WorkOutcome};
use crate::clock;
use crate::error::chain;

/// How long all commands of an action may take together: CodeBuild's default.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60 * 60);

/// Where and with what commands run.
struct Setting {
    image: Reference,
    workspace: PathBuf,
    network: ContainerNetwork,
    environment: BTreeMap<String, String>,
}

pub(super) async fn buildspec(
    job: &Job,
    log: &dyn LogSink,
    (source, file, image): (&Source, &RelativePath, &ImageName),
) -> Result<WorkOutcome, WorkFailure> {
    let agent = AgentLog::new(log, &clock::now);
    let started = clock::now();
    agent.say("Phase is DOWNLOAD_SOURCE").await;
    let fetched = job.fetch(source, log).await?;
    agent.say(&format!("CODEBUILD_SRC_DIR={WORKSPACE}")).await;
    agent
        .say(&format!("YAML location is {WORKSPACE}/{file}"))
        .await;
    let spec = load(&fetched.folder, file)?;
    let reference = resolve(job, image).await?;
    let facts = BuildFacts {
        project: &job.assignment.project,
        pipeline: &job.assignment.pipeline,
        run: &job.assignment.run,
        commit: &source.commit,
        source_url: &fetched.url,
        image: &reference.to_string(),
        started,
    };
    let setting = Setting {
        environment: environment(&facts, &spec),
        image: reference,
        workspace: fetched.folder,
        network: ContainerNetwork::None,
    };
    let report = in_container(
        job,
        log,
        &setting,
        async |container: &mut WorkContainer<'_>| {
            let mut executor = InContainer {
                container,
                shell: spec.env.shell.program(),
            };
            Ok(run_phases(&spec, &mut executor, &agent).await?)
        },
    )
    .await?;
    finish(&spec, report, (&setting.workspace, &agent)).await
}

fn load(folder: &Path, file: &RelativePath) -> Result<Buildspec, WorkFailure> {
    let bytes = pipeline::artifacts::read(folder, file.as_str())
        .map_err(|e| WorkFailure::of_work("buildspec-missing", chain(&e)))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| WorkFailure::of_work("buildspec-invalid", format!("`{file}` is not UTF-8")))?;
    Buildspec::parse(&text)
        .map_err(|e| WorkFailure::of_work("buildspec-invalid", format!("`{file}`: {e}")))
}

/// The artifacts are collected in any case; the first failure is the one that is reported.
async fn finish(
    spec: &Buildspec,
    report: BuildReport,
    (workspace, agent): (&Path, &AgentLog<'_>),
) -> Result<WorkOutcome, WorkFailure> {
    let mut failure = report.failure;
    if let Some(artifacts) = &spec.artifacts
        && let Err(message) = upload_artifacts(artifacts, workspace, agent).await
    {
        failure.get_or_insert(format!("UPLOAD_ARTIFACTS: {message}"));
    }
    match failure {
        None => Ok(WorkOutcome::Built {
            exported: report.exported,
        }),
        Some(message) => Err(WorkFailure::of_work("command-failed", message)),
    }
}

pub(super) async fn test(job: &Job, log: &dyn LogSink) -> Result<WorkOutcome, WorkFailure> {
    let WorkItem::Test {
        image,
        environment,
        deployment,
        runner,
        commands,
        report,
        source,
    } = &job.assignment.work
    else {
        return Err(WorkFailure::of_work("front", "not a test"));
    };
    let target = &environment.target;
    if target.engine != Engine::Podman || target.socket.is_some() {
        let reason = "tests reach containers of the worker's own podman only: use the target `{engine: podman}`";
        return Err(WorkFailure::of_work("engine-unreachable", reason));
    }
    let tested = container_name(environment.name.as_str(), deployment)?;
    let mut setting = setting(job, log, (image, runner, source.as_ref())).await?;
    // The commands share the network of the tested container: they reach it and nothing else.
    setting.network = ContainerNetwork::Of(tested);
    let url = format!("http://127.0.0.1:{}", environment.container.port);
    setting
        .environment
        .insert("COUNTERSIGN_URL".to_owned(), url);
    run_commands(job, log, (&setting, commands)).await?;
    let attach: Vec<HookArtifact> = report
        .iter()
        .map(|report| HookArtifact {
            artifact_type: report.artifact_type.clone(),
            file: report.file.clone(),
            media_type: report.media_type.clone(),
        })
        .collect();
    attach_all(job, log, (image, &setting.workspace, &attach)).await
}

pub(super) async fn hook(job: &Job, log: &dyn LogSink) -> Result<WorkOutcome, WorkFailure> {
    let WorkItem::Hook {
        image,
        runner,
        commands,
        attach,
        source,
    } = &job.assignment.work
    else {
        return Err(WorkFailure::of_work("front", "not a hook"));
    };
    let setting = setting(job, log, (image, runner, source.as_ref())).await?;
    run_commands(job, log, (&setting, commands)).await?;
    attach_all(job, log, (image, &setting.workspace, attach)).await
}

async fn setting(
    job: &Job,
    log: &dyn LogSink,
    (image, runner, source): (&RunImage, &ImageName, Option<&Source>),
) -> Result<Setting, WorkFailure> {
    let workspace = match source {
        Some(source) => job.fetch(source, log).await?.folder,
        None => job.folder("source")?,
    };
    let subject = job.reference(&image.repository, &image.digest);
    let variables = [
        ("CI", "true".to_owned()),
        ("COUNTERSIGN_IMAGE", subject.to_string()),
        ("COUNTERSIGN_DIGEST", image.digest.to_string()),
        ("COUNTERSIGN_RUN", job.assignment.run.clone()),
    ];
    Ok(Setting {
        image: resolve(job, runner).await?,
        workspace,
        network: ContainerNetwork::None,
        environment: variables.map(|(n, v)| (n.to_owned(), v)).into(),
    })
}

async fn run_commands(
    job: &Job,
    log: &dyn LogSink,
    (setting, commands): (&Setting, &[String]),
) -> Result<(), WorkFailure> {
    in_container(
        job,
        log,
        setting,
        async |container: &mut WorkContainer<'_>| {
            let mut executor = InContainer {
                container,
                shell: ShellChoice::default().program,
            };
            for command in commands {
                let shown = command.lines().next().unwrap_or_default();
                log.line(&format!("$ {shown}")).await;
                let status = executor.run("root", command, log).await?;
                if !status.is_success() {
                    let reason = format!("`{shown}` ended with status {}", status.0);
                    return Err(WorkFailure::of_work("command-failed", reason));
                }
            }
            Ok(())
        },
    )
    .await
}

async fn attach_all(
    job: &Job,
    log: &dyn LogSink,
    (image, workspace, attach): (&RunImage, &Path, &[HookArtifact]),
) -> Result<WorkOutcome, WorkFailure> {
    let mut artifacts = Vec::new();
    for wanted in attach {
        let bytes = pipeline::artifacts::read(workspace, wanted.file.as_str())
            .map_err(|e| WorkFailure::of_work("file-missing", chain(&e)))?;
        let file = NewFile {
            name: title(wanted.file.as_str()),
            media_type: wanted.media_type.clone(),
            bytes,
        };
        let about = (image, &wanted.artifact_type, vec![file]);
        artifacts.push(attach_files(job, log, about).await?);
    }
    Ok(WorkOutcome::Attached { artifacts })
}

/// Starts a container, lets `work` use it, and takes it away in any case.
async fn in_container<T>(
    job: &Job,
    log: &dyn LogSink,
    setting: &Setting,
    work: impl AsyncFnOnce(&mut WorkContainer<'_>) -> Result<T, WorkFailure>,
) -> Result<T, WorkFailure> {
    let engine = job.engine().await?;
    let request = ContainerRequest {
        image: &setting.image,
        name: &format!("work-{}-{}", job.assignment.run, job.assignment.action),
        workspace: &setting.workspace,
        scratch: &job.folder("container")?,
        network: setting.network.clone(),
        limits: ContainerLimits::default(),
        environment: &setting.environment,
        login: &job.login(),
    };
    let mut container = WorkContainer::start(&engine, &request, log).await?;
    let done = tokio::time::timeout(LIMIT, work(&mut container)).await;
    container.remove().await;
    done.unwrap_or_else(|_| {
        let reason = format!(
            "the commands took more than {} minutes",
            LIMIT.as_secs() / 60
        );
        Err(WorkFailure::of_work("command-timeout", reason))
    })
}
