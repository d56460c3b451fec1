//! Decisions: a tree of requirements, with what was found about each.

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::Code;

/// The longest text in a decision, in characters. Texts come from reports and certificates.
const MAX_TEXT_CHARS: usize = 400;

/// What a policy says about an image at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The result.
    pub decision: DecisionResult,
    /// The policy.
    pub policy: PolicyName,
    /// The image.
    pub subject: Digest,
    /// The repository, as `registry/repository`.
    pub repository: String,
    /// The evidence that this was decided over; absent if the graph is not known to its end.
    pub graph_root: Option<Digest>,
    /// When it was decided.
    #[serde(with = "time::serde::rfc3339", skip_serializing_if = "is_left_out")]
    pub at: OffsetDateTime,
    /// The requirements, in the order of the policy.
    pub requirements: Vec<Requirement>,
}

/// A policy by name, and by the digest of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyName {
    /// The name.
    pub name: String,
    /// The digest of the policy's text.
    pub digest: Digest,
}

/// The result of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionResult {
    /// Every requirement passes.
    Allow,
    /// At least one requirement fails.
    Deny,
    /// No requirement fails, but for at least one it is not known whether it passes.
    Inconclusive,
}

impl DecisionResult {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The result of a requirement. The order is that of how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequirementResult {
    /// It holds.
    Pass,
    /// It is not known whether it holds. This is never as good as holding.
    Unknown,
    /// It does not hold.
    Fail,
}

/// What was found about one requirement, or about one part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The name that the policy gives it, or what the part is about.
    pub id: String,
    /// The result.
    pub result: RequirementResult,
    /// Why it does not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What was found, in words.
    pub reason: String,
    /// The manifests that this rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Digest>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Requirement>,
}

impl Requirement {
    pub(crate) fn pass(id: impl Into<String>, reason: impl AsRef<str>) -> Self {
        Self {
            id: id.into(),
            result: RequirementResult::Pass,
            code: None,
            reason: clean(reason.as_ref()),
            evidence: Vec::new(),
            remedy: None,
            children: Vec::new(),
        }
    }

    pub(crate) fn fail(id: impl Into<String>, code: Code, reason: impl AsRef<str>) -> Self {
        Self {
            result: RequirementResult::Fail,
            code: Some(code),
            remedy: Some(code.remedy().to_owned()),
            ..Self::pass(id, reason)
        }
    }

    pub(crate) fn unknown(id: impl Into<String>, code: Code, reason: impl AsRef<str>) -> Self {
        Self {
            result: RequirementResult::Unknown,
            ..Self::fail(id, code, reason)
        }
    }

    pub(crate) fn with_evidence(mut self, digest: &Digest) -> Self {
        self.evidence.push(digest.clone());
        self
    }

    pub(crate) fn with_children(mut self, children: Vec<Self>) -> Self {
        self.children = children;
        self
    }

    pub(crate) fn with_remedy(mut self, remedy: &str) -> Self {
        self.remedy = Some(clean(remedy));
        self
    }

    /// Returns whether it holds.
    pub fn passes(&self) -> bool {
        self.result == RequirementResult::Pass
    }
}

impl Decision {
    /// Returns a decision over `requirements`: the worst of them decides, and without any nothing
    /// is known.
    pub(crate) fn result_of(requirements: &[Requirement]) -> DecisionResult {
        let results = requirements.iter().map(|requirement| requirement.result);
        match results.max() {
            Some(RequirementResult::Pass) => DecisionResult::Allow,
            Some(RequirementResult::Fail) => DecisionResult::Deny,
            Some(RequirementResult::Unknown) | None => DecisionResult::Inconclusive,
        }
    }

    /// Returns whether the policy allows it.
    pub fn is_allowed(&self) -> bool {
        self.decision == DecisionResult::Allow
    }

    /// Returns the requirement that speaks for the result: the first that is as bad as it.
    pub fn decisive(&self) -> Option<&Requirement> {
        let worst = self.requirements.iter().map(|r| r.result).max()?;
        let mut all = self.requirements.iter();
        all.find(|r| r.result == worst && worst != RequirementResult::Pass)
    }

    /// Returns the verdict digest: SHA-256 over the JSON of the decision without its time. The
    /// same facts give the same digest, whenever they are judged.
    pub fn verdict_digest(&self) -> Digest {
        let timeless = Self {
            at: OffsetDateTime::UNIX_EPOCH,
            ..self.clone()
        };
        // Texts, digests and lists: there is nothing in it that JSON cannot hold.
        let bytes = serde_json::to_vec(&timeless).unwrap_or_default();
        Digest::sha256(&bytes)
    }
}

/// The time is left out of what the verdict digest covers.
fn is_left_out(at: &OffsetDateTime) -> bool {
    *at == OffsetDateTime::UNIX_EPOCH
}

/// Makes a text safe to print: one line, no control characters, not endless.
pub(crate) fn clean(text: &str) -> String {
    let is_bad = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    let mut cleaned: String = text
        .chars()
        .take(MAX_TEXT_CHARS)
        .map(|c| if is_bad(c) { ' ' } else { c })
        .collect();
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        cleaned.push('…');
    }
    cleaned
}
