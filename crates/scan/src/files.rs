//! The files of an image: layers in, the few files that cataloguers ask for out.
//!
//! Each layer is read once, as a stream, without temporary files: the blob is digested,
//! decompressed and walked in the same pass, and only what `interest` names is kept. Layers are
//! applied lowest first, the last writer wins, and whiteouts take away (image-spec `layer.md`,
//! Applying Changesets).
//!
//! What cannot be had in one pass (a hard link to a file that nobody asked for, a file over the
//! limit) is a [`Problem`] and ends up as a gap in the report. A layer that cannot be read at all
//! is an error: half an image is not an image.
//!
//! One simplification: an entry is taken to lie where its path says, even if an upper layer goes
//! through a symbolic link of a lower one. Layers made from snapshots never do.

mod interest;
mod layer;
mod tar;
mod tree;

use std::io::Read;
use std::sync::Arc;

use oci::{Digest, MediaType};

pub use layer::LayerError;

use interest::{Keep, keep};
use layer::{BudgetReader, Compression, DigestReader, named};
use tar::{Entry, EntryKind, TarReader};
use tree::{Node, Tree};

/// How much of an image we are ready to read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most entries over all layers. An image with three million files was seen in the wild
    /// (grype issue 1509).
    pub entries: u64,
    /// The longest path, in bytes: `PATH_MAX` of Linux.
    pub path_bytes: usize,
    /// The largest file that is kept, in bytes. The package status of a full desktop has 6 MiB.
    pub file_bytes: u64,
    /// The most bytes kept over all files, with their paths.
    pub kept_bytes: u64,
    /// The most bytes that the layers may unpack to. Images for machine learning reach 30 GiB.
    pub decompressed_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 8_000_000,
            path_bytes: 4096,
            file_bytes: 64 * 1024 * 1024,
            kept_bytes: 1024 * 1024 * 1024,
            decompressed_bytes: 64 * 1024 * 1024 * 1024,
        }
    }
}

/// A layer whose bytes somebody else fetches.
pub struct Layer<R> {
    /// The digest of the blob, which is checked while reading.
    pub digest: Digest,
    /// The media type, which states the compression.
    pub media_type: MediaType,
    /// The bytes of the blob.
    pub reader: R,
}

/// A file that somebody asked for.
#[derive(Clone, Debug)]
pub struct File {
    /// What is kept of the content.
    pub bytes: Arc<[u8]>,
    /// The layer that it came with.
    pub layer: Digest,
}

/// Something that could not be read, which a report must own up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: String,
    /// Why it could not be read.
    pub reason: String,
}

/// Layers on their way to becoming a [`FileView`].
pub struct ImageFiles {
    limits: Limits,
    entries_left: u64,
    decompressed_left: u64,
    kept_left: u64,
    lower: Tree,
    problems: Vec<Problem>,
}

/// The interesting files of an image, as its containers would see them.
pub struct FileView {
    tree: Tree,
    problems: Vec<Problem>,
}

