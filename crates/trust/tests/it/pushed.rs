//! Pushed revocations as evidence: they go before lists, for the leaves of their issuers alone.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use oci::Digest;
use testkit::{KeyKind, NOW, crl_at, leaf_params};
use time::{Duration, OffsetDateTime};
use trust::Certificate;
use trust::revocation::Pushed;
use trust::revocation::feed::{
    Bundle, BundleHead, FeedHandle, Head, Heartbeat, RevocationLine, Revoked, empty_chain,
    extend_chain, signature_identity,
};
use trust::tlog::note::{SignatureType, SignedNote, VerifierKey};

use crate::world::World;

type MakeRevoked = fn(&World) -> Revoked;

const LIST: &str = "http://pki.example/intermediate.crl";

struct Feed {
    pair: Ed25519KeyPair,
    key: VerifierKey,
    lines: Vec<String>,
    issuer: String,
}

impl Feed {
    /// The feed of the issuer of the leaf in `world`.
    fn of(issuer_der: &[u8]) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let certificate = Certificate::from_der(issuer_der).unwrap();
        Self {
            key: VerifierKey::new("example/log", SignatureType::Ed25519, public).unwrap(),
            pair,
            lines: Vec::new(),
            issuer: certificate.public_key().sha256().to_owned(),
        }
    }

    fn revoking(mut self, revoked: Revoked) -> Self {
        let line = RevocationLine {
            sequence: self.lines.len() as u64 + 1,
            at: NOW,
            reason: "leaked".to_owned(),
            revoked,
        };
        self.lines.push(line.to_json());
        self
    }

    fn head(&self) -> Head {
        let extend = |chain, line: &String| extend_chain(&chain, line);
        Head {
            origin: "example/log".to_owned(),
            sequence: self.lines.len() as u64,
            log_size: 9,
            chain: self.lines.iter().fold(empty_chain(), extend),
            issuers: vec![self.issuer.clone()],
        }
    }

    fn signed(&self, text: String) -> SignedNote {
        let signature = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        SignedNote::new(text, vec![self.key.line(signature)]).unwrap()
    }

    /// What a reader holds whose last heartbeat is of this time.
    fn heard_at(&self, time: OffsetDateTime) -> Pushed {
        let handle = FeedHandle::new(self.key.clone());
        let head = self.head();
        let heartbeat = Heartbeat::line(&self.signed(Heartbeat { head, time }.to_string()));
        for line in self.lines.iter().chain([&heartbeat]) {
            handle.apply(line.as_bytes(), time).unwrap();
        }
        Pushed::Feed(handle)
    }

    fn bundle(&self, until: OffsetDateTime) -> Pushed {
        let head = BundleHead {
            head: self.head(),
            from: NOW - Duration::HOUR,
            until,
        };
        let lines = self.lines.iter().map(String::as_str);
        let text = Bundle::write(&self.signed(head.to_string()), lines);
        Pushed::Bundle(Arc::new(Bundle::read(text.as_bytes(), &self.key).unwrap()))
    }
}

/// A world whose leaf names a revocation list that nobody fetched.
fn world() -> World {
    let world = World::new(KeyKind::P256);
    let mut params = leaf_params("ci-build");
    params.crl_distribution_points = vec![crl_at(LIST)];
    let leaf = world.intermediate.issue(params, KeyKind::P256);
    world.with_leaf(leaf)
}

fn found(mut world: World, pushed: Pushed) -> String {
    world.evidence.add_pushed(pushed);
    world.failures()
}

#[test]
fn a_fresh_feed_stands_in_for_the_list() {
    let world = world();
    let feed = Feed::of(&world.intermediate.der);
    let envelope = world.envelope();
    let needed = |world: &World| world.evidence.needs(&world.media_type, &envelope);
    assert_eq!(needed(&world), [LIST]);
    let mut world = world;
    world.evidence.add_pushed(feed.heard_at(NOW));
    assert!(needed(&world).is_empty());
    assert_eq!(world.failures(), "");
}

#[test]
fn a_feed_of_another_issuer_changes_nothing() {
    let world = world();
    let feed = Feed::of(&world.root.der);
    insta::assert_snapshot!(found(world, feed.heard_at(NOW)), @"revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the revocation list was not fetched");
}

#[test]
fn a_feed_that_fell_silent_makes_it_unknown() {
    let world = world();
    let feed = Feed::of(&world.intermediate.der);
    let pushed = feed.heard_at(NOW - Duration::seconds(11));
    insta::assert_snapshot!(found(world, pushed), @"revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: nothing was heard of the revocations of `example/log` since 2026-03-01T11:59:49Z, for more than 10 seconds");
}

