//! Reads a tar archive as a stream, one header after the other.
//!
//! POSIX.1-2001 `pax`, ustar, and GNU long names, read the way Go's `archive/tar` does, because
//! that is what unpacks layers in container engines: where two readings are possible, the one that
//! ends up in the container is ours. Written by hand to keep every buffer bounded: a long name of
//! eight gibibytes of zeros costs a few kilobytes of gzip.
//!
//! Nothing is unpacked, and nothing but headers and the asked-for bodies is kept.

use std::io::{self, Read};

/// The unit of a tar archive.
const BLOCK_BYTES: usize = 512;
/// The largest extended header or long name, in bytes. Go's reader has the same limit.
pub(crate) const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;
/// The bytes read at once: enough to make calls into the decoder rare, small enough for the cache.
const BUFFER_BYTES: usize = 128 * 1024;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    /// A file with holes, whose stored bytes are not its content.
    SparseFile,
    Directory,
    HardLink,
    SymbolicLink,
    /// A device, a pipe, or something that container engines refuse.
    Other,
}

/// The header of one entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) kind: EntryKind,
    /// Where a link leads; empty for everything else.
    pub(crate) link: String,
    /// The bytes stored for it.
    pub(crate) size: u64,
}

/// Says why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error("reading the archive failed")]
    Read(#[from] io::Error),
    #[error("archive ends in the middle of an entry")]
    Truncated,
    #[error("header at byte {0} has a wrong checksum")]
    Checksum(u64),
    #[error("header at byte {0} has a malformed {1}")]
    Field(u64, &'static str),
    #[error("extended header at byte {0} has more than {MAX_EXTENSION_BYTES} bytes")]
    Extension(u64),
}

/// A reader of tar archives.
pub(crate) struct TarReader<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes of the archive consumed so far.
    position: u64,
    /// Stored bytes of the current entry that were not read yet.
    body: u64,
    padding: u64,
}

/// What extension headers say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    long_name: Option<String>,
    long_link: Option<String>,
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    sparse: bool,
    sparse_name: Option<String>,
}

type Block = [u8; BLOCK_BYTES];

