//! Collecting evidence, with real signatures over a real registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use client::evidence::{Collection, Evidence, MAX_ENVELOPES_PER_SUBJECT, Trust, collect};
use client::http_client::HttpOptions;
use client::revocation::{CrlSource, HttpCrls};
use client::{ArtifactSink, ArtifactSource, ClientError};
use oci::graph::GraphLimits;
use oci::{Descriptor, Manifest, MediaType};
use testkit::{KeyKind, NOW, TestCertificate, after};
use trust::jws::UnsignedEnvelope;
use trust::{
    EnvelopeRequest, SignatureAlgorithm, SigningScheme, StoreKind, TargetArtifact, TrustPolicy,
    TrustStore,
};

use crate::artifacts::{push, push_layer};
use crate::server::{Reply, TestRegistry};

const SCOPE: &str = "registry.example/app";
const POLICY: &str = r#"{"version":"1.0","trustPolicies":[{"name":"test",
    "registryScopes":["registry.example/app"],"signatureVerification":{"level":"strict"},
    "trustStores":["signingAuthority:test"],"trustedIdentities":["*"]}]}"#;

/// Lists from a map; remembers what was asked for.
#[derive(Default)]
struct Lists {
    lists: BTreeMap<String, Vec<u8>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl CrlSource for Lists {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, ClientError> {
        self.asked.lock().unwrap().push(url.to_owned());
        self.lists.get(url).cloned().ok_or(ClientError::NotFound {
            what: "list".to_owned(),
            place: url.to_owned(),
        })
    }
}

/// A certificate authority with one signer, whose revocation list is at `url`.
fn authority(url: Option<&str>) -> (TestCertificate, TestCertificate) {
    let root = testkit::root(testkit::authority_params("Root"), KeyKind::P256);
    let mut params = testkit::leaf_params("ci-build");
    params.crl_distribution_points = url.map(testkit::crl_at).into_iter().collect();
    let leaf = root.issue(params, KeyKind::P256);
    (root, leaf)
}

fn envelope(leaf: &TestCertificate, target: &Manifest) -> Vec<u8> {
    let target = target.descriptor();
    let unsigned = UnsignedEnvelope::new(EnvelopeRequest {
        target: TargetArtifact {
            media_type: target.media_type,
            digest: target.digest,
            size: target.size,
            annotations: BTreeMap::new(),
        },
        scheme: SigningScheme::SigningAuthority,
        algorithm: SignatureAlgorithm::Es256,
        signing_time: NOW,
        expiry: Some(after(3)),
        chain: leaf.chain(),
        agent: None,
        aws: None,
    })
    .unwrap();
    let signature = leaf.key.sign(unsigned.signing_input());
    unsigned.assemble(&signature)
}

async fn sign(sink: &dyn ArtifactSink, leaf: &TestCertificate, target: &Manifest) -> Manifest {
    let bytes = envelope(leaf, target);
    let layer = Descriptor::of(MediaType::JOSE_JSON, &bytes);
    let kind = MediaType::NOTARY_SIGNATURE;
    push_layer(sink, kind.as_str(), (layer, &bytes), Some(target)).await
}

async fn gather(
    source: &dyn ArtifactSource,
    image: &Manifest,
    root: &TestCertificate,
    crls: &dyn CrlSource,
) -> Evidence {
    let policy = TrustPolicy::parse(POLICY.as_bytes()).unwrap();
    let mut store = TrustStore::default();
    store
        .add(StoreKind::SigningAuthority, "test", root.pem().as_bytes())
        .unwrap();
    let graph = client::walk(source, image.descriptor(), GraphLimits::default()).await;
    let collection = Collection {
        trust: Trust {
            policy: &policy,
            store: &store,
            crls,
            pushed: &[],
        },
        scope: SCOPE,
        contents: &BTreeSet::from(["cve/example".parse().unwrap()]),
        required_metadata: &BTreeMap::new(),
        now: NOW,
    };
    collect(source, graph, &collection).await.unwrap()
}

#[tokio::test]
async fn signatures_are_judged_and_asked_for_reports_read() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let (root, leaf) = authority(None);
    let image = push(&app, "image/example", b"image", None).await;
    let report = push(&app, "cve/example", b"report", Some(&image)).await;
    let sbom = push(&app, "sbom/example", b"sbom", Some(&image)).await;
    let good = sign(&app, &leaf, &image).await;
    let on_report = sign(&app, &leaf, &report).await;

