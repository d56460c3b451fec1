//! Scanning images in layouts, with the binary and the advisories of the demo.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use insta::assert_snapshot;
use oci::{Descriptor, ImageManifest, Index, Manifest, MediaType, Tag, layout};

use crate::environment::{TestEnvironment, names};

const ADVISORIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/advisories/osv");

/// A plain tar archive with these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in files {
        let mut header = [0u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Writes a layout with one image of one layer, under the tag `1`.
fn write_layout(folder: &Path, files: &[(&str, &str)]) {
    let put = |media_type: MediaType, bytes: &[u8]| {
        let descriptor = Descriptor::of(media_type, bytes);
        let path = folder.join(layout::blob_path(&descriptor.digest));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        descriptor
    };
    let config = put(
        MediaType::IMAGE_CONFIG,
        br#"{"architecture":"amd64","os":"linux"}"#,
    );
    let layer = put(MediaType::LAYER_TAR, &archive(files));
    let manifest = Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type: None,
        config,
        layers: vec![layer],
        subject: None,
        annotations: Default::default(),
    });
    put(MediaType::IMAGE_MANIFEST, manifest.bytes());
    let tag: Tag = "1".parse().unwrap();
    let index = layout::with_manifest(Index::new(Vec::new()), &manifest, Some(&tag));
    std::fs::write(
        folder.join("index.json"),
        serde_json::to_vec(&index).unwrap(),
    )
    .unwrap();
    let marker = serde_json::to_vec(&layout::LayoutMarker::default()).unwrap();
    std::fs::write(folder.join("oci-layout"), marker).unwrap();
}

const RELEASE: (&str, &str) = ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
const STATUS: (&str, &str) = (
    "var/lib/dpkg/status",
    "Package: libssl3\nSource: openssl\nVersion: 3.0.9-1\nArchitecture: amd64\nStatus: install ok installed\n",
);
const BOTTLE: (&str, &str) = (
    "app/site/bottle-0.12.19.dist-info/METADATA",
    "Metadata-Version: 2.1\nName: bottle\nVersion: 0.12.19\nLicense: MIT\n",
);

fn with_image(files: &[(&str, &str)]) -> TestEnvironment {
    let environment = TestEnvironment::new();
    write_layout(&environment.path("lay"), files);
    environment
}

