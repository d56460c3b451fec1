//! Revocation lists.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut evidence = trust::RevocationEvidence::default();
    let _ = evidence.add_crl("http://crl.example/ca.crl", bytes, time::macros::datetime!(2026-01-01 00:00 UTC));
});
