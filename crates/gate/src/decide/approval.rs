//! Acceptances and approvals: what people said, over what, and whether it still counts.

use oci::graph::Node;
use oci::{Digest, MediaType};
use serde::de::DeserializeOwned;
use time::{Duration, OffsetDateTime};
use trust::VerifiedStatement;

use super::signature::{refused, signer_name, untrusted};
use super::{Case, none_of, time_text};
use crate::Code;
use crate::decision::Requirement;
use crate::policy::{AcceptanceRule, ApprovalRule};
use crate::span::Span;
use crate::statement::{self, Acceptance, Approval, ApprovalDecision};

/// How far ahead of ours another clock may be.
const MAX_CLOCK_SKEW: Duration = Duration::minutes(5);

/// Something that a person said and signed, and that holds up to this point.
struct Said<T> {
    predicate: T,
    signer: String,
}

impl Case<'_> {
    /// Judges whether a team has accepted the evidence as it is.
    pub(super) fn acceptance(&self, id: &str, rule: &AcceptanceRule) -> Requirement {
        let mut failed = Vec::new();
        for node in self.attached(&MediaType::ACCEPTANCE) {
            match self.accepted(node, rule) {
                Ok(reason) => {
                    let digest = &node.descriptor.digest;
                    return Requirement::pass(id, reason).with_evidence(digest);
                }
                Err(part) => failed.push((0, *part)),
            }
        }
        let missing = || {
            let reason = format!(
                "nobody in the role `{}` has accepted this evidence",
                rule.by
            );
            self.nobody(id, Code::AcceptanceMissing, &reason)
        };
        none_of(id, failed).unwrap_or_else(missing)
    }

    /// Returns what to say about an acceptance that counts, or why it does not.
    pub(super) fn accepted(
        &self,
        node: &Node,
        rule: &AcceptanceRule,
    ) -> Result<String, Box<Requirement>> {
        let said: Said<Acceptance> =
            self.said((node, "acceptance"), &rule.by, statement::ACCEPTANCE)?;
        let fail =
            |reason: String| Err(part((node, "acceptance"), Code::AcceptanceOutdated, reason));
        let acceptance = said.predicate;
        let outdated = Code::AcceptanceOutdated;
        self.same_evidence((node, "acceptance"), &acceptance.graph_root, outdated)?;
        match self.out_of_time(acceptance.at, rule.max_age) {
            Some(reason) => fail(reason),
            None => Ok(format!(
                "accepted by `{}` ({}) at {}",
                said.signer,
                acceptance.account,
                time_text(acceptance.at)
            )),
        }
    }

    /// Judges whether a person has approved the image, the evidence and the policy as they are.
    /// Of several decisions that count, the last one does.
    pub(super) fn approval(&self, id: &str, rule: &ApprovalRule) -> Requirement {
        let over = rule.over.as_deref().unwrap_or(&self.policy.name);
        let Some(policy) = self.policy_digest(over) else {
            let reason =
                format!("the policy `{over}`, whose verdict is approved, is not known here");
            return Requirement::unknown(id, Code::ApprovalOutdated, reason);
        };
        let mut failed = Vec::new();
        let mut decided = Vec::new();
        for node in self.attached(&MediaType::APPROVAL) {
            match self.approved(node, rule, (over, policy)) {
                Ok(approval) => decided.push((approval, &node.descriptor.digest)),
                Err(part) => failed.push((0, *part)),
            }
        }
        match decided.into_iter().max_by_key(|(approval, _)| approval.at) {
            Some((approval, digest)) => last_word(id, &approval).with_evidence(digest),
            None => none_of(id, failed).unwrap_or_else(|| {
                let reason = format!("none of {} has approved this", quoted(&rule.by));
                self.nobody(id, Code::ApprovalMissing, &reason)
            }),
        }
    }

    fn policy_digest(&self, name: &str) -> Option<&Digest> {
        if name == self.policy.name {
            return Some(&self.policy.digest);
        }
        self.facts.policies.get(name)
    }

    fn approved(
        &self,
        node: &Node,
        rule: &ApprovalRule,
        (over, policy): (&str, &Digest),
    ) -> Result<Approval, Box<Requirement>> {
        let at = (node, "approval");
        let said: Said<Approval> = self.said(at, &rule.signed_by, statement::APPROVAL)?;
        let approval = said.predicate;
        if !rule.by.contains(&approval.account) {
            let reason = format!("`{}` is not one of {}", approval.account, quoted(&rule.by));
            return Err(part(at, Code::SignerNotInRole, reason));
        }
        let outdated = |reason: String| Err(part(at, Code::ApprovalOutdated, reason));
        self.same_evidence(at, &approval.graph_root, Code::ApprovalOutdated)?;
        if approval.policy.name != over || approval.policy.digest != *policy {
            let name = &approval.policy.name;
            return outdated(format!(
                "it is for another policy than `{over}` as it is now: `{name}`"
            ));
        }
        if approval.expires <= self.facts.now {
            return outdated(format!("it counted until {}", time_text(approval.expires)));
        }
        match self.out_of_time(approval.at, rule.max_age) {
            Some(reason) => outdated(reason),
            None => Ok(approval),
        }
    }

    /// Returns what a trusted person of `role` said in the attestation `node`.
    fn said<T: DeserializeOwned>(
        &self,
        at: (&Node, &str),
        role: &str,
        predicate_type: &str,
    ) -> Result<Said<T>, Box<Requirement>> {
        let digest = &at.0.descriptor.digest;
        let Some(attestation) = self.facts.attestations.get(digest) else {
            let problem = self.facts.problem(digest).unwrap_or("it cannot be read");
            let unknown = Requirement::unknown(part_id(at), Code::ArtifactUnreadable, problem);
            return Err(Box::new(unknown.with_evidence(digest)));
        };
        if let Some((code, reason)) = untrusted(&attestation.outcome) {
            return Err(self.untrusted_statement(at, code, &reason));
        }
        let (Some(signer), Some(statement)) = (&attestation.outcome.signer, &attestation.statement)
        else {
            let reason = "the trust policy does not establish who signed";
            return Err(part(at, Code::SignerNotTrusted, reason.to_owned()));
        };
        let name = signer_name(signer);
        if !self
            .policy
            .role(role)
            .is_some_and(|role| role.holds(signer))
        {
            let reason = format!("signed by `{name}`, who is not in the role `{role}`");
            return Err(part(at, Code::SignerNotInRole, reason));
        }
        let predicate = self.predicate(at, statement, predicate_type)?;
        let signer = name;
        Ok(Said { predicate, signer })
    }

    fn untrusted_statement(&self, at: (&Node, &str), code: Code, reason: &str) -> Box<Requirement> {
        let is_approval = at.0.artifact_type() == Some(&MediaType::APPROVAL);
        let code = match code {
            Code::SignatureForOtherArtifact if is_approval => Code::ApprovalForOtherDigest,
            code => code,
        };
        let requirement = refused(part_id(at), code, reason);
        Box::new(requirement.with_evidence(&at.0.descriptor.digest))
    }

    fn predicate<T: DeserializeOwned>(
        &self,
        at: (&Node, &str),
        statement: &VerifiedStatement,
        predicate_type: &str,
    ) -> Result<T, Box<Requirement>> {
        let malformed = |reason: String| part(at, Code::EnvelopeMalformed, reason);
        if statement.predicate_type != predicate_type {
            let found = &statement.predicate_type;
            return Err(malformed(format!("the statement is a `{found}`")));
        }
        // Verification has checked it already; it is checked here because everything rests on it.
        if !statement.subjects.contains(&self.facts.subject) {
            let code = match predicate_type {
                statement::APPROVAL => Code::ApprovalForOtherDigest,
                _ => Code::SignatureForOtherArtifact,
            };
            return Err(part(
                at,
                code,
                "the statement is about another image".to_owned(),
            ));
        }
        serde_json::from_value(statement.predicate.clone())
            .map_err(|error| malformed(format!("the statement cannot be read: {error}")))
    }

    /// The evidence is what it was. While something that may be evidence cannot be read, that is
    /// not known.
    fn same_evidence(
        &self,
        at: (&Node, &str),
        graph_root: &Digest,
        code: Code,
    ) -> Result<(), Box<Requirement>> {
        let graph = &self.facts.graph;
        if Some(graph_root) == graph.graph_root().as_ref() {
            return Ok(());
        }
        let unread = |node: &&Node| node.manifest.is_none() || node.problem.is_some();
        let requirement = match graph.evidence().into_iter().find(|node| unread(node)) {
            Some(node) => {
                let digest = node.descriptor.digest.short();
                let reason =
                    format!("the evidence is not known: `sha256:{digest}…` cannot be read");
                Requirement::unknown(part_id(at), Code::ArtifactUnreadable, reason)
            }
            None => {
                let reason =
                    "it is for other evidence: something was added, replaced or removed since";
                Requirement::fail(part_id(at), code, reason)
            }
        };
        Err(Box::new(requirement.with_evidence(&at.0.descriptor.digest)))
    }

    fn out_of_time(&self, at: OffsetDateTime, max_age: Option<Span>) -> Option<String> {
        let now = self.facts.now;
        if at > now.saturating_add(MAX_CLOCK_SKEW) {
            return Some(format!("it is dated {}, which has not come", time_text(at)));
        }
        let most = max_age?;
        let too_old = at < now.saturating_sub(most.duration());
        too_old.then(|| format!("it is of {}, which is more than {most} ago", time_text(at)))
    }

    fn nobody(&self, id: &str, code: Code, reason: &str) -> Requirement {
        match self.unread_list(&self.facts.subject) {
            Some(problem) => Requirement::unknown(id, Code::ArtifactUnreadable, problem),
            None => Requirement::fail(id, code, reason),
        }
    }
}

fn last_word(id: &str, approval: &Approval) -> Requirement {
    let (account, at) = (&approval.account, time_text(approval.at));
    match approval.decision {
        ApprovalDecision::Approve => {
            Requirement::pass(id, format!("approved by `{account}` at {at}"))
        }
        ApprovalDecision::Reject => {
            let comment = &approval.comment;
            let reason = format!("`{account}` said no at {at}: {comment}");
            Requirement::fail(id, Code::ApprovalMissing, reason)
        }
    }
}

fn part_id((node, kind): (&Node, &str)) -> String {
    format!("{kind} {}", node.descriptor.digest.short())
}

fn part(at: (&Node, &str), code: Code, reason: String) -> Box<Requirement> {
    let requirement = Requirement::fail(part_id(at), code, reason);
    Box::new(requirement.with_evidence(&at.0.descriptor.digest))
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
