//! The five results for Notary signatures.

use serde_json::json;
use testkit::{KeyKind, after, before, leaf_params};
use trust::{FailureCode, Finding, SigningScheme, VerificationType};

use crate::world::{World, algorithm, failures, stranger};

#[test]
fn every_kind_of_key_signs_and_verifies_in_both_schemes() {
    for kind in KeyKind::ALL {
        for world in [World::new(kind), World::x509(kind)] {
            let outcome = world.verify(&world.envelope());
            assert_eq!(failures(&outcome), "", "{kind:?}");
            assert!(outcome.is_trusted(), "{kind:?}");
            assert_eq!(outcome.signer.unwrap().common_name, "ci-build");
            assert_eq!(outcome.user_metadata["buildId"], "7");
        }
    }
}

#[test]
fn an_outcome_is_json_that_tools_can_read() {
    let mut world = World::new(KeyKind::P384);
    world.now = after(7);
    let mut outcome = serde_json::to_value(world.verify(&world.envelope())).unwrap();
    for member in ["signer", "claimedSigner"] {
        for hash in ["certificateSha256", "publicKeySha256"] {
            outcome[member][hash] = "(sixty-four digits)".into();
        }
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&outcome).unwrap(), @r#"
    {
      "authenticTimestamp": {
        "action": "enforce",
        "result": "passed"
      },
      "authenticity": {
        "action": "enforce",
        "result": "passed"
      },
      "claimedSigner": {
        "certificateSha256": "(sixty-four digits)",
        "commonName": "ci-build",
        "publicKeySha256": "(sixty-four digits)",
        "subject": "CN=ci-build,O=Example,ST=WA,C=US"
      },
      "expires": "2026-03-07T12:00:00Z",
      "expiry": {
        "action": "enforce",
        "code": "signature-expired",
        "reason": "the signature expired at 2026-03-07T12:00:00Z",
        "result": "failed"
      },
      "integrity": {
        "action": "enforce",
        "result": "passed"
      },
      "metadata": {
        "action": "skip",
        "result": "not-checked"
      },
      "policy": "shop",
      "revocation": {
        "action": "enforce",
        "result": "passed"
      },
      "scheme": "notary.x509.signingAuthority",
      "signer": {
        "certificateSha256": "(sixty-four digits)",
        "commonName": "ci-build",
        "publicKeySha256": "(sixty-four digits)",
        "subject": "CN=ci-build,O=Example,ST=WA,C=US"
      },
      "signingTime": "2026-03-01T11:00:00Z",
      "target": {
        "annotations": {
          "buildId": "7"
        },
        "digest": "sha256:e12f5214fbafa42fbc9bead9315ed0a2dee71b948f605021e6f65384e30c9b25",
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "size": 15
      },
      "userMetadata": {
        "buildId": "7"
      }
    }
    "#);
}

