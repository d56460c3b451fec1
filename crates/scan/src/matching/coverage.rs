//! What a report covers: the reasons why it may be silent about a vulnerability.

use std::collections::BTreeMap;

use serde::Serialize;

use super::MatchOptions;
use crate::advisory::DatabaseStatus;
use crate::catalog::{Catalog, Distro};
use crate::package::{Ecosystem, Package, PackageKind};
use crate::version::VersionError;

/// The most gaps of one kind that are listed; the rest is counted.
const MAX_LISTED: usize = 100;

/// What was looked at, and what was not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Whether nothing is missing. A stale database is said apart.
    pub complete: bool,
    /// Whether the database is older than the caller allows.
    pub stale: bool,
    /// The number of advisories in each ecosystem that packages were looked up in.
    pub ecosystems: BTreeMap<Ecosystem, u64>,
    /// What is missing.
    pub gaps: Vec<Gap>,
}

/// Something that was not covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// A stable code: `ecosystem-not-covered`, `distro-unknown`, `version-unreadable` or
    /// `record-unreadable`.
    pub code: &'static str,
    /// The ecosystem, package or file.
    pub subject: String,
    /// The reason, for people.
    pub reason: String,
    /// How many packages have no finding because of it.
    pub packages: usize,
}

impl Coverage {
    pub(super) fn new(catalog: &Catalog, status: &DatabaseStatus, options: MatchOptions) -> Self {
        let mut coverage = Self {
            complete: true,
            stale: options.now - status.built > options.stale_after,
            ecosystems: BTreeMap::new(),
            gaps: Vec::new(),
        };
        for kind in [PackageKind::Deb, PackageKind::Python] {
            let packages = catalog.packages.iter().filter(|p| p.kind == kind).count();
            if packages == 0 {
                continue;
            }
            match catalog.ecosystem(kind) {
                Some(ecosystem) => coverage.add_ecosystem(ecosystem, packages, status),
                None => coverage.add_unknown_distro(catalog, packages),
            }
        }
        for problem in &catalog.problems {
            coverage.add(Gap {
                code: "record-unreadable",
                subject: problem.path.clone(),
                reason: format!("`{}` {}", problem.path, problem.reason),
                packages: 0,
            });
        }
        coverage
    }

    pub(super) fn add_unreadable(&mut self, id: &str, package: &Package, error: &VersionError) {
        self.add(Gap {
            code: "version-unreadable",
            subject: package.purl.clone(),
            reason: format!(
                "whether `{id}` concerns `{}` is unknown: {error}",
                package.name
            ),
            packages: 1,
        });
    }

    fn add_ecosystem(&mut self, ecosystem: Ecosystem, packages: usize, status: &DatabaseStatus) {
        match status.advisories.get(&ecosystem) {
            Some(count) => {
                self.ecosystems.insert(ecosystem, *count);
            }
            None => self.add(Gap {
                code: "ecosystem-not-covered",
                subject: ecosystem.to_string(),
                reason: format!(
                    "the database has no advisories for `{ecosystem}`, which has {} of the image",
                    counted(packages)
                ),
                packages,
            }),
        }
    }

    fn add_unknown_distro(&mut self, catalog: &Catalog, packages: usize) {
        let named = |d: &Distro| format!("{} {}", d.id, d.version_id).trim().to_owned();
        let subject = catalog.distro.as_ref().map(named).unwrap_or_default();
        let reason = match subject.as_str() {
            "" => {
                format!(
                    "the image has {} of a distribution, but does not say which",
                    counted(packages)
                )
            }
            name => {
                format!(
                    "no advisories are known for `{name}`, which has {} of the image",
                    counted(packages)
                )
            }
        };
        self.add(Gap {
            code: "distro-unknown",
            subject,
            reason,
            packages,
        });
    }

    fn add(&mut self, gap: Gap) {
        self.complete = false;
        let alike = self
            .gaps
            .iter()
            .filter(|other| other.code == gap.code)
            .count();
        if alike < MAX_LISTED {
            self.gaps.push(gap);
        } else if let Some(last) = self.gaps.iter_mut().rfind(|other| other.code == gap.code) {
            last.packages += gap.packages;
        }
    }
}

fn counted(packages: usize) -> String {
    match packages {
        1 => "1 package".to_owned(),
        n => format!("{n} packages"),
    }
}
