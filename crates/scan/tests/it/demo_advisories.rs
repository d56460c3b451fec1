//! The advisories of the demo: well-formed, with their sources, and with the effect that the demo
//! tells of.

use std::path::PathBuf;

use oci::Digest;
use scan::package::{Location, PackageKind};
use scan::report::FixState;
use scan::{
    Advisories, Catalog, Database, DatabaseBuilder, Distro, MatchOptions, Package, Severity,
    match_packages, osv,
};
use time::Duration;
use time::macros::datetime;

/// Packages of Debian 12 as its mirror had them when the advisories were written: name and version
/// of the source.
const BOOKWORM: [(&str, &str); 15] = [
    ("expat", "2.5.0-1+deb12u2"),
    ("glibc", "2.36-9+deb12u14"),
    ("gnutls28", "3.7.9-2+deb12u7"),
    ("krb5", "1.20.1-2+deb12u5"),
    ("libcap2", "1:2.66-4+deb12u3"),
    ("openssl", "3.0.20-1~deb12u2"),
    ("pam", "1.5.2-6+deb12u2"),
    ("perl", "5.36.0-7+deb12u3"),
    ("python3.11", "3.11.2-6+deb12u8"),
    ("shadow", "1:4.13+dfsg1-1+deb12u1"),
    ("sqlite3", "3.40.1-2+deb12u2"),
    ("systemd", "252.39-1~deb12u2"),
    ("util-linux", "2.38.1-5+deb12u3"),
    ("curl", "7.88.1-10+deb12u14"),
    ("libxml2", "2.9.14+dfsg-1.3~deb12u5"),
];

fn files() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/advisories/osv");
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

fn package(kind: PackageKind, name: &str, version: &str) -> Package {
    Package {
        kind,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: None,
        source: None,
        location: Location {
            path: "x".to_owned(),
            layer: Digest::sha256(b""),
        },
        licences: Vec::new(),
        maintainer: None,
        homepage: None,
        owner: None,
        purl: format!("pkg:x/{name}@{version}"),
    }
}

/// Returns the findings as `CVE severity state`.
fn findings(packages: Vec<Package>) -> Vec<(String, Severity, FixState)> {
    let mut builder = DatabaseBuilder::new();
    for (_, bytes) in files() {
        builder.add(osv::parse(&bytes).unwrap());
    }
    let now = datetime!(2026-11-23 09:00 UTC);
    let database = Database::open(builder.finish(now).0).unwrap();
    assert!(database.status().covers(&scan::Ecosystem::new("Debian:12")));
    let catalog = Catalog {
        distro: Some(Distro::named("debian", "12")),
        packages,
        problems: Vec::new(),
    };
    let options = MatchOptions {
        now,
        stale_after: Duration::days(5),
    };
    let found = match_packages(&catalog, &database, options).unwrap();
    assert!(found.coverage.complete);
    found
        .matches
        .into_iter()
        .map(|f| (f.id, f.severity, f.state))
        .collect()
}

fn fixable_criticals(name: &str, version: &str) -> Vec<String> {
    let found = findings(vec![package(PackageKind::Python, name, version)]);
    let counts =
        |f: &(String, Severity, FixState)| f.1 == Severity::Critical && f.2 == FixState::Fixed;
    found.into_iter().filter(counts).map(|f| f.0).collect()
}

#[test]
fn every_file_is_an_advisory_that_names_its_source() {
    let files = files();
    assert!(files.len() >= 40);
    for (path, bytes) in files {
        let advisory = osv::parse(&bytes).unwrap();
        let name = format!("{}.json", advisory.about.id);
        assert_eq!(path.file_name().unwrap().to_str(), Some(name.as_str()));
        assert!(!advisory.about.source.is_empty(), "{name}");
        assert!(!advisory.about.references.is_empty(), "{name}");
        assert!(!advisory.affected.is_empty(), "{name}");
    }
}

#[test]
fn an_old_python_package_has_exactly_one_fixable_critical() {
    assert_eq!(fixable_criticals("bottle", "0.12.19"), ["CVE-2022-31799"]);
    assert_eq!(fixable_criticals("waitress", "2.1.2"), ["CVE-2024-49768"]);
}

#[test]
fn a_current_python_package_has_none() {
    for (name, version) in [
        ("bottle", "0.12.25"),
        ("bottle", "0.13.4"),
        ("waitress", "3.0.1"),
        ("waitress", "3.0.2"),
    ] {
        assert!(
            findings(vec![package(PackageKind::Python, name, version)]).is_empty(),
            "{name} {version}"
        );
    }
}

#[test]
fn the_current_packages_of_debian_have_no_finding() {
    let packages = BOOKWORM.map(|(name, version)| package(PackageKind::Deb, name, version));
    assert_eq!(findings(packages.to_vec()), []);
}

#[test]
fn the_first_packages_of_debian_12_have_many() {
    let old = [
        ("openssl", "3.0.9-1"),
        ("glibc", "2.36-9"),
        ("expat", "2.5.0-1"),
    ];
    let packages = old.map(|(name, version)| package(PackageKind::Deb, name, version));
    let found = findings(packages.to_vec());
    assert_eq!(found.len(), 13);
    assert_eq!(found[0].0, "CVE-2024-5535");
}
