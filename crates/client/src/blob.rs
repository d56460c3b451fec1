//! Helpers for blobs: reading one into memory, checking digests.

use oci::{Descriptor, Digest, DigestWriter};

use crate::ClientError;
use crate::source::ArtifactSource;

/// What is reserved at once for a blob, in bytes. A descriptor may claim any size (oras-go
/// GHSA-f36w); memory is taken as the bytes really come.
const MAX_RESERVED_BYTES: u64 = 1024 * 1024;

/// Reads a blob into memory, through [`ArtifactSource::blob_to`].
pub(crate) async fn read(
    source: &dyn ArtifactSource,
    descriptor: &Descriptor,
    limit_bytes: u64,
) -> Result<Vec<u8>, ClientError> {
    if descriptor.size > limit_bytes {
        return Err(ClientError::TooLarge {
            what: format!("blob `{}`", descriptor.digest),
            limit_bytes,
        });
    }
    if let Some(bytes) = embedded(descriptor) {
        return Ok(bytes);
    }
    let reserved = usize::try_from(descriptor.size.min(MAX_RESERVED_BYTES)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(reserved);
    source.blob_to(descriptor, &mut bytes).await?;
    Ok(bytes)
}

/// Returns the content that the descriptor carries itself, if it is what the digest says.
fn embedded(descriptor: &Descriptor) -> Option<Vec<u8>> {
    use base64::Engine;
    let data = descriptor.data.as_ref()?;
    let bytes = base64::prelude::BASE64_STANDARD.decode(data).ok()?;
    descriptor.matches(&bytes).then_some(bytes)
}

/// Checks a blob that goes by piece by piece: its size, and at the end its digest.
pub(crate) struct BlobCheck<'a> {
    descriptor: &'a Descriptor,
    received: u64,
    digest: DigestWriter,
}

impl<'a> BlobCheck<'a> {
    pub(crate) fn new(descriptor: &'a Descriptor) -> Self {
        Self {
            descriptor,
            received: 0,
            digest: DigestWriter::new(descriptor.digest.algorithm()),
        }
    }

    /// Returns how many bytes have gone by.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes; fails at the first byte too many.
    pub(crate) fn update(&mut self, piece: &[u8]) -> Result<(), ClientError> {
        self.received += piece.len() as u64;
        if self.received > self.descriptor.size {
            return Err(self.size_mismatch());
        }
        self.digest.update(piece);
        Ok(())
    }

    /// Checks the whole.
    pub(crate) fn finish(self, place: &str) -> Result<(), ClientError> {
        if self.received != self.descriptor.size {
            return Err(self.size_mismatch());
        }
        compare(place, &self.descriptor.digest, self.digest.finish())
    }

    fn size_mismatch(&self) -> ClientError {
        ClientError::SizeMismatch {
            digest: self.descriptor.digest.clone(),
            expected: self.descriptor.size,
        }
    }
}

/// Checks that `bytes` have the digest `expected`.
pub(crate) fn check(place: &str, expected: &Digest, bytes: &[u8]) -> Result<(), ClientError> {
    let found = Digest::of(expected.algorithm(), bytes);
    compare(place, expected, found)
}

/// Checks that the digest found is the one expected.
pub(crate) fn compare(place: &str, expected: &Digest, found: Digest) -> Result<(), ClientError> {
    if found == *expected {
        return Ok(());
    }
    Err(ClientError::DigestMismatch {
        place: place.to_owned(),
        expected: expected.clone(),
        found,
    })
}

/// Returns the error for a writer of the caller's that failed.
pub(crate) fn write_error(source: std::io::Error) -> ClientError {
    ClientError::Other {
        what: "the content could not be written".to_owned(),
        source: Box::new(source),
    }
}

/// Returns the error for a reader of the caller's that failed.
pub(crate) fn read_error(source: std::io::Error) -> ClientError {
    ClientError::Other {
        what: "the content to push could not be read".to_owned(),
        source: Box::new(source),
    }
}
