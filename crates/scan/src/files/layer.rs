//! Opens a layer: checks the digest and the size of the blob, and takes the compression off.
//!
//! image-spec `layer.md`. The media type says which compression it is, and the first bytes must
//! agree: two readers that guess differently would see two different images.

use std::io::{self, BufRead, BufReader, Read};

use oci::{Digest, DigestWriter, MediaType};

use super::tar::TarError;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Says why a layer cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The media type is not one of a layer that we read.
    #[error("layer `{0}` has media type `{1}`, which is not a tar archive, plain, gzip or zstd")]
    MediaType(Digest, MediaType),
    /// The first bytes do not fit the media type.
    #[error("layer `{0}` has media type `{1}`, but its first bytes are of another kind")]
    Magic(Digest, MediaType),
    /// The blob could not be read, or its compression is broken.
    #[error("reading layer `{0}` failed")]
    Read(Digest, #[source] io::Error),
    /// The archive is malformed.
    #[error("layer `{0}` is not a well-formed tar archive: {1}")]
    Tar(Digest, String),
    /// The bytes are not those that the manifest names.
    #[error("layer `{expected}` has digest `{actual}`")]
    Digest {
        /// The digest in the manifest.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// More entries than [`Limits::entries`](super::Limits::entries).
    #[error("image has more than {1} files, the limit; layer `{0}` goes beyond it")]
    Entries(Digest, u64),
    /// More bytes than [`Limits::decompressed_bytes`](super::Limits::decompressed_bytes).
    #[error("image unpacks to more than {1} bytes, the limit; layer `{0}` goes beyond it")]
    Decompressed(Digest, u64),
    /// More bytes than [`Limits::kept_bytes`](super::Limits::kept_bytes).
    #[error(
        "image has more than {1} bytes of package records, the limit; layer `{0}` goes beyond it"
    )]
    Kept(Digest, u64),
}

impl Compression {
    /// Returns the compression that a media type states: OCI's names and Docker's, with the
    /// retired *non-distributable* and *foreign* ones.
    pub(crate) fn of(media_type: &MediaType) -> Option<Self> {
        let name = media_type.as_str();
        let oci = name
            .strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.tar")
            .or_else(|| name.strip_prefix("application/vnd.oci.image.layer.v1.tar"));
        let docker = name
            .strip_prefix("application/vnd.docker.image.rootfs.foreign.diff.tar")
            .or_else(|| name.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"));
        match (oci, docker) {
            (Some(""), _) | (_, Some("")) => Some(Self::None),
            (Some("+gzip"), _) | (_, Some(".gzip")) => Some(Self::Gzip),
            (Some("+zstd"), _) | (_, Some(".zstd")) => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Compares the first bytes with RFC 1952 §2.3.1 and RFC 8878 §3.1. A plain archive has its
    /// magic at byte 257, so it is enough that it is neither of the two.
    fn accepts(self, first: &[u8]) -> bool {
        let gzip = first.starts_with(&[0x1f, 0x8b]);
        let zstd = first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        match self {
            Self::None => !gzip && !zstd,
            Self::Gzip => gzip,
            Self::Zstd => zstd,
        }
    }

    /// Returns a reader of the archive inside, or nothing if the first bytes do not fit.
    pub(crate) fn open<'a>(self, blob: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
        let mut blob = BufReader::with_capacity(128 * 1024, blob);
        if !self.accepts(blob.fill_buf()?) {
            return Ok(None);
        }
        Ok(Some(match self {
            Self::None => Box::new(blob),
            // Several members in a row are one stream (RFC 1952 §2.2); estargz layers have many.
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(blob)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(blob)?),
        }))
    }
}

/// Digests what passes through.
pub(crate) struct DigestReader<R> {
    inner: R,
    digest: DigestWriter,
}

impl<R: Read> DigestReader<R> {
    pub(crate) fn new(inner: R, expected: &Digest) -> Self {
        Self {
            inner,
            digest: DigestWriter::new(expected.algorithm()),
        }
    }

    /// Reads what is left, since the archive may end before the blob, and returns the digest.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.digest.finish())
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.digest.update(&buffer[..length]);
        Ok(length)
    }
}

/// Counts what passes through, and stops when the budget is spent.
pub(crate) struct BudgetReader<'a, R> {
    pub(crate) inner: R,
    pub(crate) left: &'a mut u64,
    pub(crate) spent: &'a mut bool,
}

impl<R: Read> Read for BudgetReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        match self.left.checked_sub(length as u64) {
            Some(left) => *self.left = left,
            None => {
                *self.spent = true;
                return Err(io::Error::other("too many decompressed bytes"));
            }
        }
        Ok(length)
    }
}

/// Turns an archive's error into one that names the layer.
pub(crate) fn named(digest: &Digest, error: TarError) -> LayerError {
    match error {
        TarError::Read(source) => LayerError::Read(digest.clone(), source),
        other => LayerError::Tar(digest.clone(), other.to_string()),
    }
}