#[test]
fn whatever_covers_the_signature_revokes_it() {
    let mut lines = Vec::new();
    let cases: [(&str, MakeRevoked); 5] = [
        ("the signature", |world| {
            let unsigned = trust::jws::UnsignedEnvelope::new(world.request.clone()).unwrap();
            let signed = Digest::sha256(unsigned.signing_input());
            let leaf = world.leaf.sha256();
            Revoked::Signatures {
                identities: vec![signature_identity(&leaf, signed.hex())],
                job: None,
            }
        }),
        ("the certificate", |world| Revoked::Certificate {
            serial: hex::encode(world.leaf.serial().as_ref()),
            from: None,
        }),
        ("the profile", |world| Revoked::Profile {
            profile: "ci-build".to_owned(),
            version: None,
            from: world.request.signing_time,
            until: None,
        }),
        ("the digest", |world| Revoked::Digest {
            digest: world.target.digest.clone(),
            from: None,
            until: NOW,
        }),
        ("the profile, later", |world| Revoked::Profile {
            profile: "ci-build".to_owned(),
            version: None,
            from: world.request.signing_time + Duration::SECOND,
            until: None,
        }),
    ];
    for (name, revoked) in cases {
        let world = world();
        let feed = Feed::of(&world.intermediate.der).revoking(revoked(&world));
        lines.push(format!("{name}: {}", found(world, feed.heard_at(NOW))));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    the signature: revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-03-01T12:00:00Z (revocation 1: leaked)
    the certificate: revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-03-01T12:00:00Z (revocation 1: leaked)
    the profile: revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-03-01T12:00:00Z (revocation 1: leaked)
    the digest: revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-03-01T12:00:00Z (revocation 1: leaked)
    the profile, later:
    ");
}

#[test]
fn an_attestation_is_judged_by_when_its_leaf_begins() {
    let verdict = |from: Duration| {
        let mut world = world();
        world.media_type = oci::MediaType::DSSE;
        let begins = Certificate::from_der(&world.leaf.der).unwrap().not_before();
        let feed = Feed::of(&world.intermediate.der).revoking(Revoked::Profile {
            profile: "ci-build".to_owned(),
            version: None,
            from: begins + from,
            until: None,
        });
        world.evidence.add_pushed(feed.heard_at(NOW));
        let attestation = world.attestation(&world.provenance());
        let outcome = world.verify_attestation(&attestation);
        outcome
            .failures()
            .iter()
            .map(|one| one.code.as_str())
            .collect::<String>()
    };
    assert_eq!(verdict(Duration::ZERO), "signature-revoked");
    assert_eq!(verdict(Duration::SECOND), "");
}

#[test]
fn a_bundle_stands_in_for_the_list_in_its_time() {
    let verdict = |until, revoked: Option<Revoked>| {
        let world = world();
        let feed = Feed::of(&world.intermediate.der);
        let feed = match revoked {
            Some(revoked) => feed.revoking(revoked),
            None => feed,
        };
        found(world, feed.bundle(until))
    };
    let digest = World::new(KeyKind::P256).target.digest;
    let revoked = Some(Revoked::Digest {
        digest,
        from: None,
        until: NOW,
    });
    let lines = [
        format!("valid: {}", verdict(NOW + Duration::HOUR, None)),
        format!("expired: {}", verdict(NOW, None)),
        format!("expired, revoked: {}", verdict(NOW, revoked)),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    valid: 
    expired: revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: the revocation bundle expired at 2026-03-01T12:00:00Z
    expired, revoked: revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-03-01T12:00:00Z (revocation 1: leaked)
    ");
}

#[test]
fn of_two_sources_the_one_that_says_revoked_counts() {
    let mut world = world();
    let feed = Feed::of(&world.intermediate.der);
    let silent = feed.heard_at(NOW - Duration::seconds(11));
    let revoking = Feed::of(&world.intermediate.der).revoking(Revoked::Digest {
        digest: world.target.digest.clone(),
        from: None,
        until: NOW,
    });
    world.evidence.add_pushed(revoking.heard_at(NOW));
    world.evidence.add_pushed(silent);
    world.evidence.add_pushed(feed.heard_at(NOW));
    let outcome = world.verify(&world.envelope());
    assert_eq!(outcome.failures()[0].code.as_str(), "signature-revoked");
}
