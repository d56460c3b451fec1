//! The rules of a profile: who may sign what with it, and how often.
//!
//! A list. The first rule that matches decides, no match denies, and a denial names the rule or
//! the absence of one. A profile has rules, or else grants, which are the short form of one rule
//! ([`Rules::of_grants`]). Design 002 §7.
//!
//! What the front knows of the artifact (its repository and type) arrives as [`Artifact`]. An
//! allowing rule that is bound to what is not known never matches; a denying one does: what is not
//! known might be just what it forbids.

mod decide;
mod glob;
mod quota;
mod who;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use oci::{MediaType, Pattern, RepositoryName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use decide::{
    Decision, Miss, NearMiss, RuleDenial, RuleRequest, Step, decide, explain, first_match,
};
pub use glob::{Glob, GlobError, MAX_GLOB_BYTES, MAX_GLOB_STARS};
pub use quota::{MAX_QUOTA, Quota, QuotaError, QuotaUnit};
pub use who::{MAX_CLAIMS, MAX_ISSUER_BYTES, Principals, WorkloadPattern, WorkloadPatternError};

use super::{Grants, is_grantee};

/// The most rules in one profile.
pub const MAX_RULES: usize = 32;
/// The most entries in one list of a rule.
pub const MAX_RULE_ENTRIES: usize = 64;
/// The longest list of rules, in bytes of JSON: a profile must fit into a frame of the protocol
/// beside another.
pub const MAX_RULES_BYTES: usize = 16 * 1024;
/// The longest identifier of a rule, in bytes.
pub const MAX_RULE_ID_BYTES: usize = 64;

/// The identifier of a rule inside its profile: `^[a-z0-9][a-z0-9-]{0,63}$`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(Box<str>);

/// Says why rules cannot be as they were written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The identifier is malformed.
    #[error(
        "`{0}` is not a rule's id: use 1 to {MAX_RULE_ID_BYTES} lower-case letters, digits and `-`"
    )]
    Id(String),
    /// Two rules have one identifier.
    #[error("rule `{0}` is there twice")]
    Twice(RuleId),
    /// There are too many.
    #[error("there are {0} rules: a profile has at most {MAX_RULES}")]
    TooMany(usize),
    /// They are too long.
    #[error("the rules have {0} bytes: a profile has at most {MAX_RULES_BYTES}")]
    TooLong(usize),
    /// It neither allows nor denies, or both.
    #[error("rule `{0}` must have exactly one of `allow` and `deny`")]
    Effect(RuleId),
    /// It is about nobody.
    #[error(
        "rule `{0}` names nobody: list accounts, groups, pipelines, workloads or kinds, or say `anyone: true`"
    )]
    Nobody(RuleId),
    /// A list is too long.
    #[error("rule `{rule}` lists more than {MAX_RULE_ENTRIES} {list}")]
    List {
        /// The rule.
        rule: RuleId,
        /// The list.
        list: &'static str,
    },
    /// A name is empty, too long, or holds a control character.
    #[error("rule `{rule}`: `{name}` cannot be the name of an account, group or pipeline")]
    Name {
        /// The rule.
        rule: RuleId,
        /// The name.
        name: String,
    },
    /// A denying rule counts nothing.
    #[error("rule `{0}` denies, and so cannot have a quota")]
    QuotaOfDenial(RuleId),
}

