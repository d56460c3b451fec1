//! What the signer makes, judged by `trust`: everything it signs verifies, and each thing that
//! ends a signature ends it, alone.

use std::collections::BTreeMap;

use oci::{Descriptor, MediaType};
use proptest::prelude::*;
use signer::payload::IN_TOTO_PAYLOAD_TYPE;
use signer::{
    Acceptance, AttestRequest, LeafPolicy, Principal, ProfileSpec, SignRequest, SignedEnvelope,
    SigningPlatform,
};
use time::{Duration, OffsetDateTime};
use trust::{
    RevocationEvidence, StoreKind, TargetArtifact, TrustPolicy, TrustStore, VerifyRequest,
};

use crate::fixture::{Fixture, NOW, admin, spec};

const POLICY: &str = r#"{"version":"1.0","trustPolicies":[{
    "name":"ours","registryScopes":["*"],"signatureVerification":{"level":"strict"},
    "trustStores":["signingAuthority:countersign"],
    "trustedIdentities":["x509.subject: C=US, ST=WA, O=Countersign, CN=ci-build"]}]}"#;

fn image() -> Descriptor {
    Descriptor::of(MediaType::IMAGE_MANIFEST, b"image")
}

fn profile(leaf: LeafPolicy, validity: &str) -> ProfileSpec {
    let validity = validity.parse().unwrap();
    ProfileSpec {
        leaf,
        dialect: signer::Dialect::default(),
        owner: None,
        validity,
        ..spec("ci-build")
    }
}

/// A verifier that trusts the signer's root, and has the list that is current now.
struct Verifier {
    store: TrustStore,
    revocation: RevocationEvidence,
    policy: TrustPolicy,
    metadata: BTreeMap<String, String>,
}

impl Verifier {
    async fn new(fixture: &Fixture, now: OffsetDateTime) -> Self {
        let root = fixture.client.authority().await.unwrap().root_pem;
        let mut store = TrustStore::default();
        store
            .add(StoreKind::SigningAuthority, "countersign", root.as_bytes())
            .unwrap();
        let list = fixture.client.revocation_list(None).await.unwrap();
        let mut revocation = RevocationEvidence::default();
        let url = fixture.client.authority().await.unwrap().crl_url.unwrap();
        revocation.add_crl(&url, &list.der, now).unwrap();
        let policy = TrustPolicy::parse(POLICY.as_bytes()).unwrap();
        Self {
            store,
            revocation,
            policy,
            metadata: BTreeMap::new(),
        }
    }

    fn request<'a>(
        &'a self,
        signed: &'a SignedEnvelope,
        (target, now): (&'a Descriptor, OffsetDateTime),
    ) -> VerifyRequest<'a> {
        VerifyRequest {
            media_type: &signed.media_type,
            envelope: &signed.envelope,
            target,
            statement: self.policy.statement("any/repository").unwrap(),
            store: &self.store,
            revocation: &self.revocation,
            required_metadata: &self.metadata,
            log: None,
            now,
        }
    }

    /// The codes of all failed checks; none when the signature is trusted.
    fn codes(&self, signed: &SignedEnvelope, now: OffsetDateTime) -> Vec<&'static str> {
        let target = image();
        let request = self.request(signed, (&target, now));
        let (trusted, failures) = match signed.media_type == MediaType::DSSE {
            true => {
                let outcome = trust::verify_attestation(&request);
                (outcome.is_trusted(), outcome.failures())
            }
            false => {
                let outcome = trust::verify(&request);
                (outcome.is_trusted(), outcome.failures())
            }
        };
        assert_eq!(trusted, failures.is_empty());
        failures
            .iter()
            .map(|failure| failure.code.as_str())
            .collect()
    }
}

async fn sign(fixture: &Fixture, metadata: BTreeMap<String, String>) -> SignedEnvelope {
    let target = TargetArtifact {
        annotations: metadata,
        ..TargetArtifact::of(&image())
    };
    let request = SignRequest {
        principal: Principal::account("dev"),
        profile: "ci-build".parse().unwrap(),
        owner: None,
        payload: target.to_payload(),
        artifact: Default::default(),
    };
    fixture.client.sign(request).await.unwrap()
}

