//! What may be signed: the little that the signer sees of other people's bytes, read strictly.
//!
//! A Notary payload names one artifact by digest (signature-specification, Payload). A DSSE
//! payload is an in-toto statement (in-toto attestation framework, Statement v1) with at least one
//! subject that has a digest. Statements in which a person stands for something name that person;
//! they are signed for that account only, whoever else may use the profile.

use std::collections::BTreeMap;

use oci::Digest;
use serde::Deserialize;
use trust::TargetArtifact;
use trust::target::{MAX_PAYLOAD_BYTES, PayloadError, RESERVED_ANNOTATION_PREFIX};

use crate::principal::Principal;
use crate::profile::ProfileName;

/// The only payload type of DSSE envelopes that is signed.
pub const IN_TOTO_PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The type of in-toto statements, version 1.
pub const IN_TOTO_STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate of an acceptance.
pub const ACCEPTANCE_PREDICATE: &str = "https://countersign.dev/acceptance/v1";
/// The predicate of an approval.
pub const APPROVAL_PREDICATE: &str = "https://countersign.dev/approval/v1";
/// Predicates in which an account stands for something, and that therefore name it (design 001 §1).
pub const PERSONAL_PREDICATES: [&str; 2] = [ACCEPTANCE_PREDICATE, APPROVAL_PREDICATE];

/// Says why a payload is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedPayload {
    /// It is not a Notary payload.
    #[error(transparent)]
    Notary(#[from] PayloadError),
    /// An annotation uses the prefix that the specification keeps for itself.
    #[error("user metadata `{0}` starts with `{RESERVED_ANNOTATION_PREFIX}`, which is reserved")]
    ReservedMetadata(String),
    /// The payload type is not allowed.
    #[error("payload type `{0}` is not signed here: only `{IN_TOTO_PAYLOAD_TYPE}` is")]
    PayloadType(String),
    /// The payload is too long.
    #[error("the payload has {0} bytes: at most {MAX_PAYLOAD_BYTES} are signed")]
    TooLarge(usize),
    /// The payload is not an in-toto statement.
    #[error("the payload is not an in-toto statement: {0}")]
    Statement(String),
    /// The statement speaks for somebody else.
    #[error("the statement's `{member}` is `{found}`, but it is signed for `{expected}`")]
    SpeaksForAnother {
        /// The member of the predicate.
        member: &'static str,
        /// What it says.
        found: String,
        /// Who asks.
        expected: String,
    },
}

/// Returns the target artifact that a Notary payload names.
pub(crate) fn notary(payload: &[u8]) -> Result<TargetArtifact, RefusedPayload> {
    let target = TargetArtifact::parse(payload)?;
    let reserved = |name: &&String| name.starts_with(RESERVED_ANNOTATION_PREFIX);
    match target.annotations.keys().find(reserved) {
        Some(name) => Err(RefusedPayload::ReservedMetadata(name.clone())),
        None => Ok(target),
    }
}

/// Who wants a statement signed, and under which profile.
pub(crate) struct Signatory<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) profile: &'a ProfileName,
}

/// Returns the first digest that a DSSE payload is about.
pub(crate) fn dsse(
    payload_type: &str,
    payload: &[u8],
    signatory: &Signatory<'_>,
) -> Result<Digest, RefusedPayload> {
    if payload_type != IN_TOTO_PAYLOAD_TYPE {
        let shown = payload_type.chars().take(120).collect();
        return Err(RefusedPayload::PayloadType(shown));
    }
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(RefusedPayload::TooLarge(payload.len()));
    }
    let statement: Statement = serde_json::from_slice(payload)
        .map_err(|error| RefusedPayload::Statement(error.to_string()))?;
    let digest = statement.check()?;
    if PERSONAL_PREDICATES.contains(&statement.predicate_type.as_str()) {
        statement.check_person(signatory)?;
    }
    Ok(digest)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(default)]
    predicate: serde_json::Value,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

impl Statement {
    fn check(&self) -> Result<Digest, RefusedPayload> {
        let refused = |reason: &str| Err(RefusedPayload::Statement(reason.to_owned()));
        if self.kind != IN_TOTO_STATEMENT_TYPE {
            return refused("`_type` is not `https://in-toto.io/Statement/v1`");
        }
        if self.predicate_type.is_empty() {
            return refused("`predicateType` is empty");
        }
        let mut first = None;
        for subject in &self.subject {
            let known = subject.digest.iter().find_map(|(algorithm, hex)| {
                let digest: Result<Digest, _> = format!("{algorithm}:{hex}").parse();
                digest.ok()
            });
            match known {
                Some(digest) => first = first.or(Some(digest)),
                None => return refused("a subject has no `sha256` or `sha512` digest"),
            }
        }
        match first {
            Some(digest) => Ok(digest),
            None => refused("it has no subject"),
        }
    }