impl RuleId {
    /// Returns what stands for a permission of the profile where a rule is named.
    pub(super) fn permission() -> Self {
        Self("permission".into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RuleId {
    type Err = RulesError;

    fn from_str(text: &str) -> Result<Self, RulesError> {
        let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_fit = (1..=MAX_RULE_ID_BYTES).contains(&text.len())
            && text.bytes().all(byte)
            && !text.starts_with('-');
        match is_fit {
            true => Ok(Self(text.into())),
            false => Err(RulesError::Id(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RuleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a rule allows or denies, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They may sign.
    Allow(Principals),
    /// They may not.
    Deny(Principals),
}

impl Effect {
    /// Returns whom the rule is about.
    pub fn principals(&self) -> &Principals {
        match self {
            Self::Allow(principals) | Self::Deny(principals) => principals,
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members", into = "Members")]
pub struct Rule {
    /// Its identifier, which denials and jobs name.
    pub id: RuleId,
    /// Whom it allows or denies.
    pub effect: Effect,
    /// The types of artifacts that it is about; all when empty.
    pub artifact_types: Vec<Glob>,
    /// The repositories that it is about; all, and artifacts that lie elsewhere, when empty.
    pub repositories: Vec<Pattern>,
    /// How many signatures each principal may have under it.
    pub quota: Option<Quota>,
}

/// A rule as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    id: RuleId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allow: Option<Principals>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deny: Option<Principals>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    artifact_types: Vec<Glob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    repositories: Vec<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
}

impl TryFrom<Members> for Rule {
    type Error = RulesError;

    fn try_from(members: Members) -> Result<Self, RulesError> {
        let effect = match (members.allow, members.deny) {
            (Some(allow), None) => Effect::Allow(allow),
            (None, Some(deny)) => Effect::Deny(deny),
            _ => return Err(RulesError::Effect(members.id)),
        };
        let rule = Self {
            id: members.id,
            effect,
            artifact_types: members.artifact_types,
            repositories: members.repositories,
            quota: members.quota,
        };
        rule.check()?;
        Ok(rule)
    }
}

impl From<Rule> for Members {
    fn from(rule: Rule) -> Self {
        let (allow, deny) = match rule.effect {
            Effect::Allow(principals) => (Some(principals), None),
            Effect::Deny(principals) => (None, Some(principals)),
        };
        Self {
            id: rule.id,
            allow,
            deny,
            artifact_types: rule.artifact_types,
            repositories: rule.repositories,
            quota: rule.quota,
        }
    }
}

impl Rule {
    fn check(&self) -> Result<(), RulesError> {
        let who = self.effect.principals();
        if who.is_empty() {
            return Err(RulesError::Nobody(self.id.clone()));
        }
        if self.quota.is_some() && matches!(self.effect, Effect::Deny(_)) {
            return Err(RulesError::QuotaOfDenial(self.id.clone()));
        }
        let lists = [
            ("accounts", who.accounts.len()),
            ("groups", who.groups.len()),
            ("pipelines", who.pipelines.len()),
            ("workloads", who.workloads.len()),
            ("artifact types", self.artifact_types.len()),
            ("repositories", self.repositories.len()),
        ];
        if let Some((list, _)) = lists.iter().find(|(_, length)| *length > MAX_RULE_ENTRIES) {
            return Err(RulesError::List {
                rule: self.id.clone(),
                list,
            });
        }
        let mut names = who.accounts.iter().chain(&who.groups).chain(&who.pipelines);
        match names.find(|name| !is_grantee(name)) {
            Some(bad) => Err(RulesError::Name {
                rule: self.id.clone(),
                name: bad.chars().take(80).collect(),
            }),
            None => Ok(()),
        }
    }
}

/// The rules of a profile, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Rule>", into = "Vec<Rule>")]
pub struct Rules(Vec<Rule>);

impl TryFrom<Vec<Rule>> for Rules {
    type Error = RulesError;

    fn try_from(rules: Vec<Rule>) -> Result<Self, RulesError> {
        if rules.len() > MAX_RULES {
            return Err(RulesError::TooMany(rules.len()));
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = rules.iter().find(|rule| !ids.insert(&rule.id)) {
            return Err(RulesError::Twice(twice.id.clone()));
        }
        let bytes = serde_json::to_vec(&rules).map_or(usize::MAX, |json| json.len());
        match bytes <= MAX_RULES_BYTES {
            true => Ok(Self(rules)),
            false => Err(RulesError::TooLong(bytes)),
        }
    }
}

impl From<Rules> for Vec<Rule> {
    fn from(rules: Rules) -> Self {
        rules.0
    }
}

/// The identifier of the rule that grants are the short form of.
pub const GRANTS_RULE: &str = "grants";

impl Rules {
    /// Returns the rules in their order.
    pub fn as_slice(&self) -> &[Rule] {
        &self.0
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the rules that grants mean: one that allows whom they name, and none when they
    /// name nobody.
    pub fn of_grants(grants: &Grants) -> Self {
        let who = Principals {
            accounts: grants.accounts.clone(),
            pipelines: grants.pipelines.clone(),
            ..Principals::default()
        };
        if who.is_empty() {
            return Self::default();
        }
        Self(vec![Rule {
            id: RuleId(GRANTS_RULE.into()),
            effect: Effect::Allow(who),
            artifact_types: Vec::new(),
            repositories: Vec::new(),
            quota: None,
        }])
    }
}

/// What the front knows of the artifact that is to be signed. It never takes the caller's word: a
/// stored artifact was found in our own registry, and its type read from the stored manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Artifact {
    /// It is a manifest in a repository of ours.
    Stored {
        /// The repository.
        repository: RepositoryName,
        /// Its artifact type; the type of the manifest itself when it has none.
        artifact_type: MediaType,
    },
    /// Neither repository nor type are known.
    Unknown(Unknown),
}

/// Why repository and artifact type are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// The request carries a payload alone.
    #[default]
    PayloadOnly,
    /// The request names no repository.
    NoRepository,
    /// The digest is not a manifest in the repository that the request names, or the caller may
    /// not read that.
    NotStored,
    /// The statement is about more than one artifact.
    SeveralSubjects,
}

impl Default for Artifact {
    fn default() -> Self {
        Self::Unknown(Unknown::default())
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PayloadOnly => "SignPayload does not say which",
            Self::NoRepository => "the request names no repository",
            Self::NotStored => "the digest is not a manifest that you may read in the repository that the request names on this server",
            Self::SeveralSubjects => "the statement is about more than one artifact",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        serde_json::from_str::<Rules>(json).unwrap_err().to_string()
    }

    #[test]
    fn rules_read_as_they_are_written() {
        let text = r#"[{"id":"no-robots","deny":{"kinds":["robot"]},"repositories":["prod/**"]},{"id":"ci-images","allow":{"groups":["release"],"pipelines":["shop/build"],"workloads":["https://token.ci.example repo:shop/*:ref:refs/heads/main"]},"artifactTypes":["application/vnd.oci.image.*","sbom/example"],"repositories":["apps/**"],"quota":"600 per hour"}]"#;
        let rules: Rules = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&rules).unwrap(), text);
    }

    #[test]
    fn malformed_rules_are_refused_with_their_reason() {
        for (json, expected) in [
            (
                r#"[{"id":"A","allow":{"anyone":true}}]"#,
                "`A` is not a rule's id",
            ),
            (
                r#"[{"id":"-a","allow":{"anyone":true}}]"#,
                "`-a` is not a rule's id",
            ),
            (
                r#"[{"id":"a"}]"#,
                "rule `a` must have exactly one of `allow` and `deny`",
            ),
            (
                r#"[{"id":"a","allow":{"anyone":true},"deny":{"anyone":true}}]"#,
                "rule `a` must have exactly one",
            ),
            (r#"[{"id":"a","allow":{}}]"#, "rule `a` names nobody"),
            (
                r#"[{"id":"a","deny":{"anyone":true},"quota":"1 per day"}]"#,
                "rule `a` denies, and so cannot have a quota",
            ),
            (
                r#"[{"id":"a","allow":{"accounts":[""]}}]"#,
                "rule `a`: `` cannot be the name",
            ),
            (
                r#"[{"id":"a","allow":{"acounts":["x"]}}]"#,
                "unknown field `acounts`",
            ),
            (
                r#"[{"id":"a","allow":{"anyone":true},"quota":"many"}]"#,
                "`many` is not a quota",
            ),
            (
                r#"[{"id":"a","allow":{"anyone":true},"repositories":["A"]}]"#,
                "`A` is not a repository pattern",
            ),
            (
                r#"[{"id":"a","allow":{"workloads":["x"]}}]"#,
                "`x` is not a workload",
            ),
            (
                r#"[{"id":"a","allow":{"kinds":["people"]}}]"#,
                "unknown variant `people`",
            ),
            (
                r#"[{"id":"a","allow":{"anyone":true}},{"id":"a","allow":{"anyone":true}}]"#,
                "rule `a` is there twice",
            ),
        ] {
            assert!(
                refusal(json).contains(expected),
                "{json}: {}",
                refusal(json)
            );
        }
    }

    #[test]
    fn rules_are_bounded() {
        let rule = |number: usize| format!(r#"{{"id":"r{number}","allow":{{"anyone":true}}}}"#);
        let list = |count| format!("[{}]", (0..count).map(rule).collect::<Vec<_>>().join(","));
        assert!(serde_json::from_str::<Rules>(&list(MAX_RULES)).is_ok());
        assert!(refusal(&list(MAX_RULES + 1)).contains("at most 32"));
        let names = |count: usize, length: usize| {
            let names: Vec<String> = (0..count)
                .map(|number| format!("\"{number:0length$}\""))
                .collect();
            format!(
                r#"{{"id":"x","allow":{{"accounts":[{}]}}}}"#,
                names.join(",")
            )
        };
        assert!(
            refusal(&format!("[{}]", names(MAX_RULE_ENTRIES + 1, 2)))
                .contains("more than 64 accounts")
        );
        let long: Vec<String> = (0..3)
            .map(|number| names(64, 100).replace("\"x\"", &format!("\"x{number}\"")))
            .collect();
        assert!(refusal(&format!("[{}]", long.join(","))).contains("at most 16384"));
    }
}
