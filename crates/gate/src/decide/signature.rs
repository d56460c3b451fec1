//! Signatures: whether something is signed by a role, and when.

use oci::{Digest, MediaType};
use time::OffsetDateTime;
use trust::{FailureCode, Signer, SigningScheme, VerificationAction, VerificationOutcome};

use super::{Case, none_of, time_text};
use crate::Code;
use crate::decision::Requirement;
use crate::policy::Role;

/// Whether something is signed by a role.
pub(super) struct Signed {
    /// The requirement that it is, with every signature as a part.
    pub(super) requirement: Requirement,
    /// The newest trusted time of the signatures that count.
    pub(super) at: Option<OffsetDateTime>,
}

/// One signature, or the attestation that an artifact itself is.
pub(super) struct Envelope<'a> {
    /// The manifest that holds it.
    pub(super) manifest: &'a Digest,
    /// What was found; `None` if it could not be read.
    pub(super) outcome: Option<&'a VerificationOutcome>,
    /// The time that the signed statement itself gives, for attestations.
    pub(super) stated: Option<OffsetDateTime>,
}

impl<'a> Case<'a> {
    /// Judges whether what `digest` names is signed by `role`.
    pub(super) fn signed_by(&self, id: &str, digest: &Digest, role: &str) -> Signed {
        let Some(holders) = self.policy.role(role) else {
            // Policies are checked when they are parsed: there is no such role to be in.
            let reason = format!("the policy has no role `{role}`");
            return unsigned(Requirement::fail(id, Code::SignerNotInRole, reason));
        };
        let mut failed = Vec::new();
        let mut counting = Vec::new();
        for envelope in self.envelopes(digest) {
            let judged = envelope.judge(role, holders);
            match judged.passes() {
                true => counting.push((envelope.trusted_time(), judged)),
                false => failed.push((envelope.distance(holders), judged)),
            }
        }
        if let Some(position) = newest(&counting) {
            let (at, best) = &counting[position];
            let mut requirement = Requirement::pass(id, &best.reason);
            requirement.evidence = best.evidence.clone();
            let at = *at;
            let parts = counting
                .into_iter()
                .chain(failed.into_iter().map(|(_, f)| (None, f)));
            let children = parts.map(|(_, part)| part).collect();
            let requirement = requirement.with_children(children);
            return Signed { requirement, at };
        }
        let missing = || self.signature_missing(id, digest, role);
        unsigned(none_of(id, failed).unwrap_or_else(missing))
    }

    fn signature_missing(&self, id: &str, digest: &Digest, role: &str) -> Requirement {
        match self.unread_list(digest) {
            Some(problem) => Requirement::unknown(id, Code::ArtifactUnreadable, problem),
            None => {
                let reason = format!("nobody in the role `{role}` has signed it");
                Requirement::fail(id, Code::SignatureMissing, reason)
            }
        }
    }

    /// Returns the signatures of what `digest` names, and the attestation that it itself is.
    pub(super) fn envelopes(&self, digest: &Digest) -> Vec<Envelope<'a>> {
        let graph = &self.facts.graph;
        let Some(node) = graph.node(digest) else {
            return Vec::new();
        };
        let signatures = node
            .referrers
            .iter()
            .filter_map(|referrer| graph.node(referrer));
        let is_signature = |node: &&oci::graph::Node| {
            node.subject.as_ref() == Some(digest)
                && node.artifact_type() == Some(&MediaType::NOTARY_SIGNATURE)
        };
        let of_node = |node: &'a oci::graph::Node| Envelope {
            manifest: &node.descriptor.digest,
            outcome: self.facts.outcomes.get(&node.descriptor.digest),
            stated: None,
        };
        let mut envelopes: Vec<Envelope<'a>> =
            signatures.filter(is_signature).map(of_node).collect();
        if let Some((manifest, attestation)) = self.facts.attestations.get_key_value(digest) {
            let predicate = attestation.statement.as_ref().map(|s| &s.predicate);
            envelopes.push(Envelope {
                manifest,
                outcome: Some(&attestation.outcome),
                stated: predicate.and_then(stated_time),
            });
        }
        envelopes
    }
}

