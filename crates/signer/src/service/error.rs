//! What can go wrong with a request.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::authority::AuthorityError;
use crate::job::JobId;
use crate::payload::RefusedPayload;
use crate::principal::Denial;
use crate::profile::{PermissionError, ProfileName, ProfileSpecError};
use crate::records::RecordsError;

/// Says why a request was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// A rule forbids it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// There is no such profile.
    #[error("there is no signing profile `{0}`")]
    NoProfile(ProfileName),
    /// There is no such job.
    #[error("there is no signing job `{0}`")]
    NoJob(JobId),
    /// The log has no such entry or tile.
    #[error("there is no {0} in a log of {1} entries")]
    NotInLog(String, u64),
    /// No intermediate of ours has such a key.
    #[error("no intermediate of this authority has key identifier `{0}`")]
    NoIssuer(String),
    /// The root has no revocation list here.
    #[error("the root of this authority has no revocation list here")]
    NoRootList,
    /// There is no intermediate for time-stamping.
    #[error("this authority stamps no time: it has no intermediate for that")]
    NoTimestamping,
    /// The payload is not signed.
    #[error(transparent)]
    Payload(#[from] RefusedPayload),
    /// What is to be written into the log cannot be.
    #[error(transparent)]
    Entry(#[from] crate::log::EntryError),
    /// The profile cannot be as asked.
    #[error(transparent)]
    Spec(#[from] ProfileSpecError),
    /// Permissions or tags cannot be changed as asked.
    #[error(transparent)]
    Permission(#[from] PermissionError),
    /// A question about revocation names things that do not belong together.
    #[error("{0}")]
    Question(&'static str),
    /// There is another profile of that name.
    #[error("signing profile `{0}` exists with other settings")]
    ProfileExists(ProfileName),
    /// The profile was revoked, for ever.
    #[error("signing profile `{0}` is revoked, which cannot be undone")]
    ProfileRevoked(ProfileName),
    /// A revocation would begin in the future, or later than the one in force.
    #[error("{what} cannot be revoked from {} on: {reason}", rfc3339(*from))]
    RevocationTime {
        /// What was to be revoked, in words.
        what: String,
        /// The moment that was asked for.
        from: OffsetDateTime,
        /// Why not.
        reason: &'static str,
    },
    /// There is no signature that a revocation would cover.
    #[error("nothing was signed that {0} covers")]
    NothingSigned(String),
    /// Every version of a profile that is remembered is revoked.
    #[error("profile `{0}` has as many revoked versions as are remembered")]
    TooManyVersions(ProfileName),
    /// A reason is empty or too long.
    #[error("a revocation needs a reason of 1 to 500 characters")]
    Reason,
    /// The expiry would lie beyond the calendar.
    #[error("the signature would expire beyond the year 9999")]
    ExpiryOverflow,
    /// The list that was asked for in pieces was replaced by a newer one.
    #[error("revocation list {0} was replaced by a newer one")]
    ListReplaced(u64),
    /// Too many requests are waiting.
    #[error("the signer is busy: too many requests are waiting")]
    Busy,
    /// The request took too long.
    #[error("the signer did not finish in time")]
    Timeout,
    /// The request is not one that this signer knows.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// The records cannot be read or written: nothing was signed.
    #[error(transparent)]
    Records(Arc<RecordsError>),
    /// Certificates or lists cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Something that cannot happen.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<RecordsError> for SignerError {
    fn from(error: RecordsError) -> Self {
        Self::Records(Arc::new(error))
    }
}

fn rfc3339(time: OffsetDateTime) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    time.format(format).unwrap_or_else(|_| time.to_string())
}
