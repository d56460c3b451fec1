//! Who asks, and why they may not.
//!
//! The front authenticates; what it says about the caller is believed here, because the socket
//! admits nobody else. Whether the caller may use a profile is decided here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::account::AccountNumber;
use crate::profile::ProfileName;
use crate::profile::rules::{NearMiss, Quota, RuleId, Unknown};

/// What a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person with an account.
    Person,
    /// An automation with an account.
    Robot,
    /// A run of a pipeline.
    Run,
    /// A workload of a CI system, known by a token of its issuer (OpenID Connect).
    Workload,
}

/// A workload of a CI system, as its verified token describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Who vouches for it (`iss`).
    pub issuer: String,
    /// What it is called there (`sub`).
    pub subject: String,
    /// Those other claims that the issuer's settings keep.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

/// The authenticated caller, as the front knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The account.
    pub account: String,
    /// The account number that it speaks for, when it signed its request the way of AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<AccountNumber>,
    /// The pipeline, when the caller is a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The run, when the caller is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The workload, when the caller is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// The groups of the account.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Whether the account is an automation and not a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_robot: bool,
    /// Whether the account administers this installation. Needed for profiles and revocation; not
    /// a grant to sign.
    #[serde(default)]
    pub is_admin: bool,
    /// The second person, who confirmed what takes two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
}

impl Principal {
    /// Returns a person or machine with an account.
    pub fn account(name: &str) -> Self {
        Self {
            account: name.to_owned(),
            number: None,
            pipeline: None,
            run: None,
            workload: None,
            groups: BTreeSet::new(),
            is_robot: false,
            is_admin: false,
            confirmed_by: None,
        }
    }

    /// Returns the same caller as an automation.
    pub fn as_robot(self) -> Self {
        Self {
            is_robot: true,
            ..self
        }
    }

    /// Returns the same caller as a member of these groups alone.
    pub fn in_groups(self, groups: BTreeSet<String>) -> Self {
        Self { groups, ..self }
    }

    /// Returns what the caller is.
    pub fn kind(&self) -> PrincipalKind {
        match self {
            Self {
                pipeline: Some(_), ..
            } => PrincipalKind::Run,
            Self {
                workload: Some(_), ..
            } => PrincipalKind::Workload,
            Self { is_robot: true, .. } => PrincipalKind::Robot,
            _ => PrincipalKind::Person,
        }
    }

    /// Returns the same caller as an administrator.
    pub fn as_admin(self) -> Self {
        Self {
            is_admin: true,
            ..self
        }
    }

    /// Returns whether the caller administers this installation. A run of an administrator's
    /// pipeline is not the administrator.
    pub fn administers(&self) -> bool {
        self.is_admin && self.pipeline.is_none() && self.workload.is_none()
    }

    /// Returns a text that no other principal has: who a quota counts for. Runs of one pipeline
    /// are one principal.
    pub fn identity(&self) -> String {
        match (&self.pipeline, &self.workload) {
            (Some(pipeline), _) => format!("pipeline {pipeline}"),
            (None, Some(workload)) => format!("workload {} {}", workload.issuer, workload.subject),
            (None, None) => format!("account {}", self.account),
        }
    }

    /// Returns the caller in words, for records: ``account `dev` ``, ``pipeline `build` (run 7)``.
    pub fn describe(&self) -> String {
        match (&self.pipeline, &self.run, &self.workload) {
            (Some(pipeline), Some(run), _) => format!("pipeline `{pipeline}` (run `{run}`)"),
            (Some(pipeline), None, _) => format!("pipeline `{pipeline}`"),
            (None, _, Some(workload)) => {
                format!("workload `{}` of `{}`", workload.subject, workload.issuer)
            }
            (None, _, None) => match &self.confirmed_by {
                None => format!("account `{}`", self.account),
                Some(second) => format!("account `{}`, confirmed by `{second}`", self.account),
            },
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
        principal: Box<Principal>,
    },
    /// The profile has rules, and none of them matches.
    #[error(
        "no rule of profile `{profile}` lets {} sign this{}",
        grantee(principal),
        listed(near)
    )]
    NoRule {
        /// The profile.
        profile: ProfileName,
        /// The caller.
        principal: Box<Principal>,
        /// Rules that allow the caller something else.
        near: Vec<NearMiss>,
    },
    /// A rule denies it.
    #[error(
        "rule `{rule}` of profile `{profile}` denies {} this{}",
        grantee(principal),
        doubt(*uncertain)
    )]
    ByRule {
        /// The profile.
        profile: ProfileName,
        /// The caller.
        principal: Box<Principal>,
        /// The rule.
        rule: RuleId,
        /// Present when the rule is bound to what is not known of the request.
        uncertain: Option<Unknown>,
    },
    /// The quota of the rule that allows it is used up.
    #[error(
        "rule `{rule}` of profile `{profile}` allows {} only {quota}, and they are used up",
        grantee(principal)
    )]
    Quota {
        /// The profile.
        profile: ProfileName,
        /// The caller.
        principal: Box<Principal>,
        /// The rule.
        rule: RuleId,
        /// Its quota.
        quota: Quota,
    },
    /// The profile was canceled.
    #[error("profile `{0}` is canceled: it makes no new signatures")]
    Canceled(ProfileName),
    /// The profile was revoked.
    #[error("profile `{0}` is revoked: it makes no new signatures")]
    Revoked(ProfileName),
    /// The version that the profile has now was revoked.
    #[error(
        "version `{1}` of profile `{0}` is revoked: it makes no new signatures until the profile \
         has another version"
    )]
    VersionRevoked(ProfileName, String),
    /// The profile of this name belongs to another account number.
    #[error(
        "profile `{0}` belongs to another account number: a name is one certificate subject, so \
         choose another"
    )]
    AnothersProfile(ProfileName),
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
            Self::NoRule { .. } => "no-rule-matches",
            Self::ByRule { .. } => "rule-denies",
            Self::Quota { .. } => "quota-used-up",
            Self::Canceled(_) => "profile-canceled",
            Self::Revoked(_) => "profile-revoked",
            Self::VersionRevoked(..) => "profile-version-revoked",
            Self::AnothersProfile(_) => "profile-of-another-number",
            Self::AdministratorsOnly { .. } => "administrators-only",
            Self::OthersSignature { .. } => "signature-of-another-account",
        }
    }
}

fn grantee(principal: &Principal) -> String {
    match (&principal.pipeline, &principal.workload) {
        (Some(pipeline), _) => format!("pipeline `{pipeline}`"),
        (None, Some(workload)) => {
            format!("workload `{}` of `{}`", workload.subject, workload.issuer)
        }
        (None, None) => format!("account `{}`", principal.account),
    }
}

fn listed(near: &[NearMiss]) -> String {
    near.iter().map(|one| format!("; {one}")).collect()
}

fn doubt(uncertain: Option<Unknown>) -> String {
    let aside = |why| format!(", because it is bound to repositories or types, and {why}");
    uncertain.map(aside).unwrap_or_default()
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
