//! What `verify` found, in words and in JSON.

use client::evidence::{Evidence, Problem};
use oci::graph::Node;
use oci::{Digest, MediaType};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use trust::{Failure, TrustPolicyStatement, VerificationAction, VerificationOutcome};

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render;
use crate::target::Target;

/// The whole result.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    reference: String,
    trusted: bool,
    /// Why nothing was verified, or nothing could be.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    policy: String,
    skipped: bool,
    /// The artifact first, then, if asked for, what hangs on it.
    artifacts: Vec<Artifact>,
    problems: Vec<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<String>,
}

/// One artifact, and what was found about each of its signatures.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<MediaType>,
    trusted: bool,
    signatures: Vec<Signature>,
}

#[derive(Serialize)]
struct Signature {
    digest: Digest,
    trusted: bool,
    #[serde(rename = "failures")]
    failures: Vec<Failed>,
    #[serde(flatten)]
    outcome: VerificationOutcome,
}

#[derive(Serialize)]
struct Failed {
    #[serde(flatten)]
    failure: Failure,
    remedy: &'static str,
}

impl Report {
    /// Returns the report under a statement that skips verification.
    pub(super) fn skipped(reference: Target, policy: &str) -> Self {
        Self {
            reference: reference.to_string(),
            trusted: false,
            note: Some("the trust policy skips the verification of this repository".to_owned()),
            policy: policy.to_owned(),
            skipped: true,
            artifacts: Vec::new(),
            problems: Vec::new(),
            truncated: None,
        }
    }

    /// Returns the report about what was found.
    pub(super) fn of(
        reference: Target,
        statement: &TrustPolicyStatement,
        evidence: &Evidence,
        recursive: bool,
    ) -> Result<Self, CliError> {
        let graph = &evidence.graph;
        let root = graph.node(graph.root());
        let root = root.ok_or_else(|| CliError::internal("the graph has no root"))?;
        if let (None, Some(problem)) = (&root.manifest, &root.problem) {
            return Err(
                CliError::new(Kind::Untrusted, "the artifact could not be read")
                    .because(problem.clone()),
            );
        }
        let mut artifacts = vec![Artifact::of(root, evidence)];
        if recursive {
            let evidence_nodes = graph.evidence().into_iter();
            let below = evidence_nodes.filter(|node| node.descriptor.digest != *graph.root());
            artifacts.extend(below.map(|node| Artifact::of(node, evidence)));
        }
        let truncated = graph.truncated().map(str::to_owned);
        // What was not seen could be unsigned.
        let complete = !recursive || truncated.is_none();
        Ok(Self {
            reference: reference.to_string(),
            trusted: complete && artifacts.iter().all(|one| one.trusted),
            note: note(&artifacts, &evidence.problems),
            policy: statement.name.clone(),
            skipped: false,
            artifacts,
            problems: evidence.problems.clone(),
            truncated,
        })
    }

    /// Prints the report and returns the exit code.
    pub(super) fn finish(&self, context: &Context) -> Result<ExitCode, CliError> {
        context.print(self, text)?;
        for problem in &self.problems {
            let reason = render::sanitise(&problem.reason);
            context.warn(&format!("{} could not be read: {reason}", problem.digest));
        }
        if let Some(limit) = &self.truncated {
            context.warn(&format!(
                "this is not everything: the walk stopped at {limit}"
            ));
        }
        Ok(self.exit_code())
    }

    /// Untrusted is said of signatures that were judged. Where there is none, or what is there
    /// could not be read, nothing could be decided; neither is success.
    fn exit_code(&self) -> ExitCode {
        let judged = |one: &Artifact| !one.signatures.is_empty();
        match (self.trusted || self.skipped, self.artifacts.first()) {
            (true, _) => ExitCode::Done,
            (false, Some(root)) if judged(root) => ExitCode::Untrusted,
            (false, _) => ExitCode::Inconclusive,
        }
    }
}

