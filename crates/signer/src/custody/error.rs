//! What can go wrong with a key in custody.

use std::path::PathBuf;
use std::sync::Arc;

use super::{KeyAlgorithm, MAX_LABEL_BYTES, SealError};

/// Says why a key could not be opened or made, or did not sign.
///
/// It is cheap to clone: one failure of a device can be the answer to many requests.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CustodyError {
    /// The label cannot name a key. The program's mistake.
    #[error(
        "`{0}` cannot be a key's label: use 1 to {MAX_LABEL_BYTES} letters, digits, `_` and `-`"
    )]
    Label(String),
    /// The secret, PIN or credential does not open the custody.
    #[error("{custody} is locked: {reason}")]
    Locked {
        /// Where the keys lie.
        custody: String,
        /// Why it does not open.
        reason: String,
    },
    /// The custody is out of reach now; it may be back at the next attempt.
    #[error("{custody} cannot be reached: {reason}")]
    Unavailable {
        /// Where the keys lie.
        custody: String,
        /// What failed.
        reason: String,
    },
    /// The custody answered, and will not do it.
    #[error("{custody} refused to {action}: {reason}")]
    Refused {
        /// Where the keys lie.
        custody: String,
        /// What was asked.
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// There is a key under the label already.
    #[error("{custody} already has a key `{label}`")]
    Exists {
        /// Where the keys lie.
        custody: String,
        /// The label.
        label: String,
    },
    /// The key under the label cannot be used.
    #[error("key `{label}` cannot be used: {reason}")]
    Unusable {
        /// The label.
        label: String,
        /// Why not.
        reason: String,
    },
    /// The custody has no keys of this kind.
    #[error("{custody} has no {algorithm} keys")]
    Unsupported {
        /// Where the keys lie.
        custody: String,
        /// What was asked for.
        algorithm: KeyAlgorithm,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A sealed key is damaged.
    #[error("cannot open `{path}`")]
    Seal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl CustodyError {
    /// Returns whether the same request may succeed later without anybody changing a setting.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<aws_lc_rs::error::Unspecified> for CustodyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Library
    }
}
