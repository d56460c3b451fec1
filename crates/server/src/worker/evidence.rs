//! Making evidence: SBOMs, CVE reports and files, attached to the image of the run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use client::{ArtifactSink, ArtifactSource};
use oci::{Descriptor, ImageManifest, Manifest, MediaType};
use pipeline::project::SbomFormat;
use pipeline::runner::LogSink;
use scan::image::{ImageName, ImageSource, scan_layers};
use scan::matching::{DEFAULT_STALE_AFTER, look_ups};
use scan::{AdvisorySubset, Catalog, Layer, MatchOptions, Report, Sbom, match_packages};
use time::format_description::well_known::Rfc3339;

use super::WorkFailure;
use super::job::Job;
use crate::api::advisories::AdvisoryQuery;
use crate::api::worker::{AttachedArtifact, RunImage, WorkItem, WorkOutcome};
use crate::clock;
use crate::error::chain;

/// The largest configuration of an image that is read, in bytes. Real ones have a few thousand.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;
/// The annotation that names a file (image-spec `annotations.md`).
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation that says when an artifact was made.
const CREATED: &str = "org.opencontainers.image.created";

/// A file that becomes a layer of an artifact.
pub(super) struct NewFile {
    /// Its name, without a folder.
    pub(super) name: String,
    pub(super) media_type: MediaType,
    pub(super) bytes: Vec<u8>,
}

pub(super) async fn sbom(
    job: &Job,
    log: &dyn LogSink,
    (image, artifact_type, format): (&RunImage, &MediaType, SbomFormat),
) -> Result<WorkOutcome, WorkFailure> {
    let (source, catalog) = catalog_of(job, log, image).await?;
    let document = Sbom {
        source: &source,
        catalog: &catalog,
        created: clock::now(),
        tool_version: env!("CARGO_PKG_VERSION"),
    };
    let (format, name) = match format {
        SbomFormat::SpdxJson => (scan::sbom::SbomFormat::SpdxJson, "sbom.spdx.json"),
        SbomFormat::CycloneDxJson => (scan::sbom::SbomFormat::CycloneDxJson, "sbom.cdx.json"),
    };
    let file = NewFile {
        name: name.to_owned(),
        media_type: format.media_type(),
        bytes: document.write(format),
    };
    attach_files(job, log, (image, artifact_type, vec![file]))
        .await
        .map(one)
}