impl Artifact {
    fn of(node: &Node, evidence: &Evidence) -> Self {
        let outcomes = node.referrers.iter().filter_map(|digest| {
            let outcome = evidence.outcomes.get(digest)?;
            Some(Signature::of(digest, outcome))
        });
        let signatures: Vec<_> = outcomes.collect();
        Self {
            digest: node.descriptor.digest.clone(),
            artifact_type: node.artifact_type().cloned(),
            trusted: signatures.iter().any(|one| one.trusted),
            signatures,
        }
    }
}

impl Signature {
    fn of(digest: &Digest, outcome: &VerificationOutcome) -> Self {
        let failures = outcome.failures().into_iter().map(|failure| Failed {
            remedy: failure.code.remedy(),
            failure,
        });
        Self {
            digest: digest.clone(),
            trusted: outcome.is_trusted(),
            failures: failures.collect(),
            outcome: outcome.clone(),
        }
    }
}

fn note(artifacts: &[Artifact], problems: &[Problem]) -> Option<String> {
    let unsigned = artifacts.iter().filter(|one| one.signatures.is_empty());
    match (unsigned.count(), problems.is_empty()) {
        (0, _) => None,
        (1, true) if artifacts.len() == 1 => Some("it has no signature".to_owned()),
        (1, false) if artifacts.len() == 1 => {
            Some("it has no signature that could be read".to_owned())
        }
        (count, _) => Some(format!(
            "{count} of {} artifacts have no signature that could be read",
            artifacts.len()
        )),
    }
}

fn text(report: &Report) -> String {
    let verdict = match (report.skipped, report.trusted) {
        (true, _) => "not verified",
        (false, true) => "trusted",
        (false, false) => "not trusted",
    };
    let policy = render::sanitise(&report.policy);
    let mut text = format!("{verdict}  {}\n", report.reference);
    text.push_str(&format!("under statement `{policy}` of the trust policy\n"));
    if let Some(note) = &report.note {
        text.push_str(&format!("{note}\n"));
    }
    for artifact in &report.artifacts {
        if report.artifacts.len() > 1 {
            let kind = artifact.artifact_type.as_ref().map(ToString::to_string);
            let kind = kind.unwrap_or_else(|| "artifact".to_owned());
            text.push_str(&format!("{kind}  {}\n", artifact.digest));
            if artifact.signatures.is_empty() {
                text.push_str("  no signature\n");
            }
        }
        for signature in &artifact.signatures {
            text.push_str(&lines(signature));
        }
    }
    text
}

fn lines(signature: &Signature) -> String {
    let mark = if signature.trusted { "✓" } else { "✗" };
    let outcome = &signature.outcome;
    let mut text = format!("{mark} signature {}\n", signature.digest);
    match (&outcome.signer, &outcome.claimed_signer) {
        (Some(signer), _) => line(&mut text, "signed by", &signer.subject.to_string()),
        (None, Some(claimed)) => line(&mut text, "claims", &claimed.subject.to_string()),
        (None, None) => {}
    }
    if let Some(time) = outcome.signing_time {
        line(&mut text, "signed at", &moment(time));
    }
    if let Some(time) = outcome.expires {
        line(&mut text, "expires", &moment(time));
    }
    for (name, value) in &outcome.user_metadata {
        line(&mut text, "metadata", &format!("{name}={value}"));
    }
    for Failed { failure, remedy } in &signature.failures {
        let action = match failure.action {
            VerificationAction::Enforce => "",
            VerificationAction::Log | VerificationAction::Skip => " (only logged)",
        };
        let kind = failure.verification_type.name();
        let reason = format!("{} [{}]{action}", failure.reason, failure.code);
        line(&mut text, kind, &reason);
        line(&mut text, "remedy", remedy);
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    let value = render::sanitise(value);
    text.push_str(&format!("    {name:<20}{value}\n"));
}

fn moment(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
