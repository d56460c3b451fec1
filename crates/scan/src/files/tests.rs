//! Layers on top of each other, and layers made to hurt.

use std::io::Write;

use ::tar::{Builder, EntryType, Header};
use proptest::prelude::*;

use super::*;

const STATUS: &str = "var/lib/dpkg/status";

/// What a test puts into a layer: a path, and a file, a link or a folder.
#[derive(Clone, Copy)]
enum Put<'a> {
    File(&'a str, &'a str),
    Folder(&'a str),
    Symlink(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}
use Put::{File as F, Folder as D, HardLink as H, Symlink as S};

fn archive(puts: &[Put<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for put in puts {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        match put {
            F(path, content) => {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content.as_bytes())
            }
            D(path) => {
                header.set_entry_type(EntryType::Directory);
                builder.append_data(&mut header, path, &b""[..])
            }
            S(path, to) => {
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, path, to)
            }
            H(path, to) => {
                header.set_entry_type(EntryType::Link);
                builder.append_link(&mut header, path, to)
            }
        }
        .unwrap();
    }
    builder.into_inner().unwrap()
}

fn layer(media_type: MediaType, bytes: Vec<u8>) -> Layer<std::io::Cursor<Vec<u8>>> {
    Layer {
        digest: Digest::sha256(&bytes),
        media_type,
        reader: std::io::Cursor::new(bytes),
    }
}

