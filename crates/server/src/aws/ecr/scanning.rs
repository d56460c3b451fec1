//! Findings: what the newest vulnerability report that is attached to an image says.
//!
//! This registry has no scanner of its own in the push path: reports are evidence, made by a
//! pipeline and attached. So a scan cannot be started here, and the answer says what to do instead.

use std::collections::BTreeMap;

use client::ArtifactSource as _;
use client::TagOrDigest;
use oci::{Digest, RepositoryName};
use scan::report::ReportSummary;
use serde_json::{Value, json};

use super::repositories::{ScanningConfiguration, change, settings_of};
use super::{Answer, Call, EcrError, Paged, epoch};
use crate::source::StoreSource;

/// The largest report that is read for an answer, in bytes.
const MAX_REPORT_BYTES: u64 = 16 * 1024 * 1024;
/// The most referrers that are looked at.
const MAX_REFERRERS: usize = 64;

pub(super) async fn put_configuration(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let configuration = &call.body["imageScanningConfiguration"];
    let configuration: ScanningConfiguration = serde::Deserialize::deserialize(configuration)
        .map_err(|error| EcrError::parameter(format!("`imageScanningConfiguration`: {error}")))?;
    let scan_on_push = configuration.scan_on_push;
    change(call, &repository, |settings| {
        settings.scan_on_push = scan_on_push;
        Ok(())
    })
    .await?;
    Ok(json!({
        "registryId": call.number,
        "repositoryName": repository,
        "imageScanningConfiguration": { "scanOnPush": scan_on_push },
    }))
}

/// A report that is attached to an image.
pub(super) struct FoundReport(ReportSummary);

impl FoundReport {
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for finding in &self.0.findings {
            *counts.entry(severity(finding.severity)).or_default() += 1;
        }
        counts
    }

    fn created(&self) -> Option<f64> {
        self.0.created.map(epoch)
    }

    pub(super) fn summary(&self) -> Value {
        json!({
            "imageScanCompletedAt": self.created(),
            "vulnerabilitySourceUpdatedAt": self.0.database_built.map(epoch),
            "findingSeverityCounts": self.counts(),
        })
    }
}

/// Returns ECR's word.
fn severity(severity: scan::Severity) -> &'static str {
    use scan::Severity;
    match severity {
        Severity::Critical => "CRITICAL",
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
        Severity::Low => "LOW",
        Severity::Negligible => "INFORMATIONAL",
        Severity::Unknown => "UNDEFINED",
    }
}

/// Returns the newest report that refers to the image.
pub(super) async fn newest_report(
    call: &Call<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<FoundReport>, EcrError> {
    let referrers = call
        .front
        .store
        .repositories
        .referrers(repository, digest, None)
        .await?;
    let evidence = referrers.into_iter().filter(|one| {
        let kind = one.artifact_type.as_ref();
        !kind.is_some_and(oci::MediaType::is_endorsement)
    });
    let source = StoreSource::new(call.front, repository, &call.caller.account);
    let mut newest: Option<ReportSummary> = None;
    for referrer in evidence.take(MAX_REFERRERS) {
        let Some(report) = read(&source, &referrer.digest).await else {
            continue;
        };
        if newest
            .as_ref()
            .is_none_or(|newest| newest.created < report.created)
        {
            newest = Some(report);
        }
    }
    Ok(newest.map(FoundReport))
}

/// Reads an artifact that has one layer, if that is a report.
async fn read(source: &StoreSource, digest: &Digest) -> Option<ReportSummary> {
    let name = TagOrDigest::Digest(digest.clone());
    let descriptor = source.resolve(&name).await.ok()?;
    let manifest = source.manifest(&descriptor).await.ok()?;
    let [layer] = &manifest.as_image()?.layers[..] else {
        return None;
    };
    let bytes = source.blob(layer, MAX_REPORT_BYTES).await.ok()?;
    let parsing = tokio::task::spawn_blocking(move || ReportSummary::parse(&bytes).ok());
    parsing.await.ok()?
}

pub(super) async fn start(call: &Call<'_>) -> Answer {
    let (repository, digest) = image(call).await?;
    call.caller.require_push(&repository)?;
    match newest_report(call, &repository, &digest).await? {
        Some(_) => Ok(json!({
            "registryId": call.number,
            "repositoryName": repository,
            "imageId": { "imageDigest": digest },
            "imageScanStatus": {
                "status": "COMPLETE",
                "description": "the newest report that is attached to the image",
            },
        })),
        None => Err(EcrError::new(
            "UnsupportedImageTypeException",
            "this registry does not scan by itself: attach a report with `countersign scan` and \
             `countersign attach`, or let a pipeline do it",
        )),
    }
}

pub(super) async fn describe_findings(call: &Call<'_>) -> Answer {
    let (repository, digest) = image(call).await?;
    let report = newest_report(call, &repository, &digest).await?;
    let report = report.ok_or_else(|| {
        EcrError::new(
            "ScanNotFoundException",
            format!("image scan does not exist for the image with '{{imageDigest:'{digest}'}}' in the repository with name '{repository}'"),
        )
    })?;
    let findings: Vec<Value> = report.0.findings.iter().map(finding).collect();
    let (page, next) = Paged::read(call, (100, 1000))?.cut(findings);
    let mut shown = report.summary();
    shown["findings"] = json!(page);
    Ok(json!({
        "registryId": call.number,
        "repositoryName": repository,
        "imageId": { "imageDigest": digest },
        "imageScanStatus": { "status": "COMPLETE", "description": report.0.tool },
        "imageScanFindings": shown,
        "nextToken": next,
    }))
}

fn finding(finding: &scan::report::FindingSummary) -> Value {
    let mut attributes = vec![
        json!({ "key": "package_name", "value": finding.package }),
        json!({ "key": "package_version", "value": finding.version }),
    ];
    if !finding.fixed_in.is_empty() {
        attributes.push(json!({ "key": "fixed_in", "value": finding.fixed_in }));
    }
    json!({
        "name": finding.id,
        "severity": severity(finding.severity),
        "attributes": attributes,
    })
}

async fn image(call: &Call<'_>) -> Result<(RepositoryName, Digest), EcrError> {
    let repository = call.repository()?;
    call.caller.require_pull(&repository)?;
    settings_of(call, &repository).await?;
    let digest = super::signing::resolve(call, &repository).await?;
    Ok((repository, digest))
}
