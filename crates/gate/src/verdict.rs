//! Verdicts for other tools: a decision as a SLSA verification summary (VSA) in an in-toto
//! statement.
//!
//! <https://slsa.dev/spec/v1.1/verification_summary>. Two members of our own say which evidence
//! and which decision it is about. Inconclusive is `FAILED`: the format knows no third result.

use std::collections::BTreeSet;

use oci::Digest;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use crate::statement::{TooLarge, payload};
use crate::{Decision, Requirement};

/// The predicate type of a verification summary.
pub const VERIFICATION_SUMMARY: &str = "https://slsa.dev/verification_summary/v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    verifier: Verifier,
    time_verified: String,
    resource_uri: String,
    policy: Resource,
    input_attestations: Vec<Resource>,
    verification_result: &'static str,
    verified_levels: [&'static str; 1],
    #[serde(rename = "countersign.dev/graphRoot")]
    graph_root: Option<Digest>,
    #[serde(rename = "countersign.dev/verdictDigest")]
    verdict_digest: Digest,
}

#[derive(Serialize)]
struct Verifier {
    id: String,
}

#[derive(Serialize)]
struct Resource {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: serde_json::Value,
}

/// Returns the payload of a DSSE envelope that says what `decision` says. `verifier` is the URI of
/// whoever decided. Of the evidence, as much is named as the signer's limit allows.
///
/// # Errors
/// If even without naming evidence it is larger than the signer takes: the repository's name or
/// the verifier's is too long.
pub fn statement(decision: &Decision, verifier: &str) -> Result<Vec<u8>, TooLarge> {
    let mut evidence = BTreeSet::new();
    for requirement in &decision.requirements {
        collect(requirement, &mut evidence);
    }
    let mut summary = summary(decision, verifier);
    summary.input_attestations = evidence.into_iter().map(|d| resource(None, d)).collect();
    let about = (decision.repository.as_str(), &decision.subject);
    loop {
        let bytes = payload(VERIFICATION_SUMMARY, about, &summary);
        if bytes.is_ok() || summary.input_attestations.is_empty() {
            return bytes;
        }
        let half = summary.input_attestations.len() / 2;
        summary.input_attestations.truncate(half);
    }
}

fn summary(decision: &Decision, verifier: &str) -> Summary {
    let policy = &decision.policy;
    Summary {
        verifier: Verifier {
            id: verifier.to_owned(),
        },
        // Every date that we can hold has this form.
        time_verified: decision.at.format(&Rfc3339).unwrap_or_default(),
        resource_uri: format!("oci://{}@{}", decision.repository, decision.subject),
        policy: resource(Some(policy.name.clone()), &policy.digest),
        input_attestations: Vec::new(),
        verification_result: match decision.is_allowed() {
            true => "PASSED",
            false => "FAILED",
        },
        // We look at signatures, content and age, not at how the build was made.
        verified_levels: ["SLSA_BUILD_LEVEL_UNEVALUATED"],
        graph_root: decision.graph_root.clone(),
        verdict_digest: decision.verdict_digest(),
    }
}

fn resource(uri: Option<String>, digest: &Digest) -> Resource {
    Resource {
        uri,
        digest: serde_json::json!({digest.algorithm().name(): digest.hex()}),
    }
}

fn collect<'a>(requirement: &'a Requirement, evidence: &mut BTreeSet<&'a Digest>) {
    evidence.extend(&requirement.evidence);
    for child in &requirement.children {
        collect(child, evidence);
    }
}
