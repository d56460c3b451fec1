//! Building an image.

use client::ArtifactSink;
use oci::Reference;
use pipeline::builder::{BuildNetwork, BuildRequest, BuildServices, BuiltImage, build_image};
use pipeline::provenance::{BuildRecord, statement};
use pipeline::runner::LogSink;
use time::OffsetDateTime;

use super::WorkFailure;
use super::images::GatedBases;
use super::job::{Fetched, Job};
use crate::api::worker::{Base, WorkItem, WorkOutcome};
use crate::clock;

pub(super) async fn build(job: &Job, log: &dyn LogSink) -> Result<WorkOutcome, WorkFailure> {
    let WorkItem::Image {
        source,
        dockerfile,
        context,
        repository,
        tag,
        base_policy,
    } = &job.assignment.work
    else {
        return Err(WorkFailure::of_work("front", "not an image build"));
    };
    let started = clock::now();
    let fetched = job.fetch(source, log).await?;
    let engine = job.engine().await?;
    // A tag of the run's own: nobody else moves it between the push and reading it back.
    let run_tag = format!("run-{}", job.assignment.run)
        .parse()
        .map_err(|e: oci::name::NameError| WorkFailure::of_work("front", e.to_string()))?;
    let target = Reference {
        registry: job.registry.clone(),
        repository: repository.clone(),
        tag: Some(run_tag),
        digest: None,
    };
    let request = BuildRequest {
        source: &fetched.folder,
        dockerfile: dockerfile.as_str(),
        context: context.as_str(),
        scratch: &job.folder("build")?,
        target: &target,
        timestamp: fetched.time,
        network: BuildNetwork::None,
        login: &job.login(),
    };
    let sink = job.repository(repository);
    let bases = GatedBases {
        job,
        policy: base_policy.as_ref(),
        log,
    };
    let services = BuildServices {
        engine: &engine,
        bases: &bases,
        repository: &sink,
        log,
    };
    let built = build_image(&request, &services).await?;
    if let Some(tag) = tag {
        sink.tag(&built.descriptor.digest, tag).await?;
    }
    let tools = engine.programs().to_string();
    let provenance = provenance(job, (&fetched, &built), (&tools, started))?;
    Ok(outcome(repository, built, provenance))
}

fn outcome(repository: &oci::RepositoryName, built: BuiltImage, provenance: String) -> WorkOutcome {
    let base = |(name, reference): (String, Reference)| {
        let digest = reference.digest?;
        Some(Base { name, digest })
    };
    WorkOutcome::Image {
        repository: repository.clone(),
        image: built.descriptor.bare(),
        bases: built.bases.into_iter().filter_map(base).collect(),
        provenance,
    }
}

fn provenance(
    job: &Job,
    (fetched, built): (&Fetched, &BuiltImage),
    (tools, started): (&str, OffsetDateTime),
) -> Result<String, WorkFailure> {
    let WorkItem::Image {
        source,
        dockerfile,
        context,
        repository,
        ..
    } = &job.assignment.work
    else {
        return Err(WorkFailure::of_work("front", "not an image build"));
    };
    let record = BuildRecord {
        repository,
        image: &built.descriptor.digest,
        source_url: &fetched.url,
        commit: &source.commit,
        dockerfile: dockerfile.as_str(),
        context: context.as_str(),
        network: "none",
        bases: &built.bases,
        builder: &job.public_url("worker"),
        tools,
        invocation: &format!("runs/{}/{}", job.assignment.run, job.assignment.action),
        started,
        finished: clock::now(),
    };
    statement(&record).map_err(|e| WorkFailure::of_work("provenance-too-large", e.to_string()))
}
