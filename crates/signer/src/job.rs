//! Signing jobs: one request to sign, and its result, for ever on record.

use std::fmt;
use std::str::FromStr;

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::principal::Principal;
use crate::profile::ProfileName;
use crate::profile::rules::RuleId;

/// The longest reason of a revocation, in characters (AWS Signer, `RevocationReasonString`).
pub const MAX_REASON_CHARS: usize = 500;

/// The identifier of a signing job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// Returns the identifier whose bytes are the serial number of a leaf, if a job could have it.
    pub fn of_serial(serial: &[u8]) -> Option<Self> {
        let id = Uuid::from_bytes(serial.try_into().ok()?);
        (id.get_version_num() == 7).then_some(Self(id))
    }

    /// Returns the serial number of the job's own leaf: the 16 bytes of the identifier. They begin
    /// with its time, so as a number they are positive (RFC 5280 §4.1.2.2) until the year 6429.
    pub fn serial(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// Returns a new identifier; later ones sort after earlier ones.
    pub fn new(now: OffsetDateTime) -> Self {
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        let context = uuid::NoContext;
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(
            context,
            seconds,
            now.nanosecond(),
        )))
    }
}

impl From<JobId> for Uuid {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Says that a text is not the identifier of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a signing job: expected a UUID")]
pub struct JobIdError(String);

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        let parsed = Uuid::try_parse(text).map(Self);
        parsed.map_err(|_| JobIdError(text.chars().take(80).collect()))
    }
}

/// What a job signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// A Notary envelope over a target artifact.
    Notary,
    /// A DSSE envelope over an in-toto statement.
    Dsse,
}

/// How a job stands. A refused request leaves no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    /// It was signed, and nobody took it back.
    Succeeded,
    /// It was signed, and then revoked.
    Revoked,
}

/// Who took a signature back, when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRevocation {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who, in words.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether the leaf certificate is on the revocation list because of it. Without that, only
    /// those who ask us learn of it.
    pub on_crl: bool,
}

/// A signing job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningJob {
    /// Its identifier.
    pub id: JobId,
    /// The position of its entry in the log; given when it is recorded.
    #[serde(default)]
    pub position: u64,
    /// The account number that owns the profile; empty where there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The profile that it was signed under.
    pub profile: ProfileName,
    /// The version that the profile had.
    pub profile_version: String,
    /// Who asked.
    pub caller: Principal,
    /// The rule of the profile that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The key under which it counts for that rule's quota, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_key: Option<String>,
    /// What was signed: the target artifact, or the first subject of the statement.
    pub target: Digest,
    /// In which form.
    pub kind: JobKind,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub signed_at: OffsetDateTime,
    /// Until when it is valid.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    /// The serial number of the leaf, in hexadecimal.
    pub leaf_serial: String,
    /// The SHA-256 fingerprint of the leaf, in hexadecimal.
    pub leaf_sha256: String,
    /// The SHA-384 of the leaf's to-be-signed part, in hexadecimal: what AWS's clients ask about.
    /// In the dialect of AWS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_tbs_sha384: Option<String>,
    /// Whether other jobs were signed with the same leaf.
    pub shares_leaf: bool,
    /// The number of the intermediate that issued the leaf, from 1 on.
    #[serde(default = "first_issuer", skip_serializing_if = "is_first_issuer")]
    pub issuer: u32,
    /// The SHA-256 of the envelope, in hexadecimal; unknown for jobs of a time before the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_sha256: Option<String>,
    /// The SHA-256 of the bytes that were signed, in hexadecimal. Unknown for jobs of a time before
    /// revocations were pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_sha256: Option<String>,
    /// How it stands.
    pub status: JobStatus,
    /// Present when it was revoked by itself (not with its profile).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<JobRevocation>,
}

impl SigningJob {
    /// Returns what a pushed revocation names this one signature by, if that is known.
    pub fn identity(&self) -> Option<String> {
        let signed = self.signed_sha256.as_ref()?;
        Some(trust::revocation::feed::signature_identity(
            &self.leaf_sha256,
            signed,
        ))
    }
}

/// A leaf certificate that is on the revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokedLeaf {
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The number of the intermediate that issued it, from 1 on.
    #[serde(default = "first_issuer", skip_serializing_if = "is_first_issuer")]
    pub issuer: u32,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339")]
    pub revoked_at: OffsetDateTime,
    /// From when on its signatures are bad; all of them when absent.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub invalid_from: Option<OffsetDateTime>,
    /// Until when it stays on the list.
    #[serde(with = "time::serde::rfc3339")]
    pub listed_until: OffsetDateTime,
}

/// A leaf that several jobs share, and that no job's identifier names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedLeaf {
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The number of the intermediate that issued it, from 1 on.
    pub issuer: u32,
}

/// Returns the number of the intermediate that issued all leaves until there was a second.
pub(crate) fn first_issuer() -> u32 {
    1
}

pub(crate) fn is_first_issuer(issuer: &u32) -> bool {
    *issuer == first_issuer()
}

impl RevokedLeaf {
    /// Returns the stricter union of two revocations of one leaf: what either makes bad is bad.
    pub fn union(self, other: Self) -> Self {
        let invalid_from = match (self.invalid_from, other.invalid_from) {
            (Some(one), Some(two)) => Some(one.min(two)),
            _ => None,
        };
        Self {
            serial: self.serial,
            issuer: self.issuer,
            revoked_at: self.revoked_at.min(other.revoked_at),
            invalid_from,
            listed_until: self.listed_until.max(other.listed_until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn identifiers_sort_by_time_and_round_trip() {
        let earlier = JobId::new(datetime!(2026-01-01 0:00 UTC));
        let later = JobId::new(datetime!(2026-01-01 0:00:01 UTC));
        assert!(earlier < later);
        assert_eq!(earlier.to_string().parse::<JobId>().unwrap(), earlier);
        for bad in [
            "",
            "1",
            "../../etc/passwd",
            "zzzzzzzz-0000-0000-0000-000000000000",
        ] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_union_of_two_revocations_is_the_stricter() {
        let leaf = |from: Option<OffsetDateTime>, until| RevokedLeaf {
            serial: "01".to_owned(),
            issuer: 1,
            revoked_at: datetime!(2026-02-01 0:00 UTC),
            invalid_from: from,
            listed_until: until,
        };
        let (early, late) = (
            datetime!(2026-01-01 0:00 UTC),
            datetime!(2026-01-02 0:00 UTC),
        );
        let table = [
            (Some(early), Some(late), Some(early)),
            (Some(late), Some(early), Some(early)),
            (None, Some(early), None),
            (Some(late), None, None),
        ];
        for (one, two, expected) in table {
            let union = leaf(one, early).union(leaf(two, late));
            assert_eq!((union.invalid_from, union.listed_until), (expected, late));
        }
    }
}
