//! The verification of one artifact from beginning to end, and the report about it.
//!
//! What `countersign verify` prints as JSON and what a verifier answers over HTTP is the same
//! report. Whether to trust is decided by `trust`; here it is fetched and put together.

use std::collections::{BTreeMap, BTreeSet};

use oci::graph::{GraphLimits, Node};
use oci::{Descriptor, Digest, MediaType};
use serde::Serialize;
use time::OffsetDateTime;
use trust::{Failure, NoStatement, VerificationOutcome};

use crate::evidence::{Collection, Evidence, Problem, Trust, collect};
use crate::source::ArtifactSource;
use crate::walk::{walk, walk_signatures};

/// What is asked.
#[derive(Clone, Copy)]
pub struct Verification<'a> {
    /// Whom we trust.
    pub trust: Trust<'a>,
    /// The repository, as `registry/repository`: what the trust policy is asked about.
    pub scope: &'a str,
    /// User metadata that a signature must have.
    pub required_metadata: &'a BTreeMap<String, String>,
    /// Whether everything that hangs on the artifact must be signed, too.
    pub recursive: bool,
    /// The time that counts as now.
    pub now: OffsetDateTime,
}

/// Says why nothing could be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerificationError {
    /// The trust policy has no statement for the repository.
    #[error(transparent)]
    NoStatement(#[from] NoStatement),
    /// The artifact itself cannot be read.
    #[error("the artifact could not be read: {0}")]
    Artifact(String),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A signer that the policy trusts vouches for it.
    Trusted,
    /// The policy skips the verification of this repository.
    Skipped,
    /// Signatures were judged, and none is trusted.
    Untrusted,
    /// There was nothing that could be judged.
    Undecided,
}

/// The whole result.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The artifact, by digest.
    pub reference: String,
    /// Whether it is trusted.
    pub trusted: bool,
    /// Why nothing was verified, or nothing could be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The statement of the trust policy.
    pub policy: String,
    /// Whether that statement skips verification.
    pub skipped: bool,
    /// The artifact first, then, if asked for, what hangs on it.
    pub artifacts: Vec<VerifiedArtifact>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// The limit at which the walk over what hangs on the artifact stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<String>,
}

/// One artifact, and what was found about each of its signatures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedArtifact {
    /// The artifact.
    pub digest: Digest,
    /// Its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// Whether one of its signatures is trusted.
    pub trusted: bool,
    /// Its signatures.
    pub signatures: Vec<JudgedSignature>,
}

/// A signature and what was found about it.
#[derive(Clone, Debug, Serialize)]
pub struct JudgedSignature {
    /// The signature manifest.
    pub digest: Digest,
    /// Whether it is trusted.
    pub trusted: bool,
    /// The checks that failed.
    pub failures: Vec<FailedCheck>,
    /// All checks.
    #[serde(flatten)]
    pub outcome: VerificationOutcome,
}

/// A check that failed, and what makes it pass.
#[derive(Clone, Debug, Serialize)]
pub struct FailedCheck {
    /// The check.
    #[serde(flatten)]
    pub failure: Failure,
    /// What a person can do about it.
    pub remedy: &'static str,
}

/// Verifies the artifact `root`, which is shown as `reference`.
///
/// # Errors
/// When the policy says nothing about the repository, or the artifact cannot be read. That it is
/// not trusted is no error.
pub async fn verify(
    source: &dyn ArtifactSource,
    (root, reference): (Descriptor, String),
    asked: &Verification<'_>,
) -> Result<Report, VerificationError> {
    let statement = asked.trust.policy.statement(asked.scope)?;
    if statement.level.is_skip() {
        return Ok(Report::skipped(reference, &statement.name));
    }
    let graph = match asked.recursive {
        true => walk(source, root, GraphLimits::default()).await,
        false => walk_signatures(source, root).await,
    };
    let collection = Collection {
        trust: asked.trust,
        scope: asked.scope,
        contents: &BTreeSet::new(),
        required_metadata: asked.required_metadata,
        now: asked.now,
    };
    let evidence = collect(source, graph, &collection).await?;
    Report::of(reference, &statement.name, (&evidence, asked.recursive))
}

impl Report {
    /// Returns the report under a statement that skips verification.
    fn skipped(reference: String, policy: &str) -> Self {
        Self {
            reference,
            trusted: false,
            note: Some("the trust policy skips the verification of this repository".to_owned()),
            policy: policy.to_owned(),
            skipped: true,
            artifacts: Vec::new(),
            problems: Vec::new(),
            truncated: None,
        }
    }

    fn of(
        reference: String,
        policy: &str,
        (evidence, recursive): (&Evidence, bool),
    ) -> Result<Self, VerificationError> {
        let graph = &evidence.graph;
        let root = graph.node(graph.root());
        let no_root = || VerificationError::Artifact("the graph has no root".to_owned());
        let root = root.ok_or_else(no_root)?;
        if let (None, Some(problem)) = (&root.manifest, &root.problem) {
            return Err(VerificationError::Artifact(problem.clone()));
        }
        let mut artifacts = vec![VerifiedArtifact::of(root, evidence)];
        if recursive {
            let nodes = graph.evidence().into_iter();
            let below = nodes.filter(|node| node.descriptor.digest != *graph.root());
            artifacts.extend(below.map(|node| VerifiedArtifact::of(node, evidence)));
        }
        let truncated = graph.truncated().map(str::to_owned);
        // What was not seen could be unsigned.
        let complete = !recursive || truncated.is_none();
        Ok(Self {
            reference,
            trusted: complete && artifacts.iter().all(|one| one.trusted),
            note: note(&artifacts, &evidence.problems),
            policy: policy.to_owned(),
            skipped: false,
            artifacts,
            problems: evidence.problems.clone(),
            truncated,
        })
    }

    /// Returns what came of it. Untrusted is said of signatures that were judged. Where there is
    /// none, or what is there could not be read, nothing could be decided; neither is success.
    pub fn verdict(&self) -> Verdict {
        let judged = |one: &VerifiedArtifact| !one.signatures.is_empty();
        match (self.skipped, self.trusted, self.artifacts.first()) {
            (true, _, _) => Verdict::Skipped,
            (_, true, _) => Verdict::Trusted,
            (_, false, Some(root)) if judged(root) => Verdict::Untrusted,
            (_, false, _) => Verdict::Undecided,
        }
    }
}

impl VerifiedArtifact {
    fn of(node: &Node, evidence: &Evidence) -> Self {
        let outcomes = node.referrers.iter().filter_map(|digest| {
            let outcome = evidence.outcomes.get(digest)?;
            Some(JudgedSignature::of(digest, outcome))
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

impl JudgedSignature {
    fn of(digest: &Digest, outcome: &VerificationOutcome) -> Self {
        let failures = outcome.failures().into_iter().map(|failure| FailedCheck {
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

fn note(artifacts: &[VerifiedArtifact], problems: &[Problem]) -> Option<String> {
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
