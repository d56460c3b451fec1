//! From the layers of an image to its packages, for whoever has the layers.
//!
//! The functions block and use a whole processor, so an asynchronous caller runs them on its
//! blocking pool; the layers may come from files, memory or a socket.

use std::io::Read;

use oci::{Descriptor, Digest, ImageManifest, Manifest, MediaType};
use serde::Deserialize;

use crate::catalog::{Catalog, catalog};
use crate::files::{ImageFiles, Layer, LayerError};

/// What is known of an image apart from its files.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSource {
    /// What the user asked for: a reference, or the path of a layout.
    pub reference: String,
    /// The name of the image without tag and digest, such as `localhost:5000/apps/shop`.
    pub name: String,
    /// The tag, if the user gave one.
    pub tag: Option<String>,
    /// The manifest.
    pub manifest: Descriptor,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The processor architecture, if the configuration says it.
    pub architecture: Option<String>,
    /// The operating system, if the configuration says it.
    pub os: Option<String>,
}

/// Says why a manifest is not an image whose files can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The manifest is an index: one platform must be chosen first.
    #[error("`{0}` is an index of several images: choose one by its digest")]
    Index(Digest),
    /// The manifest is an artifact, without a file system.
    #[error("`{0}` is an artifact of type `{1}`, not an image")]
    Artifact(Digest, MediaType),
}

impl ImageSource {
    /// Describes an image by its manifest and the bytes of its configuration. A configuration
    /// that cannot be read leaves the platform open.
    ///
    /// # Errors
    /// If the manifest is an index, or an artifact that is not an image.
    pub fn new(
        name: ImageName<'_>,
        manifest: &Manifest,
        config: &[u8],
    ) -> Result<Self, ImageError> {
        let image = image_of(manifest)?;
        let platform: Platform = serde_json::from_slice(config).unwrap_or_default();
        Ok(Self {
            reference: name.reference.to_owned(),
            name: name.repository.to_owned(),
            tag: name.tag.map(str::to_owned),
            manifest: manifest.descriptor().bare(),
            config: image.config.bare(),
            layers: image.layers.iter().map(Descriptor::bare).collect(),
            architecture: platform.architecture,
            os: platform.os,
        })
    }

    /// Returns the digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }
}

/// How the user named an image.
#[derive(Clone, Copy, Debug)]
pub struct ImageName<'a> {
    /// The whole text.
    pub reference: &'a str,
    /// The part without tag and digest.
    pub repository: &'a str,
    /// The tag.
    pub tag: Option<&'a str>,
}

/// Returns the members of a manifest that is an image.
///
/// # Errors
/// If it is an index, or an artifact of another type.
pub fn image_of(manifest: &Manifest) -> Result<&ImageManifest, ImageError> {
    let digest = || manifest.digest().clone();
    let image = manifest
        .as_image()
        .ok_or_else(|| ImageError::Index(digest()))?;
    let docker = "application/vnd.docker.container.image.v1+json";
    let config = &image.config.media_type;
    match &image.artifact_type {
        None if *config == MediaType::IMAGE_CONFIG || config.as_str() == docker => Ok(image),
        other => {
            let artifact_type = other.as_ref().unwrap_or(config);
            Err(ImageError::Artifact(digest(), artifact_type.clone()))
        }
    }
}

#[derive(Default, Deserialize)]
struct Platform {
    architecture: Option<String>,
    os: Option<String>,
}

/// Reads all layers of an image, the lowest first, and finds its packages. Blocks.
///
/// # Errors
/// If a layer cannot be read to its end, is not what its digest names, or goes beyond a limit.
pub fn scan_layers<R: Read>(
    layers: impl IntoIterator<Item = Layer<R>>,
) -> Result<Catalog, LayerError> {
    Ok(catalog(&ImageFiles::from_layers(layers)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: &str, more: &str) -> Manifest {
        let digest = Digest::sha256(b"");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{config}","digest":"{digest}","size":0}},"layers":[]{more}}}"#
        );
        Manifest::parse(MediaType::IMAGE_MANIFEST, text.into_bytes()).unwrap()
    }

    #[test]
    fn only_images_have_files() {
        let image = "application/vnd.oci.image.config.v1+json";
        let table = [
            (manifest(image, ""), true),
            (
                manifest("application/vnd.docker.container.image.v1+json", ""),
                true,
            ),
            (manifest("application/vnd.oci.empty.v1+json", ""), false),
            (manifest(image, r#","artifactType":"sbom/example""#), false),
        ];
        for (manifest, is_image) in table {
            assert_eq!(image_of(&manifest).is_ok(), is_image, "{manifest:?}");
        }
    }
}
