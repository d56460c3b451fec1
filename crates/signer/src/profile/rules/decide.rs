//! The decision: pure, over rules, a request and a count.

use std::fmt;

use serde::Serialize;

use super::{Artifact, Effect, Quota, Rule, RuleId, Unknown};
use crate::principal::Principal;

/// The most near misses that a denial names.
const MAX_NEAR_MISSES: usize = 3;

/// A request to sign, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct RuleRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What is to be signed.
    pub artifact: &'a Artifact,
}

/// What the rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be signed, because of this rule.
    Allowed(RuleId),
    /// It may not.
    Denied(RuleDenial),
}

/// Why the rules do not let something be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleDenial {
    /// No rule matches; these would, but for one thing.
    NoMatch(Vec<NearMiss>),
    /// A rule denies it.
    ByRule {
        /// The rule.
        rule: RuleId,
        /// Present when the rule is bound to what is not known of this request.
        uncertain: Option<Unknown>,
    },
    /// The rule that allows it has a quota, which is used up.
    Quota {
        /// The rule.
        rule: RuleId,
        /// Its quota.
        quota: Quota,
    },
}

/// A rule that allows the caller, but not this artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The rule.
    pub rule: RuleId,
    /// The first condition that failed.
    pub miss: Miss,
}

/// A condition of a rule that a request does not meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Miss {
    /// It is not about this caller.
    Principal,
    /// It is not about this type of artifacts.
    ArtifactType(String),
    /// It is not about this repository.
    Repository(String),
    /// It is bound to artifact types, and the type is not known.
    ArtifactTypeUnknown(Unknown),
    /// It is bound to repositories, and the repository is not known.
    RepositoryUnknown(Unknown),
}

/// How one rule stands to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub rule: RuleId,
    /// Whether it denies.
    pub denies: bool,
    /// The conditions that are not met; it matches when there are none.
    pub misses: Vec<Miss>,
    /// Whether it matches, which a denying rule does also where it cannot be known.
    pub matches: bool,
}

/// Returns what `rules` say: the first that matches decides, no match denies.
///
/// `used` says how many signatures the caller has had under a rule in the current window of its
/// quota. It is asked about the deciding rule alone.
pub fn decide(
    rules: &[Rule],
    request: RuleRequest<'_>,
    used: impl FnOnce(&Rule) -> u64,
) -> Decision {
    let Some(rule) = first_match(rules, request) else {
        return Decision::Denied(RuleDenial::NoMatch(near_misses(rules, request)));
    };
    let id = rule.id.clone();
    match (&rule.effect, rule.quota) {
        (Effect::Deny(_), _) => {
            let uncertain = rule.misses(request).iter().find_map(Miss::unknown);
            Decision::Denied(RuleDenial::ByRule {
                rule: id,
                uncertain,
            })
        }
        (Effect::Allow(_), Some(quota)) if used(rule) >= quota.count() => {
            Decision::Denied(RuleDenial::Quota { rule: id, quota })
        }
        (Effect::Allow(_), _) => Decision::Allowed(id),
    }
}

/// Returns the rule that decides.
pub fn first_match<'a>(rules: &'a [Rule], request: RuleRequest<'_>) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.matches(request))
}

/// Returns how every rule stands to a request, in their order.
pub fn explain(rules: &[Rule], request: RuleRequest<'_>) -> Vec<Step> {
    let step = |rule: &Rule| Step {
        rule: rule.id.clone(),
        denies: matches!(rule.effect, Effect::Deny(_)),
        misses: rule.misses(request),
        matches: rule.matches(request),
    };
    rules.iter().map(step).collect()
}

fn near_misses(rules: &[Rule], request: RuleRequest<'_>) -> Vec<NearMiss> {
    let near = |rule: &Rule| {
        let allows_caller =
            matches!(&rule.effect, Effect::Allow(who) if who.include(request.principal));
        let miss = rule.misses(request).into_iter().next()?;
        allows_caller.then(|| NearMiss {
            rule: rule.id.clone(),
            miss,
        })
    };
    rules
        .iter()
        .filter_map(near)
        .take(MAX_NEAR_MISSES)
        .collect()
}

impl Rule {
    fn matches(&self, request: RuleRequest<'_>) -> bool {
        let misses = self.misses(request);
        match self.effect {
            Effect::Allow(_) => misses.is_empty(),
            // What is not known might be what it forbids.
            Effect::Deny(_) => misses.iter().all(|miss| miss.unknown().is_some()),
        }
    }

    fn misses(&self, request: RuleRequest<'_>) -> Vec<Miss> {
        let who = !self.effect.principals().include(request.principal);
        let who = who.then_some(Miss::Principal);
        who.into_iter()
            .chain(self.type_miss(request.artifact))
            .chain(self.repository_miss(request.artifact))
            .collect()
    }

    fn type_miss(&self, artifact: &Artifact) -> Option<Miss> {
        if self.artifact_types.is_empty() {
            return None;
        }
        match artifact {
            Artifact::Unknown(why) => Some(Miss::ArtifactTypeUnknown(*why)),
            Artifact::Stored { artifact_type, .. } => {
                let found = artifact_type.as_str();
                let is_meant = self.artifact_types.iter().any(|glob| glob.matches(found));
                (!is_meant).then(|| Miss::ArtifactType(found.to_owned()))
            }
        }
    }

    fn repository_miss(&self, artifact: &Artifact) -> Option<Miss> {
        if self.repositories.is_empty() {
            return None;
        }
        match artifact {
            Artifact::Unknown(why) => Some(Miss::RepositoryUnknown(*why)),
            Artifact::Stored { repository, .. } => {
                let found = repository.as_str();
                let is_meant = self
                    .repositories
                    .iter()
                    .any(|pattern| pattern.matches(found));
                (!is_meant).then(|| Miss::Repository(found.to_owned()))
            }
        }
    }
}

impl Miss {
    fn unknown(&self) -> Option<Unknown> {
        match self {
            Self::ArtifactTypeUnknown(why) | Self::RepositoryUnknown(why) => Some(*why),
            _ => None,
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal => f.write_str("it does not name the caller"),
            Self::ArtifactType(found) => write!(f, "it is not about artifacts of type `{found}`"),
            Self::Repository(found) => write!(f, "it is not about repository `{found}`"),
            Self::ArtifactTypeUnknown(why) => write!(f, "it is bound to artifact types, and {why}"),
            Self::RepositoryUnknown(why) => write!(f, "it is bound to repositories, and {why}"),
        }
    }
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule `{}` would match, but {}", self.rule, self.miss)
    }
}

#[cfg(test)]
mod tests;
