//! What an account may do, and the checks that name the missing rule.
//!
//! A denial always says which line of the account's grants would have allowed the request, so
//! that whoever reads it knows what to ask the administrator for.

use std::collections::BTreeSet;

use oci::{Pattern, RepositoryName};
use serde::{Deserialize, Serialize};
use signer::Workload;
use store::accounts::GrantRow;

use crate::error::ApiError;

/// What an account or one of its tokens may do. Nothing is allowed that is not written here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// May do everything: manage accounts, profiles and policies, and all that is below.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// Repositories to read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull: Vec<Pattern>,
    /// Repositories to write; the first push creates one. Includes reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub push: Vec<Pattern>,
    /// Repositories in which tags, manifests and blobs may be deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<Pattern>,
    /// Signing profiles to sign with, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// Git repositories.
    #[serde(skip_serializing_if = "GitGrants::is_empty")]
    pub git: GitGrants,
    /// Environments or stages over which the account may approve, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<String>,
}

/// What an account may do with git repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GitGrants {
    /// Git repositories to fetch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull: Vec<Pattern>,
    /// Git repositories to push to. Includes fetching.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub push: Vec<Pattern>,
}

impl GitGrants {
    fn is_empty(&self) -> bool {
        self.pull.is_empty() && self.push.is_empty()
    }
}

/// A use of something that has a name, and the grant that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Read a repository.
    Pull,
    /// Write a repository.
    Push,
    /// Delete in a repository.
    Delete,
    /// Sign with a profile.
    UseProfile,
    /// Fetch a git repository.
    GitPull,
    /// Push to a git repository.
    GitPush,
    /// Approve for an environment or stage.
    Approve,
}

impl Action {
    /// Returns the member of the grants that allows this.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::UseProfile => "profiles",
            Self::GitPull => "git.pull",
            Self::GitPush => "git.push",
            Self::Approve => "approve",
        }
    }
}

impl Grants {
    /// Returns the grants of an administrator.
    pub fn administrator() -> Self {
        Self {
            admin: true,
            ..Self::default()
        }
    }

    /// Returns the grants that the store keeps as rows. A row that this version does not know
    /// grants nothing.
    pub fn from_rows(rows: &[GrantRow]) -> Self {
        let mut grants = Self::default();
        for row in rows {
            let pattern = || row.resource.parse::<Pattern>().ok();
            match row.action.as_str() {
                "pull" => grants.pull.extend(pattern()),
                "push" => grants.push.extend(pattern()),
                "delete" => grants.delete.extend(pattern()),
                "git.pull" => grants.git.pull.extend(pattern()),
                "git.push" => grants.git.push.extend(pattern()),
                "profiles" => grants.profiles.push(row.resource.clone()),
                "approve" => grants.approve.push(row.resource.clone()),
                _ => {}
            }
        }
        grants
    }

    /// Returns the grants as the rows that the store keeps, without `admin`.
    pub fn to_rows(&self) -> Vec<GrantRow> {
        let patterns = [
            (Action::Pull, &self.pull),
            (Action::Push, &self.push),
            (Action::Delete, &self.delete),
            (Action::GitPull, &self.git.pull),
            (Action::GitPush, &self.git.push),
        ];
        let names = [
            (Action::UseProfile, &self.profiles),
            (Action::Approve, &self.approve),
        ];
        let row = |action: Action, resource: String| GrantRow {
            action: action.rule().to_owned(),
            resource,
        };
        let patterns = patterns.into_iter().flat_map(|(action, list)| {
            list.iter()
                .map(move |pattern| row(action, pattern.to_string()))
        });
        let names = names
            .into_iter()
            .flat_map(|(action, list)| list.iter().map(move |name| row(action, name.clone())));
        patterns.chain(names).collect()
    }

    /// Returns whether `action` is allowed on what is called `name`.
    pub fn allow(&self, action: Action, name: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        let named = |names: &[String]| names.iter().any(|granted| granted == name);
        self.admin
            || match action {
                Action::Pull => any(&self.pull) || any(&self.push),
                Action::Push => any(&self.push),
                Action::Delete => any(&self.delete),
                Action::GitPull => any(&self.git.pull) || any(&self.git.push),
                Action::GitPush => any(&self.git.push),
                Action::UseProfile => named(&self.profiles),
                Action::Approve => named(&self.approve),
            }
    }
}

/// Who sent a request: the result of a successful authentication.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account's name. For a run's token, the account `run`; for the worker, `worker`.
    pub account: String,
    /// What the account may do at all.
    pub grants: Grants,
    /// What this token is limited to, below the account's grants.
    pub limits: Option<Grants>,
    /// The run that the token was made for: it works for nothing else.
    pub run: Option<RunScope>,
    /// The workload of a CI system that the token was made for: it signs, and nothing else beyond
    /// `grants`.
    pub workload: Option<Workload>,
    /// Whether the account is an automation and not a person.
    pub is_robot: bool,
    /// The groups of the account.
    pub groups: BTreeSet<String>,
    /// Whether this is the worker's own token, which opens `/api/v1/worker` alone.
    pub worker: bool,
}

/// The run that a token is limited to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunScope {
    /// The run's id.
    pub run: String,
}

