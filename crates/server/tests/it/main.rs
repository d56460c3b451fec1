//! The front over a real socket, asked with plain HTTP requests.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as the tests themselves do"
)]

mod harness;

mod accounts;
mod auth;
mod aws;
mod blobs;
mod control;
mod ecr;
mod history;
mod listings;
mod log;
mod manifests;
mod names;
mod oidc;
mod operation;
mod referrers;
mod restart;
mod revocations;
mod rules;
mod signing;
mod tls;
mod two_person;
mod uploads;
mod workshop;

/// A file in this folder that is not a module here would never run.
#[test]
fn every_file_is_a_module() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let listed = main.contains(&format!("mod {module};"));
        assert!(
            module == "main" || listed,
            "{name} is not listed in main.rs"
        );
    }
}