/// Worlds in which one thing is wrong, with the one verification type and code that must fail.
fn cases() -> Vec<(&'static str, World, VerificationType, FailureCode)> {
    use VerificationType::{AuthenticTimestamp, Authenticity, Expiry, Integrity, Metadata};
    let with = |bend: &dyn Fn(&mut World)| {
        let mut world = World::new(KeyKind::P256);
        bend(&mut world);
        world
    };
    let x509 = |bend: &dyn Fn(&mut World)| {
        let mut world = World::x509(KeyKind::P256);
        bend(&mut world);
        world
    };
    let other = FailureCode::SignatureForOtherArtifact;
    vec![
        (
            "another digest",
            with(&|world| world.request.target.digest = oci::Digest::sha256(b"other")),
            Integrity,
            other,
        ),
        (
            "another size",
            with(&|world| world.request.target.size += 1),
            Integrity,
            other,
        ),
        (
            "another media type",
            with(&|world| world.request.target.media_type = oci::MediaType::IMAGE_INDEX),
            Integrity,
            other,
        ),
        (
            "signed with another key",
            with(&|world| world.leaf.key = testkit::TestKey::new(KeyKind::P256)),
            Integrity,
            FailureCode::SignatureInvalid,
        ),
        (
            "the algorithm of another key",
            with(&|world| world.request.algorithm = algorithm(KeyKind::P384)),
            Integrity,
            FailureCode::SignatureInvalid,
        ),
        (
            "a COSE envelope",
            with(&|world| world.media_type = oci::MediaType::COSE),
            Integrity,
            FailureCode::EnvelopeUnsupported,
        ),
        (
            "an empty trust store",
            with(&|world| world.statement()["trustStores"] = json!(["signingAuthority:empty"])),
            Authenticity,
            FailureCode::SignerNotTrusted,
        ),
        (
            "a trust store of the wrong kind",
            with(&|world| world.statement()["trustStores"] = json!(["ca:example"])),
            Authenticity,
            FailureCode::SignerNotTrusted,
        ),
        (
            "x509 under a signing authority's store",
            x509(&|world| {
                world.statement()["trustStores"] = json!(["signingAuthority:example"]);
            }),
            Authenticity,
            FailureCode::SignerNotTrusted,
        ),
        (
            "an unknown root",
            with(&|world| {
                world.store = trust::TrustStore::default();
                let pem = stranger().pem();
                let kind = trust::StoreKind::SigningAuthority;
                world.store.add(kind, "example", pem.as_bytes()).unwrap();
            }),
            Authenticity,
            FailureCode::SignerNotTrusted,
        ),
        (
            "an unlisted identity",
            with(&|world| {
                let other = json!(["x509.subject: C=US, ST=WA, O=Example, CN=release"]);
                world.statement()["trustedIdentities"] = other;
            }),
            Authenticity,
            FailureCode::SignerNotTrusted,
        ),
        (
            "only a plugin's identity",
            with(&|world| {
                let arn = json!(["arn:aws:signer:us-east-1:1:/signing-profiles/x"]);
                world.statement()["trustedIdentities"] = arn;
            }),
            Authenticity,
            FailureCode::SignerNotTrusted,
        ),
        (
            "signed before the certificate was valid",
            with(&|world| world.request.signing_time = before(2)),
            AuthenticTimestamp,
            FailureCode::CertificateExpired,
        ),
        (
            "signed after the certificate was valid",
            with(&|world| {
                let mut params = leaf_params("ci-build");
                params.not_after = before(0) - time::Duration::HOUR * 2;
                let leaf = world.intermediate.issue(params, KeyKind::P256);
                world.request.chain = leaf.chain();
                world.leaf = leaf;
            }),
            AuthenticTimestamp,
            FailureCode::CertificateExpired,
        ),
        (
            "x509 with a certificate that has expired since",
            x509(&|world| {
                world.now = after(8);
                world.request.expiry = None;
            }),
            AuthenticTimestamp,
            FailureCode::CertificateExpired,
        ),
        (
            "x509 with a timestamp asked for and none there",
            x509(&|world| world.statement()["trustStores"] = json!(["ca:example", "tsa:t"])),
            AuthenticTimestamp,
            FailureCode::TimestampUnverified,
        ),
        (
            "expired this very second",
            with(&|world| world.now = after(6)),
            Expiry,
            FailureCode::SignatureExpired,
        ),
        (
            "other metadata",
            with(&|world| {
                let wanted = ("buildId".to_owned(), "8".to_owned());
                world.required_metadata.extend([wanted]);
            }),
            Metadata,
            FailureCode::MetadataMismatch,
        ),
        (
            "missing metadata",
            with(&|world| {
                let wanted = ("commit".to_owned(), "abc".to_owned());
                world.required_metadata.extend([wanted]);
            }),
            Metadata,
            FailureCode::MetadataMismatch,
        ),
    ]
}

