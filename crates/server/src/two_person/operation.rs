//! The operations that may take two persons.

use serde::{Deserialize, Serialize};
use signer::{JobId, ProfileName, RevocationRequest, Rules};

use crate::api::accounts::NewAccount;
use crate::api::oidc::NewIssuer;
use crate::api::projects::ApplyProject;
use crate::api::signing::{NewProfile, RevokeProfile, RevokeSignature};
use crate::error::ApiError;

/// Something dangerous. Its JSON is what is kept, hashed, shown and confirmed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Operation {
    /// Make a profile, or a new version of one.
    PutProfile(Box<NewProfile>),
    /// Change the rules of a profile.
    PutRules {
        /// The profile.
        profile: ProfileName,
        /// Its rules from then on.
        rules: Rules,
    },
    /// Let a profile sign no more.
    CancelProfile {
        /// The profile.
        profile: ProfileName,
    },
    /// Revoke what a profile signed.
    RevokeProfile {
        /// The profile.
        profile: ProfileName,
        /// From when on, and why.
        revocation: RevokeProfile,
    },
    /// Revoke one signature.
    RevokeSignature {
        /// The signature.
        job: JobId,
        /// Why.
        revocation: RevokeSignature,
    },
    /// Revoke: a signature, a digest, a certificate, a profile or a version of one.
    Revoke {
        /// What, from when on, and why.
        revocation: RevocationRequest,
    },
    /// Make or replace an account.
    PutAccount {
        /// The account as it is to be.
        account: Box<NewAccount>,
        /// Whether it must not exist yet.
        create: bool,
    },
    /// Remove an account.
    RemoveAccount {
        /// The account.
        name: String,
    },
    /// Apply a project.
    ApplyProject {
        /// Its name.
        name: String,
        /// The declarative file and those that it names.
        project: ApplyProject,
    },
    /// Remove a project.
    RemoveProject {
        /// Its name.
        name: String,
    },
    /// Trust an issuer of workload identities, or change its settings.
    PutIssuer {
        /// The issuer.
        issuer: NewIssuer,
    },
    /// Trust an issuer no more.
    RemoveIssuer {
        /// Its id.
        id: String,
    },
    /// Ask for two persons from then on, or no longer.
    RequireTwo {
        /// Whether two are needed.
        required: bool,
    },
}

impl Operation {
    /// Returns what it does, in a sentence.
    pub(super) fn summary(&self) -> String {
        match self {
            Self::PutProfile(new) => format!("put signing profile `{}`", new.name),
            Self::PutRules { profile, .. } => format!("change the rules of profile `{profile}`"),
            Self::CancelProfile { profile } => format!("cancel profile `{profile}`"),
            Self::RevokeProfile {
                profile,
                revocation,
            } => {
                format!("revoke profile `{profile}`: {}", revocation.reason)
            }
            Self::RevokeSignature { job, revocation } => {
                format!("revoke signature `{job}`: {}", revocation.reason)
            }
            Self::Revoke { revocation } => {
                format!("revoke {}: {}", revocation.target, revocation.reason)
            }
            Self::PutAccount { account, .. } => format!("put account `{}`", account.name),
            Self::RemoveAccount { name } => format!("remove account `{name}`"),
            Self::ApplyProject { name, .. } => format!("apply project `{name}`"),
            Self::RemoveProject { name } => format!("remove project `{name}`"),
            Self::PutIssuer { issuer } => format!("trust issuer `{}`", issuer.issuer),
            Self::RemoveIssuer { id } => format!("trust issuer `{id}` no more"),
            Self::RequireTwo { required: true } => "require two persons".to_owned(),
            Self::RequireTwo { required: false } => "no longer require two persons".to_owned(),
        }
    }

    /// Refuses what must not lie in the store for a day.
    pub(super) fn check_may_wait(&self) -> Result<(), ApiError> {
        match self {
            Self::PutAccount { account, .. } if account.password.is_some() => {
                let message =
                    "this takes two persons, and a password is not kept until the second has come";
                Err(ApiError::usage(message).hint("leave the password out, and set it afterwards"))
            }
            _ => Ok(()),
        }
    }
}
