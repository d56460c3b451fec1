//! Reads a CVE report back for the gate: ours, or grype's own JSON.
//!
//! Only what a decision needs is kept. Members that we do not know are skipped, since grype adds
//! some with every release; a member of the wrong kind is an error that names it.

use oci::Digest;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::severity::Severity;

/// The largest report, in bytes: what the evidence collector fetches at most.
pub const MAX_REPORT_BYTES: usize = 64 * 1024 * 1024;
/// The most findings. The worst images known to us have some twenty thousand.
pub const MAX_FINDINGS: usize = 500_000;

/// What a CVE report says, as far as a gate policy asks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportSummary {
    /// The tool and its version, such as `grype 0.116.0`.
    pub tool: String,
    /// When the report was made, by its own words.
    #[serde(with = "time::serde::rfc3339::option")]
    pub created: Option<OffsetDateTime>,
    /// The manifest that was scanned, if the report says so.
    pub target_digest: Option<Digest>,
    /// Whether the report covers all that it found. A report with gaps may be silent about
    /// vulnerabilities.
    pub complete: bool,
    /// What the report does not cover, in words.
    pub gaps: Vec<String>,
    /// When the newest advisory was published, or the database built.
    #[serde(with = "time::serde::rfc3339::option")]
    pub database_built: Option<OffsetDateTime>,
    /// Whether the report says that its advisories were too old.
    pub database_stale: bool,
    /// The findings, without the ignored ones.
    pub findings: Vec<FindingSummary>,
}

/// One vulnerability of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingSummary {
    /// The identifier under which the report has it, a CVE where there is one.
    pub id: String,
    /// Other identifiers of the same flaw.
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The package.
    pub package: String,
    /// The version that is in the image.
    pub version: String,
    /// The kind of the package in grype's words: `deb`, `python`, …
    pub kind: String,
    /// The first version with a fix; empty when there is none. Several branches are joined by
    /// `, `.
    pub fixed_in: String,
    /// Whether there is a fix.
    pub state: FixState,
}

/// Whether a vulnerability has a fix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FixState {
    /// A fixed version exists.
    Fixed,
    /// No fixed version exists yet.
    NotFixed,
    /// The distribution will not fix it.
    WontFix,
    /// The source says nothing.
    #[default]
    Unknown,
}

impl<'de> Deserialize<'de> for FixState {
    /// Reads leniently: a state that we do not know is unknown.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)?.as_str() {
            "fixed" => Self::Fixed,
            "not-fixed" => Self::NotFixed,
            "wont-fix" => Self::WontFix,
            _ => Self::Unknown,
        })
    }
}

impl FixState {
    /// Returns the word that grype's JSON has.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::NotFixed => "not-fixed",
            Self::WontFix => "wont-fix",
            Self::Unknown => "unknown",
        }
    }
}

/// Says why bytes are not a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Larger than [`MAX_REPORT_BYTES`].
    #[error("report has {0} bytes, more than the limit of {MAX_REPORT_BYTES}")]
    TooLarge(usize),
    /// More than [`MAX_FINDINGS`].
    #[error("report has {0} findings, more than the limit of {MAX_FINDINGS}")]
    TooMany(usize),
    /// Not JSON, or a member has the wrong kind.
    #[error("report is malformed")]
    Json(#[source] serde_json::Error),
    /// JSON, but nothing that grype or we would write.
    #[error("document has no member `{0}`, so it is not a report in grype's JSON")]
    Missing(&'static str),
}

impl ReportSummary {
    /// Reads a report in grype's JSON.
    ///
    /// # Errors
    /// If the bytes are too many, not JSON, or have no `matches` and `descriptor`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        if bytes.len() > MAX_REPORT_BYTES {
            return Err(ReportError::TooLarge(bytes.len()));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(ReportError::Json)?;
        let matches = wire.matches.ok_or(ReportError::Missing("matches"))?;
        let descriptor = wire.descriptor.ok_or(ReportError::Missing("descriptor"))?;
        if matches.len() > MAX_FINDINGS {
            return Err(ReportError::TooMany(matches.len()));
        }
        let gaps = gaps(
            &descriptor,
            wire.alerts_by_package.unwrap_or_default().len(),
        );
        Ok(Self {
            tool: format!("{} {}", descriptor.name, descriptor.version),
            created: descriptor.timestamp.as_deref().and_then(instant),
            target_digest: wire.source.and_then(|source| source.digest()),
            complete: gaps.is_empty(),
            gaps,
            database_built: descriptor.database_built(),
            database_stale: descriptor.coverage.as_ref().is_some_and(|c| c.stale),
            findings: matches.into_iter().map(finding).collect(),
        })
    }
}

