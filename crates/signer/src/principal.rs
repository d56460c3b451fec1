//! Who asks, and why they may not.
//!
//! The front authenticates; what it says about the caller is believed here, because the socket
//! admits nobody else. Whether the caller may use a profile is decided here.

use serde::{Deserialize, Serialize};

use crate::profile::ProfileName;

/// The authenticated caller, as the front knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The account.
    pub account: String,
    /// The pipeline, when the caller is a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The run, when the caller is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Whether the account administers this installation. Needed for profiles and revocation; not
    /// a grant to sign.
    #[serde(default)]
    pub is_admin: bool,
}

impl Principal {
    /// Returns a person or machine with an account.
    pub fn account(name: &str) -> Self {
        Self {
            account: name.to_owned(),
            pipeline: None,
            run: None,
            is_admin: false,
        }
    }

    /// Returns the same caller as an administrator.
    pub fn as_admin(self) -> Self {
        Self {
            is_admin: true,
            ..self
        }
    }

    /// Returns the caller in words, for records: ``account `dev` ``, ``pipeline `build` (run 7)``.
    pub fn describe(&self) -> String {
        match (&self.pipeline, &self.run) {
            (Some(pipeline), Some(run)) => format!("pipeline `{pipeline}` (run `{run}`)"),
            (Some(pipeline), None) => format!("pipeline `{pipeline}`"),
            (None, _) => format!("account `{}`", self.account),
        }
    }
}

/// The rule that forbids what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The profile does not name the caller.
    #[error(
        "profile `{profile}` is not granted to {}: only the accounts and pipelines that a profile \
         names may sign with it{}",
        grantee(principal),
        aside(principal)
    )]
    NotGranted {
        /// The profile.
        profile: ProfileName,
        /// The caller.
        principal: Principal,
    },
    /// The profile was canceled.
    #[error("profile `{0}` is canceled: it makes no new signatures")]
    Canceled(ProfileName),
    /// The profile was revoked.
    #[error("profile `{0}` is revoked: it makes no new signatures")]
    Revoked(ProfileName),
    /// Only an administrator may do this.
    #[error("account `{account}` may not {action}: only an administrator may")]
    AdministratorsOnly {
        /// The account.
        account: String,
        /// What it wanted to do.
        action: &'static str,
    },
    /// Only the maker of a signature, or an administrator, may see or revoke it.
    #[error(
        "account `{account}` may not {action}: only the account that made it or an administrator may"
    )]
    OthersSignature {
        /// The account.
        account: String,
        /// What it wanted to do.
        action: &'static str,
    },
}

impl Denial {
    /// Returns the stable code of the rule.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotGranted { .. } => "profile-not-granted",
            Self::Canceled(_) => "profile-canceled",
            Self::Revoked(_) => "profile-revoked",
            Self::AdministratorsOnly { .. } => "administrators-only",
            Self::OthersSignature { .. } => "signature-of-another-account",
        }
    }
}

fn grantee(principal: &Principal) -> String {
    match &principal.pipeline {
        Some(pipeline) => format!("pipeline `{pipeline}`"),
        None => format!("account `{}`", principal.account),
    }
}

fn aside(principal: &Principal) -> &'static str {
    match principal {
        Principal {
            pipeline: Some(_), ..
        } => ", and a run signs as its pipeline",
        Principal { is_admin: true, .. } => ", and being an administrator is not a grant",
        _ => "",
    }
}
