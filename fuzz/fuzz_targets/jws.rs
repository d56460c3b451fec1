//! Notary envelopes: nothing that a fuzzer makes is a trusted signature.
#![no_main]

use libfuzzer_sys::fuzz_target;

const POLICY: &[u8] = br#"{"version":"1.0","trustPolicies":[{"name":"p","registryScopes":["*"],"signatureVerification":{"level":"strict"},"trustStores":["ca:s"],"trustedIdentities":["*"]}]}"#;

fuzz_target!(|bytes: &[u8]| {
    let _ = trust::inspect(&oci::MediaType::JOSE_JSON, bytes);
    let policy = trust::TrustPolicy::parse(POLICY).unwrap();
    let target = oci::Descriptor::of(oci::MediaType::IMAGE_MANIFEST, b"target");
    let outcome = trust::verify(&trust::VerifyRequest {
        media_type: &oci::MediaType::JOSE_JSON,
        envelope: bytes,
        target: &target,
        statement: policy.statement("r.example/a").unwrap(),
        store: &trust::TrustStore::default(),
        revocation: &trust::RevocationEvidence::default(),
        required_metadata: &Default::default(),
        log: None,
        now: time::macros::datetime!(2026-01-01 00:00 UTC),
    });
    assert!(!outcome.is_trusted());
});
