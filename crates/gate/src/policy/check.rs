//! What must fit together in a gate policy.

use std::collections::BTreeSet;

use oci::MediaType;

use super::{ArtifactRule, Demand, Pick, RawPolicy, Rule};
use crate::yaml::Mistake;

/// The longest name of a policy, rule or role, in bytes.
const MAX_NAME_BYTES: usize = 63;
/// The most rules: more than anybody reads.
const MAX_RULES: usize = 200;

/// Names that the decision itself uses for requirements.
const RESERVED: [&str; 2] = ["graph", "tag"];

/// Returns everything that does not fit together.
pub(super) fn policy(policy: &RawPolicy) -> Vec<Mistake> {
    let mut found = Found {
        policy,
        mistakes: Vec::new(),
    };
    found.name("name", &policy.name);
    for (name, role) in &policy.roles {
        found.name(&format!("roles.{name}"), name);
        if role.profiles.is_empty() && role.identities.is_empty() {
            found.add(
                format!("roles.{name}"),
                "names neither `profiles` nor `identities`",
            );
        }
    }
    if policy.require.is_empty() {
        found.add(
            "require".to_owned(),
            "a policy that requires nothing allows everything",
        );
    }
    if policy.require.len() + policy.forbid.len() > MAX_RULES {
        found.add(
            "require".to_owned(),
            format!("there are more than {MAX_RULES} rules"),
        );
    }
    found.ids();
    for (index, rule) in policy.require.iter().enumerate() {
        found.rule(&format!("require[{index}]"), rule);
    }
    for (index, forbid) in policy.forbid.iter().enumerate() {
        let member = format!("forbid[{index}].artifact.type");
        found.no_endorsement(&member, &forbid.artifact.artifact_type);
    }
    found.mistakes
}

struct Found<'a> {
    policy: &'a RawPolicy,
    mistakes: Vec<Mistake>,
}

impl Found<'_> {
    fn add(&mut self, member: String, reason: impl Into<String>) {
        self.mistakes.push(Mistake::new(member, reason));
    }

    fn name(&mut self, member: &str, name: &str) {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
        if !fits || !name.bytes().all(good) || name.starts_with('-') || name.ends_with('-') {
            let reason = format!("`{name}` is not a name: use lower-case letters, digits and `-`");
            self.add(member.to_owned(), reason);
        }
    }

    fn ids(&mut self) {
        let rules = self.policy.require.iter().enumerate();
        let required = rules.map(|(index, rule)| (format!("require[{index}].id"), &rule.id));
        let rules = self.policy.forbid.iter().enumerate();
        let forbidden = rules.map(|(index, rule)| (format!("forbid[{index}].id"), &rule.id));
        let mut seen = BTreeSet::new();
        for (member, id) in required.chain(forbidden) {
            self.name(&member, id);
            if RESERVED.contains(&id.as_str()) {
                self.add(
                    member,
                    format!("`{id}` is used by every decision: choose another name"),
                );
            } else if !seen.insert(id) {
                self.add(member, format!("there are two rules `{id}`"));
            }
        }
    }

    fn role(&mut self, member: &str, name: &str) {
        if self.policy.roles.contains_key(name) {
            return;
        }
        let known: Vec<String> = self
            .policy
            .roles
            .keys()
            .map(|role| format!("`{role}`"))
            .collect();
        let hint = match known.is_empty() {
            true => "none is defined".to_owned(),
            false => format!("there are {}", known.join(", ")),
        };
        self.add(
            member.to_owned(),
            format!("there is no role `{name}`: {hint}"),
        );
    }

    fn rule(&mut self, at: &str, rule: &Rule) {
        match &rule.requirement {
            Demand::Signed(signed) => self.role(&format!("{at}.signed.by"), &signed.by),
            Demand::Artifact(artifact, _) => self.artifact(&format!("{at}.artifact"), artifact),
            Demand::Acceptance(rule) => self.role(&format!("{at}.acceptance.by"), &rule.by),
            Demand::Approval(rule) => {
                self.role(&format!("{at}.approval.signedBy"), &rule.signed_by);
                if rule.by.is_empty() {
                    self.add(format!("{at}.approval.by"), "names no account");
                }
                if let Some(over) = &rule.over {
                    self.name(&format!("{at}.approval.over"), over);
                }
            }
            Demand::Threshold(threshold) => {
                for (index, role) in threshold.of.iter().enumerate() {
                    self.role(&format!("{at}.threshold.of[{index}]"), role);
                }
                if threshold.need == 0 || threshold.of.is_empty() {
                    let reason = "needs at least one signer of at least one role";
                    self.add(format!("{at}.threshold"), reason);
                }
            }
            Demand::Base(base) => {
                self.role(&format!("{at}.base.signedBy"), &base.signed_by);
                self.role(&format!("{at}.base.provenanceBy"), &base.provenance_by);
            }
            Demand::Platforms(platforms) => self.platforms(&format!("{at}.platforms"), platforms),
        }
    }

    fn artifact(&mut self, at: &str, rule: &ArtifactRule) {
        self.role(&format!("{at}.signedBy"), &rule.signed_by);
        self.no_endorsement(&format!("{at}.type"), &rule.artifact_type);
        if rule.pick == Pick::Any && rule.max_age.is_none() {
            let reason = "with `pick: any` an old report can mask a newer one: add `maxAge`";
            self.add(format!("{at}.pick"), reason);
        }
    }

    fn no_endorsement(&mut self, member: &str, artifact_type: &MediaType) {
        if artifact_type.is_endorsement() {
            let reason = format!(
                "`{artifact_type}` is not evidence: use `signed`, `acceptance`, `approval` or `threshold`"
            );
            self.add(member.to_owned(), reason);
        }
    }

    fn platforms(&mut self, at: &str, platforms: &[String]) {
        if platforms.is_empty() {
            self.add(at.to_owned(), "names no platform");
        }
        for (index, platform) in platforms.iter().enumerate() {
            let parts = platform.split('/').count();
            if !(2..=3).contains(&parts) || platform.split('/').any(str::is_empty) {
                let reason = format!("`{platform}` is not a platform, such as `linux/amd64`");
                self.add(format!("{at}[{index}]"), reason);
            }
        }
    }
}
