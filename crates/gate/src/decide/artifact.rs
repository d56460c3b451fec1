//! Artifacts: there, signed, the newest, young enough, and saying what they should.

use oci::Digest;
use oci::graph::Node;
use time::OffsetDateTime;

use super::content::{Document, Reading};
use super::signature::Signed;
use super::{Case, all_of, none_of, time_text};
use crate::decision::{Requirement, RequirementResult};
use crate::policy::{ArtifactRule, Assertion, Pick};
use crate::{Code, NewestKnown};

/// An artifact of the type that is asked for.
struct Candidate<'a> {
    digest: &'a Digest,
    signed: Signed,
    reading: Reading<'a>,
}

impl Candidate<'_> {
    /// Returns the time of the artifact: the older of its own and of its signature's. A new
    /// signature does not make an old report newer.
    fn at(&self) -> Option<OffsetDateTime> {
        let signed = self.signed.at?;
        Some(match self.reading.created() {
            Some(created) => created.min(signed),
            None => signed,
        })
    }
}

impl Case<'_> {
    /// Judges an artifact rule.
    pub(super) fn artifact(
        &self,
        id: &str,
        rule: &ArtifactRule,
        assertions: &[Assertion],
    ) -> Requirement {
        let candidates = self.candidates(rule);
        if candidates.is_empty() {
            return self.artifact_missing(id, rule);
        }
        match rule.pick {
            Pick::Latest => self.latest(id, rule, assertions, candidates),
            Pick::All => {
                let judged = candidates.iter().map(|c| self.judged(c, rule, assertions));
                let mut parts: Vec<Requirement> = judged.collect();
                parts.extend(self.known_is_there(rule));
                let reason = format!("all {} hold", candidates.len());
                all_of(id, &reason, parts)
            }
            Pick::Any => {
                let judged = candidates.iter().map(|c| self.judged(c, rule, assertions));
                any_of(id, judged.collect())
            }
        }
    }

    fn candidates(&self, rule: &ArtifactRule) -> Vec<Candidate<'_>> {
        let nodes = self.attached(&rule.artifact_type).into_iter();
        let candidate = |node: &'_ Node| {
            let digest = &node.descriptor.digest;
            let signed = self.signed_by("signed", digest, &rule.signed_by);
            // What nobody vouches for is not even read.
            let reading = match signed.requirement.passes() {
                true => Reading::of(self.facts, digest),
                false => Reading::unread("it is not signed by the role that must sign it"),
            };
            (signed, reading)
        };
        nodes
            .map(|node| {
                let (signed, reading) = candidate(node);
                Candidate {
                    digest: &node.descriptor.digest,
                    signed,
                    reading,
                }
            })
            .collect()
    }

    /// Returns the newest signed artifact of the type.
    pub(super) fn newest(&self, rule: &ArtifactRule) -> Option<NewestKnown> {
        let candidates = self.candidates(rule);
        let timed = candidates.iter().filter_map(|candidate| {
            let passes = candidate.signed.requirement.passes();
            Some((candidate.at().filter(|_| passes)?, candidate.digest))
        });
        let (at, digest) = timed.max()?;
        let digest = digest.clone();
        Some(NewestKnown { digest, at })
    }

    fn artifact_missing(&self, id: &str, rule: &ArtifactRule) -> Requirement {
        let artifact_type = &rule.artifact_type;
        if let Some(problem) = self.unread_list(&self.facts.subject) {
            return Requirement::unknown(id, Code::ArtifactUnreadable, problem);
        }
        let known = self.facts.newest_known.get(artifact_type.as_str());
        let reason = match known {
            Some(known) => format!(
                "no `{artifact_type}` is attached any more; the last one, of {}, is gone",
                time_text(known.at)
            ),
            None => format!("no `{artifact_type}` is attached"),
        };
        let missing = Requirement::fail(id, Code::ArtifactMissing, reason);
        match known {
            Some(known) => missing.with_evidence(&known.digest),
            None => missing,
        }
    }

    /// Judges the newest of the signed artifacts; those that share its time must hold too.
    fn latest(
        &self,
        id: &str,
        rule: &ArtifactRule,
        assertions: &[Assertion],
        candidates: Vec<Candidate<'_>>,
    ) -> Requirement {
        let (signed, unsigned): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|candidate| candidate.signed.requirement.passes());
        let newest = signed.iter().map(Candidate::at).max().flatten();
        let picked: Vec<&Candidate<'_>> = match signed.as_slice() {
            [] => return without_signature(id, unsigned),
            [only] => vec![only],
            several if several.iter().any(|candidate| candidate.at().is_none()) => {
                let reason = "several are signed, and not all signatures carry a trusted time";
                return Requirement::unknown(id, Code::TimestampUnverified, reason);
            }
            several => several.iter().filter(|c| c.at() == newest).collect(),
        };
        let mut parts: Vec<Requirement> = Vec::new();
        for candidate in picked {
            parts.extend(self.checks(candidate, rule, assertions));
            parts.push(self.is_newest(candidate, rule));
        }
        self.summed_up(id, rule, signed.first(), parts)
    }

    fn summed_up(
        &self,
        id: &str,
        rule: &ArtifactRule,
        first: Option<&Candidate<'_>>,
        parts: Vec<Requirement>,
    ) -> Requirement {
        let reason = match first {
            Some(candidate) => format!(
                "`{}`, {}",
                rule.artifact_type, candidate.signed.requirement.reason
            ),
            None => format!("`{}`", rule.artifact_type),
        };
        let mut evidence: Vec<Digest> = Vec::new();
        for digest in parts.iter().flat_map(|part| &part.evidence) {
            if !evidence.contains(digest) {
                evidence.push(digest.clone());
            }
        }
        let requirement = all_of(id, &reason, parts);
        Requirement {
            evidence,
            ..requirement
        }
    }

    fn judged(
        &self,
        candidate: &Candidate<'_>,
        rule: &ArtifactRule,
        assertions: &[Assertion],
    ) -> Requirement {
        let id = format!("artifact {}", candidate.digest.short());
        let reason = candidate.signed.requirement.reason.clone();
        let parts = match candidate.signed.requirement.passes() {
            true => self.checks(candidate, rule, assertions),
            false => vec![candidate.signed.requirement.clone()],
        };
        all_of(&id, &reason, parts).with_evidence(candidate.digest)
    }

    fn checks(
        &self,
        candidate: &Candidate<'_>,
        rule: &ArtifactRule,
        assertions: &[Assertion],
    ) -> Vec<Requirement> {
        let mut checks = vec![candidate.signed.requirement.clone()];
        checks.extend(self.age(candidate, rule));
        checks.extend(self.content_checks(&candidate.reading, rule));
        let asserted = assertions
            .iter()
            .map(|one| candidate.reading.assertion(one));
        checks.extend(asserted);
        for check in &mut checks {
            check.evidence.insert(0, candidate.digest.clone());
        }
        checks
    }

    fn age(&self, candidate: &Candidate<'_>, rule: &ArtifactRule) -> Option<Requirement> {
        let most = rule.max_age?;
        if let Some(problem) = candidate.reading.problem() {
            let reason = format!("its own age is not known: {problem}");
            return Some(Requirement::unknown(
                "age",
                Code::ArtifactUnreadable,
                reason,
            ));
        }
        let Some(at) = candidate.at() else {
            let reason = "the signature carries no trusted time";
            return Some(Requirement::unknown(
                "age",
                Code::TimestampUnverified,
                reason,
            ));
        };
        let oldest = self.facts.now.saturating_sub(most.duration());
        Some(match at < oldest {
            true => {
                let reason = format!("it is of {}, which is more than {most} ago", time_text(at));
                Requirement::fail("age", Code::ArtifactTooOld, reason)
            }
            false => Requirement::pass("age", format!("of {}, at most {most} old", time_text(at))),
        })
    }

    /// Judges whether the candidate is the newest that was ever seen.
    fn is_newest(&self, candidate: &Candidate<'_>, rule: &ArtifactRule) -> Requirement {
        if let Some(gone) = self.known_is_there(rule) {
            return gone;
        }
        let known = self.facts.newest_known.get(rule.artifact_type.as_str());
        match known {
            Some(known)
                if known.digest != *candidate.digest
                    && candidate.at().is_none_or(|at| at < known.at) =>
            {
                let reason = format!("a newer one is known, of {}", time_text(known.at));
                Requirement::fail("newest", Code::ReportSuperseded, reason)
                    .with_evidence(&known.digest)
            }
            _ => Requirement::pass("newest", "no newer one is known"),
        }
    }

    /// Returns a failure if the newest artifact that was ever seen is gone.
    fn known_is_there(&self, rule: &ArtifactRule) -> Option<Requirement> {
        let known = self.facts.newest_known.get(rule.artifact_type.as_str())?;
        let is_there = |node: &&Node| node.descriptor.digest == known.digest;
        if self.attached(&rule.artifact_type).iter().any(is_there) {
            return None;
        }
        let reason = format!("the newest known one, of {}, is gone", time_text(known.at));
        let gone = Requirement::fail("newest", Code::ReportSuperseded, reason);
        Some(gone.with_evidence(&known.digest))
    }

    fn content_checks(&self, reading: &Reading<'_>, rule: &ArtifactRule) -> Vec<Requirement> {
        let wants_more =
            rule.complete || !rule.format.is_empty() || rule.advisories_max_age.is_some();
        let document = match &reading.document {
            Ok(document) => document,
            Err(problem) if wants_more => {
                let code = Code::ArtifactUnreadable;
                return vec![Requirement::unknown("content", code, problem)];
            }
            Err(_) => return Vec::new(),
        };
        let mut checks = Vec::new();
        checks.extend(self.is_about_this(document));
        if !rule.format.is_empty() {
            checks.push(document.has_format(&rule.format));
        }
        if rule.complete {
            checks.push(document.is_complete());
        }
        checks.extend(document.advisories(rule.advisories_max_age, self.facts.now));
        checks
    }

    /// A report that names an image must name this one, or one of its platforms.
    fn is_about_this(&self, document: &Document) -> Option<Requirement> {
        let named = document.subject()?;
        let subject = &self.facts.subject;
        let node = self.facts.graph.node(subject);
        let is_platform = node.is_some_and(|node| node.children.contains(named));
        if named == subject || is_platform {
            return None;
        }
        let reason = format!(
            "it is about `sha256:{}…`, not about this image",
            named.short()
        );
        Some(Requirement::fail("about", Code::ArtifactIncomplete, reason))
    }
}

/// Nobody of the role has signed any of them: the most telling signature speaks.
fn without_signature(id: &str, candidates: Vec<Candidate<'_>>) -> Requirement {
    let parts = candidates.into_iter().map(|candidate| {
        let name = format!("artifact {}", candidate.digest.short());
        let signed = candidate.signed.requirement;
        let part = Requirement { id: name, ..signed };
        (0, part.with_evidence(candidate.digest))
    });
    let missing = || Requirement::fail(id, Code::SignatureMissing, "nobody has signed it");
    none_of(id, parts.collect()).unwrap_or_else(missing)
}

fn any_of(id: &str, parts: Vec<Requirement>) -> Requirement {
    if let Some(good) = parts.iter().find(|part| part.passes()) {
        let mut requirement = Requirement::pass(id, &good.reason);
        requirement.evidence = good.evidence.clone();
        return requirement.with_children(parts);
    }
    let ranked = parts.into_iter().map(|part| (0, part)).collect();
    let nothing = || Requirement {
        result: RequirementResult::Fail,
        ..Requirement::fail(id, Code::ArtifactMissing, "nothing is attached")
    };
    none_of(id, ranked).unwrap_or_else(nothing)
}
