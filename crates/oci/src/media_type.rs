//! Media types, and the ones that we know by name.
//!
//! RFC 6838 §4.2 gives the grammar. Parameters are not part of an OCI media type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::NameError;

/// The longest media type, in bytes: RFC 6838 §4.2 limits each side to 127.
pub const MAX_MEDIA_TYPE_BYTES: usize = 255;

/// A media type such as `application/vnd.oci.image.manifest.v1+json`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(std::borrow::Cow<'static, str>);

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl MediaType {
            $($(#[$doc])* pub const $name: Self = Self(std::borrow::Cow::Borrowed($text));)*
        }
    };
}

known! {
    /// An OCI image manifest.
    IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image index.
    IMAGE_INDEX = "application/vnd.oci.image.index.v1+json";
    /// An OCI image configuration.
    IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json";
    /// A Docker schema 2 manifest.
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
    /// A Docker schema 2 manifest list.
    DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The empty JSON object, as a configuration of artifacts that have none.
    EMPTY = "application/vnd.oci.empty.v1+json";
    /// A layer as a gzip-compressed tar archive.
    LAYER_TAR_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer as a tar archive.
    LAYER_TAR = "application/vnd.oci.image.layer.v1.tar";
    /// JSON.
    JSON = "application/json";
    /// Bytes of no stated kind.
    OCTET_STREAM = "application/octet-stream";
    /// The artifact type of a Notary Project signature.
    NOTARY_SIGNATURE = "application/vnd.cncf.notary.signature";
    /// The payload of a Notary Project signature.
    NOTARY_PAYLOAD = "application/vnd.cncf.notary.payload.v1+json";
    /// A JWS envelope in its JSON serialisation.
    JOSE_JSON = "application/jose+json";
    /// A COSE_Sign1 envelope.
    COSE = "application/cose";
    /// A DSSE envelope.
    DSSE = "application/vnd.dsse.envelope.v1+json";
    /// An in-toto statement.
    IN_TOTO = "application/vnd.in-toto+json";
    /// SPDX in JSON.
    SPDX_JSON = "application/spdx+json";
    /// CycloneDX in JSON.
    CYCLONEDX_JSON = "application/vnd.cyclonedx+json";
    /// A Countersign approval: an in-toto statement in DSSE.
    APPROVAL = "application/vnd.countersign.approval.v1+json";
    /// A Countersign acceptance by a team: an in-toto statement in DSSE.
    ACCEPTANCE = "application/vnd.countersign.acceptance.v1+json";
    /// A Countersign verdict: a SLSA verification summary in DSSE.
    VERDICT = "application/vnd.countersign.verdict.v1+json";
    /// Build provenance: a SLSA v1 statement in DSSE.
    PROVENANCE = "application/vnd.countersign.provenance.v1+json";
}

impl MediaType {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is an image manifest, in OCI's or Docker's form.
    pub fn is_image_manifest(&self) -> bool {
        *self == Self::IMAGE_MANIFEST || *self == Self::DOCKER_MANIFEST
    }

    /// Returns whether this is an index, in OCI's or Docker's form.
    pub fn is_index(&self) -> bool {
        *self == Self::IMAGE_INDEX || *self == Self::DOCKER_MANIFEST_LIST
    }

    /// Returns whether an artifact of this type is an endorsement (a signature, an acceptance, an
    /// approval or a verdict: who stands for it) and not evidence (what was found).
    ///
    /// Endorsements are left out of the graph root, so that they can name it.
    pub fn is_endorsement(&self) -> bool {
        [
            Self::NOTARY_SIGNATURE,
            Self::APPROVAL,
            Self::ACCEPTANCE,
            Self::VERDICT,
        ]
        .contains(self)
    }
}

impl FromStr for MediaType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str = "expected `type/subtype`, such as `application/json`";
        let side = |part: &str| {
            (1..=127).contains(&part.len())
                && part.as_bytes()[0].is_ascii_alphanumeric()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match text.split_once('/') {
            Some((kind, subtype)) if side(kind) && side(subtype) => {
                Ok(Self(text.to_owned().into()))
            }
            _ => Err(NameError::new("media type", text, EXPECTED)),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::name::deserialize_from_str(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_follow_the_grammar() {
        for good in ["application/json", "sbom/example", "cve/example", "a/b+c.d"] {
            assert!(good.parse::<MediaType>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "json",
            "a/",
            "/b",
            "a/b/c",
            "a/b; q=1",
            "a/\u{1b}b",
            "a b/c",
        ] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad}");
        }
    }
}