impl Envelope<'_> {
    /// Judges whether the signature is one of the role.
    pub(super) fn judge(&self, role: &str, holders: &Role) -> Requirement {
        let id = format!("signature {}", self.manifest.short());
        let judged = match self.outcome {
            None => {
                let reason = "the signature cannot be read";
                Requirement::unknown(id, Code::ArtifactUnreadable, reason)
            }
            Some(outcome) => match untrusted(outcome) {
                Some((code, reason)) => refused(id, code, &reason),
                None => self.in_role(id, outcome, (role, holders)),
            },
        };
        judged.with_evidence(self.manifest)
    }

    fn in_role(
        &self,
        id: String,
        outcome: &VerificationOutcome,
        (role, holders): (&str, &Role),
    ) -> Requirement {
        let Some(signer) = &outcome.signer else {
            let reason = "the trust policy does not establish who signed";
            return Requirement::fail(id, Code::SignerNotTrusted, reason);
        };
        let name = signer_name(signer);
        if !holders.holds(signer) {
            let reason = format!("signed by `{name}`, who is not in the role `{role}`");
            return Requirement::fail(id, Code::SignerNotInRole, reason);
        }
        match self.trusted_time() {
            Some(at) => Requirement::pass(id, format!("signed by `{name}` at {}", time_text(at))),
            None => Requirement::pass(id, format!("signed by `{name}`")),
        }
    }

    /// Returns the time of the signature, if it can be trusted: under the scheme `notary.x509` it
    /// is a claim of whoever signed, and says nothing. An attestation has the time that its
    /// statement gives, for it counts only if its signer is one of those who may say so.
    pub(super) fn trusted_time(&self) -> Option<OffsetDateTime> {
        let outcome = self.outcome?;
        match outcome.scheme {
            Some(SigningScheme::SigningAuthority) => outcome.signing_time,
            Some(SigningScheme::X509) => None,
            None => outcome.signing_time.or(self.stated),
        }
    }

    /// How far the signature is from counting: one that claims to be from the role tells more
    /// about what is wrong than a stranger's.
    fn distance(&self, holders: &Role) -> usize {
        let claimed = self.outcome.and_then(|outcome| {
            let signer = outcome.signer.as_ref();
            signer.or(outcome.claimed_signer.as_ref())
        });
        usize::from(!claimed.is_some_and(|signer| holders.holds(signer)))
    }
}

/// Returns why a signature is not trusted, if it is not: the most telling of the failures that
/// the trust policy enforces.
pub(super) fn untrusted(outcome: &VerificationOutcome) -> Option<(Code, String)> {
    if outcome.is_trusted() {
        return None;
    }
    let failures = outcome.failures().into_iter();
    let mut enforced: Vec<_> = failures
        .filter(|failure| failure.action == VerificationAction::Enforce)
        .collect();
    // That it is not known whether a signature was revoked matters only if all else is good.
    if enforced
        .iter()
        .any(|f| f.code != FailureCode::RevocationUnknown)
    {
        enforced.retain(|f| f.code != FailureCode::RevocationUnknown);
    }
    let telling = enforced
        .into_iter()
        .min_by_key(|f| Code::from(f.code).rank());
    Some(match telling {
        Some(failure) => (failure.code.into(), failure.reason),
        None => (
            Code::SignerNotTrusted,
            "the trust policy does not verify signatures here".to_owned(),
        ),
    })
}

/// Returns what an untrusted signature makes of a requirement: whether it was revoked may still
/// turn out well, everything else is a failure.
pub(super) fn refused(id: String, code: Code, reason: &str) -> Requirement {
    match code {
        Code::RevocationUnknown => Requirement::unknown(id, code, reason),
        _ => Requirement::fail(id, code, reason),
    }
}

/// Returns what to call a signer.
pub(super) fn signer_name(signer: &Signer) -> String {
    match signer.common_name.as_str() {
        "" => signer.subject.to_string(),
        name => name.to_owned(),
    }
}

fn unsigned(requirement: Requirement) -> Signed {
    let at = None;
    Signed { requirement, at }
}

fn newest(counting: &[(Option<OffsetDateTime>, Requirement)]) -> Option<usize> {
    (0..counting.len()).max_by_key(|position| counting[*position].0)
}

/// Returns the time that a statement gives: of an acceptance or approval, or of the end of a build.
fn stated_time(predicate: &serde_json::Value) -> Option<OffsetDateTime> {
    let own = predicate.get("at");
    let build = predicate.pointer("/runDetails/metadata/finishedOn");
    let text = own.or(build)?.as_str()?;
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}