async fn accept(fixture: &Fixture) -> SignedEnvelope {
    let acceptance = Acceptance {
        name: "apps/shop".to_owned(),
        subject: image().digest,
        graph_root: image().digest,
        profile: "ci-build".parse().unwrap(),
        account: "dev".to_owned(),
        comment: "reviewed".to_owned(),
        at: NOW,
    };
    let request = AttestRequest {
        principal: Principal::account("dev"),
        profile: "ci-build".parse().unwrap(),
        payload_type: IN_TOTO_PAYLOAD_TYPE.to_owned(),
        payload: acceptance.to_statement(),
        artifact: Default::default(),
    };
    fixture.client.attest(request).await.unwrap()
}

const LEAVES: [LeafPolicy; 2] = [LeafPolicy::PerJob, LeafPolicy::Rotating { days: 3 }];

#[tokio::test]
async fn a_signature_is_trusted_until_it_expires() {
    for leaf in LEAVES {
        let fixture = Fixture::start().await;
        let client = &fixture.client;
        client
            .put_profile(admin(), profile(leaf, "7 days"), false)
            .await
            .unwrap();
        for signed in [
            sign(&fixture, BTreeMap::new()).await,
            accept(&fixture).await,
        ] {
            let verifier = Verifier::new(&fixture, NOW).await;
            assert_eq!(verifier.codes(&signed, NOW), [""; 0]);
            // The list has a time of its own, so the verifier gets one of that day.
            let last = NOW + Duration::days(7) - Duration::SECOND;
            fixture.set_time(last);
            let verifier = Verifier::new(&fixture, last).await;
            assert_eq!(verifier.codes(&signed, last), [""; 0]);
            // X.509 counts the last moment in (RFC 5280 §4.1.2.5), Notary does not.
            let over = NOW + Duration::days(7) + Duration::SECOND;
            assert_eq!(verifier.codes(&signed, over), ["signature-expired"]);
            fixture.set_time(NOW);
        }
    }
}

#[tokio::test]
async fn a_statement_that_was_accepted_can_be_read_when_it_is_trusted() {
    let fixture = Fixture::start().await;
    let client = &fixture.client;
    client
        .put_profile(admin(), profile(LeafPolicy::PerJob, "7 days"), false)
        .await
        .unwrap();
    let signed = accept(&fixture).await;
    let verifier = Verifier::new(&fixture, NOW).await;
    let target = image();
    let outcome = trust::verify_attestation(&verifier.request(&signed, (&target, NOW)));
    let statement = outcome.statement.unwrap();
    assert_eq!(statement.subjects, [target.digest]);
    assert_eq!(statement.predicate["account"], "dev");
}

#[tokio::test]
async fn a_revoked_signature_fails_for_that_alone() {
    let fixture = Fixture::start().await;
    let client = &fixture.client;
    client
        .put_profile(admin(), profile(LeafPolicy::PerJob, "7 days"), false)
        .await
        .unwrap();
    let (good, bad) = (
        sign(&fixture, BTreeMap::new()).await,
        accept(&fixture).await,
    );
    let reason = || ("built by mistake".to_owned(), false);
    client.revoke_job(admin(), bad.job, reason()).await.unwrap();
    let verifier = Verifier::new(&fixture, NOW).await;
    assert_eq!(verifier.codes(&good, NOW), [""; 0]);
    assert_eq!(verifier.codes(&bad, NOW), ["signature-revoked"]);
    client
        .revoke_job(admin(), good.job, reason())
        .await
        .unwrap();
    let verifier = Verifier::new(&fixture, NOW).await;
    assert_eq!(verifier.codes(&good, NOW), ["signature-revoked"]);
}

#[tokio::test]
async fn a_profile_revoked_from_a_time_on_spares_what_was_signed_before() {
    for leaf in LEAVES {
        let fixture = Fixture::start().await;
        let client = &fixture.client;
        client
            .put_profile(admin(), profile(leaf, "7 days"), false)
            .await
            .unwrap();
        let before = sign(&fixture, BTreeMap::new()).await;
        let from = NOW + Duration::HOUR;
        fixture.set_time(from);
        let after = sign(&fixture, BTreeMap::new()).await;
        let now = from + Duration::HOUR;
        fixture.set_time(now);
        let name = "ci-build".parse().unwrap();
        let what = (Some(from), "token leaked".to_owned());
        client.revoke_profile(admin(), name, what).await.unwrap();
        let verifier = Verifier::new(&fixture, now).await;
        assert_eq!(verifier.codes(&before, now), [""; 0], "{leaf:?}");
        assert_eq!(
            verifier.codes(&after, now),
            ["signature-revoked"],
            "{leaf:?}"
        );
    }
}

