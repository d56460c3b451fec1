//! Manifests and indexes, with the bytes that were read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = oci::Manifest::sniff(bytes.to_vec()) {
        assert_eq!(manifest.bytes(), bytes);
        assert!(manifest.digest().matches(bytes));
    }
});