    fn check_person(&self, signatory: &Signatory<'_>) -> Result<(), RefusedPayload> {
        self.check_member("account", &signatory.principal.account)?;
        // An approval names no profile.
        match self.predicate.get("profile") {
            Some(_) => self.check_member("profile", signatory.profile.as_str()),
            None => Ok(()),
        }
    }

    fn check_member(&self, member: &'static str, expected: &str) -> Result<(), RefusedPayload> {
        let found = self.predicate.get(member).and_then(|value| value.as_str());
        if found == Some(expected) {
            return Ok(());
        }
        let found = found.unwrap_or_default().chars().take(120).collect();
        let expected = expected.to_owned();
        Err(RefusedPayload::SpeaksForAnother {
            member,
            found,
            expected,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn statement() -> Value {
        json!({
            "_type": IN_TOTO_STATEMENT_TYPE,
            "subject": [{"name": "apps/shop", "digest": {"sha256": "a".repeat(64)}}],
            "predicateType": "https://countersign.dev/acceptance/v1",
            "predicate": {"graphRoot": "sha256:…", "profile": "security-team", "account": "security"},
        })
    }

    fn check(value: &Value) -> Result<Digest, RefusedPayload> {
        check_bytes(value.to_string().as_bytes())
    }

    fn check_bytes(payload: &[u8]) -> Result<Digest, RefusedPayload> {
        let principal = Principal::account("security");
        let profile = "security-team".parse().unwrap();
        let signatory = Signatory {
            principal: &principal,
            profile: &profile,
        };
        dsse(IN_TOTO_PAYLOAD_TYPE, payload, &signatory)
    }

    #[test]
    fn a_statement_is_about_its_subject() {
        let digest = check(&statement()).unwrap();
        assert_eq!(digest.hex(), "a".repeat(64));
    }

    /// One change each; only that check fails.
    #[test]
    fn what_is_not_a_statement_is_refused() {
        let table = [
            (
                "/_type",
                json!("https://in-toto.io/Statement/v0.1"),
                "`_type`",
            ),
            ("/predicateType", json!(""), "`predicateType` is empty"),
            ("/subject", json!([]), "no subject"),
            ("/subject/0/digest", json!({}), "no `sha256`"),
            (
                "/subject/0/digest",
                json!({"sha1": "a".repeat(40)}),
                "no `sha256`",
            ),
            (
                "/subject/0/digest",
                json!({"sha256": "A".repeat(64)}),
                "no `sha256`",
            ),
            ("/subject", json!("x"), "not an in-toto statement"),
            (
                "/predicate/account",
                json!("compliance"),
                "signed for `security`",
            ),
            ("/predicate/account", json!(null), "signed for `security`"),
            (
                "/predicate/profile",
                json!("ci-build"),
                "signed for `security-team`",
            ),
        ];
        for (pointer, value, expected) in table {
            let mut changed = statement();
            *changed.pointer_mut(pointer).unwrap() = value;
            let error = check(&changed).unwrap_err().to_string();
            assert!(error.contains(expected), "{pointer}: {error}");
        }
        let mut extended = statement();
        extended["extra"] = json!(1);
        assert!(check(&extended).is_err());
        let twice = statement().to_string().replacen("{", r#"{"_type":"x","#, 1);
        assert!(check_bytes(twice.as_bytes()).is_err());
    }

    #[test]
    fn other_predicates_name_nobody() {
        let mut provenance = statement();
        provenance["predicateType"] = json!("https://slsa.dev/provenance/v1");
        provenance["predicate"] = json!({"buildDefinition": {}});
        assert!(check(&provenance).is_ok());
    }

    #[test]
    fn type_and_size_are_bounded() {
        let principal = Principal::account("security");
        let profile = "security-team".parse().unwrap();
        let signatory = Signatory {
            principal: &principal,
            profile: &profile,
        };
        let text = statement().to_string();
        let refused = dsse("text/plain", text.as_bytes(), &signatory);
        assert!(matches!(refused, Err(RefusedPayload::PayloadType(_))));
        let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
        assert!(check_bytes(padded(MAX_PAYLOAD_BYTES).as_bytes()).is_ok());
        let refused = check_bytes(padded(MAX_PAYLOAD_BYTES + 1).as_bytes());
        assert_eq!(
            refused,
            Err(RefusedPayload::TooLarge(MAX_PAYLOAD_BYTES + 1))
        );
    }

    #[test]
    fn reserved_metadata_is_refused() {
        let payload = |name: &str| {
            let target = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{}", "a".repeat(64)),
                "size": 2,
                "annotations": {name: "x"},
            });
            json!({"targetArtifact": target}).to_string()
        };
        assert!(notary(payload("build").as_bytes()).is_ok());
        let refused = notary(payload("io.cncf.notary.x").as_bytes());
        assert!(matches!(refused, Err(RefusedPayload::ReservedMetadata(_))));
    }
}
