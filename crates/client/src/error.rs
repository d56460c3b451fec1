//! The ways in which asking others can fail.
//!
//! One enum for all of this room, because its callers all do the same with it: classify it
//! ([`ClientError::kind`]) and tell a person.

use std::path::PathBuf;

use oci::Digest;

/// Says why something could not be fetched or delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The other side does not have it. The caller named the wrong thing, or may not see it.
    #[error("{what} not found in `{place}`")]
    NotFound {
        /// What was asked for, such as "manifest `sha256:…`".
        what: String,
        /// The repository, registry or folder.
        place: String,
    },
    /// The other side wants other credentials, or none will do.
    #[error("access to `{place}` was denied: {reason}")]
    Denied {
        /// The repository or registry.
        place: String,
        /// What the other side said.
        reason: String,
    },
    /// The network or the other side does not work at the moment; trying later may help.
    #[error("`{place}` is unavailable: {reason}")]
    Unavailable {
        /// The host or service.
        place: String,
        /// What happened, in words.
        reason: String,
        /// What the layer below reported.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The content is not what its digest says. Somebody is at fault, and nobody can use it.
    #[error("content of `{place}` has digest `{found}`, not `{expected}`")]
    DigestMismatch {
        /// Where the content came from.
        place: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The content has not the size that its descriptor says.
    #[error("blob `{digest}` has not the {expected} bytes that its descriptor says")]
    SizeMismatch {
        /// The digest that was asked for.
        digest: Digest,
        /// The size in the descriptor.
        expected: u64,
    },
    /// Larger than the caller, or this room, is willing to take.
    #[error("{what} has more than {limit_bytes} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The other side answered with something that the standard does not allow.
    #[error("`{place}` answered with something unusable: {reason}")]
    Malformed {
        /// The host, repository or file.
        place: String,
        /// What is wrong, in words.
        reason: String,
        /// What the parser reported.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The other side does not take what was sent, or asked for.
    #[error("`{place}` refused {what}: {reason}")]
    Refused {
        /// The repository or registry.
        place: String,
        /// What was sent or asked for.
        what: String,
        /// What the other side said.
        reason: String,
    },
    /// The other side cannot do this.
    #[error("`{place}` does not support {what}")]
    Unsupported {
        /// The host or service.
        place: String,
        /// What it cannot do.
        what: String,
    },
    /// The other side has something else under this name, and keeps it.
    #[error("`{place}` refused because of a conflict: {reason}")]
    Conflict {
        /// The repository.
        place: String,
        /// What the other side said.
        reason: String,
    },
    /// Something on this machine is set up wrongly.
    #[error("{what}")]
    Configuration {
        /// What is wrong, naming the file or setting.
        what: String,
        /// What the layer below reported.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A file or folder could not be read or written.
    #[error("`{}` could not be {action}", path.display())]
    Io {
        /// What was tried: "read", "written", "created".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system reported.
        #[source]
        source: std::io::Error,
    },
    /// Anything else, from a source of another room.
    #[error("{what}")]
    Other {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a caller does with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The thing does not exist.
    NotFound,
    /// Other credentials or permissions are needed.
    Denied,
    /// Trying again later may help.
    Unavailable,
    /// The content or the answer is not what it must be.
    Bad,
    /// Something else is there.
    Conflict,
    /// What was asked for makes no sense to the other side, or it cannot do it.
    Refused,
    /// A setting or file on this machine is wrong.
    Configuration,
    /// None of these.
    Internal,
}

impl ClientError {
    /// Returns what a caller does with this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. } => ErrorKind::Bad,
            Self::Refused { .. } | Self::Unsupported { .. } => ErrorKind::Refused,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Configuration { .. } | Self::Io { .. } => ErrorKind::Configuration,
            Self::Other { .. } => ErrorKind::Internal,
        }
    }

    /// Returns whether this says that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

/// Returns an error and its causes in one line, for a place that holds only text.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
