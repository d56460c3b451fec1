//! Thresholds: how many distinct signers stand for something.
//!
//! Signers are counted, not signatures. Two signatures are from one signer if their certificates
//! have the same subject (our signing service gives each job a key of its own) or the same public
//! key (one key can be certified under two names).

use oci::MediaType;
use trust::Signer;

use super::Case;
use super::signature::signer_name;
use crate::Code;
use crate::decision::{Requirement, RequirementResult};
use crate::policy::{AcceptanceRule, Over, Threshold};

impl Case<'_> {
    /// Judges whether enough distinct signers stand for it.
    pub(super) fn threshold(&self, id: &str, threshold: &Threshold) -> Requirement {
        let (signers, parts) = match threshold.over {
            Over::Subject => self.signers_of_subject(threshold),
            Over::GraphRoot => self.signers_of_evidence(threshold),
        };
        let names = distinct(&signers);
        let reason = format!(
            "{} of {} distinct signers{}",
            names.len(),
            threshold.need,
            if names.is_empty() {
                String::new()
            } else {
                format!(": {}", names.join(", "))
            }
        );
        let open = parts
            .iter()
            .any(|part| part.result == RequirementResult::Unknown);
        let requirement = if names.len() >= threshold.need {
            Requirement::pass(id, reason)
        } else if open {
            Requirement::unknown(id, Code::ThresholdNotMet, reason)
        } else {
            Requirement::fail(id, Code::ThresholdNotMet, reason)
        };
        let mut requirement = requirement.with_children(parts);
        let counting = requirement.children.iter().filter(|part| part.passes());
        requirement.evidence = counting.flat_map(|part| part.evidence.clone()).collect();
        requirement
    }

    fn signers_of_subject(&self, threshold: &Threshold) -> (Vec<&Signer>, Vec<Requirement>) {
        let mut signers = Vec::new();
        let mut parts = Vec::new();
        for envelope in self.envelopes(&self.facts.subject) {
            let role = threshold.of.iter().filter_map(|role| {
                let judged = envelope.judge(role, self.policy.role(role)?);
                Some(judged)
            });
            // The best that any of the roles makes of it.
            let Some(best) = role.min_by_key(|part| part.result) else {
                continue;
            };
            if best.passes() {
                signers.extend(envelope.outcome.and_then(|outcome| outcome.signer.as_ref()));
            }
            parts.push(best);
        }
        (signers, parts)
    }

    fn signers_of_evidence(&self, threshold: &Threshold) -> (Vec<&Signer>, Vec<Requirement>) {
        let mut signers = Vec::new();
        let mut parts = Vec::new();
        for node in self.attached(&MediaType::ACCEPTANCE) {
            let digest = &node.descriptor.digest;
            let judged = threshold.of.iter().map(|role| {
                let rule = AcceptanceRule {
                    by: role.clone(),
                    max_age: None,
                };
                match self.accepted(node, &rule) {
                    Ok(reason) => {
                        Requirement::pass(format!("acceptance {}", digest.short()), reason)
                            .with_evidence(digest)
                    }
                    Err(part) => *part,
                }
            });
            let Some(best) = judged.min_by_key(|part| part.result) else {
                continue;
            };
            if best.passes() {
                let attestation = self.facts.attestations.get(digest);
                signers.extend(attestation.and_then(|a| a.outcome.signer.as_ref()));
            }
            parts.push(best);
        }
        (signers, parts)
    }
}

/// Returns one name for each distinct signer.
fn distinct(signers: &[&Signer]) -> Vec<String> {
    let mut groups: Vec<Vec<&Signer>> = Vec::new();
    for signer in signers {
        let is_same = |one: &&Signer| {
            one.subject == signer.subject || one.public_key_sha256 == signer.public_key_sha256
        };
        let (same, other): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|group| group.iter().any(is_same));
        groups = other;
        let mut merged: Vec<&Signer> = same.into_iter().flatten().collect();
        merged.push(signer);
        groups.push(merged);
    }
    let mut names: Vec<String> = groups
        .iter()
        .map(|group| format!("`{}`", signer_name(group[0])))
        .collect();
    names.sort();
    names
}
