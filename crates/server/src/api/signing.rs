//! Signing: profiles, signatures, attestations, and the public side of the authority.
//!
//! The signer decides who may sign with what; the front tells it who asks. What is checked here is
//! only what the signer cannot know: the limits of the token that was sent, and that a run signs
//! nothing but what it made itself.

mod artifact;
mod custody;
mod grants;
mod pki;
mod principal;
mod profiles;
mod rules;
mod signatures;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci::{Descriptor, RepositoryName};
use serde::{Deserialize, Serialize};
use signer::protocol::FailureKind;
use signer::{
    Dialect, Grants, LeafPolicy, ProfileChange, ProfileName, ProfileSpec, Rules, SignerClientError,
    SigningPlatform, SigningProfile, Validity,
};
use time::OffsetDateTime;

pub use artifact::known_artifact;
pub(crate) use artifact::stored_artifact;
pub use custody::KeyCustody;
pub use grants::keep_grants;
pub(crate) use grants::with_accounts;
pub(crate) use grants::{front_principal, profiles_to_regrant};
pub(crate) use principal::{check_limits, check_made_by_run, of_caller};
pub use principal::{pipeline_principal, qualified_pipeline};
pub use profiles::put_profile;
pub(crate) use profiles::shown_profile;
pub use rules::{Asker, ProfileRules, RuleQuestion};
pub(crate) use rules::{checked_groups, put_rules};
pub use signatures::{attest, sign};
pub use signer::{SignedEnvelope, SigningJob};

use crate::error::{ApiError, ErrorKind, chain};
use crate::state::Front;

/// A request for a profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewProfile {
    /// The name, which becomes the common name of its certificates.
    pub name: ProfileName,
    /// What it signs for.
    #[serde(default)]
    pub platform: SigningPlatform,
    /// How long its signatures stay valid, such as `7 days`.
    pub validity: Validity,
    /// Which leaf signs.
    #[serde(default)]
    pub leaf: LeafPolicy,
    /// What its envelopes carry.
    #[serde(default)]
    pub dialect: Dialect,
    /// Who may use it.
    #[serde(default)]
    pub grants: Grants,
    /// Who may sign what with it, in place of grants.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
    /// Whether changing, canceling and revoking it takes two administrators.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub two_person: bool,
    /// Whether a profile of that name with other settings gets a new version.
    #[serde(default)]
    pub replace: bool,
}

impl NewProfile {
    fn spec(self) -> ProfileSpec {
        ProfileSpec {
            name: self.name,
            platform: self.platform,
            validity: self.validity,
            leaf: self.leaf,
            dialect: self.dialect,
            owner: None,
            grants: self.grants,
            rules: self.rules,
            two_person: self.two_person,
        }
    }
}

/// A profile as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// The profile.
    #[serde(flatten)]
    pub profile: SigningProfile,
    /// The trusted identity that stands for it in a trust policy.
    pub identity: String,
}

/// What putting a profile did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PutProfile {
    /// Whether it is new, changed, or was so already.
    pub change: ProfileChange,
    /// The profile as it is now.
    #[serde(flatten)]
    pub profile: Profile,
}

/// A request to revoke what a profile signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeProfile {
    /// From when on, in the past; everything that it ever signed when absent.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub from: Option<OffsetDateTime>,
    /// Only what this version of it signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why.
    pub reason: String,
}

/// A request for a Notary signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSignature {
    /// Under which profile.
    pub profile: ProfileName,
    /// What is signed. Only media type, digest and size are.
    pub artifact: Descriptor,
    /// The repository of ours that holds it; needed with the token of a run, and by rules that are
    /// bound to repositories or artifact types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// User metadata, signed as well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// A request for a DSSE envelope.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAttestation {
    /// Under which profile.
    pub profile: ProfileName,
    /// The type of the payload: `application/vnd.in-toto+json`.
    pub payload_type: String,
    /// The in-toto statement, in base64.
    pub payload: String,
    /// The repository of ours that holds what the statement is about; needed by rules that are
    /// bound to repositories or artifact types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
}

impl NewAttestation {
    /// Returns the request for an in-toto statement.
    pub fn of_statement(profile: ProfileName, statement: &[u8]) -> Self {
        Self {
            profile,
            payload_type: signer::payload::IN_TOTO_PAYLOAD_TYPE.to_owned(),
            payload: BASE64_STANDARD.encode(statement),
            repository: None,
        }
    }
}