#[tokio::test]
async fn every_platform_signs_with_its_own_algorithm() {
    for (platform, name) in [
        (SigningPlatform::NotationOciSha384Ecdsa, "ES384"),
        (SigningPlatform::NotationOciSha256Ecdsa, "ES256"),
        (SigningPlatform::NotationOciSha384Rsa, "PS384"),
    ] {
        let fixture = Fixture::start().await;
        let spec = ProfileSpec {
            platform,
            ..profile(LeafPolicy::Rotating { days: 3 }, "7 days")
        };
        let put = fixture.client.put_profile(admin(), spec, false).await;
        put.unwrap();
        let signed = sign(&fixture, BTreeMap::new()).await;
        let verifier = Verifier::new(&fixture, NOW).await;
        assert_eq!(verifier.codes(&signed, NOW), [""; 0], "{platform}");
        let view = trust::inspect(&signed.media_type, &signed.envelope).unwrap();
        let attributes = view.signed_attributes.unwrap();
        assert_eq!(attributes.algorithm.name(), name);
    }
}

#[tokio::test]
async fn without_a_fresh_list_nothing_is_known_of_revocation() {
    let fixture = Fixture::start().await;
    let client = &fixture.client;
    client
        .put_profile(admin(), profile(LeafPolicy::PerJob, "7 days"), false)
        .await
        .unwrap();
    let signed = sign(&fixture, BTreeMap::new()).await;
    let verifier = Verifier::new(&fixture, NOW).await;
    let later = NOW + signer::service::DEFAULT_CRL_PERIOD + Duration::SECOND;
    assert_eq!(verifier.codes(&signed, later), ["revocation-unknown"]);
}

#[tokio::test]
async fn a_signature_is_for_one_artifact() {
    let fixture = Fixture::start().await;
    let client = &fixture.client;
    client
        .put_profile(admin(), profile(LeafPolicy::PerJob, "7 days"), false)
        .await
        .unwrap();
    let verifier = Verifier::new(&fixture, NOW).await;
    let other = Descriptor::of(MediaType::IMAGE_MANIFEST, b"other");
    let signed = sign(&fixture, BTreeMap::new()).await;
    let outcome = trust::verify(&verifier.request(&signed, (&other, NOW)));
    let codes: Vec<_> = outcome
        .failures()
        .iter()
        .map(|failure| failure.code.as_str())
        .collect();
    assert_eq!(codes, ["signature-for-other-artifact"]);
}

/// Whatever the metadata, the profile and the moment: what is signed is trusted while it lasts.
#[test]
fn whatever_is_signed_verifies() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let text = "[ -~é]{1,40}";
    let validity = prop_oneof![
        (1u32..4000).prop_map(|days| format!("{days} days")),
        (1u32..=135).prop_map(|months| format!("{months} months")),
        (1u32..=11).prop_map(|years| format!("{years} years")),
    ];
    let inputs = (
        proptest::collection::btree_map("[a-z.]{1,20}", text, 0..6),
        (validity, proptest::sample::select(&LEAVES[..])),
        0.0..1.0f64,
    );
    // Each case starts a signer with a new authority.
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let check = |(metadata, (validity, leaf), share): (_, (String, LeafPolicy), f64)| {
        runtime.block_on(async {
            let fixture = Fixture::start().await;
            let spec = profile(leaf, &validity);
            fixture
                .client
                .put_profile(admin(), spec, false)
                .await
                .unwrap();
            for signed in [sign(&fixture, metadata).await, accept(&fixture).await] {
                let moment = NOW + (signed.expires - NOW) * share;
                fixture.set_time(moment);
                let verifier = Verifier::new(&fixture, moment).await;
                assert_eq!(verifier.codes(&signed, moment), [""; 0]);
                fixture.set_time(NOW);
            }
        });
        Ok(())
    };
    runner.run(&inputs, check).unwrap();
}
