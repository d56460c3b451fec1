//! Each rule of matching, on a package that only this rule decides.

use time::macros::datetime;

use super::*;
use crate::advisory::AdvisorySubset;
use crate::catalog::Distro;
use crate::database::{Database, DatabaseBuilder};
use crate::files::Problem;
use crate::osv;
use crate::package::{Location, SourcePackage, pep503};

const NOW: OffsetDateTime = datetime!(2026-11-23 08:00 UTC);

fn package(kind: PackageKind, name: &str, version: &str, source: Option<(&str, &str)>) -> Package {
    Package {
        kind,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: None,
        source: source.map(|(name, version)| SourcePackage {
            name: name.to_owned(),
            version: version.to_owned(),
        }),
        location: Location {
            path: "x".to_owned(),
            layer: oci::Digest::sha256(b""),
        },
        licences: Vec::new(),
        maintainer: None,
        homepage: None,
        owner: None,
        purl: format!("pkg:x/{}@{version}", pep503(name)),
    }
}

fn deb(name: &str, version: &str, source: Option<(&str, &str)>) -> Package {
    package(PackageKind::Deb, name, version, source)
}

fn python(name: &str, version: &str) -> Package {
    package(PackageKind::Python, name, version, None)
}

/// An advisory in one line: identifier, ecosystem, package, fixed version (or `-`), more members.
fn advisory(line: &str, members: &str) -> osv::Advisory {
    let [id, ecosystem, name, fixed] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    let fixed = match fixed {
        "-" => String::new(),
        version => format!(r#",{{"fixed":"{version}"}}"#),
    };
    let text = format!(
        r#"{{"id":"{id}","modified":"2026-11-01T00:00:00Z"{members},"affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"{name}"}},
        "ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}}{fixed}]}}]}}]}}"#
    );
    osv::parse(text.as_bytes()).unwrap()
}

fn catalog(packages: Vec<Package>) -> Catalog {
    Catalog {
        distro: Some(Distro::named("debian", "12")),
        packages,
        problems: Vec::new(),
    }
}

fn run(catalog: &Catalog, advisories: &[(&str, &str)]) -> Findings {
    let mut builder = DatabaseBuilder::new();
    for (line, members) in advisories {
        builder.add(advisory(line, members));
    }
    let database = Database::open(builder.finish(NOW).0).unwrap();
    let options = MatchOptions {
        now: NOW,
        stale_after: DEFAULT_STALE_AFTER,
    };
    match_packages(catalog, &database, options).unwrap()
}

fn shown(findings: &Findings) -> Vec<String> {
    let row = |f: &Finding| {
        let way = if f.searched.indirect {
            " by source"
        } else {
            ""
        };
        format!(
            "{} {} {} {}{way}",
            f.id,
            f.package.name,
            f.state.as_str(),
            f.fixed_in.join(",")
        )
    };
    findings.matches.iter().map(row).collect()
}

#[test]
fn the_table_of_matches() {
    let table = [
        (
            deb("a", "1-1", None),
            "CVE-1 Debian:12 a 1-2",
            "CVE-1 a fixed 1-2",
        ),
        (deb("a", "1-2", None), "CVE-1 Debian:12 a 1-2", ""),
        (
            deb("a", "1-1", None),
            "CVE-1 Debian:12 a -",
            "CVE-1 a not-fixed ",
        ),
        (deb("a", "1-1", None), "CVE-1 Debian:11 a 1-2", ""),
        (deb("a", "1-1", None), "CVE-1 PyPI a 1.2", ""),
        (
            deb("liba", "1-1", Some(("a", "1-1"))),
            "CVE-1 Debian:12 a 1-2",
            "CVE-1 liba fixed 1-2 by source",
        ),
        // The source's version counts for the source's advisories: binary versions may differ.
        (
            deb("liba", "2:9-1", Some(("a", "1-1"))),
            "CVE-1 Debian:12 a 1-2",
            "CVE-1 liba fixed 1-2 by source",
        ),
        (
            deb("a", "1-1+b9", Some(("a", "1-1"))),
            "CVE-1 Debian:12 a 1-1+b1",
            "CVE-1 a fixed 1-1+b1",
        ),
        (
            python("Ruamel_Yaml", "1"),
            "CVE-1 PyPI ruamel.yaml 2",
            "CVE-1 Ruamel_Yaml fixed 2",
        ),
        (
            python("a", "2.0rc1"),
            "CVE-1 PyPI a 2.0",
            "CVE-1 a fixed 2.0",
        ),
        (python("a", "2.0+local"), "CVE-1 PyPI a 2.0", ""),
    ];
    for (package, line, expected) in table {
        let name = format!("{} {} {line}", package.name, package.version);
        let findings = run(&catalog(vec![package]), &[(line, "")]);
        assert_eq!(shown(&findings).join("; "), expected, "{name}");
    }
}

#[test]
fn one_flaw_reported_by_two_sources_is_one_finding() {
    let critical = r#","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]"#;
    let findings = run(
        &catalog(vec![python("a", "1")]),
        &[
            ("PYSEC-1 PyPI a 1.5", r#","aliases":["CVE-1","GHSA-1"]"#),
            (
                "GHSA-1 PyPI a 1.5",
                &format!(r#","aliases":["CVE-1"]{critical}"#),
            ),
            ("PYSEC-2 PyPI a -", ""),
        ],
    );
    assert_eq!(
        shown(&findings),
        ["CVE-1 a fixed 1.5", "PYSEC-2 a not-fixed "]
    );
    let first = &findings.matches[0];
    assert_eq!(first.severity, Severity::Critical);
    let ids: Vec<&str> = first
        .advisories
        .iter()
        .map(|a| a.about.id.as_str())
        .collect();
    assert_eq!(ids, ["GHSA-1", "PYSEC-1"]);
}

#[test]
fn an_advisory_on_several_flaws_is_several_findings() {
    let upstream = r#","upstream":["CVE-2","CVE-1"]"#;
    let findings = run(
        &catalog(vec![deb("a", "1", None)]),
        &[("DSA-1 Debian:12 a 2", upstream)],
    );
    assert_eq!(shown(&findings), ["CVE-1 a fixed 2", "CVE-2 a fixed 2"]);
}

#[test]
fn what_is_not_covered_is_said() {
    let pypi = ("CVE-1 PyPI a 2", "");
    let with = |change: fn(&mut Catalog)| {
        let mut catalog = catalog(vec![deb("a", "1", None), python("b", "1")]);
        change(&mut catalog);
        let coverage = run(&catalog, &[pypi]).coverage;
        assert_eq!(coverage.complete, coverage.gaps.is_empty());
        coverage
            .gaps
            .into_iter()
            .map(|gap| format!("{}: {}", gap.code, gap.reason))
            .collect::<Vec<_>>()
    };
    type Change = fn(&mut Catalog);
    let table: [(Change, &[&str]); 5] = [
        (
            |c| c.packages.retain(|p| p.kind == PackageKind::Python),
            &[],
        ),
        (
            |_| {},
            &[
                "ecosystem-not-covered: the database has no advisories for `Debian:12`, which has 1 package of the image",
            ],
        ),
        (
            |c| c.distro = None,
            &["distro-unknown: the image has 1 package of a distribution, but does not say which"],
        ),
        (
            |c| c.distro = Some(Distro::named("devuan", "5")),
            &[
                "distro-unknown: no advisories are known for `devuan 5`, which has 1 package of the image",
            ],
        ),
        (
            |c| {
                c.packages = vec![python("a", "not a version")];
                c.problems = vec![Problem {
                    path: "p".to_owned(),
                    reason: "is odd".to_owned(),
                }];
            },
            &[
                "record-unreadable: `p` is odd",
                "version-unreadable: whether `CVE-1` concerns `a` is unknown: `not a version` is not a version of PyPI: expected version to start with a number, but no leading ASCII digits were found",
            ],
        ),
    ];
    for (change, expected) in table {
        assert_eq!(with(change), expected);
    }
}

#[test]
fn advisories_that_were_fetched_match_as_the_database_does() {
    let catalog = catalog(vec![
        deb("liba", "1-1", Some(("a", "1-1"))),
        python("B_c", "1"),
    ]);
    let mut builder = DatabaseBuilder::new();
    for line in [
        "CVE-1 Debian:12 a 1-2",
        "CVE-2 PyPI b-c 2",
        "CVE-3 PyPI other 2",
    ] {
        builder.add(advisory(line, ""));
    }
    let database = Database::open(builder.finish(NOW).0).unwrap();
    let options = MatchOptions {
        now: NOW,
        stale_after: DEFAULT_STALE_AFTER,
    };
    let wanted = look_ups(&catalog);
    let wanted = wanted
        .iter()
        .map(|(ecosystem, name)| (ecosystem, name.as_str()));
    let subset = AdvisorySubset::of(&database, wanted).unwrap();
    assert_eq!(subset.advisories.len(), 2);
    let sent = serde_json::to_string(&subset).unwrap();
    let received: AdvisorySubset = serde_json::from_str(&sent).unwrap();
    assert_eq!(
        match_packages(&catalog, &received, options).unwrap(),
        match_packages(&catalog, &database, options).unwrap()
    );
}

#[test]
fn an_old_database_is_stale() {
    let database = Database::open(DatabaseBuilder::new().finish(NOW).0).unwrap();
    for (age, stale) in [
        (Duration::days(5), false),
        (Duration::days(5) + Duration::SECOND, true),
    ] {
        let options = MatchOptions {
            now: NOW + age,
            stale_after: DEFAULT_STALE_AFTER,
        };
        let findings = match_packages(&catalog(Vec::new()), &database, options).unwrap();
        assert_eq!(findings.coverage.stale, stale);
    }
}

#[test]
fn a_python_package_of_the_distribution_is_the_distributions_to_judge() {
    let owned = Package {
        owner: Some("python3-a".to_owned()),
        ..python("a", "1")
    };
    let catalog = catalog(vec![deb("python3-a", "1", None), owned]);
    let findings = run(
        &catalog,
        &[("CVE-1 PyPI a 2", ""), ("CVE-2 Debian:12 other 2", "")],
    );
    assert!(findings.matches.is_empty());
    assert_eq!(
        findings.ignored[0].reason,
        "installed by the Debian package `python3-a`, which the advisories for `Debian:12` judge"
    );
    // Without the distribution's advisories nobody judges it, so the finding counts.
    assert_eq!(run(&catalog, &[("CVE-1 PyPI a 2", "")]).matches.len(), 1);
}

#[test]
fn kernel_headers_do_not_carry_the_flaws_of_the_kernel() {
    let headers = deb("linux-libc-dev", "6.1", Some(("linux", "6.1")));
    let kernel = deb("linux-image-6.1.0", "6.1", Some(("linux", "6.1")));
    let findings = run(
        &catalog(vec![headers, kernel]),
        &[("CVE-1 Debian:12 linux 6.2", "")],
    );
    assert_eq!(
        shown(&findings),
        ["CVE-1 linux-image-6.1.0 fixed 6.2 by source"]
    );
    assert_eq!(findings.ignored.len(), 1);
}
