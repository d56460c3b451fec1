//! Reads an SBOM back for the gate: SPDX 2.x or CycloneDX 1.x in JSON, ours or other tools'.
//!
//! Only what a decision needs is kept: which format, how many packages, of which artifact, from
//! when, and what the document itself says is missing.

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The largest SBOM, in bytes: what the evidence collector fetches at most.
pub const MAX_SBOM_BYTES: usize = 64 * 1024 * 1024;

/// The prefix of a line in an SPDX document's `comment` that states a gap. SPDX 2.3 has no member
/// for it; CycloneDX has `compositions`.
pub(crate) const GAP_PREFIX: &str = "incomplete: ";

/// A format that we read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SbomFormat {
    /// SPDX 2.x in JSON.
    #[serde(rename = "spdx-json")]
    SpdxJson,
    /// CycloneDX 1.x in JSON.
    #[serde(rename = "cyclonedx-json")]
    CycloneDxJson,
}

impl SbomFormat {
    /// Returns the name that `-o` and gate policies use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpdxJson => "spdx-json",
            Self::CycloneDxJson => "cyclonedx-json",
        }
    }
}

/// What an SBOM says, as far as a gate policy asks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SbomSummary {
    /// The format.
    pub format: SbomFormat,
    /// The version of the format's specification, such as `2.3` or `1.6`.
    pub spec_version: String,
    /// The number of packages, without the image itself and its operating system.
    pub packages: usize,
    /// The manifest that the document describes, if it says so.
    pub subject: Option<Digest>,
    /// When the document was made, by its own words.
    #[serde(with = "time::serde::rfc3339::option")]
    pub created: Option<OffsetDateTime>,
    /// Whether the document states no gaps.
    pub complete: bool,
    /// What the document says it leaves out.
    pub gaps: Vec<String>,
}

/// Says why bytes are not an SBOM that we read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SbomError {
    /// Larger than [`MAX_SBOM_BYTES`].
    #[error("SBOM has {0} bytes, more than the limit of {MAX_SBOM_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or a member has the wrong kind.
    #[error("SBOM is malformed")]
    Json(#[source] serde_json::Error),
    /// JSON, but neither format.
    #[error("document has neither `spdxVersion` nor `bomFormat`, so it is no SBOM that we read")]
    Format,
    /// A version of a format that has another shape.
    #[error("SBOM says version `{0}`: SPDX 2 and CycloneDX 1 are supported")]
    Version(String),
}

/// Reads an SBOM.
///
/// # Errors
/// If the bytes are too many, not JSON, or neither SPDX 2 nor CycloneDX 1.
pub fn parse(bytes: &[u8]) -> Result<SbomSummary, SbomError> {
    if bytes.len() > MAX_SBOM_BYTES {
        return Err(SbomError::TooLarge(bytes.len()));
    }
    let marks: Marks = serde_json::from_slice(bytes).map_err(SbomError::Json)?;
    match (marks.spdx_version, marks.bom_format.as_deref()) {
        (Some(version), None) => spdx(bytes, &version),
        (None, Some("CycloneDX")) => cyclonedx(bytes, marks.spec_version.unwrap_or_default()),
        _ => Err(SbomError::Format),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marks {
    spdx_version: Option<String>,
    bom_format: Option<String>,
    spec_version: Option<String>,
}

fn spdx(bytes: &[u8], version: &str) -> Result<SbomSummary, SbomError> {
    let spec_version = version
        .strip_prefix("SPDX-")
        .filter(|version| version.starts_with("2."))
        .ok_or_else(|| SbomError::Version(version.chars().take(40).collect()))?;
    let document: Spdx = serde_json::from_slice(bytes).map_err(SbomError::Json)?;
    let described = document.described();
    let root = document
        .packages
        .iter()
        .find(|p| described == Some(p.id.as_str()));
    let is_package = |p: &&SpdxPackage| {
        described != Some(p.id.as_str()) && !p.id.starts_with("SPDXRef-OperatingSystem")
    };
    let gaps: Vec<String> = document
        .comment
        .iter()
        .flat_map(|comment| comment.lines())
        .filter_map(|line| line.strip_prefix(GAP_PREFIX))
        .map(str::to_owned)
        .collect();
    Ok(SbomSummary {
        format: SbomFormat::SpdxJson,
        spec_version: spec_version.to_owned(),
        packages: document.packages.iter().filter(is_package).count(),
        subject: root.and_then(SpdxPackage::digest),
        created: instant(document.creation_info.and_then(|info| info.created)),
        complete: gaps.is_empty(),
        gaps,
    })
}

fn cyclonedx(bytes: &[u8], spec_version: String) -> Result<SbomSummary, SbomError> {
    if !spec_version.starts_with("1.") {
        return Err(SbomError::Version(spec_version.chars().take(40).collect()));
    }
    let document: CycloneDx = serde_json::from_slice(bytes).map_err(SbomError::Json)?;
    let is_package = |c: &&Component| !["operating-system", "file"].contains(&c.kind.as_str());
    let gaps: Vec<String> = document
        .compositions
        .iter()
        .filter(|composition| composition.aggregate.starts_with("incomplete"))
        .map(|composition| format!("the document calls itself {}", composition.aggregate))
        .collect();
    let metadata = document.metadata.unwrap_or_default();
    Ok(SbomSummary {
        format: SbomFormat::CycloneDxJson,
        spec_version,
        packages: document.components.iter().filter(is_package).count(),
        subject: metadata.component.as_ref().and_then(Component::digest),
        created: instant(metadata.timestamp),
        complete: gaps.is_empty(),
        gaps,
    })
}

fn instant(text: Option<String>) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&text?, &Rfc3339).ok()
}

