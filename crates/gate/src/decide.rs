//! The decision itself: a pure function of a policy and facts.
//!
//! Every requirement is judged, also after one has failed, so that a person sees at once all that
//! is missing. What is not known never passes: a graph that is not known to its end, a signature
//! whose revocation cannot be learned, a report that cannot be read.

use oci::{Digest, MediaType};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::decision::{Decision, PolicyName, Requirement, RequirementResult};
use crate::facts::{Facts, TagFact};
use crate::policy::{Demand, Forbid, GatePolicy, Rule};
use crate::{Code, NewestKnown};

mod approval;
mod artifact;
mod base;
mod content;
mod signature;
mod threshold;

/// Decides whether an image satisfies `policy`, given `facts`.
pub fn decide(policy: &GatePolicy, facts: &Facts) -> Decision {
    let graph_root = facts.graph.graph_root();
    let case = Case { policy, facts };
    let requirements = match case.unusable_graph() {
        Some(requirement) => vec![requirement],
        None => case.requirements(),
    };
    Decision {
        decision: Decision::result_of(&requirements),
        policy: PolicyName {
            name: policy.name.clone(),
            digest: policy.digest.clone(),
        },
        subject: facts.subject.clone(),
        repository: facts.repository.clone(),
        graph_root,
        at: facts.now,
        requirements,
    }
}

/// Returns the newest artifact of each type that `policy` asks for, as far as it is signed by the
/// role that must sign it: what is to be remembered as [`Facts::newest_known`] from now on.
pub fn newest_signed(
    policy: &GatePolicy,
    facts: &Facts,
) -> std::collections::BTreeMap<String, NewestKnown> {
    let case = Case { policy, facts };
    let mut newest = facts.newest_known.clone();
    for rule in &policy.require {
        let Demand::Artifact(artifact, _) = &rule.requirement else {
            continue;
        };
        let Some(found) = case.newest(artifact) else {
            continue;
        };
        let name = artifact.artifact_type.to_string();
        match newest.get(&name) {
            Some(known) if known.at >= found.at => {}
            _ => drop(newest.insert(name, found)),
        }
    }
    newest
}

/// A policy and the facts that it is applied to.
#[derive(Clone, Copy)]
struct Case<'a> {
    policy: &'a GatePolicy,
    facts: &'a Facts,
}