impl ImageFiles {
    /// Starts an image without layers.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries_left: limits.entries,
            decompressed_left: limits.decompressed_bytes,
            kept_left: limits.kept_bytes,
            lower: Tree::default(),
            problems: Vec::new(),
        }
    }

    /// Reads all layers of an image, the lowest first, within the default limits.
    ///
    /// # Errors
    /// As [`ImageFiles::add_layer`].
    pub fn from_layers<R: Read>(
        layers: impl IntoIterator<Item = Layer<R>>,
    ) -> Result<FileView, LayerError> {
        let mut files = Self::new(Limits::default());
        for layer in layers {
            files.add_layer(layer)?;
        }
        Ok(files.finish())
    }

    /// Reads the next layer, and checks that its bytes have its digest.
    ///
    /// # Errors
    /// If the layer cannot be read to its end, is not what the manifest names, or goes beyond a
    /// limit. The image is of no use afterwards.
    pub fn add_layer<R: Read>(&mut self, layer: Layer<R>) -> Result<(), LayerError> {
        let digest = layer.digest;
        let compression = Compression::of(&layer.media_type)
            .ok_or_else(|| LayerError::MediaType(digest.clone(), layer.media_type.clone()))?;
        let mut blob = DigestReader::new(layer.reader, &digest);
        let read = |source| LayerError::Read(digest.clone(), source);
        let archive = compression
            .open(&mut blob)
            .map_err(read)?
            .ok_or_else(|| LayerError::Magic(digest.clone(), layer.media_type))?;
        let upper = self.read_archive(&digest, archive)?;
        let actual = blob.finish().map_err(read)?;
        if actual != digest {
            return Err(LayerError::Digest {
                expected: digest,
                actual,
            });
        }
        self.lower.put_on_top(upper);
        Ok(())
    }

    /// Returns what the image shows.
    pub fn finish(self) -> FileView {
        let Self {
            lower: tree,
            mut problems,
            ..
        } = self;
        // A file that could not be read does not matter once a higher layer replaced it.
        problems.retain(|problem| tree.is_unreadable(&problem.path));
        FileView { tree, problems }
    }

    fn read_archive(&mut self, digest: &Digest, archive: impl Read) -> Result<Tree, LayerError> {
        let mut left = self.decompressed_left;
        let mut spent = false;
        let mut reader = TarReader::new(BudgetReader {
            inner: archive,
            left: &mut left,
            spent: &mut spent,
        });
        let result = self.read_entries(digest, &mut reader);
        drop(reader);
        self.decompressed_left = left;
        match spent {
            true => Err(LayerError::Decompressed(
                digest.clone(),
                self.limits.decompressed_bytes,
            )),
            false => result,
        }
    }

    fn read_entries<R: Read>(
        &mut self,
        digest: &Digest,
        reader: &mut TarReader<R>,
    ) -> Result<Tree, LayerError> {
        let mut upper = Tree::default();
        while let Some(entry) = reader.next_entry().map_err(|e| named(digest, e))? {
            self.entries_left = self
                .entries_left
                .checked_sub(1)
                .ok_or_else(|| LayerError::Entries(digest.clone(), self.limits.entries))?;
            let Some(path) = normal_path(&entry.path, self.limits.path_bytes) else {
                continue;
            };
            if self.whiteout(&path) {
                continue;
            }
            self.lower
                .make_way(&path, entry.kind == EntryKind::Directory);
            upper.make_way(&path, entry.kind == EntryKind::Directory);
            if let Some(node) = self.node(digest, &path, &entry, reader, &upper)? {
                let cost = path.len() + node.cost();
                self.kept_left = self
                    .kept_left
                    .checked_sub(cost as u64)
                    .ok_or_else(|| LayerError::Kept(digest.clone(), self.limits.kept_bytes))?;
                upper.insert(path, node);
            }
        }
        Ok(upper)
    }

    /// Applies a whiteout to the layers below; returns whether the path was one. A bare `.wh.`
    /// names nothing, and other `.wh..wh.` files are notes of AUFS to itself.
    fn whiteout(&mut self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(hidden) = name.strip_prefix(".wh.") else {
            return false;
        };
        match hidden {
            ".wh..opq" => self.lower.clear_folder(folder),
            "" => return false,
            _ if hidden.starts_with(".wh.") => {}
            _ if folder.is_empty() => self.lower.remove(hidden),
            _ => self.lower.remove(&format!("{folder}/{hidden}")),
        }
        true
    }

    /// Returns what is kept of an entry, if anything.
    fn node<R: Read>(
        &mut self,
        digest: &Digest,
        path: &str,
        entry: &Entry,
        reader: &mut TarReader<R>,
        upper: &Tree,
    ) -> Result<Option<Node>, LayerError> {
        if entry.kind == EntryKind::SymbolicLink {
            return Ok(Some(Node::Symlink(entry.link.as_str().into())));
        }
        let Some(keep) = keep(path) else {
            return Ok(None);
        };
        Ok(match entry.kind {
            EntryKind::File if entry.size > self.limits.file_bytes => {
                let limit = self.limits.file_bytes;
                self.unreadable(path, format!("has more than {limit} bytes, the limit"))
            }
            EntryKind::File => {
                let bytes = reader.read_body(entry.size).map_err(|e| named(digest, e))?;
                Some(kept(keep, bytes, digest))
            }
            EntryKind::SparseFile => self.unreadable(path, "is stored with holes".to_owned()),
            EntryKind::HardLink => self.hard_link(path, &entry.link, upper),
            EntryKind::Directory | EntryKind::SymbolicLink | EntryKind::Other => None,
        })
    }

    /// A hard link names a file that came before it, in this layer or below.
    fn hard_link(&mut self, path: &str, link: &str, upper: &Tree) -> Option<Node> {
        let target = normal_path(link, self.limits.path_bytes)?;
        match upper.get(&target).or_else(|| self.lower.get(&target)) {
            Some(node) => Some(node.clone()),
            None => self.unreadable(
                path,
                format!("is a hard link to `{target}`, which was not kept"),
            ),
        }
    }

    fn unreadable(&mut self, path: &str, reason: String) -> Option<Node> {
        self.problems.retain(|problem| problem.path != path);
        self.problems.push(Problem {
            path: path.to_owned(),
            reason,
        });
        Some(Node::Unreadable)
    }
}

fn kept(keep: Keep, bytes: Vec<u8>, layer: &Digest) -> Node {
    Node::File(File {
        bytes: keep.cut(bytes).into(),
        layer: layer.clone(),
    })
}

/// Returns the path without leading slash, empty parts, `.` and `..`; nothing for the root itself
/// and for what no file system could hold. Going above the root stays at the root, as where
/// container engines unpack.
fn normal_path(path: &str, limit: usize) -> Option<String> {
    if path.len() > limit {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

impl FileView {
    /// Returns the file at `path`, through symbolic links.
    pub fn file(&self, path: &str) -> Option<&File> {
        match self.tree.get(&self.tree.resolve(path)?)? {
            Node::File(file) => Some(file),
            Node::Symlink(_) | Node::Unreadable => None,
        }
    }

    /// Returns all kept files by their real paths, in the order of the paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.tree.nodes().filter_map(|(path, node)| match node {
            Node::File(file) => Some((path, file)),
            Node::Symlink(_) | Node::Unreadable => None,
        })
    }

    /// Returns what could not be read.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

#[cfg(test)]
mod tests;
