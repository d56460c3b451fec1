//! Debian packages: `/var/lib/dpkg/status`, and the parts of it in `status.d` that images without
//! a package manager carry.
//!
//! dpkg-query(1) for the states, Debian Policy §5.6 for the fields.

use super::copyright;
use super::message::{Fields, paragraphs};
use crate::files::{File, FileView, Problem};
use crate::package::{Location, Package, PackageKind, SourcePackage};

/// The most packages of one image. All of Debian has 64,000.
const MAX_PACKAGES: usize = 200_000;

/// Finds the packages that dpkg recorded.
pub(super) fn catalog(view: &FileView, problems: &mut Vec<Problem>) -> Vec<Package> {
    let mut packages = Vec::new();
    for (path, file) in view.files().filter(|(path, _)| is_status(path)) {
        let text = String::from_utf8_lossy(&file.bytes);
        for paragraph in paragraphs(&text) {
            match package(paragraph, path, file) {
                Ok(Some(package)) if packages.len() < MAX_PACKAGES => packages.push(package),
                Ok(None) => {}
                Ok(Some(_)) => return too_many(path, packages, problems),
                Err(reason) => problems.push(Problem {
                    path: path.to_owned(),
                    reason,
                }),
            }
        }
    }
    for package in &mut packages {
        package.licences = copyright::licences(view, &package.name);
    }
    packages
}

fn is_status(path: &str) -> bool {
    let parent = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    path.ends_with("lib/dpkg/status") || parent.ends_with("lib/dpkg/status.d")
}

fn too_many(path: &str, found: Vec<Package>, problems: &mut Vec<Problem>) -> Vec<Package> {
    problems.push(Problem {
        path: path.to_owned(),
        reason: format!("more than {MAX_PACKAGES} packages, the limit"),
    });
    found
}

/// Reads one paragraph: a package, nothing if it is not on the disk, or why it cannot be read.
fn package(paragraph: &str, path: &str, file: &File) -> Result<Option<Package>, String> {
    let fields = Fields::parse(paragraph);
    if fields.is_empty() || !is_on_disk(fields.get("Status")) {
        return Ok(None);
    }
    let Some(name) = fields.get("Package") else {
        return Err("a paragraph has no field `Package`".to_owned());
    };
    let Some(version) = fields.get("Version") else {
        return Err(format!("package `{name}` has no field `Version`"));
    };
    Ok(Some(Package {
        kind: PackageKind::Deb,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: fields.get("Architecture").map(str::to_owned),
        source: fields.get("Source").map(|text| source(text, version)),
        location: Location {
            path: path.to_owned(),
            layer: file.layer.clone(),
        },
        licences: Vec::new(),
        maintainer: fields.get("Maintainer").map(str::to_owned),
        homepage: fields.get("Homepage").map(str::to_owned),
        owner: None,
        purl: String::new(),
    }))
}

/// The third word of `Status` is the state. A package that was unpacked but never configured has
/// its files, and its flaws, on the disk just as an installed one has; one of which only the
/// configuration is left has not. `status.d` has no states.
fn is_on_disk(status: Option<&str>) -> bool {
    let state = status.and_then(|status| status.split_whitespace().nth(2));
    !matches!(state, Some("not-installed" | "config-files"))
}

/// Reads `name` or `name (version)`; without a version it is the binary package's.
fn source(text: &str, version: &str) -> SourcePackage {
    let (name, stated) = match text.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.trim_end_matches(')').trim()),
        None => (text, version),
    };
    SourcePackage {
        name: name.to_owned(),
        version: stated.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Digest;

    fn check(paragraph: &str) -> Result<Option<String>, String> {
        let file = File {
            bytes: paragraph.as_bytes().into(),
            layer: Digest::sha256(b""),
        };
        let found = package(paragraph, "var/lib/dpkg/status", &file)?;
        Ok(found.map(|p| {
            let source = p.source.map(|s| format!(" from {} {}", s.name, s.version));
            format!("{} {}{}", p.name, p.version, source.unwrap_or_default())
        }))
    }

    #[test]
    fn the_table_of_paragraphs() {
        let table = [
            (
                "Package: a\nVersion: 1\nStatus: install ok installed",
                Ok(Some("a 1")),
            ),
            (
                "Package: a\nVersion: 1\nStatus: hold ok installed",
                Ok(Some("a 1")),
            ),
            (
                "Package: a\nVersion: 1\nStatus: install ok half-configured",
                Ok(Some("a 1")),
            ),
            (
                "Package: a\nVersion: 1\nStatus: deinstall ok config-files",
                Ok(None),
            ),
            (
                "Package: a\nVersion: 1\nStatus: purge ok not-installed",
                Ok(None),
            ),
            ("Package: a\nVersion: 1", Ok(Some("a 1"))),
            (
                "Package: a\nSource: b\nVersion: 1",
                Ok(Some("a 1 from b 1")),
            ),
            (
                "Package: a\nSource: b (2:3)\nVersion: 1",
                Ok(Some("a 1 from b 2:3")),
            ),
            (
                "Package: a\nDescription: x\n Version: 9\nVersion: 1",
                Ok(Some("a 1")),
            ),
            ("Package: a", Err("package `a` has no field `Version`")),
            ("Version: 1", Err("a paragraph has no field `Package`")),
            ("no fields at all", Ok(None)),
        ];
        for (paragraph, expected) in table {
            let expected = expected
                .map(|found| found.map(str::to_owned))
                .map_err(str::to_owned);
            assert_eq!(check(paragraph), expected, "{paragraph}");
        }
    }
}
