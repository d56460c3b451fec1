//! DSSE attestations with in-toto statements.

use oci::MediaType;
use serde_json::{Value, json};
use testkit::{KeyKind, TestKey, after, leaf_params};
use trust::FailureCode;

use crate::world::{World, base64, failures, stable};

fn world(kind: KeyKind) -> World {
    let mut world = World::new(kind);
    world.media_type = MediaType::DSSE;
    world
}

fn refused(name: &str, world: &World, envelope: &[u8]) -> String {
    let outcome = world.verify_attestation(envelope);
    assert!(
        !outcome.is_trusted() && outcome.statement.is_none(),
        "{name}"
    );
    let found = failures(&outcome.outcome);
    assert_eq!(outcome.failures().len(), 1, "{name}: {found}");
    stable(&format!("{name}\n  {found}").replace(&world.target.digest.to_string(), "(target)"))
}

#[test]
fn a_trusted_attestation_gives_its_statement() {
    for kind in KeyKind::ALL {
        let world = world(kind);
        let outcome = world.verify_attestation(&world.attestation(&world.provenance()));
        assert_eq!(failures(&outcome.outcome), "", "{kind:?}");
        assert!(outcome.is_trusted());
        assert_eq!(outcome.outcome.signer.unwrap().common_name, "ci-build");
        assert_eq!(outcome.outcome.expires, Some(after(7)));
        let statement = outcome.statement.unwrap();
        assert_eq!(
            statement.subjects,
            std::slice::from_ref(&world.target.digest)
        );
        assert_eq!(statement.predicate_type, "https://slsa.dev/provenance/v1");
    }
}