/// A request to revoke a signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeSignature {
    /// Why.
    pub reason: String,
    /// Whether a certificate that other signatures share is revoked, and they with it.
    #[serde(default)]
    pub whole_leaf: bool,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/custody", get(custody::show))
        .route("/pki/root.pem", get(pki::root))
        .route("/pki/chain.pem", get(pki::chain))
        .route("/pki/ca.crl", get(pki::revocation_list))
        .route("/pki/crl/{file}", get(pki::list_of_issuer))
        .route("/pki/root.crl", get(pki::root_list))
        .merge(pki_requests())
        .route(
            "/api/v1/profiles",
            get(profiles::list).post(profiles::create),
        )
        .route("/api/v1/profiles/{name}", get(profiles::show))
        .route(
            "/api/v1/profiles/{name}/rules",
            get(rules::show).put(rules::replace),
        )
        .route("/api/v1/profiles/{name}/rules/test", post(rules::test))
        .route("/api/v1/profiles/{name}/cancel", post(profiles::cancel))
        .route("/api/v1/profiles/{name}/revoke", post(profiles::revoke))
        .route("/api/v1/signatures", post(signatures::create))
        .route("/api/v1/attestations", post(signatures::create_attestation))
        .route("/api/v1/signatures/{job}", get(signatures::show))
        .route("/api/v1/signatures/{job}/revoke", post(signatures::revoke))
}

fn pki_requests() -> Router<Front> {
    Router::new()
        .route("/pki/ocsp", post(pki::ocsp_post))
        .route("/pki/ocsp/{*request}", get(pki::ocsp_get))
        .route("/pki/tsa", post(pki::timestamp))
        .layer(DefaultBodyLimit::max(pki::MAX_REQUEST_BYTES))
}

impl From<SignerClientError> for ApiError {
    fn from(error: SignerClientError) -> Self {
        let kind = match error.kind() {
            FailureKind::Usage => ErrorKind::Usage,
            FailureKind::Denied => ErrorKind::Denied,
            FailureKind::NotFound => ErrorKind::NotFound,
            FailureKind::Conflict => ErrorKind::Conflict,
            FailureKind::TooMany => ErrorKind::TooManyRequests,
            FailureKind::Unavailable => ErrorKind::Unavailable,
            FailureKind::Internal => return Self::internal(chain(&error)),
        };
        let SignerClientError::Failed(failure) = error else {
            return Self::unavailable("the signer does not answer", chain(&error))
                .hint("try again; if it stays so, look into the server's log");
        };
        let answer = Self::new(kind, known_code(&failure.code), failure.message);
        match failure.hint {
            Some(hint) => answer.hint(hint),
            None => answer,
        }
    }
}

/// The signer's codes, which are stable and part of this API; each stands in
/// `docs/reference/codes.md`.
const CODES: &[&str] = &[
    "issuer-not-found",
    "root-list-not-found",
    "timestamping-not-set-up",
    "profile-not-granted",
    "no-rule-matches",
    "rule-denies",
    "quota-used-up",
    "profile-canceled",
    "profile-revoked",
    "profile-version-revoked",
    "nothing-signed",
    "too-many-versions",
    "administrators-only",
    "signature-of-another-account",
    "profile-not-found",
    "profile-of-another-number",
    "permission-not-found",
    "permission-exists",
    "permission-revision-stale",
    "permission-invalid",
    "permissions-too-many",
    "revocation-question-refused",
    "signature-not-found",
    "payload-refused",
    "log-not-found",
    "log-entry-refused",
    "profile-invalid",
    "reason-invalid",
    "expiry-out-of-range",
    "request-malformed",
    "profile-exists",
    "revocation-time-refused",
    "revocation-list-replaced",
    "signer-busy",
    "signer-timeout",
    "keys-unreachable",
    "keys-locked",
];

fn known_code(code: &str) -> &'static str {
    let known = CODES.iter().find(|known| **known == code);
    known.copied().unwrap_or("signer-failed")
}

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn every_code_of_the_signer_has_its_row() {
        let page = include_str!("../../../../docs/reference/codes.md");
        let missing: Vec<_> = CODES
            .iter()
            .filter(|code| !page.contains(&format!("| `{code}`")))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
