//! OCSP requests, which anybody may send.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signer::authority::ocsp::{MAX_OCSP_CERTIFICATES, MAX_NONCE_BYTES, OcspRequest};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = OcspRequest::parse(bytes) {
        assert!((1..=MAX_OCSP_CERTIFICATES).contains(&request.certificates.len()));
        assert!(request.certificates.iter().all(|id| (1..=20).contains(&id.serial.len())));
        assert!(request.nonce.is_none_or(|nonce| (1..=MAX_NONCE_BYTES).contains(&nonce.len())));
    }
});
