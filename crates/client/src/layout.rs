//! An OCI image layout, a folder, as source and sink (image-spec `image-layout.md`).
//!
//! Blobs are written beside their place and renamed into it, so a blob under its digest is always
//! whole. `index.json` is replaced in the same way, under a lock on the file `oci-layout`, so
//! several processes may write to one layout. A layout comes from anywhere: what is read from it
//! is checked like what comes from a registry.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use oci::layout::{self, LayoutError, LayoutMarker};
use oci::manifest::MAX_MANIFEST_BYTES;
use oci::{Descriptor, Digest, Index, Manifest, MediaType, Tag};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::blob::{self, BlobCheck};
use crate::source::{ArtifactSink, ArtifactSource, TagOrDigest};
use crate::{ClientError, file};

mod referrers;

use referrers::ReferrersMap;

/// The version of layouts that we read and write.
const VERSION: &str = "1.0.0";
/// The largest `oci-layout` file, in bytes.
const MAX_MARKER_BYTES: u64 = 4096;
/// How much is read at a time, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// A folder with an image layout.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    /// Who refers to whom, for the state of `index.json` that it was computed from.
    referrers: Arc<Mutex<Option<ReferrersMap>>>,
}

impl Layout {
    /// Opens the layout in the folder `root`.
    ///
    /// # Errors
    /// If there is none, or it has a version that we do not know.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let layout = Self {
            root: root.into(),
            referrers: Arc::default(),
        };
        let path = layout.path("oci-layout");
        if !path.exists() {
            return Err(layout.not_found("image layout".to_owned()));
        }
        let bytes = read_file(&path, MAX_MARKER_BYTES)?;
        let marker: LayoutMarker = serde_json::from_slice(&bytes)
            .map_err(|e| layout.malformed("`oci-layout` is malformed", e))?;
        if marker.version != VERSION {
            return Err(ClientError::Unsupported {
                place: layout.place(),
                what: format!("layout version `{}`", marker.version),
            });
        }
        Ok(layout)
    }

    /// Opens the layout in the folder `root`, or makes an empty one there.
    ///
    /// # Errors
    /// If the folder cannot be written, or holds a layout that we cannot read.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let root = root.into();
        let marker = root.join("oci-layout");
        if !marker.exists() {
            write_json(&root.join("index.json"), &Index::new(Vec::new()))?;
            write_json(&marker, &LayoutMarker::default())?;
        }
        Self::open(root)
    }

    /// Returns the tags, in the order of their names.
    ///
    /// # Errors
    /// If `index.json` is unreadable.
    pub fn tags(&self) -> Result<Vec<Tag>, ClientError> {
        let index = self.index()?;
        let names = index
            .manifests
            .iter()
            .filter_map(|d| d.annotations.get(layout::REF_NAME));
        let mut tags: Vec<Tag> = names.filter_map(|name| name.parse().ok()).collect();
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path(&layout::blob_path(digest))
    }

    fn index_bytes(&self) -> Result<Vec<u8>, ClientError> {
        read_file(&self.path("index.json"), MAX_MANIFEST_BYTES as u64)
    }

    fn index(&self) -> Result<Index, ClientError> {
        self.parse_index(self.index_bytes()?)
    }

    fn parse_index(&self, bytes: Vec<u8>) -> Result<Index, ClientError> {
        let manifest = Manifest::parse(MediaType::IMAGE_INDEX, bytes)
            .map_err(|e| self.malformed("`index.json` is malformed", e))?;
        Ok(manifest
            .as_index()
            .cloned()
            .unwrap_or_else(|| Index::new(Vec::new())))
    }

    /// Reads a manifest; without a media type it is taken for what it says it is.
    fn read_manifest(
        &self,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<Manifest, ClientError> {
        let path = self.blob_path(digest);
        if !path.exists() {
            return Err(self.not_found(format!("manifest `{digest}`")));
        }
        let bytes = read_file(&path, MAX_MANIFEST_BYTES as u64)?;
        blob::check(&self.place(), digest, &bytes)?;
        let parsed = match media_type {
            Some(media_type) => Manifest::parse(media_type.clone(), bytes),
            None => Manifest::sniff(bytes),
        };
        parsed.map_err(|e| self.malformed("a manifest is malformed", e))
    }

    /// Replaces `index.json` by what `change` makes of it, while nobody else does.
    fn change_index(&self, change: impl FnOnce(Index) -> Index) -> Result<(), ClientError> {
        let marker = self.path("oci-layout");
        let lock = std::fs::File::open(&marker).map_err(|e| io("read", &marker, e))?;
        lock.lock().map_err(|e| io("locked", &marker, e))?;
        write_json(&self.path("index.json"), &change(self.index()?))
    }

    fn not_found(&self, what: String) -> ClientError {
        ClientError::NotFound {
            what,
            place: self.place(),
        }
    }

    fn malformed(
        &self,
        reason: &str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> ClientError {
        ClientError::Malformed {
            place: self.place(),
            reason: reason.to_owned(),
            source: Some(Box::new(source)),
        }
    }
}

#[async_trait]
impl ArtifactSource for Layout {
    async fn resolve(&self, name: &TagOrDigest) -> Result<Descriptor, ClientError> {
        let index = self.index()?;
        match name {
            TagOrDigest::Tag(tag) => match layout::resolve_tag(&index, tag) {
                Ok(descriptor) => Ok(descriptor.bare()),
                Err(LayoutError::NotFound(_)) => Err(self.not_found(format!("tag `{tag}`"))),
                Err(e) => Err(self.malformed("the tag is ambiguous", e)),
            },
            TagOrDigest::Digest(digest) => {
                let listed = index.manifests.iter().find(|d| d.digest == *digest);
                let manifest = self.read_manifest(digest, listed.map(|d| &d.media_type))?;
                Ok(Descriptor {
                    digest: digest.clone(),
                    ..manifest.descriptor()
                })
            }
        }
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, ClientError> {
        self.read_manifest(&descriptor.digest, Some(&descriptor.media_type))
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, ClientError> {
        referrers::list(self, digest)
    }

    async fn blob(
        &self,
        descriptor: &Descriptor,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, ClientError> {
        blob::read(self, descriptor, limit_bytes).await
    }

    async fn blob_to(
        &self,
        descriptor: &Descriptor,
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), ClientError> {
        let path = self.blob_path(&descriptor.digest);
        if !path.is_file() {
            return Err(self.not_found(format!("blob `{}`", descriptor.digest)));
        }
        let mut source = tokio::fs::File::open(&path)
            .await
            .map_err(|e| io("read", &path, e))?;
        let mut check = BlobCheck::new(descriptor);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = source
                .read(&mut buffer)
                .await
                .map_err(|e| io("read", &path, e))?;
            if count == 0 {
                return check.finish(&self.place());
            }
            check.update(&buffer[..count])?;
            writer
                .write_all(&buffer[..count])
                .await
                .map_err(blob::write_error)?;
        }
    }
}

#[async_trait]
impl ArtifactSink for Layout {
    async fn has_blob(&self, digest: &Digest) -> Result<bool, ClientError> {
        Ok(self.blob_path(digest).is_file())
    }

    async fn push_blob_from(
        &self,
        descriptor: &Descriptor,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<(), ClientError> {
        let path = self.blob_path(&descriptor.digest);
        if path.is_file() {
            return Ok(());
        }
        let temporary = prepare(&path)?;
        let mut written = write_checked(&temporary, descriptor, reader).await;
        if written.is_ok() {
            written = place_blob(&temporary, &path);
        }
        if written.is_err() {
            // Best effort: the error that matters is the first.
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    async fn push_manifest(
        &self,
        manifest: &Manifest,
        tag: Option<&Tag>,
    ) -> Result<(), ClientError> {
        let path = self.blob_path(manifest.digest());
        if !path.is_file() {
            file::write_shared(&path, manifest.bytes()).map_err(|e| io("written", &path, e))?;
        }
        self.change_index(|index| layout::with_manifest(index, manifest, tag))
    }

    async fn tag(&self, digest: &Digest, tag: &Tag) -> Result<(), ClientError> {
        let descriptor = self.resolve(&digest.clone().into()).await?;
        let manifest = self.manifest(&descriptor).await?;
        self.change_index(|index| layout::with_manifest(index, &manifest, Some(tag)))
    }

    async fn delete(&self, digest: &Digest) -> Result<(), ClientError> {
        let path = self.blob_path(digest);
        if !path.is_file() {
            return Err(self.not_found(format!("manifest `{digest}`")));
        }
        self.change_index(|mut index| {
            index.manifests.retain(|entry| entry.digest != *digest);
            index
        })?;
        std::fs::remove_file(&path).map_err(|e| io("removed", &path, e))
    }
}

/// Makes the folder of a blob, and returns where to write it first.
fn prepare(path: &Path) -> Result<PathBuf, ClientError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| io("created", folder, e))?;
    Ok(file::temporary_path(path))
}

async fn write_checked(
    path: &Path,
    descriptor: &Descriptor,
    reader: &mut (dyn AsyncRead + Send + Unpin),
) -> Result<(), ClientError> {
    let written = |e| io("written", path, e);
    let mut target = tokio::fs::File::create_new(path).await.map_err(written)?;
    let mut check = BlobCheck::new(descriptor);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = reader.read(&mut buffer).await.map_err(blob::read_error)?;
        if count == 0 {
            break;
        }
        check.update(&buffer[..count])?;
        target.write_all(&buffer[..count]).await.map_err(written)?;
    }
    check.finish("the content to store")?;
    target.flush().await.map_err(written)?;
    target.sync_all().await.map_err(written)
}

fn place_blob(temporary: &Path, path: &Path) -> Result<(), ClientError> {
    std::fs::rename(temporary, path)
        .and_then(|()| file::sync_folder(path))
        .map_err(|e| io("written", path, e))
}

fn write_json(path: &Path, document: &impl serde::Serialize) -> Result<(), ClientError> {
    serde_json::to_vec(document)
        .map_err(std::io::Error::from)
        .and_then(|bytes| file::write_shared(path, &bytes))
        .map_err(|e| io("written", path, e))
}

/// Reads a regular file of at most `limit_bytes`: a named pipe would never end.
fn read_file(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, ClientError> {
    use std::io::Read;
    let metadata = std::fs::metadata(path).map_err(|e| io("read", path, e))?;
    if !metadata.is_file() {
        let error = std::io::Error::other("it is not a regular file");
        return Err(io("read", path, error));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit_bytes + 1).read_to_end(&mut bytes))
        .map_err(|e| io("read", path, e))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(ClientError::TooLarge {
            what: format!("`{}`", path.display()),
            limit_bytes,
        });
    }
    Ok(bytes)
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> ClientError {
    ClientError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