impl<R: Read> TarReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            position: 0,
            body: 0,
            padding: 0,
        }
    }

    /// Returns the next entry, or nothing at the end of the archive. What was not read of the
    /// entry before is skipped.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.body + self.padding)?;
            (self.body, self.padding) = (0, 0);
            let at = self.position;
            let Some(header) = self.header_block()? else {
                return Ok(None);
            };
            self.open_body(size_of(&header, at)?);
            match header[156] {
                b'x' => parse_pax(&self.extension(at)?, &mut extensions)
                    .ok_or(TarError::Field(at, "extended header"))?,
                b'L' => extensions.long_name = Some(until_nul(&self.extension(at)?)),
                b'K' => extensions.long_link = Some(until_nul(&self.extension(at)?)),
                // A global header sets defaults that no container engine honours.
                b'g' => {}
                _ => return self.entry(&header, extensions, at).map(Some),
            }
        }
    }

    /// Returns the body of the current entry, at most `limit` bytes of it.
    pub(crate) fn read_body(&mut self, limit: u64) -> Result<Vec<u8>, TarError> {
        let wanted = self.body.min(limit);
        // Grown as bytes arrive: the size in the header is a claim.
        let mut bytes = Vec::new();
        let mut left = wanted;
        while left > 0 {
            let chunk = self.chunk(left)?;
            let length = chunk.len();
            bytes.extend_from_slice(chunk);
            self.consume(length);
            left -= length as u64;
        }
        self.body -= wanted;
        Ok(bytes)
    }

    fn entry(&mut self, header: &Block, ext: Extensions, at: u64) -> Result<Entry, TarError> {
        let sparse_gnu = header[156] == b'S';
        if let Some(size) = ext.size {
            self.open_body(size);
        }
        if sparse_gnu && header[482] != 0 {
            self.skip_sparse_maps()?;
        }
        let name = ext.sparse_name.or(ext.long_name).or(ext.path);
        let path = name.unwrap_or_else(|| header_name(header));
        let kind = match header[156] {
            0 if path.ends_with('/') => EntryKind::Directory,
            b'S' => EntryKind::SparseFile,
            0 | b'0' | b'7' if ext.sparse => EntryKind::SparseFile,
            0 | b'0' | b'7' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::SymbolicLink,
            b'5' => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        // Go's reader: links, devices, directories and pipes have no body, whatever their size.
        if matches!(header[156], b'1'..=b'6') {
            self.open_body(0);
        }
        let is_link = matches!(kind, EntryKind::HardLink | EntryKind::SymbolicLink);
        let link = ext.long_link.or(ext.link);
        let link = link.unwrap_or_else(|| until_nul(&header[157..257]));
        if self.body > i64::MAX.unsigned_abs() {
            return Err(TarError::Field(at, "size"));
        }
        Ok(Entry {
            path,
            kind,
            link: if is_link { link } else { String::new() },
            size: self.body,
        })
    }

    /// Returns the next header, or nothing at the end: two blocks of zeros, or no more bytes.
    fn header_block(&mut self) -> Result<Option<Block>, TarError> {
        let at = self.position;
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block == [0; BLOCK_BYTES] {
            return match self.block()? {
                Some(second) if second != [0; BLOCK_BYTES] => Err(TarError::Checksum(at)),
                _ => Ok(None),
            };
        }
        if checksum_is_right(&block) {
            Ok(Some(block))
        } else {
            Err(TarError::Checksum(at))
        }
    }

    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let mut block = [0; BLOCK_BYTES];
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            if self.fill()? == 0 {
                return match filled {
                    0 => Ok(None),
                    _ => Err(TarError::Truncated),
                };
            }
            let length = (BLOCK_BYTES - filled).min(self.end - self.start);
            block[filled..filled + length]
                .copy_from_slice(&self.buffer[self.start..self.start + length]);
            self.consume(length);
            filled += length;
        }
        Ok(Some(block))
    }

    fn extension(&mut self, at: u64) -> Result<Vec<u8>, TarError> {
        if self.body > MAX_EXTENSION_BYTES {
            return Err(TarError::Extension(at));
        }
        self.read_body(MAX_EXTENSION_BYTES)
    }

    /// Old GNU sparse files continue their map in blocks of their own, before the body.
    fn skip_sparse_maps(&mut self) -> Result<(), TarError> {
        loop {
            match self.block()? {
                None => return Err(TarError::Truncated),
                Some(block) if block[504] == 0 => return Ok(()),
                Some(_) => {}
            }
        }
    }

    fn open_body(&mut self, size: u64) {
        self.body = size;
        self.padding = size.wrapping_neg() % BLOCK_BYTES as u64;
    }

    fn skip(&mut self, mut left: u64) -> Result<(), TarError> {
        while left > 0 {
            let length = self.chunk(left)?.len();
            self.consume(length);
            left -= length as u64;
        }
        Ok(())
    }

    /// Returns some of the next bytes, at most `limit` and at least one.
    fn chunk(&mut self, limit: u64) -> Result<&[u8], TarError> {
        if self.fill()? == 0 {
            return Err(TarError::Truncated);
        }
        let available = self.end - self.start;
        let length = usize::try_from(limit).map_or(available, |limit| limit.min(available));
        Ok(&self.buffer[self.start..self.start + length])
    }

    fn consume(&mut self, length: usize) {
        self.start += length;
        self.position += length as u64;
    }

    /// Makes sure that something is buffered; returns how much.
    fn fill(&mut self) -> io::Result<usize> {
        while self.start == self.end {
            match self.inner.read(&mut self.buffer) {
                Ok(0) => return Ok(0),
                Ok(length) => (self.start, self.end) = (0, length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end - self.start)
    }
}

/// Old writers summed signed bytes; both sums are accepted, as everywhere.
fn checksum_is_right(block: &Block) -> bool {
    let Some(stated) = octal(&block[148..156]) else {
        return false;
    };
    let is_sum = |index: usize| (148..156).contains(&index);
    let byte = |index: usize| if is_sum(index) { b' ' } else { block[index] };
    let unsigned: u64 = (0..BLOCK_BYTES).map(|i| u64::from(byte(i))).sum();
    let signed: i64 = (0..BLOCK_BYTES)
        .map(|i| i64::from(byte(i).cast_signed()))
        .sum();
    stated == unsigned || i64::try_from(stated) == Ok(signed)
}

fn size_of(header: &Block, at: u64) -> Result<u64, TarError> {
    let field = &header[124..136];
    let size = match field[0] {
        // GNU base-256, for files of 8 GiB and more. 0xff would be a negative number.
        0x80 if field[1..4] == [0; 3] => {
            Some(field[4..].iter().fold(0, |n, b| n << 8 | u64::from(*b)))
        }
        0x80.. => None,
        _ => octal(field),
    };
    size.filter(|size| *size <= i64::MAX.unsigned_abs())
        .ok_or(TarError::Field(at, "size"))
}

/// Reads an octal number that spaces and NULs may surround; nothing at all is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches([' ', '\0']);
    match text {
        "" => Some(0),
        _ if text.starts_with('+') => None,
        _ => u64::from_str_radix(text, 8).ok(),
    }
}

fn header_name(header: &Block) -> String {
    let name = until_nul(&header[..100]);
    let prefix = until_nul(&header[345..500]);
    // Only the POSIX form has a prefix there; GNU's magic ends in a space.
    match &header[257..263] == b"ustar\0" && !prefix.is_empty() {
        true => format!("{prefix}/{name}"),
        false => name,
    }
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Reads the records `length key=value\n` of a pax header (POSIX.1-2001, pax Extended Header).
fn parse_pax(mut bytes: &[u8], extensions: &mut Extensions) -> Option<()> {
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let value = String::from_utf8_lossy(&record[equals + 1..]).into_owned();
        // An empty value takes back what an earlier record said.
        let value = Some(value).filter(|value| !value.is_empty());
        match &record[..equals] {
            b"path" => extensions.path = value,
            b"linkpath" => extensions.link = value,
            b"size" => extensions.size = value.map(|v| v.parse()).transpose().ok()?,
            b"GNU.sparse.name" => extensions.sparse_name = value,
            key if key.starts_with(b"GNU.sparse.") => extensions.sparse = true,
            _ => {}
        }
        bytes = &bytes[length..];
    }
    Some(())
}

#[cfg(test)]
mod tests;