impl Caller {
    /// Returns an error unless `action` on `name` is granted to the account and to the token.
    ///
    /// # Errors
    /// A denial that names the account, the rule and the name.
    pub fn require(&self, action: Action, name: &str) -> Result<(), ApiError> {
        let rule = action.rule();
        let account = &self.account;
        if !self.grants.allow(action, name) {
            let message = format!("account `{account}` has no grant `{rule}` over `{name}`");
            let hint = format!("an administrator can add `{name}` to `{rule}` of `{account}`");
            return Err(ApiError::denied(message).hint(hint));
        }
        match &self.limits {
            Some(limits) if !limits.allow(action, name) => Err(ApiError::denied(format!(
                "this token of account `{account}` is limited: it has no `{rule}` over `{name}`"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns whether `action` on `name` is allowed.
    pub fn may(&self, action: Action, name: &str) -> bool {
        self.grants.allow(action, name)
            && self
                .limits
                .as_ref()
                .is_none_or(|limits| limits.allow(action, name))
    }

    /// Returns whether every repository may be read, now and later.
    pub fn reads_everything(&self) -> bool {
        let all = |grants: &Grants| grants.admin || grants.pull.contains(&Pattern::any());
        all(&self.grants) && self.limits.as_ref().is_none_or(all)
    }

    /// Returns an error unless the repository may be read.
    ///
    /// # Errors
    /// A denial that names the rule.
    pub fn require_pull(&self, repository: &RepositoryName) -> Result<(), ApiError> {
        self.require(Action::Pull, repository.as_str())
    }

    /// Returns an error unless the repository may be written.
    ///
    /// # Errors
    /// A denial that names the rule.
    pub fn require_push(&self, repository: &RepositoryName) -> Result<(), ApiError> {
        self.require(Action::Push, repository.as_str())
    }

    /// Returns an error unless the profile may be signed with.
    ///
    /// # Errors
    /// A denial that names the rule.
    pub fn require_profile(&self, profile: &str) -> Result<(), ApiError> {
        self.require(Action::UseProfile, profile)
    }

    /// Returns whether this is an administrator with an unlimited token.
    pub fn is_admin(&self) -> bool {
        self.grants.admin && self.limits.as_ref().is_none_or(|limits| limits.admin)
    }

    /// Returns an error unless this is an administrator.
    ///
    /// # Errors
    /// A denial that names the rule.
    pub fn require_admin(&self) -> Result<(), ApiError> {
        if self.is_admin() {
            return Ok(());
        }
        let message = format!("account `{}` has no grant `admin`", self.account);
        Err(ApiError::denied(message))
    }

    /// Returns an error unless this is the worker's own token.
    ///
    /// # Errors
    /// A denial that names the rule.
    pub fn require_worker(&self) -> Result<(), ApiError> {
        if self.worker {
            return Ok(());
        }
        Err(ApiError::denied(format!(
            "account `{}` is not the worker: only the worker's token opens this",
            self.account
        )))
    }

    /// Returns an error unless this is a person or automation with an account: a run's token and
    /// the worker's never count as a person.
    ///
    /// # Errors
    /// A denial that names the rule.
    pub fn require_account(&self) -> Result<(), ApiError> {
        if self.run.is_none() && self.workload.is_none() && !self.worker {
            return Ok(());
        }
        Err(ApiError::denied(
            "a run's, workload's or worker's token cannot do this",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(grants: serde_json::Value, limits: Option<serde_json::Value>) -> Caller {
        let parse = |value| serde_json::from_value(value).unwrap();
        Caller {
            account: "dev".to_owned(),
            grants: parse(grants),
            limits: limits.map(parse),
            run: None,
            workload: None,
            is_robot: false,
            groups: BTreeSet::new(),
            worker: false,
        }
    }

    #[test]
    fn each_action_needs_its_own_grant() {
        let everything = serde_json::json!({
            "pull": ["r"], "push": ["w"], "delete": ["d"], "profiles": ["p"],
            "approve": ["e"], "git": {"pull": ["g"], "push": ["h"]},
        });
        let caller = caller(everything, None);
        let names = ["r", "w", "d", "p", "e", "g", "h"];
        for (action, allowed) in [
            (Action::Pull, &["r", "w"][..]),
            (Action::Push, &["w"]),
            (Action::Delete, &["d"]),
            (Action::UseProfile, &["p"]),
            (Action::Approve, &["e"]),
            (Action::GitPull, &["g", "h"]),
            (Action::GitPush, &["h"]),
        ] {
            for name in names {
                let expected = allowed.contains(&name);
                assert_eq!(caller.may(action, name), expected, "{action:?} {name}");
            }
        }
    }

    #[test]
    fn grants_survive_the_store() {
        let grants: Grants = serde_json::from_value(serde_json::json!({
            "pull": ["**"], "push": ["apps/**"], "delete": ["d"], "profiles": ["p"],
            "approve": ["e"], "git": {"pull": ["g"], "push": ["h"]},
        }))
        .unwrap();
        assert_eq!(Grants::from_rows(&grants.to_rows()), grants);
    }

    #[test]
    fn a_denial_names_the_rule() {
        let nobody = caller(serde_json::json!({}), None);
        let error = nobody.require(Action::Push, "apps/shop").unwrap_err();
        assert_eq!(
            error.message(),
            "account `dev` has no grant `push` over `apps/shop`"
        );
        let admin = serde_json::json!({"admin": true});
        let limited = caller(admin, Some(serde_json::json!({"pull": ["**"]})));
        let error = limited.require(Action::Push, "apps/shop").unwrap_err();
        assert_eq!(
            error.message(),
            "this token of account `dev` is limited: it has no `push` over `apps/shop`"
        );
        assert!(limited.require_admin().is_err());
        assert!(limited.may(Action::Pull, "apps/shop"));
    }

    #[test]
    fn unknown_grants_are_refused() {
        assert!(serde_json::from_str::<Grants>(r#"{"pusch":["**"]}"#).is_err());
    }
}
