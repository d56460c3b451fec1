//! Trust policies.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = trust::TrustPolicy::parse(bytes) {
        let _ = policy.statement("r.example/a");
    }
});
