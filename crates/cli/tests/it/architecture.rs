//! Holds the table of ARCHITECTURE.md over `cargo metadata`: who may import whom.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Crate, what it may import of the workspace, and what it must not import at all.
const HOUSE: &[(&str, &[&str], &[&str])] = &[
    (
        "oci",
        &[],
        &["tokio", "time", "reqwest", "axum", "rusqlite"],
    ),
    (
        "trust",
        &["oci"],
        &["tokio", "reqwest", "hyper", "axum", "rusqlite"],
    ),
    (
        "scan",
        &["oci"],
        &["tokio", "reqwest", "hyper", "axum", "rusqlite"],
    ),
    (
        "gate",
        &["oci", "trust", "scan"],
        &["tokio", "reqwest", "hyper", "axum", "rusqlite"],
    ),
    ("client", &["oci", "trust"], &["rusqlite", "axum"]),
    ("store", &["oci"], &["reqwest", "axum", "hyper"]),
    (
        "signer",
        &["oci", "trust"],
        &["axum", "clap", "rusqlite", "reqwest", "hyper"],
    ),
    (
        "pipeline",
        &["oci", "trust", "scan", "gate", "client", "store"],
        &["axum", "clap"],
    ),
    (
        "server",
        &[
            "oci", "trust", "scan", "gate", "client", "store", "signer", "pipeline",
        ],
        &["clap", "rusqlite"],
    ),
    (
        "cli",
        &[
            "oci", "trust", "scan", "gate", "client", "store", "signer", "pipeline", "server",
        ],
        &["rusqlite", "aws-lc-rs", "rcgen"],
    ),
    ("testkit", &["oci"], &["tokio"]),
];

/// Outside libraries that belong to one room (or two) only.
const HOMES: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("clap", &["cli"]),
    ("axum", &["server"]),
    ("reqwest", &["client"]),
    ("bollard", &["pipeline"]),
    ("cel", &["gate"]),
    ("rcgen", &["signer", "testkit"]),
    ("landlock", &["signer"]),
    ("cryptoki", &["signer"]),
    ("tar", &["scan"]),
    ("x509-cert", &["trust", "signer"]),
];

fn metadata() -> Metadata {
    MetadataCommand::new().no_deps().exec().unwrap()
}

/// Returns the direct normal dependencies of each crate, by their short names.
fn dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let short = |name: &str| match name {
        "countersign" => "cli".to_owned(),
        other => other
            .strip_prefix("countersign-")
            .unwrap_or(other)
            .to_owned(),
    };
    let normal = |package: &cargo_metadata::Package| {
        package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| short(&dependency.name))
            .collect()
    };
    metadata
        .packages
        .iter()
        .map(|package| (short(&package.name), normal(package)))
        .collect()
}

#[test]
fn every_room_imports_only_what_the_house_allows() {
    let rooms = dependencies(&metadata());
    let names: BTreeSet<&str> = HOUSE.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(
        names,
        rooms.keys().map(String::as_str).collect(),
        "a room has no line in the table"
    );
    for (room, allowed, never) in HOUSE {
        let imports = &rooms[*room];
        for import in imports
            .iter()
            .filter(|import| names.contains(import.as_str()))
        {
            assert!(
                allowed.contains(&import.as_str()),
                "`{room}` must not import `{import}`"
            );
        }
        for outside in *never {
            assert!(
                !imports.contains(*outside),
                "`{room}` must not import `{outside}`"
            );
        }
    }
}

#[test]
fn outside_libraries_stay_in_their_rooms() {
    let rooms = dependencies(&metadata());
    for (library, homes) in HOMES {
        for (room, imports) in &rooms {
            let at_home = homes.contains(&room.as_str());
            assert!(
                at_home || !imports.contains(*library),
                "`{library}` does not belong in `{room}`"
            );
        }
    }
}

#[test]
fn test_helpers_are_never_shipped() {
    for (room, imports) in dependencies(&metadata()) {
        assert!(!imports.contains("testkit"), "`{room}` ships `testkit`");
    }
}

#[test]
fn every_crate_takes_its_lints_from_the_workspace() {
    for package in metadata().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}",
            package.manifest_path
        );
    }
}
