//! Base images: what the image was built on, as its provenance names it, must be vouched for.

use oci::{Digest, MediaType};

use super::Case;
use super::signature::Envelope;
use crate::Code;
use crate::decision::Requirement;
use crate::policy::BaseRule;

/// The beginnings of the URIs under which provenance names images.
const IMAGE_URIS: [&str; 4] = ["oci://", "docker://", "pkg:oci/", "pkg:docker/"];

impl Case<'_> {
    /// Judges whether every base image is signed by the role that vouches for base images.
    pub(super) fn base(&self, id: &str, rule: &BaseRule) -> Requirement {
        let mut failed = Vec::new();
        let mut judged = Vec::new();
        for node in self.attached(&MediaType::PROVENANCE) {
            let digest = &node.descriptor.digest;
            let signed = self.signed_by("provenance", digest, &rule.provenance_by);
            let attestation = self.facts.attestations.get(digest);
            let statement = attestation.and_then(|a| a.statement.as_ref());
            match statement.filter(|_| signed.requirement.passes()) {
                Some(statement) => {
                    let name = format!("provenance {}", digest.short());
                    let bases = self.bases(&name, rule, &base_images(&statement.predicate));
                    judged.push(bases.with_evidence(digest));
                }
                None => failed.push((0, signed.requirement)),
            }
        }
        // Two builds can give the same image: then both must have begun well.
        if !judged.is_empty() {
            return super::all_of(id, "every base image is vouched for", judged);
        }
        let missing = || Requirement::fail(id, Code::ArtifactMissing, "there is no provenance");
        super::none_of(id, failed).unwrap_or_else(missing)
    }

    fn bases(&self, id: &str, rule: &BaseRule, bases: &[Digest]) -> Requirement {
        if bases.is_empty() {
            return Requirement::pass(id, "it is built on no other image");
        }
        let judged = bases.iter().map(|base| self.one_base(rule, base));
        let reason = format!("{} vouched for", bases.len());
        super::all_of(id, &reason, judged.collect())
    }

    fn one_base(&self, rule: &BaseRule, base: &Digest) -> Requirement {
        let id = format!("base {}", base.short());
        let Some(outcomes) = self.facts.bases.get(base) else {
            let reason = "the signatures of this base image were not looked at";
            return Requirement::unknown(id, Code::BaseNotVouchedFor, reason);
        };
        let holders = self.policy.role(&rule.signed_by);
        let judged = outcomes.iter().filter_map(|outcome| {
            let envelope = Envelope {
                manifest: base,
                outcome: Some(outcome),
                stated: None,
            };
            Some(envelope.judge(&rule.signed_by, holders?))
        });
        let judged: Vec<Requirement> = judged.collect();
        if let Some(good) = judged.iter().find(|part| part.passes()) {
            return Requirement::pass(id, &good.reason);
        }
        let ranked = judged.into_iter().map(|part| (0, part)).collect();
        let reason = match super::none_of("", ranked) {
            Some(part) => part.reason,
            None => format!("nobody in the role `{}` has signed it", rule.signed_by),
        };
        Requirement::fail(id, Code::BaseNotVouchedFor, reason)
    }
}

/// Returns the images among the dependencies of a build.
fn base_images(predicate: &serde_json::Value) -> Vec<Digest> {
    let dependencies = predicate.pointer("/buildDefinition/resolvedDependencies");
    let dependencies = dependencies.and_then(|list| list.as_array());
    let mut images = Vec::new();
    for dependency in dependencies.into_iter().flatten() {
        let uri = dependency
            .get("uri")
            .and_then(|uri| uri.as_str())
            .unwrap_or_default();
        let hex = dependency
            .pointer("/digest/sha256")
            .and_then(|hex| hex.as_str());
        let digest = hex.and_then(|hex| format!("sha256:{hex}").parse().ok());
        if IMAGE_URIS.iter().any(|prefix| uri.starts_with(prefix)) {
            images.extend(digest);
        }
    }
    images
}
