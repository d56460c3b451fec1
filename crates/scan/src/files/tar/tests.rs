//! Archives made by another writer, and archives made to hurt.

use super::*;
use ::tar::{Builder, EntryType, Header};

fn listing(bytes: &[u8]) -> Result<Vec<(String, EntryKind, String, u64)>, String> {
    let mut reader = TarReader::new(bytes);
    let mut found = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Some(e)) => found.push((e.path, e.kind, e.link, e.size)),
            Ok(None) => return Ok(found),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header
}

fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in entries {
        if matches!(kind, EntryType::Link | EntryType::Symlink) {
            builder
                .append_link(&mut header(*kind, 0), path, content)
                .unwrap();
        } else {
            let size = content.len() as u64;
            builder
                .append_data(&mut header(*kind, size), path, content.as_bytes())
                .unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// Writes one raw entry, with a correct checksum.
fn raw(name: &str, typeflag: u8, size: &[u8], body: &[u8]) -> Vec<u8> {
    let mut block = [0; BLOCK_BYTES];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..124 + size.len()].copy_from_slice(size);
    block[156] = typeflag;
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = block.to_vec();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

fn octal_size(size: usize) -> Vec<u8> {
    format!("{size:011o}\0").into_bytes()
}

#[test]
fn entries_of_another_writer_are_read() {
    let long = format!("{}/file", "folder/".repeat(60));
    let found = listing(&archive(&[
        (EntryType::Directory, "d/", ""),
        (EntryType::Regular, "d/a", "hello"),
        (EntryType::Symlink, "d/s", "a"),
        (EntryType::Link, "d/h", "d/a"),
        (EntryType::Regular, &long, &"x".repeat(1025)),
        (EntryType::Symlink, "far", &long),
        (EntryType::Regular, "last", ""),
    ]));
    let row = |path: &str, kind, link: &str, size| (path.to_owned(), kind, link.to_owned(), size);
    let expected = vec![
        row("d/", EntryKind::Directory, "", 0),
        row("d/a", EntryKind::File, "", 5),
        row("d/s", EntryKind::SymbolicLink, "a", 0),
        row("d/h", EntryKind::HardLink, "d/a", 0),
        row(&long, EntryKind::File, "", 1025),
        row("far", EntryKind::SymbolicLink, &long, 0),
        row("last", EntryKind::File, "", 0),
    ];
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn a_pax_header_replaces_path_link_and_size() {
    let records = b"14 path=a/\xc3\xa9x\n10 size=3\n16 linkpath=xyz\n";
    let mut bytes = raw("pax", b'x', &octal_size(records.len()), records);
    bytes.extend(raw("short", b'0', &octal_size(0), b"abc"));
    bytes.extend(raw("next", b'0', &octal_size(0), b""));
    let mut reader = TarReader::new(&*bytes);
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!((entry.path.as_str(), entry.size), ("a/éx", 3));
    assert_eq!(reader.read_body(9).unwrap(), b"abc");
    // What the header said of one entry does not hold for the next.
    assert_eq!(reader.next_entry().unwrap().unwrap().path, "next");
}

#[test]
fn the_ustar_prefix_is_only_read_in_posix_headers() {
    for (magic, expected) in [(b"ustar\0", "dir/name"), (b"ustar ", "name")] {
        let mut block = raw("name", b'0', &octal_size(0), b"");
        block[257..263].copy_from_slice(magic);
        block[345..348].copy_from_slice(b"dir");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(listing(&block).unwrap()[0].0, expected);
    }
}

#[test]
fn a_size_on_a_folder_does_not_swallow_the_next_entry() {
    let mut bytes = raw("d", b'5', &octal_size(4096), b"");
    bytes.extend(raw("a", b'0', &octal_size(0), b""));
    assert_eq!(listing(&bytes).unwrap().len(), 2);
}

#[test]
fn nothing_after_the_end_is_read() {
    let mut bytes = archive(&[(EntryType::Regular, "a", "1")]);
    bytes.extend(archive(&[(EntryType::Regular, "hidden", "2")]));
    assert_eq!(listing(&bytes).unwrap().len(), 1);
}

#[test]
fn malformed_archives_are_refused() {
    let huge = MAX_EXTENSION_BYTES as usize + 1;
    let mut checksum = raw("a", b'0', &octal_size(0), b"");
    checksum[0] = b'b';
    let table = [
        (checksum, "header at byte 0 has a wrong checksum"),
        (
            raw("a", b'0', &octal_size(0), b"")[..300].to_vec(),
            "archive ends in the middle of an entry",
        ),
        (
            raw("a", b'0', &octal_size(600), b"short"),
            "archive ends in the middle of an entry",
        ),
        (
            raw("a", b'0', b"not a number", b""),
            "header at byte 0 has a malformed size",
        ),
        (
            raw("a", b'0', &[0xff; 12], b""),
            "header at byte 0 has a malformed size",
        ),
        (
            raw("a", b'L', &octal_size(huge), b""),
            "extended header at byte 0 has more than 1048576 bytes",
        ),
        (
            raw("a", b'x', &octal_size(5), b"99 a=b"),
            "header at byte 0 has a malformed extended header",
        ),
        (
            raw("a", b'x', &octal_size(2), b"0 "),
            "header at byte 0 has a malformed extended header",
        ),
        (
            raw("a", b'x', &octal_size(9), b"9 size=x\n"),
            "header at byte 0 has a malformed extended header",
        ),
    ];
    for (bytes, expected) in table {
        assert_eq!(listing(&bytes).unwrap_err(), expected);
    }
}

proptest::proptest! {
    #[test]
    fn what_another_writer_writes_we_read(
        names in proptest::collection::vec("[a-z]{1,40}(/[a-z]{1,60}){0,6}", 0..8),
        size in 0usize..3000,
    ) {
        let body = "x".repeat(size);
        let entries: Vec<_> = names.iter().map(|n| (EntryType::Regular, n.as_str(), body.as_str())).collect();
        let found = listing(&archive(&entries)).unwrap();
        let found: Vec<_> = found.into_iter().map(|row| (row.0, row.3)).collect();
        let expected: Vec<_> = names.iter().map(|n| (n.clone(), size as u64)).collect();
        proptest::prop_assert_eq!(found, expected);
    }

    #[test]
    fn damaged_archives_never_panic(position in 0usize..4000, byte: u8, cut in 0usize..4000) {
        let mut bytes = archive(&[
            (EntryType::Regular, &"long/".repeat(40), "content"),
            (EntryType::Symlink, "s", "t"),
            (EntryType::Regular, "a", "b"),
        ]);
        let length = bytes.len();
        bytes[position % length] = byte;
        bytes.truncate(length - cut % length);
        let _ = listing(&bytes);
    }

    #[test]
    fn headers_with_a_right_checksum_never_panic(block in proptest::array::uniform32(0u8..), typeflag: u8) {
        let mut bytes = raw("n", typeflag, &block[..12], &block);
        bytes.extend(raw("x", b'x', &octal_size(32), &block));
        let _ = listing(&bytes);
    }
}
