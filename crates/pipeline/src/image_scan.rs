//! Finds the packages of an image that lies somewhere else: each layer is streamed from its source
//! straight into the cataloguers, with nothing written to disk.
//!
//! Fetching is asynchronous and cataloguing blocks; a pipe in memory joins the two, so the next
//! bytes arrive while the last ones are unpacked.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::{ArtifactSource, ClientError};
use oci::descriptor::Platform;
use oci::{Descriptor, Manifest};
use scan::files::{LayerError, Limits};
use scan::image::{ImageError, ImageName, image_of};
use scan::{Catalog, ImageFiles, ImageSource, Layer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Handle;
use tokio::task::JoinError;

/// The largest image configuration, in bytes. The largest real ones have some hundred kilobytes.
const MAX_CONFIG_BYTES: u64 = 8 * 1024 * 1024;
/// How many bytes may be fetched ahead of the cataloguers.
const PIPE_BYTES: usize = 1024 * 1024;

/// Says why the packages of an image could not be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageScanError {
    /// Something could not be fetched.
    #[error(transparent)]
    Fetch(#[from] ClientError),
    /// What was fetched is not an image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// An index has no image for the platform.
    #[error("`{index}` has no image for {wanted}: it has {offered}")]
    Platform {
        /// The index.
        index: oci::Digest,
        /// The platform that was asked for.
        wanted: String,
        /// The platforms that there are.
        offered: String,
    },
    /// The cataloguing itself broke off: a defect of ours.
    #[error("cataloguing broke off")]
    BrokeOff(#[source] JoinError),
}

/// Returns what an image is and the packages in it. Of an index, the image for `platform` is
/// taken, or the one for this machine's.
///
/// # Errors
/// If the image cannot be fetched or read as a whole: half an image is not an image.
pub async fn scan_image(
    source: &dyn ArtifactSource,
    root: &Descriptor,
    name: ImageName<'_>,
    platform: Option<&Platform>,
) -> Result<(ImageSource, Catalog), ImageScanError> {
    let manifest = choose(source, source.manifest(root).await?, platform).await?;
    let image = image_of(&manifest)?;
    let config = source.blob(&image.config, MAX_CONFIG_BYTES).await?;
    let described = ImageSource::new(name, &manifest, &config)?;
    let mut files = ImageFiles::new(Limits::default());
    for layer in &image.layers {
        files = add_layer(source, layer, files).await?;
    }
    let catalog = tokio::task::spawn_blocking(move || scan::catalog(&files.finish()))
        .await
        .map_err(ImageScanError::BrokeOff)?;
    Ok((described, catalog))
}

/// Fetches and reads one layer.
async fn add_layer(
    source: &dyn ArtifactSource,
    descriptor: &Descriptor,
    mut files: ImageFiles,
) -> Result<ImageFiles, ImageScanError> {
    let (reader, mut writer) = tokio::io::duplex(PIPE_BYTES);
    let gone = Arc::new(AtomicBool::new(false));
    let layer = Layer {
        digest: descriptor.digest.clone(),
        media_type: descriptor.media_type.clone(),
        reader: PipeReader {
            pipe: reader,
            runtime: Handle::current(),
            gone: Arc::clone(&gone),
        },
    };
    let reading = tokio::task::spawn_blocking(move || files.add_layer(layer).map(|()| files));
    let fetched = source.blob_to(descriptor, &mut writer).await;
    // Whoever gave up first has the reason; the other one only sees that the pipe broke.
    let reader_gave_up = gone.load(Ordering::SeqCst);
    let closed = writer.shutdown().await;
    drop(writer);
    let read = reading.await.map_err(ImageScanError::BrokeOff)?;
    match fetched {
        Err(error) if !reader_gave_up => Err(error.into()),
        _ => {
            // A pipe in memory closes without fail unless its reader is gone, which `read` tells.
            drop(closed);
            Ok(read?)
        }
    }
}

/// The end of the pipe that the blocking side reads.
struct PipeReader {
    pipe: DuplexStream,
    runtime: Handle,
    gone: Arc<AtomicBool>,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.pipe.read(buffer))
    }
}

impl Drop for PipeReader {
    /// Runs before the pipe breaks, so the writing side cannot see it broken before it can see
    /// why.
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}

/// Returns the manifest itself, or of an index the one for the platform.
async fn choose(
    source: &dyn ArtifactSource,
    manifest: Manifest,
    platform: Option<&Platform>,
) -> Result<Manifest, ImageScanError> {
    let Some(index) = manifest.as_index() else {
        return Ok(manifest);
    };
    let wanted = platform.cloned().unwrap_or_else(own_platform);
    let suits = |p: &Platform| {
        p.os == wanted.os
            && p.architecture == wanted.architecture
            && (wanted.variant.is_none() || p.variant == wanted.variant)
    };
    let images = index
        .manifests
        .iter()
        .filter(|d| d.media_type.is_image_manifest());
    let found = images
        .clone()
        .find(|d| d.platform.as_ref().is_some_and(suits));
    match found {
        Some(descriptor) => Ok(source.manifest(descriptor).await?),
        None => Err(ImageScanError::Platform {
            index: manifest.digest().clone(),
            wanted: shown(&wanted),
            offered: offered(images),
        }),
    }
}

fn offered<'a>(images: impl Iterator<Item = &'a Descriptor>) -> String {
    let names: Vec<String> = images
        .filter_map(|d| d.platform.as_ref())
        .map(shown)
        .take(20)
        .collect();
    match names.is_empty() {
        true => "none with a platform".to_owned(),
        false => names.join(", "),
    }
}

fn shown(platform: &Platform) -> String {
    let clean = |text: &str| {
        text.chars()
            .filter(|c| c.is_ascii_graphic())
            .take(40)
            .collect::<String>()
    };
    let variant = platform
        .variant
        .as_deref()
        .map(|v| format!("/{}", clean(v)));
    format!(
        "`{}/{}{}`",
        clean(&platform.os),
        clean(&platform.architecture),
        variant.unwrap_or_default()
    )
}

/// The platform of containers on this machine, in Go's words.
fn own_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    };
    Platform {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
        variant: None,
    }
}

#[cfg(test)]
mod tests;
