//! Whatever is done to the bytes, nothing panics, and nothing changed verifies.

use std::sync::LazyLock;

use oci::MediaType;
use proptest::prelude::*;
use serde_json::Value;
use testkit::{KeyKind, NOW};
use trust::RevocationEvidence;

use crate::world::World;

static WORLD: LazyLock<World> = LazyLock::new(|| World::new(KeyKind::P256));
static ENVELOPE: LazyLock<Vec<u8>> = LazyLock::new(|| WORLD.envelope());
static ATTESTATION: LazyLock<Vec<u8>> = LazyLock::new(|| WORLD.attestation(&WORLD.provenance()));

/// What an envelope says that is signed, or that names the signer.
fn meaning(envelope: &[u8]) -> Option<[Value; 4]> {
    let value: Value = serde_json::from_slice(envelope).ok()?;
    let chain = value["header"]["x5c"].clone();
    Some([
        value["payload"].clone(),
        value["protected"].clone(),
        value["signature"].clone(),
        chain,
    ])
}

fn mutated(bytes: &[u8], at: prop::sample::Index, to: u8, how: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at.index(bytes.len());
    match how {
        0 => bytes[at] = to,
        1 => bytes.insert(at, to),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_changed_envelope_never_verifies(at: prop::sample::Index, to: u8, how in 0u8..4) {
        let changed = mutated(&ENVELOPE, at, to, how);
        let trusted = WORLD.verify(&changed).is_trusted();
        // White space and the unsigned agent may change; nothing that is signed may.
        prop_assert!(!trusted || meaning(&changed) == meaning(&ENVELOPE));
        let _ = trust::inspect(&MediaType::JOSE_JSON, &changed);
        let _ = trust::revocation_needs(&MediaType::JOSE_JSON, &changed);
    }

    #[test]
    fn a_changed_attestation_never_verifies(at: prop::sample::Index, to: u8, how in 0u8..4) {
        let mut world = World { media_type: MediaType::DSSE, ..World::new(KeyKind::P256) };
        let envelope = world.attestation(&world.provenance());
        let changed = mutated(&envelope, at, to, how);
        let before = world.verify_attestation(&envelope).statement;
        let after = world.verify_attestation(&changed).statement;
        prop_assert!(after.is_none() || after == before);
        world.now = NOW;
        let _ = trust::inspect(&MediaType::DSSE, &mutated(&ATTESTATION, at, to, how));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = WORLD.verify(&bytes);
        let _ = WORLD.verify_attestation(&bytes);
        let _ = trust::Certificate::from_der(&bytes);
        let _ = trust::TrustPolicy::parse(&bytes);
        let _ = RevocationEvidence::default().add_crl("http://x/", &bytes, NOW);
        let _ = trust::trust_store::certificates_in(&bytes);
    }

    #[test]
    fn a_changed_certificate_or_list_never_panics(at: prop::sample::Index, to: u8, how in 0u8..4) {
        let certificate = mutated(&WORLD.leaf.der, at, to, how);
        let _ = trust::CertificateChain::from_ders(&[certificate]).map(|one| one.check_rules());
        let list = WORLD.intermediate.crl(&testkit::crl_params(Vec::new()));
        let changed = mutated(&list, at, to, how);
        let _ = RevocationEvidence::default().add_crl("http://x/", &changed, NOW);
    }
}
