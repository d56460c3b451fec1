//! Matches packages with advisories, by each ecosystem's own rules.
//!
//! A Debian package is looked up by its own name and by its source package's, since Debian's
//! advisories name source packages, each with its own version; a Python package by its PEP 503
//! name. Whatever could hide a vulnerability (an ecosystem without advisories, a release that the
//! image does not name, a version without a place in the order, a file that could not be read,
//! an old database) ends up in [`Coverage`], so that silence is never mistaken for health.

mod coverage;
mod ignored;

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};

pub use coverage::{Coverage, Gap};
pub use ignored::Ignored;

use crate::advisory::{Advisories, PackageAdvisory};
use crate::catalog::Catalog;
use crate::cvss;
use crate::database::DatabaseError;
use crate::osv::{Affected, Place};
use crate::package::{Ecosystem, Package, PackageKind};
use crate::report::FixState;
use crate::severity::Severity;
use crate::version::{VersionError, VersionOrder};

/// The age from which a database counts as stale, unless the caller says otherwise. Grype refuses
/// to work after five days; we go on and say so.
pub const DEFAULT_STALE_AFTER: Duration = Duration::days(5);

/// What matching depends on besides packages and advisories.
#[derive(Clone, Copy, Debug)]
pub struct MatchOptions {
    /// The time of the scan.
    pub now: OffsetDateTime,
    /// The age from which the database counts as stale.
    pub stale_after: Duration,
}

/// One vulnerability of one package.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The identifier: a CVE where there is one.
    pub id: String,
    /// The package.
    pub package: Package,
    /// How bad it is.
    pub severity: Severity,
    /// The advisories that say so; the first has the details.
    pub advisories: Vec<PackageAdvisory>,
    /// The versions with a fix.
    pub fixed_in: Vec<String>,
    /// Whether there is a fix.
    pub state: FixState,
    /// What was looked up.
    pub searched: Searched,
    /// The range that the version lies in, in words.
    pub constraint: String,
}

/// A look-up: the name and version under which a package was found in an ecosystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Whether this is the source package and not the package itself.
    pub indirect: bool,
}

/// What matching found, and what it could not look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The findings, the worst first.
    pub matches: Vec<Finding>,
    /// Findings that a built-in rule sets aside, with the rule.
    pub ignored: Vec<Ignored>,
    /// What was covered.
    pub coverage: Coverage,
}

