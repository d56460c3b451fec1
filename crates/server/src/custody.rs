//! Where the signing keys lie: the choice of whoever starts the server, and the services behind it.
//!
//! A choice is one text (`--custody`):
//!
//! | text | keys lie |
//! |---|---|
//! | `file` | in sealed files of the signer's folder |
//! | `pkcs11:token=NAME?module-path=FILE&pin-source=FILE` | in an HSM (RFC 7512) |
//! | `kms:REGION?endpoint=URL` | in AWS KMS |
//! | `vault:URL?mount=transit&token-file=FILE` | in the transit engine of Vault or OpenBao |
//!
//! The supervisor reads the secrets ([`CustodyChoice::load`]) and hands them to the signer on its
//! standard input; a secret in the text itself is refused, because a command line can be read by
//! everybody. The signer is then confined to what the choice needs.

mod choice;
mod kms;
mod settings;
mod unwrap;
mod vault;

pub use choice::{CustodyChoice, CustodyChoiceError};
pub use settings::{CustodyLoadError, CustodySettings};
pub use unwrap::{UnwrapError, unwrap_by_kms};

/// An AWS access key that the environment gives.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for a temporary key,
    /// `AWS_SESSION_TOKEN`.
    pub key: Option<client::sigv4::AccessKey>,
    /// `AWS_REGION`.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_KMS`.
    pub kms_endpoint: Option<String>,
}
