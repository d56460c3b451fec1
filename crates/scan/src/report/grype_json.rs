//! Writes a report in the shape of grype's JSON, so that whatever reads grype's reads ours.
//!
//! Differences: `descriptor.coverage` is our own and says what the report does not cover; the
//! layer of a location is the digest of the blob, not of its content; risk, EPSS and known
//! exploits are left out, since OSV has none of them.

use serde::Serialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::Report;
use crate::advisory::PackageAdvisory;
use crate::cvss;
use crate::image::ImageSource;
use crate::matching::{Coverage, Finding, Ignored};
use crate::osv::About;
use crate::package::{Ecosystem, Package, PackageKind};
use crate::severity::Severity;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    matches: Vec<Match>,
    ignored_matches: Vec<IgnoredMatch>,
    source: Value,
    distro: Value,
    descriptor: Descriptor<'a>,
}

#[derive(Serialize)]
struct Descriptor<'a> {
    name: &'static str,
    version: &'a str,
    configuration: Value,
    db: Value,
    timestamp: String,
    coverage: &'a Coverage,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Match {
    vulnerability: Vulnerability,
    related_vulnerabilities: Vec<Vulnerability>,
    match_details: Vec<Value>,
    artifact: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IgnoredMatch {
    #[serde(flatten)]
    inner: Match,
    applied_ignore_rules: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Vulnerability {
    id: String,
    data_source: String,
    namespace: String,
    severity: Severity,
    urls: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    cvss: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advisories: Option<Vec<Value>>,
}

pub(super) fn write(report: &Report) -> Vec<u8> {
    let distro = report.distro.as_ref();
    let document = Document {
        matches: report.findings.matches.iter().map(one_match).collect(),
        ignored_matches: report.findings.ignored.iter().map(ignored).collect(),
        source: json!({"type": "image", "target": target(&report.source)}),
        distro: json!({
            "name": distro.map_or("", |d| &d.id),
            "version": distro.map_or("", |d| &d.version_id),
            "idLike": distro.map_or(&[][..], |d| &d.id_like),
        }),
        descriptor: Descriptor {
            name: "countersign",
            version: &report.tool_version,
            configuration: json!({}),
            db: database(report),
            timestamp: instant(report.created),
            coverage: &report.findings.coverage,
        },
    };
    let mut bytes = serde_json::to_vec_pretty(&document).expect("a report has string keys only");
    bytes.push(b'\n');
    bytes
}

fn instant(time: time::OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

fn target(source: &ImageSource) -> Value {
    let layer = |l: &oci::Descriptor| json!({"mediaType": l.media_type, "digest": l.digest, "size": l.size});
    json!({
        "userInput": source.reference,
        "imageID": source.config.digest,
        "manifestDigest": source.digest(),
        "mediaType": source.manifest.media_type,
        "tags": source.tag.iter().map(|tag| format!("{}:{tag}", source.name)).collect::<Vec<_>>(),
        "imageSize": source.layers.iter().map(|layer| layer.size).sum::<u64>(),
        "layers": source.layers.iter().map(layer).collect::<Vec<_>>(),
        "repoDigests": [format!("{}@{}", source.name, source.digest())],
        "architecture": source.architecture.as_deref().unwrap_or_default(),
        "os": source.os.as_deref().unwrap_or_default(),
    })
}

/// The place of the state is that of grype since version 0.88; the provider is ours.
fn database(report: &Report) -> Value {
    let status = &report.database;
    json!({
        "status": {
            "schemaVersion": "countersign-advisories/1",
            "from": status.sources,
            "built": instant(status.built),
            "newest": status.newest.map(instant),
            "digest": status.digest,
            "valid": true,
        },
        "advisories": status.advisories,
    })
}

fn one_match(finding: &Finding) -> Match {
    let related = finding
        .advisories
        .iter()
        .flat_map(|advisory| related(finding, advisory));
    let mut related: Vec<Vulnerability> = related.collect();
    related.dedup_by(|a, b| a.id == b.id);
    Match {
        vulnerability: vulnerability(finding),
        related_vulnerabilities: related,
        match_details: vec![details(finding)],
        artifact: artifact(&finding.package),
    }
}

fn ignored(ignored: &Ignored) -> IgnoredMatch {
    let rule = json!({"vulnerability": ignored.finding.id, "reason": ignored.reason});
    IgnoredMatch {
        inner: one_match(&ignored.finding),
        applied_ignore_rules: vec![rule],
    }
}

fn vulnerability(finding: &Finding) -> Vulnerability {
    let namespace = namespace(&finding.searched.ecosystem);
    let first = finding.advisories.first().map(|advisory| &advisory.about);
    let mut urls: Vec<String> = Vec::new();
    for url in finding.advisories.iter().flat_map(|a| &a.about.references) {
        if !urls.contains(url) {
            urls.push(url.clone());
        }
    }
    let advisory = |a: &PackageAdvisory| json!({"id": a.about.id, "link": link(&a.about)});
    Vulnerability {
        id: finding.id.clone(),
        data_source: first.map(link).unwrap_or_default(),
        namespace,
        severity: finding.severity,
        urls,
        description: first.map(|about| about.summary.clone()).unwrap_or_default(),
        cvss: first.map(cvss_entries).unwrap_or_default(),
        fix: Some(json!({"versions": finding.fixed_in, "state": finding.state})),
        advisories: Some(finding.advisories.iter().map(advisory).collect()),
    }
}

/// Grype lists the other names of a flaw as vulnerabilities of their own.
fn related(finding: &Finding, advisory: &PackageAdvisory) -> Vec<Vulnerability> {
    let about = &advisory.about;
    // What an advisory on several flaws calls its aliases are not names of this one.
    let names = std::iter::once(&about.id).chain(&about.aliases);
    let other = names.filter(|name| **name != finding.id);
    other
        .map(|name| Vulnerability {
            id: name.clone(),
            data_source: link(about),
            namespace: namespace(&finding.searched.ecosystem),
            severity: about.severity(&advisory.affected),
            urls: Vec::new(),
            description: String::new(),
            cvss: Vec::new(),
            fix: None,
            advisories: None,
        })
        .collect()
}

/// Returns where the advisory itself is published, or else its first reference.
fn link(about: &About) -> String {
    let id = &about.id;
    match id.split('-').next() {
        Some("CVE") => format!("https://nvd.nist.gov/vuln/detail/{id}"),
        Some("GHSA") => format!("https://github.com/advisories/{id}"),
        Some("DEBIAN" | "DSA" | "DLA") => {
            format!(
                "https://security-tracker.debian.org/tracker/{}",
                id.trim_start_matches("DEBIAN-")
            )
        }
        Some("PYSEC") => format!("https://osv.dev/vulnerability/{id}"),
        _ => about.references.first().cloned().unwrap_or_default(),
    }
}

/// Grype's namespaces: provider, kind, and release or language.
fn namespace(ecosystem: &Ecosystem) -> String {
    match ecosystem.as_str().split_once(':') {
        Some((name, release)) => {
            let name = name.to_ascii_lowercase();
            format!("{name}:distro:{name}:{release}")
        }
        None => "osv:language:python".to_owned(),
    }
}

fn cvss_entries(about: &About) -> Vec<Value> {
    let entry = |vector: &String| {
        let score = cvss::base_score(vector);
        let metrics = score.map(|score| {
            json!({"baseScore": score.base, "exploitabilityScore": score.exploitability, "impactScore": score.impact})
        });
        json!({
            "source": about.source,
            "type": "Primary",
            "version": cvss::version(vector),
            "vector": vector,
            // A score that we cannot compute is left out, not set to zero.
            "metrics": metrics.unwrap_or_else(|| json!({})),
            "vendorMetadata": {},
        })
    };
    about.vectors.iter().map(entry).collect()
}

fn details(finding: &Finding) -> Value {
    let searched = &finding.searched;
    let (matcher, format) = match finding.package.kind {
        PackageKind::Deb => ("dpkg-matcher", "deb"),
        PackageKind::Python => ("python-matcher", "python"),
    };
    let kind = match searched.indirect {
        true => "exact-indirect-match",
        false => "exact-direct-match",
    };
    let mut details = json!({
        "type": kind,
        "matcher": matcher,
        "searchedBy": {
            "namespace": namespace(&searched.ecosystem),
            "package": {"name": searched.name, "version": searched.version},
        },
        "found": {
            "vulnerabilityID": finding.advisories.first().map(|a| a.about.id.as_str()),
            "versionConstraint": format!("{} ({format})", finding.constraint),
        },
    });
    if let Some(version) = finding.fixed_in.first() {
        details["fix"] = json!({"suggestedVersion": version});
    }
    details
}

fn artifact(package: &Package) -> Value {
    let path = format!("/{}", package.location.path);
    let upstreams = package.source.iter();
    let upstream = |source: &crate::package::SourcePackage| match source.version == package.version
    {
        true => json!({"name": source.name}),
        false => json!({"name": source.name, "version": source.version}),
    };
    json!({
        "id": package.id(),
        "name": package.name,
        "version": package.version,
        "type": package.kind.as_str(),
        "locations": [{"path": path, "accessPath": path, "layerID": package.location.layer}],
        "language": package.kind.language(),
        "licenses": package.licences.iter().map(|l| l.spdx.unwrap_or(&l.name)).collect::<Vec<_>>(),
        "cpes": [],
        "purl": package.purl,
        "upstreams": upstreams.map(upstream).collect::<Vec<_>>(),
    })
}