impl Case<'_> {
    /// A graph that is cut short, or whose root cannot be read, supports no decision.
    fn unusable_graph(&self) -> Option<Requirement> {
        let graph = &self.facts.graph;
        if let Some(reason) = graph.truncated() {
            return Some(Requirement::unknown("graph", Code::GraphTruncated, reason));
        }
        let root = graph.node(&self.facts.subject);
        if root.is_none_or(|node| node.manifest.is_none()) {
            let problem = self.facts.problem(&self.facts.subject);
            let reason = problem.unwrap_or("the image is not in the graph");
            return Some(Requirement::unknown(
                "graph",
                Code::ArtifactUnreadable,
                reason,
            ));
        }
        None
    }

    fn requirements(&self) -> Vec<Requirement> {
        let required = self.policy.require.iter().map(|rule| self.rule(rule));
        let forbidden = self.policy.forbid.iter().map(|rule| self.forbid(rule));
        let tag = self.facts.tag.as_ref().map(|tag| self.tag(tag));
        required.chain(forbidden).chain(tag).collect()
    }

    fn rule(&self, rule: &Rule) -> Requirement {
        let id = rule.id.as_str();
        match &rule.requirement {
            Demand::Signed(signed) => {
                self.signed_by(id, &self.facts.subject, &signed.by)
                    .requirement
            }
            Demand::Artifact(artifact, assertions) => self.artifact(id, artifact, assertions),
            Demand::Acceptance(acceptance) => self.acceptance(id, acceptance),
            Demand::Approval(approval) => self.approval(id, approval),
            Demand::Threshold(threshold) => self.threshold(id, threshold),
            Demand::Base(base) => self.base(id, base),
            Demand::Platforms(platforms) => self.platforms(id, platforms),
        }
    }

    /// Nothing of the type may hang on the image, signed or not. What cannot be read could be it.
    fn forbid(&self, forbid: &Forbid) -> Requirement {
        let artifact_type = &forbid.artifact.artifact_type;
        let id = forbid.id.as_str();
        if let Some(hold) = self.attached(artifact_type).first() {
            let digest = &hold.descriptor.digest;
            let reason = format!("`{artifact_type}` is attached");
            return Requirement::fail(id, Code::HoldInForce, reason).with_evidence(digest);
        }
        if let Some(problem) = self.unread_list(&self.facts.subject) {
            return Requirement::unknown(id, Code::ArtifactUnreadable, problem);
        }
        let is_unread = |node: &&&oci::graph::Node| {
            node.subject.as_ref() == Some(&self.facts.subject)
                && node.artifact_type().is_none()
                && node.manifest.is_none()
        };
        let nodes: Vec<&oci::graph::Node> = self.facts.graph.nodes().collect();
        match nodes.iter().find(is_unread) {
            Some(node) => {
                let digest = &node.descriptor.digest;
                let problem = self.facts.problem(digest).unwrap_or("it cannot be read");
                let reason = format!("a referrer of unknown type cannot be read: {problem}");
                Requirement::unknown(id, Code::ArtifactUnreadable, reason).with_evidence(digest)
            }
            None => Requirement::pass(id, format!("no `{artifact_type}` is attached")),
        }
    }

    fn tag(&self, fact: &TagFact) -> Requirement {
        let tag = &fact.tag;
        match &fact.now {
            Some(now) if *now == self.facts.subject => {
                Requirement::pass("tag", format!("`{tag}` still leads to this image"))
            }
            Some(now) => {
                let reason = format!("`{tag}` now leads to `sha256:{}…`", now.short());
                Requirement::fail("tag", Code::TagMoved, reason).with_evidence(now)
            }
            None => {
                let reason = format!("it cannot be learned where `{tag}` leads now");
                Requirement::unknown("tag", Code::ArtifactUnreadable, reason)
            }
        }
    }

    fn platforms(&self, id: &str, wanted: &[String]) -> Requirement {
        use oci::manifest::ManifestContent;

        let subject = &self.facts.subject;
        let manifest = self
            .facts
            .graph
            .node(subject)
            .and_then(|n| n.manifest.as_ref());
        let Some(ManifestContent::Index(index)) = manifest.map(|manifest| manifest.content())
        else {
            let reason = "a single image does not say its platform: an index does";
            return Requirement::unknown(id, Code::PlatformMissing, reason).with_evidence(subject);
        };
        let entries = index
            .manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref());
        let there: Vec<String> = entries.map(platform_name).collect();
        let mut missing = wanted.iter().filter(|platform| !there.contains(platform));
        match missing.next() {
            Some(platform) => {
                let reason = format!("there is no image for `{platform}`");
                Requirement::fail(id, Code::PlatformMissing, reason).with_evidence(subject)
            }
            None => Requirement::pass(id, wanted.join(", ")).with_evidence(subject),
        }
    }

    /// Returns the artifacts of this type that hang on the image itself, in the order of their
    /// digests. For those that cannot be read, what the registry calls them counts.
    fn attached(&self, artifact_type: &MediaType) -> Vec<&oci::graph::Node> {
        let hangs_here = |node: &&oci::graph::Node| {
            node.subject.as_ref() == Some(&self.facts.subject)
                && node.artifact_type() == Some(artifact_type)
        };
        self.facts.graph.nodes().filter(hangs_here).collect()
    }

    /// Returns why the list of what refers to `digest` is not known, if it is not.
    fn unread_list(&self, digest: &Digest) -> Option<&str> {
        let node = self.facts.graph.node(digest)?;
        node.problem.as_deref()
    }
}

/// Returns one requirement for several parts, all of which must hold: it has the result, the code
/// and the remedy of the first that is worst.
fn all_of(id: &str, reason_if_all: &str, parts: Vec<Requirement>) -> Requirement {
    let worst = parts.iter().map(|part| part.result).max();
    let speaks = |part: &&Requirement| Some(part.result) == worst;
    match parts.iter().find(speaks) {
        Some(part) if !part.passes() => Requirement {
            id: id.to_owned(),
            evidence: Vec::new(),
            children: Vec::new(),
            ..part.clone()
        },
        _ => Requirement::pass(id, reason_if_all),
    }
    .with_children(parts)
}

/// Returns one requirement for several parts, none of which holds: the most telling one speaks
/// for them. As long as one of them could still hold, it is not known.
fn none_of(id: &str, parts: Vec<(usize, Requirement)>) -> Option<Requirement> {
    let is_unknown = |(_, part): &(usize, Requirement)| part.result == RequirementResult::Unknown;
    let unknown = parts.iter().any(is_unknown);
    let considered = parts.iter().filter(|part| !unknown || is_unknown(part));
    let (_, telling) = considered
        .min_by_key(|(distance, part)| (*distance, part.code.map_or(usize::MAX, Code::rank)))?;
    let telling = Requirement {
        id: id.to_owned(),
        children: Vec::new(),
        ..telling.clone()
    };
    let children = parts.into_iter().map(|(_, part)| part).collect();
    Some(telling.with_children(children))
}

fn platform_name(platform: &oci::descriptor::Platform) -> String {
    let base = format!("{}/{}", platform.os, platform.architecture);
    match &platform.variant {
        Some(variant) => format!("{base}/{variant}"),
        None => base,
    }
}

/// Returns a time for people and scripts, in whole seconds.
fn time_text(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    let utc = whole.to_offset(time::UtcOffset::UTC);
    utc.format(&Rfc3339).unwrap_or_else(|_| utc.to_string())
}

#[cfg(test)]
mod tests;