pub(super) async fn scan(
    job: &Job,
    log: &dyn LogSink,
    (image, artifact_type): (&RunImage, &MediaType),
) -> Result<WorkOutcome, WorkFailure> {
    let (source, catalog) = catalog_of(job, log, image).await?;
    let query = AdvisoryQuery {
        packages: look_ups(&catalog).into_iter().collect(),
    };
    let control = job.control()?;
    let advisories: AdvisorySubset = control.post("api/v1/advisories/query", &query).await?;
    let options = MatchOptions {
        now: clock::now(),
        stale_after: DEFAULT_STALE_AFTER,
    };
    let findings = match_packages(&catalog, &advisories, options)
        .map_err(|e| WorkFailure::of_work("advisories-unreadable", chain(&e)))?;
    let report = Report {
        source,
        distro: catalog.distro.clone(),
        findings,
        database: advisories.status,
        created: clock::now(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    for line in report.to_table().lines() {
        log.line(line).await;
    }
    let file = NewFile {
        name: "cve.json".to_owned(),
        media_type: MediaType::JSON,
        bytes: report.to_json(),
    };
    attach_files(job, log, (image, artifact_type, vec![file]))
        .await
        .map(one)
}

pub(super) async fn attach(job: &Job, log: &dyn LogSink) -> Result<WorkOutcome, WorkFailure> {
    let WorkItem::Attach {
        image,
        source,
        artifact_type,
        files,
    } = &job.assignment.work
    else {
        return Err(WorkFailure::of_work("front", "not files to attach"));
    };
    let fetched = job.fetch(source, log).await?;
    let mut layers = Vec::new();
    for file in files {
        let bytes = pipeline::artifacts::read(&fetched.folder, file.path.as_str())
            .map_err(|e| WorkFailure::of_work("file-missing", chain(&e)))?;
        layers.push(NewFile {
            name: title(file.path.as_str()),
            media_type: file.media_type.clone(),
            bytes,
        });
    }
    attach_files(job, log, (image, artifact_type, layers))
        .await
        .map(one)
}

fn one(artifact: AttachedArtifact) -> WorkOutcome {
    WorkOutcome::Attached {
        artifacts: vec![artifact],
    }
}

/// Returns the file's name without its folder.
pub(super) fn title(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// Pushes files as one artifact that refers to the image.
pub(super) async fn attach_files(
    job: &Job,
    log: &dyn LogSink,
    (image, artifact_type, files): (&RunImage, &MediaType, Vec<NewFile>),
) -> Result<AttachedArtifact, WorkFailure> {
    let subject = job.describe(image).await?;
    let sink = job.repository(&image.repository);
    let config = Descriptor::empty();
    sink.push_blob_from(&config.bare(), &mut &b"{}"[..]).await?;
    let mut layers = Vec::new();
    for file in files {
        let mut layer = Descriptor::of(file.media_type, &file.bytes);
        sink.push_blob_from(&layer, &mut file.bytes.as_slice())
            .await?;
        layer.annotations.insert(TITLE.to_owned(), file.name);
        layers.push(layer);
    }
    let created = clock::now().format(&Rfc3339).unwrap_or_default();
    let manifest = Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type: Some(artifact_type.clone()),
        config,
        layers,
        subject: Some(subject.bare()),
        annotations: BTreeMap::from([(CREATED.to_owned(), created)]),
    });
    sink.push_manifest(&manifest, None).await?;
    let line = format!("attached {artifact_type} as {}", manifest.digest());
    log.line(&line).await;
    Ok(AttachedArtifact {
        artifact_type: artifact_type.clone(),
        descriptor: manifest.descriptor().bare(),
    })
}

/// Fetches the layers of the image and finds its packages.
async fn catalog_of(
    job: &Job,
    log: &dyn LogSink,
    image: &RunImage,
) -> Result<(ImageSource, Catalog), WorkFailure> {
    let source = job.repository(&image.repository);
    let descriptor = job.describe(image).await?;
    let manifest = source.manifest(&descriptor).await?;
    let unusable = |e: &dyn std::error::Error| WorkFailure::of_work("not-an-image", chain(e));
    let members = scan::image::image_of(&manifest).map_err(|e| unusable(&e))?;
    let config = source.blob(&members.config, MAX_CONFIG_BYTES).await?;
    let reference = job.reference(&image.repository, &image.digest);
    let name = ImageName {
        reference: &reference.to_string(),
        repository: &reference.scope(),
        tag: None,
    };
    let described = ImageSource::new(name, &manifest, &config).map_err(|e| unusable(&e))?;
    let layers = fetch_layers(job, &source, &members.layers).await?;
    let catalog = tokio::task::spawn_blocking(move || scan_layers(layers)).await;
    let catalog = catalog
        .map_err(|e| WorkFailure::around("worker-failed", e.to_string()))?
        .map_err(|e| WorkFailure::of_work("image-unreadable", chain(&e)))?;
    let line = format!("{} packages in {reference}", catalog.packages.len());
    log.line(&line).await;
    Ok((described, catalog))
}

async fn fetch_layers(
    job: &Job,
    source: &dyn ArtifactSource,
    descriptors: &[Descriptor],
) -> Result<Vec<Layer<BufReader<File>>>, WorkFailure> {
    let folder = job.folder("layers")?;
    let mut layers = Vec::new();
    for descriptor in descriptors {
        let path = folder.join(descriptor.digest.hex());
        let file = tokio::fs::File::create(&path)
            .await
            .map_err(WorkFailure::io)?;
        let mut writer = tokio::io::BufWriter::new(file);
        source.blob_to(descriptor, &mut writer).await?;
        tokio::io::AsyncWriteExt::flush(&mut writer)
            .await
            .map_err(WorkFailure::io)?;
        let file = File::open(&path).map_err(WorkFailure::io)?;
        layers.push(Layer {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
            reader: BufReader::new(file),
        });
    }
    Ok(layers)
}