#[test]
fn an_image_is_scanned_with_imported_advisories() {
    let environment = with_image(&[RELEASE, STATUS, BOTTLE]);
    assert_snapshot!(environment.run(&["scan", "oci:lay:1"]), @r#"
    exit 3
    --- stderr
    error: there is no advisory database in `HOME/.local/share/countersign/db`
    hint: make one with `countersign db update`, or `countersign db import PATH`
    "#);
    environment.json(&["db", "import", ADVISORIES]);
    let status = environment.json(&["db", "status"]);
    assert!(status["advisories"]["PyPI"].as_u64().unwrap() > 20);
    assert_eq!(
        names(&environment.path(".local/share/countersign/db")),
        ["advisories.db"]
    );
    assert_snapshot!(environment.run(&["scan", "oci-layout:lay:1", "--fail-on", "critical"]), @r#"
    exit 6
    NAME     INSTALLED  FIXED IN          TYPE    VULNERABILITY   SEVERITY
    bottle   0.12.19    0.12.20           python  CVE-2022-31799  Critical
    libssl3  3.0.9-1    3.0.15-1~deb12u1  deb     CVE-2024-5535   Critical
    libssl3  3.0.9-1    3.0.11-1~deb12u2  deb     CVE-2023-5363   High
    libssl3  3.0.9-1    3.0.18-1~deb12u2  deb     CVE-2025-15467  High
    libssl3  3.0.9-1    3.0.14-1~deb12u2  deb     CVE-2024-6119   Unknown
    libssl3  3.0.9-1    3.0.17-1~deb12u3  deb     CVE-2025-9230   Unknown

    6 vulnerabilities (2 critical, 2 high, 2 unknown), 6 with a fix
    "#);
    assert_snapshot!(environment.run(&["scan", "oci:lay:1", "--fail-on", "terrible"]), @r#"
    exit 2
    --- stderr
    error: invalid value 'terrible' for '--fail-on <SEVERITY>': `terrible` is not a severity: use `negligible`, `low`, `medium`, `high` or `critical`

    For more information, try '--help'.
    "#);
}

#[test]
fn a_report_in_json_reads_back() {
    let environment = with_image(&[RELEASE, BOTTLE]);
    environment.run(&["db", "import", ADVISORIES, "--db", "own"]);
    let report = environment.json(&["scan", "oci:lay:1", "--db", "own"]);
    let summary = scan::Report::parse(report.to_string().as_bytes()).unwrap();
    assert!(summary.complete && !summary.database_stale);
    assert_eq!(summary.findings.len(), 1);
    assert_eq!(summary.findings[0].fixed_in, "0.12.20");
    assert!(summary.target_digest.is_some());
}

#[test]
fn what_the_advisories_do_not_cover_is_said() {
    let environment = with_image(&[("etc/os-release", "ID=debian\nVERSION_ID=13\n"), STATUS]);
    environment.run(&["db", "import", ADVISORIES]);
    assert_snapshot!(environment.run(&["scan", "oci:lay:1"]), @r#"
    exit 0
    no vulnerabilities found in what is covered
    not covered: the database has no advisories for `Debian:13`, which has 1 package of the image
    "#);
}

#[test]
fn an_sbom_is_written_in_three_forms() {
    let environment = with_image(&[RELEASE, STATUS, BOTTLE]);
    assert_snapshot!(environment.run(&["sbom", "oci:lay:1"]), @r#"
    exit 0
    NAME     VERSION  TYPE
    libssl3  3.0.9-1  deb
    bottle   0.12.19  python
    "#);
    assert_snapshot!(environment.run(&["sbom", "oci:lay:1", "-o", "json"]), @r#"
    exit 2
    --- stderr
    {"error":{"causes":[],"hint":"use one of: table, spdx-json, cyclonedx-json, text","kind":"usage","message":"output format `json` is not one of this command's"}}
    "#);
    for format in ["spdx-json", "cyclonedx-json"] {
        let output = environment.run(&["sbom", "oci:lay:1", "-o", format]);
        assert!(output.starts_with("exit 0\n{"), "{output}");
        let text = output.strip_prefix("exit 0\n").unwrap();
        let summary = scan::sbom::parse(text.as_bytes()).unwrap();
        assert_eq!((summary.packages, summary.format.as_str()), (2, format));
    }
}

#[test]
fn a_wrong_advisory_changes_nothing() {
    let environment = TestEnvironment::new();
    environment.run(&["db", "import", ADVISORIES]);
    let before = environment.json(&["db", "status"]);
    environment.write("bad.json", r#"{"id":"X-1","modified":"yesterday"}"#);
    assert_snapshot!(environment.run(&["db", "import", ADVISORIES, "bad.json"]), @r#"
    exit 2
    --- stderr
    error: `bad.json` is not an advisory in OSV form
      caused by: advisory `X-1`: member `modified` is no RFC 3339 time: the 'year' component could not be parsed
    "#);
    assert_snapshot!(environment.run(&["db", "import", "nothing"]), @r#"
    exit 2
    --- stderr
    error: `nothing` cannot be read
      caused by: No such file or directory (os error 2)
    "#);
    let mut after = environment.json(&["db", "status"]);
    after["ageDays"] = before["ageDays"].clone();
    assert_eq!(after, before);
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    let environment = with_image(&[RELEASE]);
    let index = environment.read("lay/index.json");
    let manifest: Index = serde_json::from_str(&index).unwrap();
    let path = layout::blob_path(&manifest.manifests[0].digest);
    let text = environment.read(&format!("lay/{path}"));
    let image: ImageManifest = serde_json::from_str(&text).unwrap();
    let layer = layout::blob_path(&image.layers[0].digest);
    environment.write(&format!("lay/{layer}"), "changed");
    let output = environment.run(&["sbom", "oci:lay:1"]);
    assert!(output.starts_with("exit 5\n"), "{output}");
}

#[test]
fn the_database_is_updated_from_published_archives() {
    let environment = TestEnvironment::new();
    let address = serve_archives();
    let from = format!("http://{address}/osv/");
    let status = environment.json(&["db", "update", "--from", &from]);
    assert_eq!(
        status["advisories"],
        serde_json::json!({"Debian:12": 1, "PyPI": 1})
    );
    assert_eq!(status["sources"][1], format!("{from}PyPI/all.zip"));
    // The server has gone: the database stays as it was.
    let output = environment.run(&["db", "update", "--from", &from]);
    assert!(output.starts_with("exit 9\n"), "{output}");
    assert_eq!(
        environment.json(&["db", "status"])["sources"],
        status["sources"]
    );
}

/// Answers two requests with archives of one advisory each, on loopback, and goes.
fn serve_archives() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok);
            let request = lines.next().unwrap();
            lines.find(|line| line.is_empty());
            let ecosystem = if request.contains("/osv/PyPI/all.zip") {
                "PyPI"
            } else {
                "Debian:12"
            };
            let body = zip(&format!(
                r#"{{"id":"X-{ecosystem}","modified":"2026-01-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"a"}}}}]}}"#
            ));
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream
                .write_all(&[head.as_bytes(), &body].concat())
                .unwrap();
        }
    });
    address
}

fn zip(content: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    let (mut entry, config) = archive.new_file("a.json").start().unwrap();
    let mut writer = config.wrap(&mut entry);
    writer.write_all(content.as_bytes()).unwrap();
    let (_, descriptor) = writer.finish().unwrap();
    entry.finish(descriptor).unwrap();
    archive.finish().unwrap();
    bytes
}

#[test]
fn the_server_scans_with_what_an_administrator_brings() {
    let environment = TestEnvironment::with_server();
    let push = ["db", "push", "--server", "http://SERVER"];
    environment.run(&["db", "import", ADVISORIES]);
    let refused = environment.run(&push);
    assert!(refused.starts_with("exit 4\n"), "{refused}");
    let login = ["login", "SERVER", "--username", "admin", "--password-stdin"];
    environment.run_reading(&login, "data/admin.token");
    let pushed = environment.json(&push);
    let own = environment.json(&["db", "status"]);
    assert_eq!(pushed["digest"], own["digest"]);
    assert_eq!(pushed["advisories"], own["advisories"]);
}
