//! Certificates in DER, under the rules for signing chains.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(chain) = trust::CertificateChain::from_ders(&[bytes]) {
        let _ = chain.check_rules();
        let _ = chain.leaf().subject().to_string();
    }
});
