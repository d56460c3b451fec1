//! The protocol between the front and the signer: frames of JSON over a unix socket.
//!
//! A frame is a length (four bytes, big endian) and as many bytes of JSON, at most
//! [`MAX_FRAME_BYTES`] in both directions. Requests carry a number that the answer repeats, so
//! many may be under way on one connection and answers come in any order. Whatever is larger than
//! a frame (a long revocation list) is asked for in pieces.

pub mod log;
pub mod revocation;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::account::AccountNumber;
use crate::authority::{AuthorityError, AuthoritySubject};
use crate::custody::CustodyError;
use crate::job::{JobId, SigningJob};
use crate::principal::{Denial, Principal};
use crate::profile::rules::Artifact;
use crate::profile::{
    PermissionChange, PermissionError, ProfileName, ProfileSpec, SigningProfile, TagChange,
};
use crate::service::{
    JobFilter, JobListing, ProfileChange, RevokedParts, RuleTest, RuleTestResult, SignedEnvelope,
    SignerError, StatusQuestion,
};

/// The longest frame, in bytes. A payload of 4 KiB and an envelope around it with three
/// certificates stay below a third of it.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// The most bytes of a revocation list in one answer: base64 makes four of three.
pub const LIST_PIECE_BYTES: usize = 40 * 1024;
/// The most profiles in one answer: the largest fits into a frame together with one other.
pub const PROFILE_PAGE_BYTES: usize = 48 * 1024;

/// What the front asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Request {
    /// Whether the signer is there.
    Ping,
    /// A Notary signature.
    Sign {
        /// Who asks.
        principal: Principal,
        /// Under which profile.
        profile: ProfileName,
        /// The account number that the profile must belong to.
        #[serde(default)]
        owner: Option<AccountNumber>,
        /// The Notary payload.
        #[serde(with = "base64_bytes")]
        payload: Vec<u8>,
        /// What the front knows of the artifact.
        #[serde(default)]
        artifact: Artifact,
    },
    /// A DSSE envelope.
    Attest {
        /// Who asks.
        principal: Principal,
        /// Under which profile.
        profile: ProfileName,
        /// The type of the payload.
        payload_type: String,
        /// The statement.
        #[serde(with = "base64_bytes")]
        payload: Vec<u8>,
        /// What the front knows of the artifact.
        #[serde(default)]
        artifact: Artifact,
    },
    /// Make or change a profile.
    PutProfile {
        /// Who asks.
        principal: Principal,
        /// What the profile is to be.
        spec: ProfileSpec,
        /// Whether another version may be replaced.
        replace: bool,
    },
    /// Ask what the rules would say.
    TestRules {
        /// Who asks.
        principal: Principal,
        /// About what.
        test: RuleTest,
    },
    /// Show a profile.
    Profile {
        /// Who asks.
        principal: Principal,
        /// Which.
        name: ProfileName,
    },
    /// List profiles.
    Profiles {
        /// Who asks.
        principal: Principal,
        /// Only those after this one.
        after: Option<ProfileName>,
    },
    /// Let a profile sign no more.
    CancelProfile {
        /// Who asks.
        principal: Principal,
        /// Which.
        name: ProfileName,
    },
    /// Revoke what a profile signed.
    RevokeProfile {
        /// Who asks.
        principal: Principal,
        /// Which.
        name: ProfileName,
        /// From when on; everything when absent.
        #[serde(default, with = "time::serde::rfc3339::option")]
        from: Option<OffsetDateTime>,
        /// Why.
        reason: String,
    },
    /// Show a job.
    Job {
        /// Who asks.
        principal: Principal,
        /// Which.
        id: JobId,
    },
    /// Revoke one signature.
    RevokeJob {
        /// Who asks.
        principal: Principal,
        /// Which.
        id: JobId,
        /// Why.
        reason: String,
        /// Whether a leaf that other signatures share is revoked with it.
        whole_leaf: bool,
    },
    /// Add or remove a permission of a profile.
    ChangePermissions {
        /// Who asks.
        principal: Principal,
        /// Which profile.
        name: ProfileName,
        /// What changes.
        change: PermissionChange,
        /// The revision that the change was made against.
        revision: Option<String>,
    },
    /// Set and remove tags of a profile.
    ChangeTags {
        /// Who asks.
        principal: Principal,
        /// Which profile.
        name: ProfileName,
        /// What changes.
        change: TagChange,
    },
    /// List jobs.
    Jobs {
        /// Who asks.
        principal: Principal,
        /// Which.
        filter: JobFilter,
    },
    /// What of a signature was revoked.
    RevokedParts(StatusQuestion),
    /// The trust anchor and the chain.
    Authority,
    /// Where the keys lie.
    Custody,
    /// Something about the log.
    Log(log::LogRequest),
    /// Something about revocation.
    Revocation(revocation::RevocationCall),
    /// A piece of the revocation list.
    RevocationList {
        /// Whose, by the identifier of the issuer's key; the newest intermediate's when absent.
        #[serde(default)]
        issuer: Option<String>,
        /// Which list; the current one when absent.
        number: Option<u64>,
        /// Where the piece begins.
        offset: usize,
    },
    /// The revocation list of the root.
    RootList,
    /// The answer to an OCSP request.
    Ocsp {
        /// The request in DER.
        #[serde(with = "base64_bytes")]
        request: Vec<u8>,
    },
    /// The answer to a time-stamp request.
    Timestamp {
        /// The request in DER.
        #[serde(with = "base64_bytes")]
        request: Vec<u8>,
    },
}