/// Grype 0.11x lists packages whose distribution it does not know, or whose data has ended, as
/// alerts; we list gaps of coverage. Either means that silence is not an answer.
fn gaps(descriptor: &Descriptor, alerts: usize) -> Vec<String> {
    let mut gaps = Vec::new();
    if alerts > 0 {
        gaps.push(format!("{alerts} packages carry alerts"));
    }
    if let Some(coverage) = &descriptor.coverage {
        gaps.extend(coverage.gaps.iter().map(|gap| gap.reason.clone()));
        if gaps.is_empty() && !coverage.complete {
            gaps.push("the report calls itself incomplete".to_owned());
        }
    }
    let database = descriptor.db.as_ref().map(Database::status);
    if database.is_some_and(|status| status.valid == Some(false)) {
        gaps.push("the advisory database was not valid".to_owned());
    }
    gaps
}

fn finding(wire: WireMatch) -> FindingSummary {
    let fix = wire.vulnerability.fix.unwrap_or_default();
    let related = wire.related_vulnerabilities.unwrap_or_default();
    let mut aliases: Vec<String> = related.into_iter().map(|related| related.id).collect();
    aliases.retain(|alias| *alias != wire.vulnerability.id);
    FindingSummary {
        id: wire.vulnerability.id,
        aliases,
        severity: wire.vulnerability.severity,
        package: wire.artifact.name,
        version: wire.artifact.version,
        kind: wire.artifact.kind,
        fixed_in: fix.versions.unwrap_or_default().join(", "),
        state: fix.state,
    }
}

fn instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    matches: Option<Vec<WireMatch>>,
    source: Option<Source>,
    descriptor: Option<Descriptor>,
    alerts_by_package: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMatch {
    vulnerability: Vulnerability,
    related_vulnerabilities: Option<Vec<Related>>,
    artifact: Artifact,
}

#[derive(Deserialize)]
struct Related {
    id: String,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    #[serde(default)]
    severity: Severity,
    fix: Option<Fix>,
}

#[derive(Default, Deserialize)]
struct Fix {
    versions: Option<Vec<String>>,
    #[serde(default)]
    state: FixState,
}

#[derive(Deserialize)]
struct Artifact {
    name: String,
    version: String,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Source {
    #[serde(default)]
    target: serde_json::Value,
}

impl Source {
    /// The target of an image is an object; that of a directory is a path.
    fn digest(&self) -> Option<Digest> {
        let digest = self.target.get("manifestDigest")?.as_str()?;
        digest.parse().ok()
    }
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    timestamp: Option<String>,
    db: Option<Database>,
    coverage: Option<Coverage>,
}

impl Descriptor {
    fn database_built(&self) -> Option<OffsetDateTime> {
        self.db
            .as_ref()?
            .status()
            .built
            .as_deref()
            .and_then(instant)
    }
}

/// Until grype 0.87 the state of the database stood directly in `db`, since then in `db.status`.
#[derive(Deserialize)]
struct Database {
    status: Option<DatabaseState>,
    #[serde(flatten)]
    direct: DatabaseState,
}

impl Database {
    fn status(&self) -> &DatabaseState {
        self.status.as_ref().unwrap_or(&self.direct)
    }
}

#[derive(Deserialize)]
struct DatabaseState {
    built: Option<String>,
    valid: Option<bool>,
}

/// Our own member `descriptor.coverage`.
#[derive(Deserialize)]
struct Coverage {
    complete: bool,
    #[serde(default)]
    stale: bool,
    #[serde(default)]
    gaps: Vec<WireGap>,
}

#[derive(Deserialize)]
struct WireGap {
    reason: String,
}

#[cfg(test)]
mod tests;
