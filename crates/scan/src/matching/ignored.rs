//! Findings that are set aside by built-in rules. They stay in the report, each with its rule.

use super::{Coverage, Finding};
use crate::package::{Ecosystem, PackageKind};

/// A finding that a rule sets aside.
#[derive(Clone, Debug, PartialEq)]
pub struct Ignored {
    /// The finding.
    pub finding: Finding,
    /// Why it does not count.
    pub reason: String,
}

/// Splits findings into those that count and those that a rule sets aside.
pub(super) fn set_aside(
    findings: Vec<Finding>,
    coverage: &Coverage,
) -> (Vec<Finding>, Vec<Ignored>) {
    let mut matches = Vec::new();
    let mut ignored = Vec::new();
    for finding in findings {
        match reason(&finding, coverage) {
            Some(reason) => ignored.push(Ignored { finding, reason }),
            None => matches.push(finding),
        }
    }
    (matches, ignored)
}

fn reason(finding: &Finding, coverage: &Coverage) -> Option<String> {
    owned_by_distribution(finding, coverage).or_else(|| kernel_headers(finding))
}

/// A distribution repairs a Python package without changing its version, and says in its own
/// advisories what is left. That only holds while we have those.
fn owned_by_distribution(finding: &Finding, coverage: &Coverage) -> Option<String> {
    let owner = finding.package.owner.as_ref()?;
    let is_distribution = |ecosystem: &&Ecosystem| ecosystem.base() == "Debian";
    let ecosystem = coverage.ecosystems.keys().find(is_distribution)?;
    Some(format!(
        "installed by the Debian package `{owner}`, which the advisories for `{ecosystem}` judge"
    ))
}

/// The headers of the kernel are data: a flaw of the kernel that they were built with is not in
/// the image, which runs on its host's kernel.
fn kernel_headers(finding: &Finding) -> Option<String> {
    let package = &finding.package;
    let is_headers = package.kind == PackageKind::Deb
        && (package.name == "linux-libc-dev"
            || ["linux-headers-", "linux-kbuild-"]
                .iter()
                .any(|start| package.name.starts_with(start)));
    let by_source = finding.searched.indirect && finding.searched.name.starts_with("linux");
    (is_headers && by_source)
        .then(|| "headers only: the kernel itself is not in the image".to_owned())
}