/// What the signer answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "an answer lives until it is written, and never in a collection"
)]
pub enum Response {
    /// The signer is there.
    Pong,
    /// A signature.
    Signed(SignedEnvelope),
    /// A profile that was put.
    ProfilePut {
        /// What happened.
        change: ProfileChange,
        /// The profile as it is now.
        profile: SigningProfile,
    },
    /// A profile.
    Profile(SigningProfile),
    /// What the rules say.
    RulesTested(RuleTestResult),
    /// A page of profiles.
    Profiles {
        /// The profiles, by name.
        profiles: Vec<SigningProfile>,
        /// Whether there are more after the last.
        more: bool,
    },
    /// A job.
    Job(SigningJob),
    /// A page of jobs.
    Jobs(JobListing),
    /// What of a signature was revoked.
    RevokedParts(RevokedParts),
    /// The trust anchor and the chain.
    Authority {
        /// The root in PEM.
        root_pem: String,
        /// Intermediate and root in PEM.
        chain_pem: String,
        /// What all subjects share.
        subject: AuthoritySubject,
        /// Where the leaves say that the revocation list is.
        crl_url: Option<String>,
        /// Where the lists of the intermediates are, with the identifiers of their keys.
        lists: Vec<(String, String)>,
        /// Where the list of the root is.
        root_crl_url: Option<String>,
    },
    /// Where the keys lie, in words.
    Custody(String),
    /// Something about the log.
    Log(log::LogResponse),
    /// Something about revocation.
    Revocation(revocation::RevocationReply),
    /// A piece of the revocation list.
    RevocationList {
        /// Its number.
        number: u64,
        /// Until when it may be used.
        #[serde(with = "time::serde::rfc3339")]
        next_update: OffsetDateTime,
        /// The length of the whole list.
        total_bytes: usize,
        /// The piece.
        #[serde(with = "base64_bytes")]
        piece: Vec<u8>,
    },
    /// A document in DER.
    Document {
        /// The document.
        #[serde(with = "base64_bytes")]
        der: Vec<u8>,
        /// Until when it may be used.
        #[serde(default, with = "time::serde::rfc3339::option")]
        next_update: Option<OffsetDateTime>,
    },
    /// It was not done.
    Failed(Failure),
}

/// Whose fault a failure is, and so which status and exit code it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The request is wrong in itself.
    Usage,
    /// A rule forbids it.
    Denied,
    /// What it names does not exist.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// A quota is used up, or there are too many already.
    TooMany,
    /// Try again later.
    Unavailable,
    /// A fault of ours.
    Internal,
}

/// A failure as the front and its callers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whose fault it is.
    pub kind: FailureKind,
    /// A stable kebab-case code.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&SignerError> for Failure {
    fn from(error: &SignerError) -> Self {
        let (kind, code) = classify(error);
        let mut message = error.to_string();
        // Whose fault it is not, need not see our paths and reasons.
        if kind == FailureKind::Internal {
            message = "the signer failed; its log says why".to_owned();
        }
        let hint = hint(error).map(str::to_owned);
        Self {
            kind,
            code: code.to_owned(),
            message,
            hint,
        }
    }
}