/// Reads `sha256:…` as a digest, or the digest in a purl `pkg:oci/name@sha256:…`.
fn digest_in(text: &str) -> Option<Digest> {
    let start = text.find("sha256:").or_else(|| text.find("sha256%3A"))?;
    let decoded = text[start..].replacen("%3A", ":", 1);
    decoded.get(..71)?.parse().ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spdx {
    comment: Option<String>,
    creation_info: Option<CreationInfo>,
    #[serde(default)]
    packages: Vec<SpdxPackage>,
    #[serde(default)]
    relationships: Vec<Relationship>,
    #[serde(default)]
    document_describes: Vec<String>,
}

impl Spdx {
    /// Two forms of the same statement: a relationship, and the older `documentDescribes`.
    fn described(&self) -> Option<&str> {
        let is_root = |r: &&Relationship| r.from == "SPDXRef-DOCUMENT" && r.kind == "DESCRIBES";
        let related = self
            .relationships
            .iter()
            .find(is_root)
            .map(|r| r.to.as_str());
        related.or(self.document_describes.first().map(String::as_str))
    }
}

#[derive(Deserialize)]
struct CreationInfo {
    created: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    #[serde(rename = "SPDXID")]
    id: String,
    version_info: Option<String>,
    #[serde(default)]
    checksums: Vec<Checksum>,
    #[serde(default)]
    external_refs: Vec<ExternalRef>,
}

impl SpdxPackage {
    fn digest(&self) -> Option<Digest> {
        let sha256 = |c: &Checksum| {
            let text = format!("sha256:{}", c.value.to_ascii_lowercase());
            (c.algorithm == "SHA256")
                .then(|| text.parse().ok())
                .flatten()
        };
        let reference = |r: &ExternalRef| {
            r.locator
                .starts_with("pkg:oci/")
                .then(|| digest_in(&r.locator))
                .flatten()
        };
        let checksum = self.checksums.iter().find_map(sha256);
        let locator = || self.external_refs.iter().find_map(reference);
        checksum
            .or_else(locator)
            .or_else(|| digest_in(self.version_info.as_deref()?))
    }
}

#[derive(Deserialize)]
struct Checksum {
    algorithm: String,
    #[serde(rename = "checksumValue")]
    value: String,
}

#[derive(Deserialize)]
struct ExternalRef {
    #[serde(rename = "referenceLocator")]
    locator: String,
}

#[derive(Deserialize)]
struct Relationship {
    #[serde(rename = "spdxElementId")]
    from: String,
    #[serde(rename = "relatedSpdxElement")]
    to: String,
    #[serde(rename = "relationshipType")]
    kind: String,
}

#[derive(Deserialize)]
struct CycloneDx {
    metadata: Option<Metadata>,
    #[serde(default)]
    components: Vec<Component>,
    #[serde(default)]
    compositions: Vec<Composition>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    timestamp: Option<String>,
    component: Option<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "type")]
    kind: String,
    version: Option<String>,
    purl: Option<String>,
    #[serde(default)]
    hashes: Vec<Hash>,
}

impl Component {
    fn digest(&self) -> Option<Digest> {
        let sha256 = |h: &Hash| {
            let text = format!("sha256:{}", h.content.to_ascii_lowercase());
            (h.algorithm == "SHA-256")
                .then(|| text.parse().ok())
                .flatten()
        };
        let hash = self.hashes.iter().find_map(sha256);
        hash.or_else(|| digest_in(self.purl.as_deref()?))
            .or_else(|| digest_in(self.version.as_deref()?))
    }
}

#[derive(Deserialize)]
struct Hash {
    #[serde(rename = "alg")]
    algorithm: String,
    content: String,
}

#[derive(Deserialize)]
struct Composition {
    aggregate: String,
}

#[cfg(test)]
mod tests;
