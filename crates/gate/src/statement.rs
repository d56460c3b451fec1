//! What people say, as in-toto statements: acceptances and approvals.
//!
//! The formats are fixed in `docs/design/001-first-run.md` §1. Whoever signs them sees at most
//! 4 KiB of other people's bytes, so a comment is short.

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The type of an in-toto statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate type of an acceptance.
pub const ACCEPTANCE: &str = "https://countersign.dev/acceptance/v1";
/// The predicate type of an approval.
pub const APPROVAL: &str = "https://countersign.dev/approval/v1";
/// The predicate type of build provenance.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// The largest payload that the signer takes, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 4096;

/// A team accepts the evidence as it is: it counts only while the graph root is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    /// The evidence that was accepted.
    pub graph_root: Digest,
    /// The signing profile.
    pub profile: String,
    /// The person.
    pub account: String,
    /// What the person says.
    #[serde(default)]
    pub comment: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// A person approves, or rejects, what a verdict showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The evidence that the verdict was given over.
    pub graph_root: Digest,
    /// The policy that gave the verdict.
    pub policy: ApprovedPolicy,
    /// Yes or no.
    pub decision: ApprovalDecision,
    /// The run that waits.
    pub run: String,
    /// The stage that waits.
    pub stage: String,
    /// The person.
    pub account: String,
    /// What the person says.
    #[serde(default)]
    pub comment: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Until when it counts.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
}

/// The policy that gave a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovedPolicy {
    /// The name.
    pub name: String,
    /// The digest of the policy's text.
    pub digest: Digest,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalDecision {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

/// Says that a statement is larger than the signer takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the statement has {0} bytes, more than {MAX_PAYLOAD_BYTES}: shorten the comment")]
pub struct TooLarge(pub usize);

impl Acceptance {
    /// Returns the payload of the DSSE envelope: the statement about the image `subject`, called
    /// `name`.
    ///
    /// # Errors
    /// If it is larger than the signer takes.
    pub fn to_payload(&self, name: &str, subject: &Digest) -> Result<Vec<u8>, TooLarge> {
        payload(ACCEPTANCE, (name, subject), self)
    }
}

impl Approval {
    /// Returns the payload of the DSSE envelope: the statement about the image `subject`, called
    /// `name`.
    ///
    /// # Errors
    /// If it is larger than the signer takes.
    pub fn to_payload(&self, name: &str, subject: &Digest) -> Result<Vec<u8>, TooLarge> {
        payload(APPROVAL, (name, subject), self)
    }
}

pub(crate) fn payload(
    predicate_type: &str,
    (name, subject): (&str, &Digest),
    predicate: &impl Serialize,
) -> Result<Vec<u8>, TooLarge> {
    let statement = serde_json::json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {subject.algorithm().name(): subject.hex()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    });
    let bytes = statement.to_string().into_bytes();
    match bytes.len() {
        0..=MAX_PAYLOAD_BYTES => Ok(bytes),
        size => Err(TooLarge(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn acceptance(comment: &str) -> Acceptance {
        Acceptance {
            graph_root: Digest::sha256(b"root"),
            profile: "security-team".to_owned(),
            account: "security".to_owned(),
            comment: comment.to_owned(),
            at: datetime!(2026-01-02 03:04:05 UTC),
        }
    }

    #[test]
    fn an_acceptance_is_an_in_toto_statement() {
        let bytes = acceptance("seen")
            .to_payload("a/b", &Digest::sha256(b"x"))
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        insta::assert_json_snapshot!(json);
    }

    #[test]
    fn a_comment_that_the_signer_would_not_take_is_refused() {
        let error = acceptance(&"x".repeat(4096)).to_payload("a/b", &Digest::sha256(b"x"));
        assert!(matches!(error, Err(TooLarge(4097..))));
    }
}
