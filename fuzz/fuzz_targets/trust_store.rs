//! Certificates in PEM and DER.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = trust::TrustStore::default().add(trust::StoreKind::Ca, "s", bytes);
});
