//! A policy that asks for a transparency log: a signature counts only with a proof that holds.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use testkit::KeyKind;
use trust::tlog::note::SignatureType;
use trust::tlog::proof::inclusion;
use trust::tlog::tree::root_of;
use trust::tlog::{Checkpoint, LogProof, Node, SignedNote, VerifierKey, cosignature, leaf_hash};
use trust::{FailureCode, VerificationType};

use crate::world::World;

struct Key(Ed25519KeyPair, VerifierKey);

fn key(name: &str, kind: SignatureType) -> Key {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    let verifier = VerifierKey::new(name, kind, public).unwrap();
    Key(pair, verifier)
}

/// A world whose policy asks for the log, the envelope in it, and everything that it takes to bend
/// one thing.
struct Logged {
    world: World,
    envelope: Vec<u8>,
    log: Key,
    witness: Key,
    entry: String,
}

fn logged() -> Logged {
    let mut world = World::new(KeyKind::P256);
    let log = key("sign.example/log", SignatureType::Ed25519);
    let witness = key("w.example/w", SignatureType::CosignatureV1);
    world.statement()["transparencyLog"] =
        json!({"logs": [log.1], "witnesses": [witness.1], "threshold": 1});
    let envelope = world.envelope();
    let mut logged = Logged {
        entry: entry("signature", &envelope),
        world,
        envelope,
        log,
        witness,
    };
    let proof = logged.prove(&logged.entry, (&logged.log, Some(&logged.witness)));
    logged.world.log = Some((logged.entry.clone(), proof));
    logged
}

fn entry(kind: &str, envelope: &[u8]) -> String {
    let hash = oci::Digest::sha256(envelope);
    json!({"v": 1, "kind": kind, "envelopeSha256": hash.hex(), "more": true}).to_string()
}

impl Logged {
    /// Returns the proof that `entry` is the third of five.
    fn prove(&self, entry: &str, (log, witness): (&Key, Option<&Key>)) -> String {
        let leaves: Vec<_> = (0..5)
            .map(|n| {
                if n == 2 {
                    entry.to_owned()
                } else {
                    format!("entry {n}")
                }
            })
            .map(|entry| leaf_hash(entry.as_bytes()))
            .collect();
        let read = |node: Node| {
            let start = usize::try_from(node.number << node.height).unwrap();
            Ok::<_, ()>(root_of(&leaves[start..start + (1 << node.height)]))
        };
        let checkpoint = Checkpoint {
            origin: log.1.name().to_owned(),
            size: 5,
            root: root_of(&leaves),
            extensions: Vec::new(),
        };
        let text = checkpoint.to_string();
        let mut lines = vec![log.1.line(log.0.sign(text.as_bytes()).as_ref().to_vec())];
        lines.extend(witness.map(|witness| {
            let signature = witness.0.sign(&cosignature::message(7, &text));
            cosignature::line(&witness.1, 7, signature.as_ref())
        }));
        let proof = LogProof {
            extra: None,
            position: 2,
            hashes: inclusion((2, 5), read).unwrap(),
            checkpoint: SignedNote::new(text, lines).unwrap(),
        };
        proof.to_string()
    }

    /// Returns the one code that the verification fails with; `None` when it is trusted.
    fn code(&self) -> Option<FailureCode> {
        let outcome = self.world.verify(&self.envelope);
        let failures = outcome.failures();
        assert_eq!(outcome.is_trusted(), failures.is_empty());
        let kinds = failures.iter().map(|failure| failure.verification_type);
        assert!(
            kinds
                .clone()
                .all(|kind| kind == VerificationType::Transparency)
        );
        assert!(kinds.count() <= 1);
        failures.first().map(|failure| failure.code)
    }
}

#[test]
fn a_signature_counts_with_its_proof_and_not_without() {
    let mut logged = logged();
    assert_eq!(logged.code(), None);
    logged.world.log = None;
    assert_eq!(logged.code(), Some(FailureCode::LogInclusionMissing));
    // Nobody asks: nothing is missing, and a proof does no harm.
    logged
        .world
        .statement()
        .as_object_mut()
        .unwrap()
        .remove("transparencyLog");
    assert_eq!(logged.code(), None);
}

/// One thing is wrong with the proof each time.
#[test]
fn a_proof_that_does_not_hold_is_worse_than_none() {
    let good = logged();
    let other_log = key("sign.example/log", SignatureType::Ed25519);
    let other_witness = key("w.example/w", SignatureType::CosignatureV1);
    let both = (&good.log, Some(&good.witness));
    let other_entry = entry("signature", b"another envelope");
    let revocation = entry("revocation", &good.envelope);
    let proof = good.prove(&good.entry, both);
    let cases = [
        ("not a proof", good.entry.clone(), "nonsense".to_owned()),
        ("another entry", other_entry.clone(), proof.clone()),
        (
            "about another envelope",
            other_entry.clone(),
            good.prove(&other_entry, both),
        ),
        (
            "of another kind",
            revocation.clone(),
            good.prove(&revocation, both),
        ),
        ("not JSON", "x".to_owned(), good.prove("x", both)),
        (
            "of another log",
            good.entry.clone(),
            good.prove(&good.entry, (&other_log, Some(&good.witness))),
        ),
        (
            "no witness",
            good.entry.clone(),
            good.prove(&good.entry, (&good.log, None)),
        ),
        (
            "another witness",
            good.entry.clone(),
            good.prove(&good.entry, (&good.log, Some(&other_witness))),
        ),
        (
            "another position",
            good.entry.clone(),
            proof.replace("index 2", "index 3"),
        ),
    ];
    for (name, entry, proof) in cases {
        let mut bent = logged_again(&good);
        bent.world.log = Some((entry, proof));
        assert_eq!(
            bent.code(),
            Some(FailureCode::LogInclusionInvalid),
            "{name}"
        );
    }
}

/// The same world with the same keys.
fn logged_again(good: &Logged) -> Logged {
    let mut again = logged();
    again.world.statement()["transparencyLog"] =
        json!({"logs": [good.log.1], "witnesses": [good.witness.1], "threshold": 1});
    again.envelope.clone_from(&good.envelope);
    again.world.store = good.world.store.clone();
    again
}

#[test]
fn a_policy_that_could_never_or_always_be_met_is_refused() {
    let logged = logged();
    let (log, witness) = (&logged.log.1, &logged.witness.1);
    for (member, problem) in [
        (json!({"logs": []}), "at least one key"),
        (json!({"logs": [witness]}), "keys of type 1"),
        (
            json!({"logs": [log], "witnesses": [log], "threshold": 1}),
            "keys of type 4",
        ),
        (
            json!({"logs": [log], "witnesses": [witness], "threshold": 2}),
            "`threshold`",
        ),
        (
            json!({"logs": [log], "witnesses": [witness]}),
            "`threshold`",
        ),
        (json!({"logs": [log], "threshold": 1}), "`threshold`"),
        (json!({"logs": ["x"]}), "cannot be read"),
        (json!({"logs": [log], "log": 1}), "cannot be read"),
    ] {
        let mut policy = logged.world.policy.clone();
        policy["trustPolicies"][0]["transparencyLog"] = member;
        let error = trust::TrustPolicy::parse(policy.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}
