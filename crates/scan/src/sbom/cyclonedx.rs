//! Writes CycloneDX 1.6 in JSON.
//!
//! ECMA-424. The operating system is a component, from which trivy and grype learn the
//! distribution; gaps make the assembly an incomplete composition.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Sbom, image_purl};
use crate::catalog::Distro;
use crate::licence::Licence;
use crate::package::Package;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Value,
    components: Vec<Component>,
    dependencies: Vec<Value>,
    compositions: Vec<Value>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Component {
    #[serde(rename = "bom-ref")]
    reference: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<Value>,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    purl: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    swid: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Value>,
}

pub(super) fn write(sbom: &Sbom<'_>) -> Vec<u8> {
    let root = root(sbom);
    let packages = sbom.catalog.packages.iter().map(package);
    let components: Vec<Component> = packages
        .chain(sbom.catalog.distro.as_ref().map(operating_system))
        .collect();
    let references: Vec<&str> = components.iter().map(|c| c.reference.as_str()).collect();
    let aggregate = match sbom.catalog.problems.is_empty() {
        // Packages that no cataloguer knows may be there, so completeness is never claimed.
        true => "unknown",
        false => "incomplete",
    };
    let document = Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: format!("urn:uuid:{}", sbom.uuid()),
        version: 1,
        dependencies: vec![json!({"ref": root.reference, "dependsOn": references})],
        compositions: vec![json!({"aggregate": aggregate, "assemblies": [root.reference]})],
        metadata: metadata(sbom, &root),
        components,
    };
    let mut bytes = serde_json::to_vec_pretty(&document).expect("a document has string keys only");
    bytes.push(b'\n');
    bytes
}

fn metadata(sbom: &Sbom<'_>, root: &Component) -> Value {
    let gap = |p: &crate::files::Problem| {
        property("countersign:gap", &format!("`{}` {}", p.path, p.reason))
    };
    let gaps: Vec<Value> = sbom.catalog.problems.iter().map(gap).collect();
    let mut metadata = json!({
        "timestamp": sbom.instant(),
        "tools": {"components": [{
            "type": "application", "name": "countersign", "version": sbom.tool_version,
        }]},
        "component": root,
    });
    if !gaps.is_empty() {
        metadata["properties"] = Value::Array(gaps);
    }
    metadata
}

fn root(sbom: &Sbom<'_>) -> Component {
    let digest = sbom.source.digest();
    let algorithm = match digest.algorithm() {
        oci::DigestAlgorithm::Sha256 => "SHA-256",
        oci::DigestAlgorithm::Sha512 => "SHA-512",
    };
    Component {
        reference: digest.to_string(),
        kind: "container",
        name: sbom.source.name.clone(),
        version: sbom
            .source
            .tag
            .clone()
            .unwrap_or_else(|| digest.to_string()),
        hashes: vec![json!({"alg": algorithm, "content": digest.hex()})],
        purl: image_purl(sbom.source),
        ..Component::default()
    }
}

fn operating_system(distro: &Distro) -> Component {
    let name = distro.pretty_name.as_deref().unwrap_or(&distro.id);
    Component {
        reference: format!("os:{}@{}", distro.id, distro.version_id),
        kind: "operating-system",
        name: distro.id.clone(),
        version: distro.version_id.clone(),
        description: name.to_owned(),
        swid: Some(json!({"tagId": distro.id, "name": distro.id, "version": distro.version_id})),
        ..Component::default()
    }
}

fn package(package: &Package) -> Component {
    let supplier = package
        .maintainer
        .as_deref()
        .map(|name| json!({"name": name}));
    let location = &package.location;
    let mut properties = vec![
        property("syft:package:type", package.kind.as_str()),
        property("syft:location:0:path", &format!("/{}", location.path)),
        property("syft:location:0:layerID", location.layer.as_str()),
    ];
    if let Some(source) = &package.source {
        properties.push(property("syft:metadata:source", &source.name));
        properties.push(property("syft:metadata:sourceVersion", &source.version));
    }
    let joint = if package.purl.contains('?') { '&' } else { '?' };
    Component {
        reference: format!("{}{joint}package-id={}", package.purl, package.id()),
        kind: "library",
        supplier,
        name: package.name.clone(),
        version: package.version.clone(),
        licenses: package.licences.iter().map(licence).collect(),
        purl: package.purl.clone(),
        properties,
        ..Component::default()
    }
}

fn licence(licence: &Licence) -> Value {
    match licence.spdx {
        Some(id) => json!({"license": {"id": id}}),
        None => json!({"license": {"name": licence.name}}),
    }
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}
