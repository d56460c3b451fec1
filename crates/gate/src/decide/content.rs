//! What artifacts say: CVE reports, SBOMs, provenance, and any other JSON.

use oci::Digest;
use scan::sbom::SbomFormat;
use scan::{ReportSummary, SbomSummary, Severity};
use serde::Deserialize;
use serde::de::IgnoredAny;
use time::OffsetDateTime;

use super::time_text;
use crate::Code;
use crate::decision::Requirement;
use crate::expression::EvaluationError;
use crate::facts::{Content, Facts};
use crate::policy::{Assertion, AssertionCode};
use crate::span::Span;

/// How many findings a reason names.
const MAX_NAMED_FINDINGS: usize = 5;

/// The content of an artifact, read as what it is.
pub(super) struct Reading<'a> {
    content: Option<&'a Content>,
    /// What it is, or why it cannot be read.
    pub(super) document: Result<Document, String>,
}

/// What an artifact turned out to be.
pub(super) enum Document {
    /// A CVE report.
    Report(Box<ReportSummary>),
    /// An SBOM.
    Sbom(Box<SbomSummary>),
    /// The predicate of an attestation.
    Predicate(serde_json::Value),
    /// Something else.
    Other,
}

/// The members by which documents are told apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marks {
    matches: Option<IgnoredAny>,
    descriptor: Option<IgnoredAny>,
    spdx_version: Option<IgnoredAny>,
    bom_format: Option<IgnoredAny>,
}

impl<'a> Reading<'a> {
    /// Reads the content of the artifact `digest`.
    pub(super) fn of(facts: &'a Facts, digest: &Digest) -> Self {
        let attestation = facts.attestations.get(digest);
        if let Some(statement) = attestation.and_then(|a| a.statement.as_ref()) {
            let document = Ok(Document::Predicate(statement.predicate.clone()));
            let content = None;
            return Self { content, document };
        }
        match facts.contents.get(digest) {
            Some(content) => Self {
                content: Some(content),
                document: Document::read(content),
            },
            None => Self::unread(
                facts
                    .problem(digest)
                    .unwrap_or("its content was not fetched"),
            ),
        }
    }

    pub(super) fn unread(problem: &str) -> Self {
        Self {
            content: None,
            document: Err(problem.to_owned()),
        }
    }

    /// Returns why it cannot be read.
    pub(super) fn problem(&self) -> Option<&str> {
        self.document.as_ref().err().map(String::as_str)
    }

    /// Returns when it was made, by its own words.
    pub(super) fn created(&self) -> Option<OffsetDateTime> {
        match self.document.as_ref().ok()? {
            Document::Report(report) => report.created,
            Document::Sbom(sbom) => sbom.created,
            Document::Predicate(_) | Document::Other => None,
        }
    }

    /// Judges a condition on the content.
    pub(super) fn assertion(&self, assertion: &Assertion) -> Requirement {
        let code = match assertion.code {
            AssertionCode::AssertionFailed => Code::AssertionFailed,
            AssertionCode::FixableCritical => Code::FixableCritical,
        };
        let id = code.as_str();
        let mut documents = Vec::new();
        for name in assertion.that.variables() {
            match self.variable(name) {
                Ok(value) => documents.push((*name, value)),
                Err(problem) => return Requirement::unknown(id, Code::ArtifactUnreadable, problem),
            }
        }
        match assertion.that.evaluate(&documents) {
            Ok(true) => Requirement::pass(id, format!("`{}` holds", assertion.that.as_str())),
            Ok(false) => {
                let failed = Requirement::fail(id, code, self.why(assertion));
                let otherwise = assertion.otherwise.as_deref();
                failed.with_remedy(otherwise.unwrap_or(code.remedy()))
            }
            Err(error @ EvaluationError::TooExpensive(_)) => {
                Requirement::unknown(id, Code::ArtifactUnreadable, error.to_string())
            }
            Err(error) => {
                let text = assertion.that.as_str();
                Requirement::unknown(id, code, format!("`{text}` cannot be evaluated: {error}"))
            }
        }
    }

    /// Returns the value of one of the names that expressions may use.
    fn variable(&self, name: &str) -> Result<serde_json::Value, String> {
        let document = self.document.as_ref().map_err(Clone::clone)?;
        match (name, document) {
            ("report", Document::Report(report)) => json(report),
            ("report", _) => Err("the content is no CVE report".to_owned()),
            ("sbom", Document::Sbom(sbom)) => json(sbom),
            ("sbom", _) => Err("the content is no SBOM".to_owned()),
            ("provenance", Document::Predicate(predicate)) => Ok(predicate.clone()),
            ("provenance", _) => Err("the artifact is no attestation".to_owned()),
            (_, Document::Predicate(predicate)) => Ok(predicate.clone()),
            _ => {
                let content = self.content.ok_or("its content was not fetched")?;
                serde_json::from_slice(&content.bytes)
                    .map_err(|error| format!("the content is not JSON: {error}"))
            }
        }
    }

