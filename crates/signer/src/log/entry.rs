//! The entries of the log: JSON objects on one line, `{"v":1,"kind":…,"at":…,…}`.
//!
//! Readers accept members that they do not know, so that entries can say more later on. Nothing
//! of an entry is ever secret: accounts read the log.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use trust::tlog::MAX_ENTRY_BYTES;

use crate::job::{JobKind, JobRevocation, JobStatus, SigningJob, first_issuer, is_first_issuer};

/// What is left of an entry for what it says, beside version, kind and time.
pub const MAX_BODY_BYTES: usize = MAX_ENTRY_BYTES - 128;

const VERSION: u8 = 1;
/// The members that the journal writes; a body that held them would make an entry ambiguous.
const RESERVED: [&str; 3] = ["v", "kind", "at"];

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EntryKind {
    /// Something was signed.
    Signature,
    /// A profile was made, changed or canceled.
    Profile,
    /// Something that was signed is no longer trusted.
    Revocation,
    /// Somebody may do something now, or no longer.
    Permission,
    /// A trust policy, a gate policy or a project changed.
    Policy,
    /// A person approved or refused a run.
    Approval,
    /// Evidence against an artifact was filed: it is not to be deployed.
    Hold,
    /// A scan found what the policy does not accept.
    ScanFailed,
    /// Something was deployed.
    Deployment,
    /// A key or a certificate of the authority was made or replaced.
    Key,
}

impl EntryKind {
    /// Returns whether entries of this kind are the front's to report: what it does itself and
    /// the signer does not see.
    pub fn is_reported(self) -> bool {
        use EntryKind::{Approval, Deployment, Hold, Permission, Policy, ScanFailed};
        matches!(
            self,
            Approval | Deployment | Hold | Permission | Policy | ScanFailed
        )
    }
}

/// Says why something cannot be written into the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It is too long.
    #[error("a log entry of {0} bytes is longer than {MAX_BODY_BYTES}")]
    TooLong(usize),
    /// It is not a JSON object, or holds a member that is the journal's to write.
    #[error("a log entry is a JSON object without the members `v`, `kind` and `at`")]
    Shape,
}

/// What is to be written into the log. Its position and time are the journal's to give.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    kind: EntryKind,
    body: Map<String, Value>,
}

#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    kind: EntryKind,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(flatten)]
    body: &'a Map<String, Value>,
}

impl Entry {
    /// Returns the entry that says what `body`, an object, says.
    ///
    /// # Errors
    /// When it is too long or not such an object.
    pub fn new(kind: EntryKind, body: impl Serialize) -> Result<Self, EntryError> {
        let Ok(Value::Object(body)) = serde_json::to_value(body) else {
            return Err(EntryError::Shape);
        };
        if RESERVED.iter().any(|name| body.contains_key(*name)) {
            return Err(EntryError::Shape);
        }
        let entry = Self { kind, body };
        match entry.bytes(OffsetDateTime::UNIX_EPOCH).len() {
            length if length > MAX_BODY_BYTES => Err(EntryError::TooLong(length)),
            _ => Ok(entry),
        }
    }

    /// Returns the entry of a signature.
    ///
    /// # Errors
    /// When it is too long.
    pub fn of_job(job: &SigningJob) -> Result<Self, EntryError> {
        Self::new(EntryKind::Signature, SignatureBody::from(job))
    }

    /// Returns what it is about.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// Returns the bytes that are the leaf of the tree.
    pub(crate) fn bytes(&self, at: OffsetDateTime) -> Vec<u8> {
        let line = Line {
            v: VERSION,
            kind: self.kind,
            at,
            body: &self.body,
        };
        serde_json::to_vec(&line).expect("a map of JSON values and a time can be written")
    }
}

/// What the log says of a signature: the part of a job that never changes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignatureBody {
    job: crate::job::JobId,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    profile: crate::profile::ProfileName,
    version: String,
    caller: crate::principal::Principal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<crate::profile::rules::RuleId>,
    target: oci::Digest,
    form: JobKind,
    #[serde(with = "time::serde::rfc3339")]
    signed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires: OffsetDateTime,
    leaf_serial: String,
    leaf_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf_tbs_sha384: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shares_leaf: bool,
    #[serde(default = "first_issuer", skip_serializing_if = "is_first_issuer")]
    issuer: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envelope_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_sha256: Option<String>,
}

impl From<&SigningJob> for SignatureBody {
    fn from(job: &SigningJob) -> Self {
        Self {
            job: job.id,
            owner: job.owner.clone(),
            profile: job.profile.clone(),
            version: job.profile_version.clone(),
            caller: job.caller.clone(),
            rule: job.rule.clone(),
            target: job.target.clone(),
            form: job.kind,
            signed_at: job.signed_at,
            expires: job.expires,
            leaf_serial: job.leaf_serial.clone(),
            leaf_sha256: job.leaf_sha256.clone(),
            leaf_tbs_sha384: job.leaf_tbs_sha384.clone(),
            shares_leaf: job.shares_leaf,
            issuer: job.issuer,
            envelope_sha256: job.envelope_sha256.clone(),
            signed_sha256: job.signed_sha256.clone(),
        }
    }
}

/// Reads a job back from its entry and from what was decided about it later on.
///
/// # Errors
/// When the entry is not that of a signature.
pub fn job_of_entry(
    position: u64,
    bytes: &[u8],
    revocation: Option<JobRevocation>,
) -> Result<SigningJob, serde_json::Error> {
    let body: SignatureBody = serde_json::from_slice(bytes)?;
    let status = match revocation {
        Some(_) => JobStatus::Revoked,
        None => JobStatus::Succeeded,
    };
    Ok(SigningJob {
        id: body.job,
        position,
        owner: body.owner,
        profile: body.profile,
        profile_version: body.version,
        caller: body.caller,
        rule: body.rule,
        quota_key: None,
        target: body.target,
        kind: body.form,
        signed_at: body.signed_at,
        expires: body.expires,
        leaf_serial: body.leaf_serial,
        leaf_sha256: body.leaf_sha256,
        leaf_tbs_sha384: body.leaf_tbs_sha384,
        shares_leaf: body.shares_leaf,
        issuer: body.issuer,
        envelope_sha256: body.envelope_sha256,
        signed_sha256: body.signed_sha256,
        status,
        revocation,
    })
}

/// Returns the time of an entry as the log writes times.
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::macros::datetime;

    #[test]
    fn an_entry_is_one_line_that_begins_with_version_kind_and_time() {
        let entry = Entry::new(EntryKind::ScanFailed, json!({"run": "7"})).unwrap();
        let bytes = entry.bytes(datetime!(2026-03-01 12:00:00.5 UTC));
        insta::assert_snapshot!(
            String::from_utf8(bytes).unwrap(),
            @r#"{"v":1,"kind":"scan-failed","at":"2026-03-01T12:00:00.5Z","run":"7"}"#
        );
    }

    #[test]
    fn what_cannot_be_an_entry_is_refused() {
        let long = "x".repeat(MAX_BODY_BYTES);
        for (body, expected) in [
            (json!([1]), "object"),
            (json!({"at": "x"}), "without the members"),
            (json!({"v": 2}), "without the members"),
            (json!({"text": long}), "longer than"),
        ] {
            let error = Entry::new(EntryKind::Hold, body).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
