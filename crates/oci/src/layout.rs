//! The documents of an OCI image layout: `oci-layout` and `index.json`.
//!
//! image-spec `image-layout.md`. Reading and writing the files is `client`'s business.

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Digest, Index, Manifest, MediaType, Tag};

/// The annotation that names a tag in `index.json` (image-spec `annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The content of the file `oci-layout`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayoutMarker {
    /// The version; `1.0.0` is the only one.
    #[serde(rename = "imageLayoutVersion")]
    pub version: String,
}

impl Default for LayoutMarker {
    fn default() -> Self {
        Self {
            version: "1.0.0".to_owned(),
        }
    }
}

/// Says why `index.json` gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No entry has the tag or digest.
    #[error("the layout has no manifest `{0}`")]
    NotFound(String),
    /// Two entries carry the same tag with different digests.
    #[error("the layout has more than one manifest with the tag `{0}`")]
    Ambiguous(Tag),
}

/// Returns the descriptor that `tag` names in the index of a layout.
///
/// # Errors
/// If no entry has the tag, or two entries have it with different digests.
pub fn resolve_tag<'a>(index: &'a Index, tag: &Tag) -> Result<&'a Descriptor, LayoutError> {
    let named =
        |d: &&Descriptor| d.annotations.get(REF_NAME).map(String::as_str) == Some(tag.as_str());
    let mut entries = index.manifests.iter().filter(named);
    let first = entries
        .next()
        .ok_or_else(|| LayoutError::NotFound(tag.to_string()))?;
    match entries.find(|other| other.digest != first.digest) {
        Some(_) => Err(LayoutError::Ambiguous(tag.clone())),
        None => Ok(first),
    }
}

/// Returns the index with `manifest` added, and with `tag` moved to it.
pub fn with_manifest(mut index: Index, manifest: &Manifest, tag: Option<&Tag>) -> Index {
    let mut descriptor = Descriptor {
        annotations: Default::default(),
        ..manifest.descriptor()
    };
    if let Some(tag) = tag {
        index
            .manifests
            .retain(|d| d.annotations.get(REF_NAME).map(String::as_str) != Some(tag.as_str()));
        descriptor
            .annotations
            .insert(REF_NAME.to_owned(), tag.to_string());
    }
    if !index.manifests.contains(&descriptor) {
        index.manifests.push(descriptor);
    }
    index.media_type = Some(MediaType::IMAGE_INDEX);
    index
}

/// Returns the path of a blob inside a layout.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        let config = serde_json::to_string(&Descriptor::empty()).unwrap();
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"x":"{text}"}}"#);
        Manifest::parse(MediaType::IMAGE_MANIFEST, text.into_bytes()).unwrap()
    }

    #[test]
    fn a_tag_moves_to_the_newest_manifest() {
        let tag: Tag = "v1".parse().unwrap();
        let index = with_manifest(Index::new(Vec::new()), &manifest("a"), Some(&tag));
        let index = with_manifest(index, &manifest("b"), Some(&tag));
        assert_eq!(
            &resolve_tag(&index, &tag).unwrap().digest,
            manifest("b").digest()
        );
        assert_eq!(index.manifests.len(), 1);
    }

    #[test]
    fn two_manifests_with_one_tag_are_ambiguous() {
        let tag: Tag = "v1".parse().unwrap();
        let one = with_manifest(Index::new(Vec::new()), &manifest("a"), Some(&tag));
        let other = with_manifest(Index::new(Vec::new()), &manifest("b"), Some(&tag));
        let both = Index::new([one.manifests, other.manifests].concat());
        assert_eq!(resolve_tag(&both, &tag), Err(LayoutError::Ambiguous(tag)));
    }
}