fn classify(error: &SignerError) -> (FailureKind, &'static str) {
    match error {
        SignerError::Denied(denial @ Denial::Quota { .. }) => (FailureKind::TooMany, denial.code()),
        SignerError::Denied(denial) => (FailureKind::Denied, denial.code()),
        SignerError::NoProfile(_) => (FailureKind::NotFound, "profile-not-found"),
        SignerError::NotInLog(..) => (FailureKind::NotFound, "log-not-found"),
        SignerError::NoJob(_) => (FailureKind::NotFound, "signature-not-found"),
        SignerError::NoIssuer(_) => (FailureKind::NotFound, "issuer-not-found"),
        SignerError::NoRootList => (FailureKind::NotFound, "root-list-not-found"),
        SignerError::NoTimestamping => (FailureKind::NotFound, "timestamping-not-set-up"),
        SignerError::Payload(_) => (FailureKind::Usage, "payload-refused"),
        SignerError::Entry(_) => (FailureKind::Usage, "log-entry-refused"),
        SignerError::Spec(_) => (FailureKind::Usage, "profile-invalid"),
        SignerError::Permission(error) => permission(error),
        SignerError::Question(_) => (FailureKind::Usage, "revocation-question-refused"),
        SignerError::Reason => (FailureKind::Usage, "reason-invalid"),
        SignerError::ExpiryOverflow => (FailureKind::Usage, "expiry-out-of-range"),
        SignerError::Malformed(_) => (FailureKind::Usage, "request-malformed"),
        SignerError::ProfileExists(_) => (FailureKind::Conflict, "profile-exists"),
        SignerError::ProfileRevoked(_) => (FailureKind::Conflict, "profile-revoked"),
        SignerError::NothingSigned(_) => (FailureKind::NotFound, "nothing-signed"),
        SignerError::TooManyVersions(_) => (FailureKind::Conflict, "too-many-versions"),
        SignerError::RevocationTime { .. } => (FailureKind::Conflict, "revocation-time-refused"),
        SignerError::ListReplaced(_) => (FailureKind::Conflict, "revocation-list-replaced"),
        SignerError::Busy => (FailureKind::Unavailable, "signer-busy"),
        SignerError::Timeout => (FailureKind::Unavailable, "signer-timeout"),
        SignerError::Authority(AuthorityError::Custody(CustodyError::Unavailable { .. })) => {
            (FailureKind::Unavailable, "keys-unreachable")
        }
        SignerError::Authority(AuthorityError::Custody(CustodyError::Locked { .. })) => {
            (FailureKind::Unavailable, "keys-locked")
        }
        SignerError::Records(_) => (FailureKind::Internal, "signer-records-failed"),
        _ => (FailureKind::Internal, "signer-failed"),
    }
}

fn permission(error: &PermissionError) -> (FailureKind, &'static str) {
    match error {
        PermissionError::Missing(..) => (FailureKind::NotFound, "permission-not-found"),
        PermissionError::Exists(..) => (FailureKind::Conflict, "permission-exists"),
        PermissionError::Revision { .. } => (FailureKind::Conflict, "permission-revision-stale"),
        PermissionError::TooMany(_) => (FailureKind::TooMany, "permissions-too-many"),
        _ => (FailureKind::Usage, "permission-invalid"),
    }
}

fn hint(error: &SignerError) -> Option<&'static str> {
    match error {
        SignerError::Denied(Denial::NotGranted { .. }) => Some(
            "ask an administrator to name you in the profile's grants, or use your own profile",
        ),
        SignerError::Denied(Denial::NoRule { .. } | Denial::ByRule { .. }) => Some(
            "see which rule decides with `countersign profile rules test`, and ask an administrator to change it",
        ),
        SignerError::Denied(Denial::Quota { .. }) => {
            Some("wait for the next window of the quota, or ask an administrator to raise it")
        }
        SignerError::NoProfile(_) => Some("list the profiles with `countersign profile list`"),
        SignerError::ProfileExists(_) => {
            Some("choose another name, or replace it by a new version with `--replace`")
        }
        SignerError::ProfileRevoked(_) | SignerError::TooManyVersions(_) => {
            Some("make a profile with another name")
        }
        SignerError::Denied(Denial::VersionRevoked(..)) => Some(
            "have an administrator make a new version with `countersign profile create --replace`",
        ),
        SignerError::NothingSigned(_) => Some("look at the name: nothing is revoked in advance"),
        SignerError::NoTimestamping => Some(
            "make a request with `countersign ca request --for time-stamping`, have the root sign it, and bring it in with `countersign ca import`",
        ),
        _ => None,
    }
}

/// A request with its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Numbered<T> {
    pub(crate) id: u64,
    pub(crate) body: T,
}

/// Says why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    /// The other side announced a frame that is too long.
    #[error("a frame of {0} bytes is longer than {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// The frame is not what it should be.
    #[error("the frame cannot be read")]
    Json(#[from] serde_json::Error),
}

/// Returns the frame that holds `value`.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0u8; 4];
    serde_json::to_writer(&mut frame, value)?;
    let length = frame.len() - 4;
    match u32::try_from(length) {
        Ok(announced) if length <= MAX_FRAME_BYTES => {
            frame[..4].copy_from_slice(&announced.to_be_bytes());
            Ok(frame)
        }
        _ => Err(FrameError::TooLong(length)),
    }
}

/// Reads the length of the next frame; `None` when the other side is done.
pub(crate) async fn read_length(
    reader: &mut (impl AsyncRead + Unpin),
) -> Result<Option<usize>, FrameError> {
    let mut length = [0u8; 4];
    match reader.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong(length));
    }
    Ok(Some(length))
}

/// Reads the rest of a frame.
pub(crate) async fn read_body(
    reader: &mut (impl AsyncRead + Unpin),
    length: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut body = vec![0u8; length];
    reader.read_exact(&mut body).await?;
    Ok(body)
}

/// Bytes as standard base64 in JSON.
pub(crate) mod base64_bytes {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        BASE64_STANDARD
            .decode(&*text)
            .map_err(serde::de::Error::custom)
    }
}
