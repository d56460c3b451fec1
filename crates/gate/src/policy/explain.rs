//! Policies in words, for whoever has to satisfy one.

use super::{
    ApprovalRule, ArtifactRule, Assertion, Demand, GatePolicy, Over, Pick, Role, Rule, Threshold,
};

impl GatePolicy {
    /// Says what the policy requires, one line or more for each rule.
    pub fn explain(&self) -> String {
        let mut lines = vec![format!("policy `{}` ({})", self.name, self.digest)];
        for rule in &self.require {
            lines.push(format!("{}: {}", rule.id, self.rule_text(rule)));
            if let Demand::Artifact(_, assertions) = &rule.requirement {
                lines.extend(assertions.iter().map(assertion_text));
            }
        }
        for rule in &self.forbid {
            let artifact_type = &rule.artifact.artifact_type;
            lines.push(format!(
                "{}: no `{artifact_type}` may be attached, whoever signed it",
                rule.id
            ));
        }
        lines.join("\n") + "\n"
    }

    fn rule_text(&self, rule: &Rule) -> String {
        match &rule.requirement {
            Demand::Signed(signed) => {
                format!("the image must be signed by {}", self.role_text(&signed.by))
            }
            Demand::Artifact(artifact, _) => self.artifact_text(artifact),
            Demand::Acceptance(rule) => {
                let by = self.role_text(&rule.by);
                let age = rule.max_age.map(|age| format!(", within {age}"));
                format!(
                    "the evidence as it is must be accepted by {by}{}",
                    age.unwrap_or_default()
                )
            }
            Demand::Approval(rule) => self.approval_text(rule),
            Demand::Threshold(threshold) => self.threshold_text(threshold),
            Demand::Base(base) => format!(
                "the base images named in the provenance of {} must be signed by {}",
                self.role_text(&base.provenance_by),
                self.role_text(&base.signed_by)
            ),
            Demand::Platforms(platforms) => {
                format!("the image must exist for {}", platforms.join(", "))
            }
        }
    }

    fn artifact_text(&self, rule: &ArtifactRule) -> String {
        let which = match rule.pick {
            Pick::Latest => "the newest",
            Pick::All => "every",
            Pick::Any => "one",
        };
        let mut text = format!(
            "{which} `{}` must be signed by {}",
            rule.artifact_type,
            self.role_text(&rule.signed_by)
        );
        if let Some(age) = rule.max_age {
            text.push_str(&format!(", at most {age} old"));
        }
        if let Some(age) = rule.advisories_max_age {
            text.push_str(&format!(", made with advisories at most {age} old"));
        }
        if !rule.format.is_empty() {
            let names: Vec<&str> = rule.format.iter().map(|format| format.as_str()).collect();
            text.push_str(&format!(", in {}", names.join(" or ")));
        }
        if rule.complete {
            text.push_str(", and leave nothing out");
        }
        text
    }

    fn approval_text(&self, rule: &ApprovalRule) -> String {
        let over = rule.over.as_deref().unwrap_or(&self.name);
        let age = rule.max_age.map(|age| format!(", within {age}"));
        format!(
            "{} must have approved the verdict of policy `{over}`, signed by {}{}",
            rule.by.join(" or "),
            self.role_text(&rule.signed_by),
            age.unwrap_or_default()
        )
    }

    fn threshold_text(&self, threshold: &Threshold) -> String {
        let roles: Vec<String> = threshold
            .of
            .iter()
            .map(|role| self.role_text(role))
            .collect();
        let over = match threshold.over {
            Over::Subject => "the image must be signed",
            Over::GraphRoot => "the evidence as it is must be accepted",
        };
        format!(
            "{over} by at least {} distinct signers of {}",
            threshold.need,
            roles.join(", ")
        )
    }

    fn role_text(&self, name: &str) -> String {
        let holders = self.role(name).map(Role::names).unwrap_or_default();
        format!("`{name}` ({})", holders.join(", "))
    }
}

fn assertion_text(assertion: &Assertion) -> String {
    let otherwise = assertion.otherwise.as_deref();
    let otherwise = otherwise.map(|text| format!(", else {text}"));
    format!(
        "  and `{}`{}",
        assertion.that.as_str(),
        otherwise.unwrap_or_default()
    )
}