/// Matches the packages of an image with advisories.
///
/// # Errors
/// If the database cannot be read. A package that cannot be judged is a gap, not an error.
pub fn match_packages(
    catalog: &Catalog,
    advisories: &dyn Advisories,
    options: MatchOptions,
) -> Result<Findings, DatabaseError> {
    let mut coverage = Coverage::new(catalog, advisories.status(), options);
    let mut found: BTreeMap<(String, String), Finding> = BTreeMap::new();
    for package in &catalog.packages {
        for searched in searches(catalog, package) {
            let advisories = advisories.for_package(&searched.ecosystem, &searched.name)?;
            for advisory in advisories {
                match judge(&searched, &advisory.affected) {
                    Ok(None) => {}
                    Ok(Some(hit)) => add(&mut found, package, &searched, &hit, &advisory),
                    Err(error) => coverage.add_unreadable(&advisory.about.id, package, &error),
                }
            }
        }
    }
    let mut findings = found.into_values().collect::<Vec<_>>();
    findings.sort_by(|a, b| {
        let key = |f: &Finding| {
            (
                std::cmp::Reverse(f.severity),
                f.package.name.clone(),
                f.id.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let (matches, ignored) = ignored::set_aside(findings, &coverage);
    Ok(Findings {
        matches,
        ignored,
        coverage,
    })
}

/// Returns every ecosystem and name that [`match_packages`] asks for, each once, so that a process
/// without a database can have them fetched.
pub fn look_ups(catalog: &Catalog) -> BTreeSet<(Ecosystem, String)> {
    let searched = catalog
        .packages
        .iter()
        .flat_map(|package| searches(catalog, package));
    searched
        .map(|searched| (searched.ecosystem, searched.name))
        .collect()
}

/// Returns under which names a package is looked up.
fn searches(catalog: &Catalog, package: &Package) -> Vec<Searched> {
    let Some(ecosystem) = catalog.ecosystem(package.kind) else {
        return Vec::new();
    };
    let own = Searched {
        name: ecosystem.normalise(&package.name),
        version: package.version.clone(),
        indirect: false,
        ecosystem,
    };
    match (&package.source, package.kind) {
        // A source of the same name has the advisories that the package itself would have.
        (Some(source), PackageKind::Deb) if source.name != package.name => {
            let source = Searched {
                name: source.name.clone(),
                version: source.version.clone(),
                indirect: true,
                ecosystem: own.ecosystem.clone(),
            };
            vec![own, source]
        }
        // A rebuild such as `1.2-3+b1` is newer than its source, and as vulnerable.
        (Some(source), PackageKind::Deb) => vec![Searched {
            version: source.version.clone(),
            ..own
        }],
        _ => vec![own],
    }
}

/// A version inside an advisory's ranges.
struct Hit {
    fixed_in: Option<String>,
    state: FixState,
    constraint: String,
}

/// Decides whether a version is affected.
fn judge(searched: &Searched, affected: &Affected) -> Result<Option<Hit>, VersionError> {
    let Some(order) = VersionOrder::of(&searched.ecosystem) else {
        return Ok(None);
    };
    for range in &affected.ranges {
        let (fixed_in, state) = match range.place(&searched.version, order)? {
            Place::Outside => continue,
            Place::FixedIn(version) => (Some(version), FixState::Fixed),
            Place::EndsWith(_) => (None, FixState::Unknown),
            Place::Open => (None, FixState::NotFixed),
        };
        return Ok(Some(Hit {
            fixed_in,
            state,
            constraint: range.constraint(),
        }));
    }
    let listed = |version: &&String| {
        **version == searched.version
            || order
                .compare(version, &searched.version)
                .is_ok_and(|order| order.is_eq())
    };
    Ok(affected.versions.iter().find(listed).map(|version| Hit {
        fixed_in: None,
        state: FixState::Unknown,
        constraint: format!("={version}"),
    }))
}

/// Adds a finding for each flaw, or adds the advisory to the finding that is there already:
/// GitHub, PyPA and a distribution may all report the same CVE.
fn add(
    found: &mut BTreeMap<(String, String), Finding>,
    package: &Package,
    searched: &Searched,
    hit: &Hit,
    advisory: &PackageAdvisory,
) {
    let severity = advisory.about.severity(&advisory.affected);
    for id in advisory.about.finding_ids() {
        let key = (package.id(), id.to_owned());
        let finding = found.entry(key).or_insert_with(|| Finding {
            id: id.to_owned(),
            package: package.clone(),
            severity: Severity::Unknown,
            advisories: Vec::new(),
            fixed_in: Vec::new(),
            state: hit.state,
            searched: searched.clone(),
            constraint: hit.constraint.clone(),
        });
        finding.severity = finding.severity.max(severity);
        if let Some(fixed) = hit
            .fixed_in
            .as_ref()
            .filter(|fixed| !finding.fixed_in.contains(fixed))
        {
            finding.fixed_in.push(fixed.clone());
            finding.state = FixState::Fixed;
        }
        finding.advisories.push(advisory.clone());
        // The advisory that can be scored has the details worth showing.
        let scored = |a: &PackageAdvisory| {
            a.about
                .vectors
                .iter()
                .any(|v| cvss::base_score(v).is_some())
        };
        finding.advisories.sort_by_key(|advisory| !scored(advisory));
    }
}

#[cfg(test)]
mod tests;
