//! From collected evidence to the facts of a gate: `client` and `gate` do not know each other.

use client::evidence::{Content, Evidence};
use gate::Facts;
use time::OffsetDateTime;

/// Returns the facts that evidence gives. What is known beyond the registry (policies, the newest
/// reports, tags) is the caller's to add.
pub fn of_evidence(repository: &str, evidence: Evidence, now: OffsetDateTime) -> Facts {
    let mut facts = Facts::new(repository, evidence.graph, now);
    facts.outcomes = evidence.outcomes;
    facts.attestations = evidence.attestations;
    let contents = evidence.contents.into_iter();
    facts.contents = contents
        .map(|(digest, content)| (digest, of_content(content)))
        .collect();
    let problems = evidence.problems.into_iter();
    facts.problems = problems
        .map(|problem| (problem.digest, problem.reason))
        .collect();
    facts
}

fn of_content(content: Content) -> gate::Content {
    gate::Content {
        media_type: content.media_type,
        bytes: content.bytes,
    }
}