    /// Says why a condition does not hold, with the findings if it is about them.
    fn why(&self, assertion: &Assertion) -> String {
        match (&self.document, assertion.code) {
            (Ok(Document::Report(report)), AssertionCode::FixableCritical) => {
                fixable_criticals(report)
            }
            _ => format!("`{}` does not hold", assertion.that.as_str()),
        }
    }
}

impl Document {
    fn read(content: &Content) -> Result<Self, String> {
        let Ok(marks) = serde_json::from_slice::<Marks>(&content.bytes) else {
            // A licence is no JSON. Whoever asks for a format or a completeness will hear so.
            return Ok(Self::Other);
        };
        if marks.matches.is_some() && marks.descriptor.is_some() {
            let report = ReportSummary::parse(&content.bytes);
            return report
                .map(|report| Self::Report(Box::new(report)))
                .map_err(|error| chain(&error));
        }
        if marks.spdx_version.is_some() || marks.bom_format.is_some() {
            let sbom = scan::sbom::parse(&content.bytes);
            return sbom
                .map(|sbom| Self::Sbom(Box::new(sbom)))
                .map_err(|error| chain(&error));
        }
        Ok(Self::Other)
    }

    /// Returns the image that it names.
    pub(super) fn subject(&self) -> Option<&Digest> {
        match self {
            Self::Report(report) => report.target_digest.as_ref(),
            Self::Sbom(sbom) => sbom.subject.as_ref(),
            Self::Predicate(_) | Self::Other => None,
        }
    }

    pub(super) fn has_format(&self, formats: &[SbomFormat]) -> Requirement {
        let names: Vec<String> = formats
            .iter()
            .map(|f| format!("`{}`", f.as_str()))
            .collect();
        match self {
            Self::Sbom(sbom) if formats.contains(&sbom.format) => {
                Requirement::pass("format", format!("`{}`", sbom.format.as_str()))
            }
            Self::Sbom(sbom) => {
                let reason = format!(
                    "it is `{}`, not {}",
                    sbom.format.as_str(),
                    names.join(" or ")
                );
                Requirement::fail("format", Code::ArtifactIncomplete, reason)
            }
            _ => {
                let reason = format!("it is no SBOM in {}", names.join(" or "));
                Requirement::fail("format", Code::ArtifactIncomplete, reason)
            }
        }
    }

    pub(super) fn is_complete(&self) -> Requirement {
        let problem = match self {
            Self::Report(report) if report.target_digest.is_none() => {
                Some("it does not say which image it is about".to_owned())
            }
            Self::Report(report) if !report.complete => Some(gaps(&report.gaps)),
            Self::Sbom(sbom) if sbom.packages == 0 => Some("it lists no packages".to_owned()),
            Self::Sbom(sbom) if !sbom.complete => Some(gaps(&sbom.gaps)),
            Self::Other => Some("it is neither a CVE report nor an SBOM".to_owned()),
            Self::Report(_) | Self::Sbom(_) | Self::Predicate(_) => None,
        };
        match problem {
            Some(problem) => Requirement::fail("complete", Code::ArtifactIncomplete, problem),
            None => Requirement::pass("complete", "it leaves nothing out"),
        }
    }

    /// A report made with old advisories does not know what it does not find.
    pub(super) fn advisories(
        &self,
        max_age: Option<Span>,
        now: OffsetDateTime,
    ) -> Option<Requirement> {
        let Self::Report(report) = self else {
            return None;
        };
        let stale = |reason: String| {
            Some(Requirement::unknown(
                "advisories",
                Code::AdvisoriesStale,
                reason,
            ))
        };
        if report.database_stale {
            return stale("the report says that its advisories were too old".to_owned());
        }
        let most = max_age?;
        let Some(built) = report.database_built else {
            return stale("the report does not say how old its advisories were".to_owned());
        };
        if built < now.saturating_sub(most.duration()) {
            let built = time_text(built);
            return stale(format!(
                "the advisories are of {built}, more than {most} ago"
            ));
        }
        Some(Requirement::pass(
            "advisories",
            format!("of {}", time_text(built)),
        ))
    }
}

fn gaps(gaps: &[String]) -> String {
    match gaps {
        [] => "it calls itself incomplete".to_owned(),
        [only] => format!("it leaves something out: {only}"),
        [first, rest @ ..] => format!("it leaves something out: {first} (and {} more)", rest.len()),
    }
}

fn fixable_criticals(report: &ReportSummary) -> String {
    let is_one =
        |f: &&scan::FindingSummary| f.severity == Severity::Critical && !f.fixed_in.is_empty();
    let found: Vec<_> = report.findings.iter().filter(is_one).collect();
    let named: Vec<String> = found
        .iter()
        .take(MAX_NAMED_FINDINGS)
        .map(|f| {
            format!(
                "{} in {} {} is fixed in {}",
                f.id, f.package, f.version, f.fixed_in
            )
        })
        .collect();
    match found.len() {
        0 => "the condition does not hold, though no critical finding has a fix".to_owned(),
        n if n > MAX_NAMED_FINDINGS => {
            format!("{} (and {} more)", named.join("; "), n - MAX_NAMED_FINDINGS)
        }
        _ => named.join("; "),
    }
}

fn json(value: &impl serde::Serialize) -> Result<serde_json::Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// Says an error and what caused it in one line.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