    let evidence = gather(&app, &image, &root, &Lists::default()).await;
    for signature in [&good, &on_report] {
        let outcome = &evidence.outcomes[signature.digest()];
        assert!(outcome.is_trusted(), "{:?}", outcome.failures());
    }
    assert_eq!(evidence.contents[report.digest()].bytes, b"report");
    assert!(!evidence.contents.contains_key(sbom.digest()));
    assert_eq!(evidence.problems, []);
}

#[tokio::test]
async fn a_signature_moved_from_another_artifact_is_for_another_artifact() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let (root, leaf) = authority(None);
    let image = push(&app, "image/example", b"image", None).await;
    let other = push(&app, "image/example", b"other", None).await;
    let bytes = envelope(&leaf, &other);
    let layer = Descriptor::of(MediaType::JOSE_JSON, &bytes);
    let kind = MediaType::NOTARY_SIGNATURE;
    let moved = push_layer(&app, kind.as_str(), (layer, &bytes), Some(&image)).await;
    let evidence = gather(&app, &image, &root, &Lists::default()).await;
    let failures = evidence.outcomes[moved.digest()].failures();
    assert_eq!(failures[0].code.as_str(), "signature-for-other-artifact");
}

#[tokio::test]
async fn revocation_lists_are_fetched_over_http() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let url = registry.url("/pki/ca.crl");
    let (root, leaf) = authority(Some(&url));
    let image = push(&app, "image/example", b"image", None).await;
    let signature = sign(&app, &leaf, &image).await;
    let empty = root.crl(&testkit::crl_params(Vec::new()));
    let listed = testkit::revoked(&leaf, testkit::before(1));
    let revoking = root.crl(&testkit::crl_params(vec![listed]));
    let crls = HttpCrls::new(&HttpOptions::default()).unwrap();
    for (reply, expected) in [
        (Reply::ok(empty), None),
        (Reply::ok(revoking), Some("signature-revoked")),
        (Reply::new(404), Some("revocation-unknown")),
        (Reply::ok("no list"), Some("revocation-unknown")),
    ] {
        registry.hook(move |request| (request.path == "/pki/ca.crl").then(|| reply.clone()));
        let evidence = gather(&app, &image, &root, &crls).await;
        let failures = evidence.outcomes[signature.digest()].failures();
        let found = failures.first().map(|failure| failure.code.as_str());
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn the_certificate_of_a_stranger_makes_us_fetch_nothing() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let (root, _) = authority(None);
    let (_, stranger) = authority(Some("http://attack.example/ca.crl"));
    let image = push(&app, "image/example", b"image", None).await;
    let signature = sign(&app, &stranger, &image).await;
    let lists = Lists::default();
    let evidence = gather(&app, &image, &root, &lists).await;
    let failures = evidence.outcomes[signature.digest()].failures();
    assert_eq!(failures[0].code.as_str(), "signer-not-trusted");
    assert!(lists.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_unreadable_signature_is_a_problem_and_hides_no_other() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let (root, leaf) = authority(None);
    let image = push(&app, "image/example", b"image", None).await;
    let good = sign(&app, &leaf, &image).await;
    let kind = MediaType::NOTARY_SIGNATURE;
    let empty = crate::artifacts::manifest(kind.as_str(), Vec::new(), Some(&image));
    app.push_manifest(&empty, None).await.unwrap();
    let absent = Descriptor::of(MediaType::JOSE_JSON, b"absent");
    let absent = crate::artifacts::manifest(kind.as_str(), vec![absent], Some(&image));
    app.push_manifest(&absent, None).await.unwrap();
    let garbage = push(&app, kind.as_str(), b"garbage", Some(&image)).await;

    let evidence = gather(&app, &image, &root, &Lists::default()).await;
    assert!(evidence.outcomes[good.digest()].is_trusted());
    assert!(!evidence.outcomes[garbage.digest()].is_trusted());
    let mut problems: Vec<_> = evidence.problems.iter().map(|p| &p.digest).collect();
    problems.sort();
    let mut expected = [empty.digest(), absent.digest()];
    expected.sort();
    assert_eq!(problems, expected);
}

#[tokio::test]
async fn a_flood_of_signatures_is_cut_off_and_said() {
    let registry = TestRegistry::start().await;
    let app = registry.repository();
    let (root, _) = authority(None);
    let image = push(&app, "image/example", b"image", None).await;
    let kind = MediaType::NOTARY_SIGNATURE;
    for number in 0..=MAX_ENVELOPES_PER_SUBJECT {
        let content = number.to_string();
        push(&app, kind.as_str(), content.as_bytes(), Some(&image)).await;
    }
    let evidence = gather(&app, &image, &root, &Lists::default()).await;
    assert_eq!(evidence.outcomes.len(), MAX_ENVELOPES_PER_SUBJECT);
    assert_eq!(evidence.problems.len(), 1);
}
