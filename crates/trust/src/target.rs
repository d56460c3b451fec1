//! The target artifact: the descriptor inside a signed payload.
//!
//! signature-specification.md, Payload (R001, R002). Its annotations carry what the signer added,
//! the user metadata.

use std::collections::BTreeMap;

use oci::{Descriptor, Digest, MediaType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json;

/// The largest payload, in bytes: what the managed signing service that we are compatible with
/// accepts, and as much of other people's bytes as the signer sees.
pub const MAX_PAYLOAD_BYTES: usize = 4096;

/// The prefix of annotations that users may not set (R004).
pub const RESERVED_ANNOTATION_PREFIX: &str = "io.cncf.notary";

/// What a Notary signature is over: one artifact, by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetArtifact {
    /// The media type of the artifact's manifest.
    pub media_type: MediaType,
    /// The digest of the artifact's manifest.
    pub digest: Digest,
    /// The size of the artifact's manifest, in bytes.
    pub size: u64,
    /// User metadata: names and texts that the signer added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    target_artifact: TargetArtifact,
}

/// Says why bytes are not a Notary payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The payload is longer than [`MAX_PAYLOAD_BYTES`].
    #[error("the payload has {0} bytes, more than {MAX_PAYLOAD_BYTES}")]
    TooLarge(usize),
    /// The payload is not JSON, names a member twice, or lacks a member.
    #[error("the payload is not a Notary payload: {0}")]
    Shape(String),
}

impl TargetArtifact {
    /// Returns the target for a manifest, without user metadata.
    pub fn of(descriptor: &Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            annotations: BTreeMap::new(),
        }
    }

    /// Returns whether this names exactly the descriptor's content: media type, digest and size
    /// (R071).
    pub fn names(&self, descriptor: &Descriptor) -> bool {
        self.media_type == descriptor.media_type
            && self.digest == descriptor.digest
            && self.size == descriptor.size
    }

    /// Returns the payload to be signed.
    pub fn to_payload(&self) -> Vec<u8> {
        let payload = Payload {
            target_artifact: self.clone(),
        };
        // A struct of strings and numbers always serialises.
        serde_json::to_vec(&payload).unwrap_or_default()
    }

    /// Reads a payload. Unknown members of the target are accepted, as in any descriptor (the
    /// specification allows `artifactType`); a member that is there twice is not.
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(PayloadError::TooLarge(bytes.len()));
        }
        let shape = |error: serde_json::Error| PayloadError::Shape(error.to_string());
        let value: Value = json::from_slice(bytes).map_err(shape)?;
        check_levels(&value)?;
        let payload: Payload = serde_json::from_value(value).map_err(shape)?;
        Ok(payload.target_artifact)
    }
}

/// Checks that both levels are objects without a member that another reader could take for one
/// of ours.
fn check_levels(value: &Value) -> Result<(), PayloadError> {
    const TARGET: &[&str] = &["mediaType", "digest", "size", "annotations"];
    let none = Value::Object(Map::new());
    let target = value.get("targetArtifact").unwrap_or(&none);
    for (level, known) in [(value, &["targetArtifact"][..]), (target, TARGET)] {
        let members = json::object(level).map_err(|e| PayloadError::Shape(e.to_string()))?;
        if let Some(name) = json::case_variant(members, known) {
            let shown: String = name.chars().take(80).collect();
            let problem = format!("member `{shown}` differs from a known one only in case");
            return Err(PayloadError::Shape(problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_that_can_be_read_in_two_ways_are_refused() {
        let target = TargetArtifact::of(&Descriptor::of(MediaType::IMAGE_MANIFEST, b"{}"));
        let good = String::from_utf8(target.to_payload()).unwrap();
        assert_eq!(TargetArtifact::parse(good.as_bytes()), Ok(target));
        let extended = good.replace("\"size\"", "\"artifactType\":\"a/b\",\"size\"");
        assert!(TargetArtifact::parse(extended.as_bytes()).is_ok());
        for (from, to) in [
            ("\"size\":2", "\"size\":2,\"size\":2"),
            ("\"size\":2", "\"size\":2,\"Size\":3"),
            ("\"size\":2", "\"size\":-2"),
            (",\"size\":2", ""),
            (
                "{\"targetArtifact\"",
                "{\"TargetArtifact\":1,\"targetArtifact\"",
            ),
            ("sha256:", "md5:"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            assert!(TargetArtifact::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let list = r#"{"targetArtifact":["a/b","sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",2,{}]}"#;
        for bad in [list, "[{}]", "[]", "{}", "1"] {
            assert!(TargetArtifact::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let large = format!("{good}{}", " ".repeat(MAX_PAYLOAD_BYTES));
        assert!(matches!(
            TargetArtifact::parse(large.as_bytes()),
            Err(PayloadError::TooLarge(_))
        ));
    }
}