#[test]
fn each_thing_that_is_wrong_fails_its_own_check_and_no_other() {
    let mut reasons = Vec::new();
    for (name, world, kind, code) in cases() {
        let outcome = world.verify(&world.envelope());
        let found = outcome.failures();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(
            (found[0].verification_type, found[0].code),
            (kind, code),
            "{name}"
        );
        assert!(!outcome.is_trusted(), "{name}");
        let digests = [
            (world.target.digest.to_string(), "(target)"),
            (world.request.target.digest.to_string(), "(signed)"),
        ];
        let mut reason = found[0].reason.clone();
        for (digest, short) in digests {
            reason = reason.replace(&digest, short);
        }
        reasons.push(format!("{name}\n  {code}: {reason}"));
    }
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    another digest
      signature-for-other-artifact: the signature is for `(signed)`, not for `(target)`
    another size
      signature-for-other-artifact: the signature names `(target)` as application/vnd.oci.image.manifest.v1+json of 16 bytes, not application/vnd.oci.image.manifest.v1+json of 15 bytes
    another media type
      signature-for-other-artifact: the signature names `(target)` as application/vnd.oci.image.index.v1+json of 15 bytes, not application/vnd.oci.image.manifest.v1+json of 15 bytes
    signed with another key
      signature-invalid: the signature was not made over this content with the key of `CN=ci-build,O=Example,ST=WA,C=US`
    the algorithm of another key
      signature-invalid: the header names ES384, which is not the algorithm of the leaf's key, P-256
    a COSE envelope
      envelope-unsupported: envelope type `application/cose` is not supported: expected `application/jose+json`
    an empty trust store
      signer-not-trusted: there is no certificate in `signingAuthority:empty`
    a trust store of the wrong kind
      signer-not-trusted: the policy names no trust store for the signing scheme `notary.x509.signingAuthority`
    x509 under a signing authority's store
      signer-not-trusted: the policy names no trust store for the signing scheme `notary.x509`
    an unknown root
      signer-not-trusted: no certificate of the chain, which ends at `CN=Root,O=Example,ST=WA,C=US`, is in `signingAuthority:example`
    an unlisted identity
      signer-not-trusted: the signer `CN=ci-build,O=Example,ST=WA,C=US` is not among the trusted identities of `shop`
    only a plugin's identity
      signer-not-trusted: the signer `CN=ci-build,O=Example,ST=WA,C=US` is not among the trusted identities of `shop`
    signed before the certificate was valid
      certificate-expired: the certificate `CN=ci-build,O=Example,ST=WA,C=US` is valid from 2026-02-28T12:00:00Z to 2026-03-08T12:00:00Z, not at the signing time 2026-02-27T12:00:00Z
    signed after the certificate was valid
      certificate-expired: the certificate `CN=ci-build,O=Example,ST=WA,C=US` is valid from 2026-02-28T12:00:00Z to 2026-03-01T10:00:00Z, not at the signing time 2026-03-01T11:00:00Z
    x509 with a certificate that has expired since
      certificate-expired: the certificate `CN=ci-build,O=Example,ST=WA,C=US` is valid from 2026-02-28T12:00:00Z to 2026-03-08T12:00:00Z, not at the present time 2026-03-09T12:00:00Z
    x509 with a timestamp asked for and none there
      timestamp-unverified: the policy asks for a timestamp, and the signature has none
    expired this very second
      signature-expired: the signature expired at 2026-03-07T12:00:00Z
    other metadata
      metadata-mismatch: user metadata `buildId` is `7`, not `8`
    missing metadata
      metadata-mismatch: user metadata `commit` is missing
    "#);
}

#[test]
fn a_signing_authority_vouches_for_a_time_when_the_certificates_were_valid() {
    let mut world = World::new(KeyKind::P256);
    world.now = after(30);
    world.request.expiry = None;
    assert_eq!(world.failures(), "");
}

