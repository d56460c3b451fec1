//! Installed Python distributions: `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`, and `*.egg-info`
//! files.
//!
//! Core metadata specification (PEP 566 and its successors). A distribution that a Debian package
//! installed is marked with that package: Debian patches it without changing its version, so the
//! ranges of the Python advisories do not hold for it.

use std::collections::BTreeMap;

use super::message::{Fields, paragraphs};
use crate::files::{File, FileView, Problem};
use crate::licence::{Licence, in_expression};
use crate::package::{Location, Package, PackageKind};

/// Finds the installed Python distributions.
pub(super) fn catalog(view: &FileView, problems: &mut Vec<Problem>) -> Vec<Package> {
    let owners = owners(view);
    let mut packages = Vec::new();
    for (path, file) in view.files().filter(|(path, _)| is_metadata(path)) {
        match package(path, file) {
            Ok(package) => packages.push(Package {
                owner: owners.get(path).cloned(),
                ..package
            }),
            Err(reason) => problems.push(Problem {
                path: path.to_owned(),
                reason,
            }),
        }
    }
    packages
}

fn is_metadata(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.ends_with(".dist-info/metadata")
        || lower.ends_with(".egg-info/pkg-info")
        || lower.ends_with(".egg-info")
}

fn package(path: &str, file: &File) -> Result<Package, String> {
    let text = String::from_utf8_lossy(&file.bytes);
    let fields = Fields::parse(paragraphs(&text).next().unwrap_or_default());
    let name = fields.get("Name").ok_or("has no field `Name`")?;
    let version = fields.get("Version").ok_or("has no field `Version`")?;
    Ok(Package {
        kind: PackageKind::Python,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: None,
        source: None,
        location: Location {
            path: path.to_owned(),
            layer: file.layer.clone(),
        },
        licences: licences(&fields),
        maintainer: author(&fields),
        homepage: fields.get("Home-page").map(str::to_owned),
        owner: None,
        purl: String::new(),
    })
}

/// `License-Expression` (PEP 639) is an SPDX expression; `License` is anything up to a whole text,
/// of which the first line is here and long ones are dropped.
fn licences(fields: &Fields<'_>) -> Vec<Licence> {
    let declared = fields.get("License-Expression").or(fields.get("License"));
    let known = declared.filter(|text| !text.eq_ignore_ascii_case("unknown"));
    known
        .map(in_expression)
        .unwrap_or_default()
        .into_iter()
        .collect()
}

fn author(fields: &Fields<'_>) -> Option<String> {
    let known = |text: &&str| !text.eq_ignore_ascii_case("unknown");
    let name = fields.get("Author").filter(known);
    let address = fields.get("Author-email").filter(known);
    match (name, address) {
        (Some(name), Some(address)) if !address.contains('<') => {
            Some(format!("{name} <{address}>"))
        }
        (_, Some(address)) => Some(address.to_owned()),
        (name, None) => name.map(str::to_owned),
    }
}

/// Returns which Debian package each metadata file came with, from the file lists of dpkg.
/// Architectures in the name of a list (`libx:amd64.list`) are left off.
fn owners(view: &FileView) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for (path, file) in view.files() {
        let Some(list) = path.rsplit_once("lib/dpkg/info/").map(|(_, name)| name) else {
            continue;
        };
        let package = list.trim_end_matches(".list");
        let package = package.split_once(':').map_or(package, |(name, _)| name);
        for line in String::from_utf8_lossy(&file.bytes).lines() {
            let owned = line.trim_start_matches('/');
            if is_metadata(owned) {
                owners.insert(owned.to_owned(), package.to_owned());
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Digest;

    fn check(text: &str) -> Result<String, String> {
        let file = File {
            bytes: text.as_bytes().into(),
            layer: Digest::sha256(b""),
        };
        let p = package("a.dist-info/METADATA", &file)?;
        let licences: Vec<String> = p.licences.iter().map(Licence::reference).collect();
        Ok(format!(
            "{} {} [{}] {:?}",
            p.name,
            p.version,
            licences.join(" "),
            p.maintainer
        ))
    }

    #[test]
    fn the_table_of_metadata() {
        let table = [
            (
                "Metadata-Version: 2.1\nName: bottle\nVersion: 0.12.19\nLicense: MIT\nAuthor: M H\nAuthor-email: m@x.org\n",
                Ok("bottle 0.12.19 [MIT] Some(\"M H <m@x.org>\")"),
            ),
            ("Name: a\r\nVersion: 1\r\n\r\nVersion: 2", Ok("a 1 [] None")),
            (
                "Name: a\nVersion: 1\nLicense-Expression: MIT OR Apache-2.0\nLicense: x\nAuthor: UNKNOWN",
                Ok("a 1 [Apache-2.0 MIT] None"),
            ),
            (
                "Name: a\nVersion: 1\nAuthor-email: B <b@x.org>\nAuthor: B",
                Ok("a 1 [] Some(\"B <b@x.org>\")"),
            ),
            ("Version: 1", Err("has no field `Name`")),
            ("Name: a\nVersion:", Err("has no field `Version`")),
            ("", Err("has no field `Name`")),
        ];
        for (text, expected) in table {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(check(text), expected, "{text}");
        }
    }
}