#[test]
fn each_thing_that_is_wrong_fails_its_own_check_and_no_other() {
    let mut lines = Vec::new();
    let mut try_with = |name: &str, bend: &dyn Fn(&mut World)| {
        let mut world = world(KeyKind::P256);
        bend(&mut world);
        let envelope = world.attestation(&world.provenance());
        lines.push(refused(name, &world, &envelope));
    };
    try_with("signed with another key", &|w| {
        w.leaf.key = TestKey::new(KeyKind::P256)
    });
    try_with("an unknown root", &|w| {
        w.store = trust::TrustStore::default()
    });
    try_with("an unlisted identity", &|w| {
        w.statement()["trustedIdentities"] = json!(["x509.subject:C=US,ST=WA,O=Other"]);
    });
    try_with("a broken chain", &|w| drop(w.request.chain.pop()));
    try_with("an expired leaf", &|w| w.now = after(7));
    try_with("a leaf that is not valid yet", &|w| {
        w.now = testkit::before(2)
    });
    try_with("an authority that has expired", &|world| {
        let mut params = testkit::authority_params("Intermediate");
        params.not_after = testkit::before(1);
        let intermediate = world.root.issue(params, KeyKind::P256);
        world.leaf = intermediate.issue(leaf_params("ci-build"), KeyKind::P256);
        world.request.chain = world.leaf.chain();
    });
    try_with("metadata asked for", &|world| {
        let wanted = ("buildId".to_owned(), "7".to_owned());
        world.required_metadata.extend([wanted]);
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    signed with another key
      integrity (enforce) signature-invalid: the signature was not made over this content with the key of `CN=ci-build,O=Example,ST=WA,C=US`
    an unknown root
      authenticity (enforce) signer-not-trusted: there is no certificate in `signingAuthority:example`
    an unlisted identity
      authenticity (enforce) signer-not-trusted: the signer `CN=ci-build,O=Example,ST=WA,C=US` is not among the trusted identities of `shop`
    a broken chain
      authenticity (enforce) certificate-invalid: the chain ends at `CN=Intermediate,O=Example,ST=WA,C=US`, which is not a root: its issuer `CN=Root,O=Example,ST=WA,C=US` is missing
    an expired leaf
      expiry (enforce) signature-expired: the signature expired at 2026-03-08T12:00:00Z
    a leaf that is not valid yet
      authentic timestamp (enforce) certificate-expired: the certificate `CN=ci-build,O=Example,ST=WA,C=US` is valid from 2026-02-28T12:00:00Z to 2026-03-08T12:00:00Z, not at the present time 2026-02-27T12:00:00Z
    an authority that has expired
      authentic timestamp (enforce) certificate-expired: the certificate `CN=Intermediate,O=Example,ST=WA,C=US` is valid from 2016-03-03T12:00:00Z to 2026-02-28T12:00:00Z, not at the present time 2026-03-01T12:00:00Z
    metadata asked for
      user metadata (enforce) metadata-mismatch: user metadata `buildId` is missing
    "#);
}

#[test]
fn a_statement_must_be_about_the_artifact() {
    let world = world(KeyKind::P256);
    let cases = [
        (
            "another digest",
            json!([{"digest": {"sha256": "0".repeat(64)}}]),
        ),
        ("no subject", json!([])),
        (
            "only a git commit",
            json!([{"digest": {"gitCommit": "0".repeat(40)}}]),
        ),
        ("no digest", json!([{"name": "shop"}])),
    ];
    let lines = cases.map(|(name, subject)| {
        let mut statement = world.provenance();
        statement["subject"] = subject;
        refused(name, &world, &world.attestation(&statement))
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    another digest
      integrity (enforce) signature-for-other-artifact: the statement is about `sha256:0000000000000000000000000000000000000000000000000000000000000000`, not about `(target)`
    no subject
      integrity (enforce) signature-for-other-artifact: the statement is about no digest that can be in a registry
    only a git commit
      integrity (enforce) signature-for-other-artifact: the statement is about no digest that can be in a registry
    no digest
      integrity (enforce) envelope-malformed: the payload is not an in-toto statement: missing field `digest`
    "#);
}

#[test]
fn one_of_several_subjects_is_enough() {
    let world = world(KeyKind::P256);
    let mut statement = world.provenance();
    let other = json!({"digest": {"sha256": "0".repeat(64), "gitCommit": "1".repeat(40)}});
    statement["subject"]
        .as_array_mut()
        .unwrap()
        .insert(0, other);
    let outcome = world.verify_attestation(&world.attestation(&statement));
    assert_eq!(outcome.statement.unwrap().subjects.len(), 2);
}

#[test]
fn envelopes_and_statements_are_read_strictly() {
    let world = world(KeyKind::P256);
    let good: Value = serde_json::from_slice(&world.attestation(&world.provenance())).unwrap();
    let text = good.to_string();
    let with = |path: &str, value: Value| {
        let mut envelope = good.clone();
        *envelope.pointer_mut(path).unwrap() = value;
        envelope.to_string()
    };
    let mut variant = good.clone();
    variant["PayloadType"] = json!("application/vnd.in-toto+json");
    let two = json!([good["signatures"][0], good["signatures"][0]]);
    let cases = [
        ("no signature", with("/signatures", json!([]))),
        ("two signatures", with("/signatures", two)),
        ("no chain", with("/signatures/0/x5c", json!([]))),
        (
            "a payload that is not base64",
            with("/payload", json!("{}")),
        ),
        ("another payload", with("/payload", json!(base64(b"{}")))),
        (
            "another payload type",
            with("/payloadType", json!("text/plain")),
        ),
        ("a case variant", variant.to_string()),
        (
            "a member twice",
            text.replacen('{', "{\"payload\":\"e30=\",", 1),
        ),
        ("trailing bytes", format!("{text}{{}}")),
        ("a list", format!("[{text}]")),
        ("too large", format!("{text}{}", " ".repeat(1 << 20))),
    ];
    let lines = cases.map(|(name, text)| refused(name, &world, text.as_bytes()));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    no signature
      integrity (enforce) envelope-unsupported: it has 0 signatures: exactly one is supported
    two signatures
      integrity (enforce) envelope-unsupported: it has 2 signatures: exactly one is supported
    no chain
      integrity (enforce) envelope-malformed: `x5c`: there is no certificate
    a payload that is not base64
      integrity (enforce) envelope-malformed: member `payload` is not in base64
    another payload
      integrity (enforce) signature-invalid: the signature was not made over this content with the key of `CN=ci-build,O=Example,ST=WA,C=US`
    another payload type
      integrity (enforce) signature-invalid: the signature was not made over this content with the key of `CN=ci-build,O=Example,ST=WA,C=US`
    a case variant
      integrity (enforce) envelope-malformed: `PayloadType` differs from a known member only in case
    a member twice
      integrity (enforce) envelope-malformed: the envelope is not DSSE: member `payload` is given twice at line 1 column 27
    trailing bytes
      integrity (enforce) envelope-malformed: the envelope is not DSSE: trailing characters at line 1 column N
    a list
      integrity (enforce) envelope-malformed: the envelope is not DSSE: expected an object
    too large
      integrity (enforce) envelope-malformed: it has N bytes, more than 1048576
    "#);
    let mut old = world.provenance();
    old["_type"] = json!("https://in-toto.io/Statement/v0.1");
    let found = refused("an old statement", &world, &world.attestation(&old));
    insta::assert_snapshot!(found, @r#"
    an old statement
      integrity (enforce) envelope-unsupported: statement type `https://in-toto.io/Statement/v0.1` is not supported
    "#);
}

#[test]
fn unknown_members_and_the_other_alphabet_are_accepted() {
    let world = world(KeyKind::P256);
    let envelope = world.attestation(&world.provenance());
    let mut envelope: Value = serde_json::from_slice(&envelope).unwrap();
    envelope["note"] = json!("x");
    envelope["signatures"][0]["keyid"] = json!("k");
    let signature = envelope["signatures"][0]["sig"].as_str().unwrap();
    let other = signature.replace('+', "-").replace('/', "_");
    envelope["signatures"][0]["sig"] = json!(other);
    let outcome = world.verify_attestation(envelope.to_string().as_bytes());
    assert_eq!(failures(&outcome.outcome), "");
}

#[test]
fn neither_kind_of_envelope_passes_for_the_other() {
    let world = world(KeyKind::P256);
    let attestation = world.attestation(&world.provenance());
    let outcome = world.verify(&attestation);
    assert_eq!(outcome.failures()[0].code, FailureCode::EnvelopeUnsupported);
    let signature = world.envelope();
    let outcome = world.verify_attestation(&signature);
    assert_eq!(outcome.failures()[0].code, FailureCode::EnvelopeMalformed);
}