#[test]
fn without_an_expiry_a_signature_does_not_expire() {
    let mut world = World::new(KeyKind::P256);
    world.request.expiry = None;
    world.now = after(3000);
    assert_eq!(world.failures(), "");
}

#[test]
fn a_timestamp_is_asked_for_after_expiry_only_if_the_policy_says_so() {
    let mut world = World::x509(KeyKind::P256);
    world.request.expiry = None;
    world.statement()["trustStores"] = json!(["ca:example", "tsa:t"]);
    let verification = json!({"level": "strict", "verifyTimestamp": "afterCertExpiry"});
    world.statement()["signatureVerification"] = verification;
    assert_eq!(world.failures(), "");
    world.now = after(8);
    insta::assert_snapshot!(world.failures(), @"authentic timestamp (enforce) timestamp-unverified: the policy asks for a timestamp, and the signature has none");
}

#[test]
fn levels_decide_which_failures_count() {
    let mut lines = Vec::new();
    for level in ["strict", "permissive", "audit"] {
        let mut world = World::new(KeyKind::P256);
        world.set_level(level);
        world.now = after(7);
        let expired = world.verify(&world.envelope()).is_trusted();
        let mut world = World::new(KeyKind::P256);
        world.set_level(level);
        world.statement()["trustedIdentities"] = json!(["x509.subject:C=DE,ST=BE,O=Other"]);
        let outcome = world.verify(&world.envelope());
        assert_eq!(outcome.signer, None, "an unknown signer is never a signer");
        let stranger = outcome.is_trusted();
        let mut world = World::new(KeyKind::P256);
        world.set_level(level);
        world.request.target.size += 1;
        let foreign = world.verify(&world.envelope()).is_trusted();
        lines.push(format!(
            "{level}: expired {expired}, stranger {stranger}, foreign {foreign}"
        ));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    strict: expired false, stranger false, foreign false
    permissive: expired true, stranger false, foreign false
    audit: expired true, stranger true, foreign false
    "#);
}

#[test]
fn an_override_changes_one_action() {
    let mut world = World::new(KeyKind::P256);
    let verification = json!({"level": "strict", "override": {"expiry": "log"}});
    world.statement()["signatureVerification"] = verification;
    world.now = after(7);
    let outcome = world.verify(&world.envelope());
    assert!(outcome.is_trusted());
    assert!(failures(&outcome).starts_with("expiry (log) signature-expired"));
}

#[test]
fn under_skip_nothing_is_verified_and_nothing_is_trusted() {
    let mut world = World::new(KeyKind::P256);
    world.set_level("skip");
    world.statement()["trustStores"] = json!([]);
    world.statement()["trustedIdentities"] = json!([]);
    let outcome = world.verify(b"anything");
    assert!(outcome.is_skipped() && !outcome.is_trusted());
    assert!(
        outcome
            .checks()
            .iter()
            .all(|(_, check)| check.finding == Finding::NotChecked)
    );
}

#[test]
fn nothing_is_said_about_a_payload_whose_signature_does_not_hold() {
    let mut world = World::new(KeyKind::P256);
    world.leaf.key = testkit::TestKey::new(KeyKind::P256);
    let outcome = world.verify(&world.envelope());
    assert_eq!(outcome.target, None);
    assert_eq!(outcome.signer, None);
    assert_eq!(outcome.claimed_signer, None);
    assert_eq!(outcome.signing_time, None);
    assert!(outcome.user_metadata.is_empty());
    let later = &outcome.checks()[1..];
    assert!(
        later
            .iter()
            .all(|(_, check)| check.finding == Finding::NotChecked)
    );
}

#[test]
fn the_schemes_are_told_apart() {
    let world = World::x509(KeyKind::P256);
    let outcome = world.verify(&world.envelope());
    assert_eq!(outcome.scheme, Some(SigningScheme::X509));
    assert_eq!(outcome.expires, Some(after(6)));
}