fn view(layers: &[&[Put<'_>]]) -> FileView {
    let plain = |puts: &&[Put<'_>]| layer(MediaType::LAYER_TAR, archive(puts));
    ImageFiles::from_layers(layers.iter().map(plain)).unwrap()
}

fn content(view: &FileView, path: &str) -> Option<String> {
    let file = view.file(path)?;
    Some(String::from_utf8(file.bytes.to_vec()).unwrap())
}

/// Checks what a stack of layers shows of the package status.
fn check(layers: &[&[Put<'_>]], expected: Option<&str>) {
    assert_eq!(content(&view(layers), STATUS).as_deref(), expected);
}

#[test]
fn the_last_writer_wins() {
    check(&[&[F(STATUS, "1")]], Some("1"));
    check(&[&[F(STATUS, "1")], &[F(STATUS, "2")]], Some("2"));
    check(&[&[F(STATUS, "1"), F(STATUS, "2")]], Some("2"));
    check(
        &[&[F("./var/lib/dpkg/status", "1")], &[D("var/lib/dpkg/")]],
        Some("1"),
    );
    // A file in place of a folder, and a folder in place of the file.
    check(&[&[F(STATUS, "1")], &[F("var/lib", "x")]], None);
    check(&[&[F(STATUS, "1")], &[D(STATUS)]], None);
    check(&[&[F(STATUS, "1")], &[S(STATUS, "gone")]], None);
    check(&[&[F(STATUS, "1"), F("var", "x")]], None);
}

#[test]
fn whiteouts_hide_what_lies_below_and_nothing_else() {
    let lower: &[Put<'_>] = &[F(STATUS, "1"), F("var/lib/dpkg/status.d/a", "a")];
    check(&[lower, &[F("var/lib/dpkg/.wh.status", "")]], None);
    check(&[lower, &[F("var/.wh.lib", "")]], None);
    check(&[lower, &[F(".wh.var", "")]], None);
    check(&[lower, &[F("var/lib/.wh..wh..opq", "")]], None);
    check(&[lower, &[F(".wh..wh..opq", "")]], None);
    // In whatever order, a whiteout says nothing of its own layer.
    check(&[lower, &[F(STATUS, "2"), F("var/.wh.lib", "")]], Some("2"));
    check(
        &[lower, &[F("var/lib/.wh..wh..opq", ""), F(STATUS, "2")]],
        Some("2"),
    );
    // These name something else.
    check(&[lower, &[F("var/lib/.wh.", "")]], Some("1"));
    check(&[lower, &[F("var/lib/dpkg/.wh.stat", "")]], Some("1"));
    check(&[lower, &[F("var/li/.wh..wh..opq", "")]], Some("1"));
    check(&[lower, &[F("var/.wh..wh.plnk", "")]], Some("1"));
    // What was hidden may come back.
    check(
        &[lower, &[F("var/.wh.lib", "")], &[F(STATUS, "3")]],
        Some("3"),
    );
}

#[test]
fn links_are_followed_as_in_a_container() {
    let real = F("usr/lib/dpkg/status", "1");
    check(&[&[real, S("var/lib", "../usr/lib")]], Some("1"));
    check(&[&[real, S("var", "/usr")]], Some("1"));
    check(&[&[real, S("var/lib", "../../../../usr/lib")]], Some("1"));
    check(&[&[real], &[S(STATUS, "/usr/lib/dpkg/status")]], Some("1"));
    check(&[&[real, H(STATUS, "usr/lib/dpkg/status")]], Some("1"));
    check(&[&[real], &[H(STATUS, "./usr/lib/dpkg/status")]], Some("1"));
    check(&[&[S("var", "a"), S("a", "var")]], None);
    check(&[&[S("var", "var")]], None);
    check(&[&[S(STATUS, "../../../..")]], None);
}

#[test]
fn a_path_that_climbs_stays_inside() {
    check(&[&[F("var/lib/dpkg/x", "")]], None);
    assert_eq!(
        normal_path("../../etc//./x/../os-release", 99).as_deref(),
        Some("etc/os-release")
    );
    assert_eq!(normal_path("/", 99), None);
    assert_eq!(normal_path("aaa", 2), None);
}

#[test]
fn what_cannot_be_read_is_a_problem_until_it_is_replaced() {
    let lower: &[Put<'_>] = &[F("opt/blob", "1"), H(STATUS, "opt/blob")];
    let problem = Problem {
        path: STATUS.to_owned(),
        reason: "is a hard link to `opt/blob`, which was not kept".to_owned(),
    };
    assert_eq!(view(&[lower]).problems(), [problem]);
    assert_eq!(view(&[lower, &[F(STATUS, "2")]]).problems(), []);
    assert_eq!(view(&[lower, &[F("var/.wh.lib", "")]]).problems(), []);
}

#[test]
fn every_compression_gives_the_same_files() {
    let plain = archive(&[F(STATUS, "1")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain[..700]).unwrap();
    let mut gzip = gzip.finish().unwrap();
    let mut second = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    second.write_all(&plain[700..]).unwrap();
    gzip.extend(second.finish().unwrap());
    let zstd = zstd::stream::encode_all(&*plain, 1).unwrap();
    let table = [
        ("application/vnd.oci.image.layer.v1.tar", &plain, true),
        ("application/vnd.oci.image.layer.v1.tar+gzip", &gzip, true),
        (
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            &gzip,
            true,
        ),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            &zstd,
            true,
        ),
        ("application/vnd.oci.image.layer.v1.tar+zstd", &zstd, true),
        ("application/vnd.oci.image.layer.v1.tar+gzip", &plain, false),
        ("application/vnd.oci.image.layer.v1.tar+gzip", &zstd, false),
        ("application/vnd.oci.image.layer.v1.tar", &gzip, false),
        (
            "application/vnd.oci.image.layer.v1.tar+encrypted",
            &plain,
            false,
        ),
        ("text/plain", &plain, false),
    ];
    for (media_type, bytes, readable) in table {
        let layer = layer(media_type.parse().unwrap(), bytes.clone());
        match ImageFiles::from_layers([layer]) {
            Ok(view) => assert_eq!(content(&view, STATUS).as_deref(), Some("1"), "{media_type}"),
            Err(error) => assert!(!readable, "{media_type}: {error}"),
        }
    }
}

#[test]
fn a_layer_with_another_digest_is_refused() {
    let mut wrong = layer(MediaType::LAYER_TAR, archive(&[F(STATUS, "1")]));
    // Behind the end of the archive, where only the digest sees it.
    wrong.reader.get_mut().push(0);
    let error = ImageFiles::from_layers([wrong]).err().unwrap();
    assert!(matches!(error, LayerError::Digest { .. }), "{error}");
}

#[test]
fn a_layer_that_breaks_off_is_refused() {
    let whole = archive(&[F(STATUS, "1"), F("a", "2")]);
    let cut = layer(MediaType::LAYER_TAR, whole[..1300].to_vec());
    let error = ImageFiles::from_layers([cut]).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("archive ends in the middle of an entry"),
        "{error}"
    );
}

#[test]
fn each_limit_stops_the_reading() {
    let small = Limits::default();
    let table = [
        (
            Limits {
                entries: 1,
                ..small
            },
            "more than 1 files",
        ),
        (
            Limits {
                decompressed_bytes: 2000,
                ..small
            },
            "more than 2000 bytes, the limit",
        ),
        (
            Limits {
                kept_bytes: 20,
                ..small
            },
            "more than 20 bytes of package records",
        ),
    ];
    for (limits, expected) in table {
        let mut files = ImageFiles::new(limits);
        let bytes = archive(&[F(STATUS, "content"), F("etc/os-release", "ID=x")]);
        let error = files
            .add_layer(layer(MediaType::LAYER_TAR, bytes))
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut files = ImageFiles::new(Limits {
        file_bytes: 3,
        ..small
    });
    files
        .add_layer(layer(MediaType::LAYER_TAR, archive(&[F(STATUS, "1234")])))
        .unwrap();
    let view = files.finish();
    assert_eq!(
        view.problems()[0].reason,
        "has more than 3 bytes, the limit"
    );
    assert_eq!(content(&view, STATUS), None);
}

#[test]
fn a_bomb_is_stopped_early() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&archive(&[F("a", &"\0".repeat(4_000_000))]))
        .unwrap();
    let bytes = gzip.finish().unwrap();
    assert!(bytes.len() < 10_000);
    let mut files = ImageFiles::new(Limits {
        decompressed_bytes: 1_000_000,
        ..Limits::default()
    });
    let error = files
        .add_layer(layer(MediaType::LAYER_TAR_GZIP, bytes))
        .unwrap_err();
    assert!(matches!(error, LayerError::Decompressed(..)), "{error}");
}

proptest! {
    #[test]
    fn hostile_layers_never_panic(
        puts in proptest::collection::vec(("[a-b./]{1,12}|(\\.\\./){0,5}var(/lib)?(/dpkg)?(/status)?|var/\\.wh\\.[a-z.]{0,8}", "[a-z./]{1,9}", 0u8..4), 0..12),
    ) {
        let mut builder = Builder::new(Vec::new());
        for (path, other, kind) in &puts {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_entry_type([EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link][usize::from(*kind)]);
            // Written past the builder's checks, which refuse `..`.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.as_old_mut().linkname[..other.len()].copy_from_slice(other.as_bytes());
            let body = if *kind == 0 { other.as_bytes() } else { b"" };
            header.set_size(body.len() as u64);
            header.set_cksum();
            builder.append(&header, body).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let view = ImageFiles::from_layers([layer(MediaType::LAYER_TAR, bytes.clone()), layer(MediaType::LAYER_TAR, bytes)]).unwrap();
        let _ = view.file(STATUS);
        let _ = crate::catalog(&view);
    }

    #[test]
    fn any_bytes_never_panic(bytes: Vec<u8>) {
        for media_type in [MediaType::LAYER_TAR, MediaType::LAYER_TAR_GZIP] {
            let _ = ImageFiles::from_layers([layer(media_type, bytes.clone())]);
        }
    }

    #[test]
    fn any_records_never_panic(status: String, metadata: String, release: String) {
        let view = view(&[&[F(STATUS, &status), F("a/b.dist-info/METADATA", &metadata), F("etc/os-release", &release)]]);
        let _ = crate::catalog(&view);
    }
}
