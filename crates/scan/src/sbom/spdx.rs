//! Writes SPDX 2.3 in JSON, in the shape that syft gives it.
//!
//! SPDX 2.3 §6–§11. One element more than syft writes: `SPDXRef-OperatingSystem-…`, from which
//! trivy learns the distribution, while grype learns it from the package URLs; so one document
//! serves both. What could not be read stands in the document's comment, since SPDX 2.3 has no
//! member for gaps.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::read::GAP_PREFIX;
use super::{Sbom, image_purl};
use crate::catalog::Distro;
use crate::licence::Licence;
use crate::package::{Package, PackageKind};

/// What an SPDX document says where it says nothing.
const NO_ASSERTION: &str = "NOASSERTION";
/// The identifier of the document inside itself.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
/// The version of the licence list that our identifiers are from.
const LICENSE_LIST_VERSION: &str = "3.25";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    creation_info: CreationInfo,
    packages: Vec<Element>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<ExtractedLicence>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreationInfo {
    license_list_version: &'static str,
    creators: Vec<String>,
    created: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExtractedLicence {
    license_id: String,
    extracted_text: String,
    name: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Element {
    name: String,
    #[serde(rename = "SPDXID")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version_info: String,
    supplier: String,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    related_spdx_element: String,
    relationship_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

pub(super) fn write(sbom: &Sbom<'_>) -> Vec<u8> {
    let root = root(sbom);
    let system = sbom.catalog.distro.as_ref().map(operating_system);
    let mut packages: Vec<Element> = sbom.catalog.packages.iter().map(package).collect();
    let relationships = relationships(sbom, &root, system.as_ref(), &packages);
    packages.extend(system);
    packages.push(root);
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: sbom.source.name.clone(),
        document_namespace: namespace(sbom),
        comment: comment(sbom),
        creation_info: CreationInfo {
            license_list_version: LICENSE_LIST_VERSION,
            creators: vec![format!("Tool: countersign-{}", sbom.tool_version)],
            created: sbom.instant(),
        },
        packages,
        has_extracted_licensing_infos: extracted_licences(&sbom.catalog.packages),
        relationships,
    };
    let mut bytes = serde_json::to_vec_pretty(&document).expect("a document has string keys only");
    bytes.push(b'\n');
    bytes
}

/// Unique for each document, as SPDX 2.3 §6.5 asks; nothing has to lie there.
fn namespace(sbom: &Sbom<'_>) -> String {
    let name = identifier(&sbom.source.name);
    format!("https://countersign.dev/spdx/image/{name}-{}", sbom.uuid())
}

fn comment(sbom: &Sbom<'_>) -> Option<String> {
    let line = |p: &crate::files::Problem| format!("{GAP_PREFIX}`{}` {}", p.path, p.reason);
    let lines: Vec<String> = sbom.catalog.problems.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Returns the text with what an SPDX identifier may not have as hyphens (SPDX 2.3 §7.2).
fn identifier(text: &str) -> String {
    let sane = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    text.chars().map(sane).collect()
}

fn element(name: &str, id: String) -> Element {
    Element {
        name: name.to_owned(),
        id,
        supplier: NO_ASSERTION.to_owned(),
        download_location: NO_ASSERTION,
        license_concluded: NO_ASSERTION,
        license_declared: NO_ASSERTION.to_owned(),
        copyright_text: NO_ASSERTION,
        ..Element::default()
    }
}

fn root(sbom: &Sbom<'_>) -> Element {
    let source = sbom.source;
    let digest = source.digest();
    Element {
        version_info: source.tag.clone().unwrap_or_else(|| digest.to_string()),
        checksums: vec![Checksum {
            algorithm: match digest.algorithm() {
                oci::DigestAlgorithm::Sha256 => "SHA256",
                oci::DigestAlgorithm::Sha512 => "SHA512",
            },
            checksum_value: digest.hex().to_owned(),
        }],
        external_refs: vec![purl_reference(image_purl(source))],
        primary_package_purpose: Some("CONTAINER"),
        ..element(
            &source.name,
            format!("SPDXRef-DocumentRoot-Image-{}", identifier(&source.name)),
        )
    }
}

fn operating_system(distro: &Distro) -> Element {
    let id = identifier(&format!("{}-{}", distro.id, distro.version_id));
    Element {
        version_info: distro.version_id.clone(),
        primary_package_purpose: Some("OPERATING-SYSTEM"),
        ..element(&distro.id, format!("SPDXRef-OperatingSystem-{id}"))
    }
}

fn package(package: &Package) -> Element {
    let kind = package.kind.as_str();
    let name = identifier(&package.name);
    let record = match package.kind {
        PackageKind::Deb => "DPKG DB",
        PackageKind::Python => "installed python package manifest file",
    };
    Element {
        version_info: package.version.clone(),
        supplier: package
            .maintainer
            .as_deref()
            .map_or_else(|| NO_ASSERTION.to_owned(), supplier),
        homepage: package.homepage.clone().filter(|url| is_web_address(url)),
        source_info: Some(format!(
            "acquired package info from {record}: /{}",
            package.location.path
        )),
        license_declared: declared(&package.licences),
        external_refs: vec![purl_reference(package.purl.clone())],
        ..element(
            &package.name,
            format!("SPDXRef-Package-{kind}-{name}-{}", package.id()),
        )
    }
}

fn purl_reference(purl: String) -> ExternalRef {
    ExternalRef {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: purl,
    }
}

/// `Name <address>` as SPDX 2.3 §7.5 writes it; a name with a parenthesis would be read as an
/// address.
fn supplier(maintainer: &str) -> String {
    let (name, address) = match maintainer.split_once('<') {
        Some((name, rest)) => (name.trim(), rest.trim_end_matches('>').trim()),
        None => (maintainer.trim(), ""),
    };
    let name = name.trim_matches('"');
    let plain = |text: &str| !text.contains(['(', ')']) && !text.chars().any(char::is_control);
    match (plain(name), plain(address)) {
        (true, true) if name.is_empty() && address.is_empty() => NO_ASSERTION.to_owned(),
        (true, true) if name.is_empty() => format!("Person: {address}"),
        (true, true) if address.contains('@') => format!("Person: {name} ({address})"),
        (true, _) if !name.is_empty() => format!("Person: {name}"),
        _ => NO_ASSERTION.to_owned(),
    }
}

fn is_web_address(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
}

fn declared(licences: &[Licence]) -> String {
    let references: BTreeSet<String> = licences.iter().map(Licence::reference).collect();
    match references.is_empty() {
        true => NO_ASSERTION.to_owned(),
        false => references.into_iter().collect::<Vec<_>>().join(" AND "),
    }
}

/// Every `LicenseRef-…` that is used must be explained (SPDX 2.3 §10).
fn extracted_licences(packages: &[Package]) -> Vec<ExtractedLicence> {
    let licences = packages.iter().flat_map(|package| &package.licences);
    let unknown = licences.filter(|licence| licence.spdx.is_none());
    let by_id: BTreeMap<String, &str> = unknown.map(|l| (l.reference(), l.name.as_str())).collect();
    let entries = by_id
        .into_iter()
        .map(|(license_id, name)| ExtractedLicence {
            license_id,
            extracted_text: name.to_owned(),
            name: name.to_owned(),
        });
    entries.collect()
}

fn relationships(
    sbom: &Sbom<'_>,
    root: &Element,
    system: Option<&Element>,
    packages: &[Element],
) -> Vec<Relationship> {
    let edge = |from: &str, kind, to: &str| Relationship {
        spdx_element_id: from.to_owned(),
        related_spdx_element: to.to_owned(),
        relationship_type: kind,
        comment: None,
    };
    let mut edges = ownership(&sbom.catalog.packages, packages);
    let contained = packages.iter().chain(system);
    edges.extend(contained.map(|element| edge(&root.id, "CONTAINS", &element.id)));
    edges.push(edge(DOCUMENT, "DESCRIBES", &root.id));
    edges
}

/// The edge from a distribution's package to the language package that it installed. Grype reads
/// it by the beginning of its comment, and then leaves the judgement to the distribution.
fn ownership(packages: &[Package], elements: &[Element]) -> Vec<Relationship> {
    let mut edges = Vec::new();
    for (owned, element) in packages.iter().zip(elements) {
        let Some(owner) = &owned.owner else { continue };
        let is_owner = |p: &&Package| p.kind == PackageKind::Deb && p.name == *owner;
        let Some(position) = packages.iter().position(|p| is_owner(&p)) else {
            continue;
        };
        edges.push(Relationship {
            spdx_element_id: elements[position].id.clone(),
            related_spdx_element: element.id.clone(),
            relationship_type: "OTHER",
            comment: Some(
                "ownership-by-file-overlap: indicates that the parent package claims ownership of a child package since the parent metadata indicates overlap with a location that a cataloger found the child package by",
            ),
        });
    }
    edges
}
