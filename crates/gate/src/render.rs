//! Decisions in words: a tree for a terminal, and one sentence for a log or a webhook.

use std::fmt::Write;

use crate::{Decision, DecisionResult, Requirement, RequirementResult};

impl RequirementResult {
    /// Returns the mark that stands for the result.
    pub fn mark(self) -> char {
        match self {
            Self::Pass => '✓',
            Self::Fail => '✗',
            Self::Unknown => '?',
        }
    }
}

impl Decision {
    /// Returns the decision as a tree. Requirements that pass take one line each; of the others,
    /// every part and the remedy are shown.
    pub fn render_tree(&self) -> String {
        self.tree(false)
    }

    /// Returns the decision as a tree with every part of every requirement.
    pub fn render_whole_tree(&self) -> String {
        self.tree(true)
    }

    fn tree(&self, whole: bool) -> String {
        let mut lines = Lines {
            text: String::new(),
            whole,
        };
        let mark = match self.decision {
            DecisionResult::Allow => '✓',
            DecisionResult::Deny => '✗',
            DecisionResult::Inconclusive => '?',
        };
        let header = format!(
            "{mark} {}: policy `{}` on {}@sha256:{}…",
            self.decision.as_str(),
            self.policy.name,
            self.repository,
            self.subject.short()
        );
        lines.line("", "", &header);
        lines.children("", &self.requirements);
        lines.text
    }

    /// Returns the decision in one sentence: what, why, and what to do.
    pub fn sentence(&self) -> String {
        let name = &self.policy.name;
        let Some(decisive) = self.decisive() else {
            return format!("policy `{name}` allows this");
        };
        let verb = match self.decision {
            DecisionResult::Allow => "allows",
            DecisionResult::Deny => "denies",
            DecisionResult::Inconclusive => "cannot decide about",
        };
        let code = decisive.code.map(|code| format!("{code}: "));
        let remedy = decisive.remedy.as_deref().map(|text| format!("; {text}"));
        format!(
            "policy `{name}` {verb} this: `{}`: {}{}{}",
            decisive.id,
            code.unwrap_or_default(),
            decisive.reason,
            remedy.unwrap_or_default()
        )
    }
}

struct Lines {
    text: String,
    whole: bool,
}

impl Lines {
    fn line(&mut self, indent: &str, branch: &str, text: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "{indent}{branch}{text}");
    }

    fn children(&mut self, indent: &str, children: &[Requirement]) {
        for (index, child) in children.iter().enumerate() {
            let is_last = index + 1 == children.len();
            self.requirement(indent, is_last, child);
        }
    }

    fn requirement(&mut self, indent: &str, is_last: bool, requirement: &Requirement) {
        let (branch, below) = match is_last {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        let code = requirement.code.map(|code| format!("{code}: "));
        let text = format!(
            "{} {}  {}{}",
            requirement.result.mark(),
            requirement.id,
            code.unwrap_or_default(),
            requirement.reason
        );
        self.line(indent, branch, &text);
        let below = format!("{indent}{below}");
        let is_open = self.whole || !requirement.passes();
        if is_open {
            self.children(&below, &requirement.children);
        }
        // A remedy that is the same as that of a part would be said twice.
        let says_it = |child: &Requirement| child.remedy == requirement.remedy;
        match &requirement.remedy {
            Some(remedy) if !requirement.children.iter().any(says_it) => {
                self.line(&below, "", &format!("→ {remedy}"));
            }
            _ => {}
        }
    }
}
