//! The signer behind its socket, as the front sees it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod confinement;
mod fixture;
mod pkcs11;
mod socket;
mod verification;

/// Every file of this folder is a module of this binary.
#[test]
fn no_test_file_is_forgotten() {
    let source = include_str!("main.rs");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs").to_owned();
        let declared = source.contains(&format!("mod {module};"));
        assert!(module == "main" || declared, "{name}");
    }
}
