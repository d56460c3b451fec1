//! Reads the archives that osv.dev publishes: a zip with one JSON file for each advisory.

use std::io::Read;

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};

use super::{MAX_ADVISORY_BYTES, OsvError};

/// The most files in an archive. All of OSV has less than a million records.
const MAX_FILES: u64 = 2_000_000;

/// Says why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The bytes are not a zip archive.
    #[error("not a readable zip archive: {0}")]
    Zip(String),
    /// There are more than two million files.
    #[error("zip archive has more than {MAX_FILES} files, the limit")]
    TooMany,
    /// A file in the archive cannot be unpacked.
    #[error("file `{name}` in the archive cannot be unpacked: {reason}")]
    File {
        /// The name in the archive.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A file in the archive is not an advisory.
    #[error("file `{name}` in the archive is not an advisory: {source}")]
    Advisory {
        /// The name in the archive.
        name: String,
        /// Why not.
        source: OsvError,
    },
}

/// Calls `each` with the bytes of every JSON file in a zip archive, one after the other, and
/// returns how many there were. Nothing is written anywhere, so the names in the archive can do no
/// harm.
///
/// # Errors
/// If the archive or one of its files is damaged or too large, or `each` refuses a file.
pub fn read(
    bytes: &[u8],
    mut each: impl FnMut(&[u8]) -> Result<(), OsvError>,
) -> Result<u64, ArchiveError> {
    let zip = |error: rawzip::Error| ArchiveError::Zip(error.to_string());
    let archive = ZipArchive::from_slice(bytes).map_err(zip)?;
    if archive.entries_hint() > MAX_FILES {
        return Err(ArchiveError::TooMany);
    }
    let mut count = 0;
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().map_err(zip)? {
        let name: String = String::from_utf8_lossy(entry.file_path().as_ref())
            .chars()
            .take(200)
            .collect();
        if !name.ends_with(".json") {
            continue;
        }
        count += 1;
        if count > MAX_FILES {
            return Err(ArchiveError::TooMany);
        }
        let refuse = |reason: String| ArchiveError::File {
            name: name.clone(),
            reason,
        };
        let stored = archive
            .get_entry(entry.wayfinder())
            .map_err(|e| refuse(e.to_string()))?;
        let content = match entry.compression_method() {
            CompressionMethod::STORE => unpack(stored.verifying_reader(stored.data())),
            CompressionMethod::DEFLATE => {
                unpack(stored.verifying_reader(DeflateDecoder::new(stored.data())))
            }
            other => Err(format!("compression {other:?} is not supported")),
        };
        each(&content.map_err(refuse)?).map_err(|source| ArchiveError::Advisory {
            name: name.clone(),
            source,
        })?;
    }
    Ok(count)
}

/// Reads at most one byte more than an advisory may have: a bomb ends here.
fn unpack(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let limit = MAX_ADVISORY_BYTES as u64 + 1;
    reader
        .take(limit)
        .read_to_end(&mut content)
        .map_err(|error| error.to_string())?;
    match content.len() > MAX_ADVISORY_BYTES {
        true => Err(format!("more than {MAX_ADVISORY_BYTES} bytes, the limit")),
        false => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rawzip::ZipArchiveWriter;
    use std::io::Write;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut archive = ZipArchiveWriter::new(&mut bytes);
        for (number, (name, content)) in files.iter().enumerate() {
            let method = [CompressionMethod::DEFLATE, CompressionMethod::STORE][number % 2];
            let (mut entry, config) = archive
                .new_file(name)
                .compression_method(method)
                .start()
                .unwrap();
            if method == CompressionMethod::DEFLATE {
                let encoder =
                    flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
                let mut writer = config.wrap(encoder);
                writer.write_all(content).unwrap();
                let (encoder, descriptor) = writer.finish().unwrap();
                encoder.finish().unwrap();
                entry.finish(descriptor).unwrap();
            } else {
                let mut writer = config.wrap(&mut entry);
                writer.write_all(content).unwrap();
                let (_, descriptor) = writer.finish().unwrap();
                entry.finish(descriptor).unwrap();
            }
        }
        archive.finish().unwrap();
        bytes
    }

    fn contents(bytes: &[u8]) -> Result<Vec<String>, ArchiveError> {
        let mut found = Vec::new();
        read(bytes, |content| {
            found.push(String::from_utf8_lossy(content).into_owned());
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn every_json_file_is_read() {
        let bytes = archive(&[("a.json", b"1"), ("../b.json", b"22"), ("readme.txt", b"x")]);
        assert_eq!(contents(&bytes).unwrap(), ["1", "22"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let whole = archive(&[("a.json", &[b'x'; 100]), ("b.json", b"12345")]);
        let mut damaged = whole.clone();
        let at = damaged
            .windows(5)
            .position(|window| window == b"12345")
            .unwrap();
        damaged[at] = b'9';
        let bomb = archive(&[("bomb.json", &vec![b' '; MAX_ADVISORY_BYTES + 1])]);
        let table = [
            (b"no archive".to_vec(), "not a readable zip archive"),
            (Vec::new(), "not a readable zip archive"),
            (damaged, "file `b.json` in the archive cannot be unpacked"),
            (
                bomb,
                "file `bomb.json` in the archive cannot be unpacked: more than 16777216 bytes",
            ),
        ];
        for (bytes, expected) in table {
            let error = contents(&bytes).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = read(&whole, |content| super::super::parse(content).map(drop)).unwrap_err();
        assert!(
            error.to_string().starts_with(
                "file `a.json` in the archive is not an advisory: advisory is malformed"
            ),
            "{error}"
        );
    }

    proptest::proptest! {
        #[test]
        fn damaged_archives_never_panic(position in 0usize..400, byte: u8, cut in 0usize..400) {
            let mut bytes = archive(&[("a.json", b"{\"id\":1}"), ("b.json", b"12345")]);
            let length = bytes.len();
            bytes[position % length] = byte;
            bytes.truncate(length - cut % length);
            let _ = contents(&bytes);
        }
    }
}
