//! SBOM documents: written in SPDX 2.3 and CycloneDX 1.6, and read back for the gate.
//!
//! A document is a function of its [`Sbom`]: the same image at the same time gives the same
//! bytes, with the identifier of the document made from the digest of the image.

mod cyclonedx;
mod read;
mod spdx;
mod table;

use oci::MediaType;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use read::{MAX_SBOM_BYTES, SbomError, SbomFormat, SbomSummary, parse};

use crate::catalog::Catalog;
use crate::image::ImageSource;

/// What an SBOM is written from.
#[derive(Clone, Debug)]
pub struct Sbom<'a> {
    /// The image.
    pub source: &'a ImageSource,
    /// Its packages.
    pub catalog: &'a Catalog,
    /// When the document is made.
    pub created: OffsetDateTime,
    /// The version of this program.
    pub tool_version: &'a str,
}

impl Sbom<'_> {
    /// Returns the document, with a line feed at its end.
    pub fn write(&self, format: SbomFormat) -> Vec<u8> {
        match format {
            SbomFormat::SpdxJson => spdx::write(self),
            SbomFormat::CycloneDxJson => cyclonedx::write(self),
        }
    }

    /// Returns the packages as a table for people.
    pub fn to_table(&self) -> String {
        table::write(self)
    }

    /// Returns a UUID that is the same for the same image, time and program: version 8 of RFC
    /// 9562 §5.8, over SHA-256.
    fn uuid(&self) -> String {
        let mut hash = Sha256::new();
        for part in [
            self.source.digest().as_str(),
            &self.instant(),
            self.tool_version,
        ] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let hash = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        let groups = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        groups.join("-")
    }

    /// Returns the time of creation in UTC and whole seconds (SPDX 2.3 §6.9 allows no others).
    fn instant(&self) -> String {
        let utc = self
            .created
            .to_offset(time::UtcOffset::UTC)
            .replace_nanosecond(0);
        utc.ok()
            .and_then(|utc| utc.format(&Rfc3339).ok())
            .unwrap_or_default()
    }
}

impl SbomFormat {
    /// Returns the media type of the documents.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::SpdxJson => MediaType::SPDX_JSON,
            Self::CycloneDxJson => MediaType::CYCLONEDX_JSON,
        }
    }
}

/// Returns the package URL of an image, as syft writes it. Its name is the last part of the
/// repository (purl-spec, `oci`).
fn image_purl(source: &ImageSource) -> String {
    let name = source.name.rsplit('/').next().unwrap_or_default();
    let purl = || {
        let mut url = packageurl::PackageUrl::new("oci", name.to_ascii_lowercase())?;
        url.with_version(source.digest().as_str())?;
        if let Some(architecture) = &source.architecture {
            url.add_qualifier("arch", architecture.clone())?;
        }
        if let Some(tag) = &source.tag {
            url.add_qualifier("tag", tag.clone())?;
        }
        url.add_qualifier("repository_url", source.name.clone())?;
        Ok::<_, packageurl::Error>(url.to_string())
    };
    purl().unwrap_or_default()
}

#[cfg(test)]
mod tests;
