//! Whom a rule is about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::glob::Glob;
use crate::principal::{Principal, PrincipalKind, Workload};

/// The longest address of an issuer, in bytes.
pub const MAX_ISSUER_BYTES: usize = 512;
/// The most claims that one pattern asks for.
pub const MAX_CLAIMS: usize = 8;

/// The principals that a rule is about: whoever one of its lists names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Principals {
    /// Everybody who can be authenticated at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anyone: bool,
    /// Kinds of principals: all persons, all robots, all runs, all workloads.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<PrincipalKind>,
    /// Accounts by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accounts: BTreeSet<String>,
    /// Groups of accounts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Pipelines whose runs are meant, as `project/pipeline`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pipelines: BTreeSet<String>,
    /// Workloads of CI systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<WorkloadPattern>,
}

impl Principals {
    /// Returns whether `principal` is one of them.
    ///
    /// A run is its pipeline and a workload is its subject: what the account behind either may do
    /// by hand does not count. Being an administrator is not a grant.
    pub fn include(&self, principal: &Principal) -> bool {
        if self.anyone || self.kinds.contains(&principal.kind()) {
            return true;
        }
        if let Some(pipeline) = &principal.pipeline {
            return self.pipelines.contains(pipeline);
        }
        if let Some(workload) = &principal.workload {
            return self
                .workloads
                .iter()
                .any(|pattern| pattern.matches(workload));
        }
        self.accounts.contains(&principal.account) || !self.groups.is_disjoint(&principal.groups)
    }

    /// Returns whether nobody is meant.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A pattern over workloads: the issuer exactly, its subject by a glob, and perhaps claims.
///
/// Written as `ISSUER SUBJECT`, or as an object with `issuer`, `subject` and `claims`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadPattern {
    /// The issuer, exactly as the token says it.
    pub issuer: String,
    /// What the token's subject must look like.
    pub subject: Glob,
    /// What other claims must look like; each must be there.
    pub claims: BTreeMap<String, Glob>,
}

/// Says why a text is not a pattern over workloads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a workload: write the issuer's address, a space, and a pattern over its subjects"
)]
pub struct WorkloadPatternError(String);

impl WorkloadPattern {
    /// Returns whether `workload` is one of those.
    pub fn matches(&self, workload: &Workload) -> bool {
        let claim = |(name, glob): (&String, &Glob)| {
            let found = workload.claims.get(name);
            found.is_some_and(|text| glob.matches(text))
        };
        self.issuer == workload.issuer
            && self.subject.matches(&workload.subject)
            && self.claims.iter().all(claim)
    }
}

impl std::str::FromStr for WorkloadPattern {
    type Err = WorkloadPatternError;

    fn from_str(text: &str) -> Result<Self, WorkloadPatternError> {
        let refused = || WorkloadPatternError(text.chars().take(80).collect());
        let (issuer, subject) = text.split_once(' ').ok_or_else(refused)?;
        let subject: Glob = subject.parse().map_err(|_| refused())?;
        checked(Self {
            issuer: issuer.to_owned(),
            subject,
            claims: BTreeMap::new(),
        })
        .ok_or_else(refused)
    }
}

fn checked(pattern: WorkloadPattern) -> Option<WorkloadPattern> {
    let has_scheme =
        pattern.issuer.starts_with("https://") || pattern.issuer.starts_with("http://");
    let is_fit = has_scheme
        && pattern.issuer.len() <= MAX_ISSUER_BYTES
        && !pattern
            .issuer
            .chars()
            .any(|one| one.is_control() || one.is_whitespace())
        && pattern.claims.len() <= MAX_CLAIMS;
    is_fit.then_some(pattern)
}

impl fmt::Display for WorkloadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.issuer, self.subject)?;
        for (name, glob) in &self.claims {
            write!(f, ", {name}={glob}")?;
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    issuer: String,
    subject: Glob,
    #[serde(default)]
    claims: BTreeMap<String, Glob>,
}

impl Serialize for WorkloadPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.claims.is_empty() {
            return serializer.collect_str(self);
        }
        let members = Members {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            claims: self.claims.clone(),
        };
        members.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WorkloadPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a workload: `ISSUER SUBJECT`, or `issuer`, `subject` and `claims`"
        )]
        enum Form {
            Text(String),
            Members(Members),
        }
        match Form::deserialize(deserializer)? {
            Form::Text(text) => text.parse().map_err(D::Error::custom),
            Form::Members(Members {
                issuer,
                subject,
                claims,
            }) => {
                let shown = issuer.chars().take(80).collect();
                let pattern = checked(Self {
                    issuer,
                    subject,
                    claims,
                });
                pattern.ok_or_else(|| D::Error::custom(WorkloadPatternError(shown)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(issuer: &str, subject: &str) -> Workload {
        Workload {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            claims: [("environment".to_owned(), "production".to_owned())].into(),
        }
    }

    #[test]
    fn issuer_subject_and_claims_must_all_match() {
        let text = r#"{"issuer":"https://ci.example","subject":"repo:shop/*","claims":{"environment":"prod*"}}"#;
        let pattern: WorkloadPattern = serde_json::from_str(text).unwrap();
        assert!(pattern.matches(&workload("https://ci.example", "repo:shop/web")));
        assert!(!pattern.matches(&workload("https://ci.example/", "repo:shop/web")));
        assert!(!pattern.matches(&workload("https://ci.example", "repo:evil/web")));
        let mut other = workload("https://ci.example", "repo:shop/web");
        other
            .claims
            .insert("environment".to_owned(), "staging".to_owned());
        assert!(!pattern.matches(&other));
        other.claims.clear();
        assert!(!pattern.matches(&other));
        assert_eq!(serde_json::to_string(&pattern).unwrap(), text);
    }

    #[test]
    fn the_short_form_is_issuer_and_subject() {
        let text = "https://token.ci.example repo:shop/* ref:refs/heads/main";
        let pattern: WorkloadPattern = text.parse().unwrap();
        assert_eq!(pattern.subject.as_str(), "repo:shop/* ref:refs/heads/main");
        assert_eq!(
            serde_json::to_string(&pattern).unwrap(),
            format!("\"{text}\"")
        );
        for bad in [
            "",
            "https://ci.example",
            "ci.example sub",
            "https://ci.example ***",
            "ftp://x a",
        ] {
            assert!(bad.parse::<WorkloadPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn runs_and_workloads_are_not_their_accounts() {
        let who = Principals {
            accounts: ["dev".to_owned()].into(),
            groups: ["ops".to_owned()].into(),
            ..Principals::default()
        };
        let dev = Principal::account("dev");
        assert!(who.include(&dev));
        let run = Principal {
            pipeline: Some("shop/build".to_owned()),
            ..dev.clone()
        };
        assert!(!who.include(&run));
        let by_workload = Principal {
            workload: Some(workload("https://a", "b")),
            ..dev
        };
        assert!(!who.include(&by_workload));
        let eve = Principal::account("eve");
        assert!(!who.include(&eve));
        assert!(who.include(&eve.in_groups(["ops".to_owned()].into())));
    }
}
