//! A world in which everything is right, for tests to bend one thing in.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oci::{Descriptor, MediaType};
use serde_json::{Map, Value, json};
use testkit::{KeyKind, NOW, TestCertificate, authority_params, before, leaf_params, root};
use time::OffsetDateTime;
use trust::jws::UnsignedEnvelope;
use trust::{
    AttestationOutcome, EnvelopeRequest, LogEvidence, RevocationEvidence, SignatureAlgorithm,
    SigningScheme, StoreKind, TargetArtifact, TrustPolicy, TrustStore, VerificationOutcome,
    VerifyRequest,
};

/// The repository that everything is in.
pub(crate) const SCOPE: &str = "registry.example/apps/shop";

pub(crate) struct World {
    pub(crate) root: TestCertificate,
    pub(crate) leaf: TestCertificate,
    pub(crate) intermediate: TestCertificate,
    pub(crate) store: TrustStore,
    pub(crate) policy: Value,
    pub(crate) evidence: RevocationEvidence,
    pub(crate) target: Descriptor,
    pub(crate) required_metadata: BTreeMap<String, String>,
    pub(crate) now: OffsetDateTime,
    pub(crate) request: EnvelopeRequest,
    pub(crate) media_type: MediaType,
    pub(crate) log: Option<(String, String)>,
}

impl World {
    /// A root and an intermediate on P-256, a leaf of this kind, scheme `signingAuthority`.
    pub(crate) fn new(kind: KeyKind) -> Self {
        let root = root(authority_params("Root"), KeyKind::P256);
        let intermediate = root.issue(authority_params("Intermediate"), KeyKind::P256);
        let leaf = intermediate.issue(leaf_params("ci-build"), kind);
        let mut store = TrustStore::default();
        let kinds = [StoreKind::SigningAuthority, StoreKind::Ca];
        for kind in kinds {
            store.add(kind, "example", root.pem().as_bytes()).unwrap();
        }
        let target = Descriptor::of(MediaType::IMAGE_MANIFEST, b"{\"the\":\"image\"}");
        Self {
            request: request(&target, &leaf),
            root,
            intermediate,
            leaf,
            store,
            policy: policy(),
            evidence: RevocationEvidence::default(),
            target,
            required_metadata: BTreeMap::new(),
            now: NOW,
            media_type: MediaType::JOSE_JSON,
            log: None,
        }
    }

    /// The same under the scheme `notary.x509`, with a store of kind `ca`.
    pub(crate) fn x509(kind: KeyKind) -> Self {
        let mut world = Self::new(kind);
        world.request.scheme = SigningScheme::X509;
        world.statement()["trustStores"] = json!(["ca:example"]);
        world
    }

    /// Puts another leaf in place, with its own chain.
    pub(crate) fn with_leaf(mut self, leaf: TestCertificate) -> Self {
        self.request.chain = leaf.chain();
        self.request.algorithm = algorithm(leaf.key.kind());
        self.leaf = leaf;
        self
    }

    /// The one statement of the policy.
    pub(crate) fn statement(&mut self) -> &mut Value {
        &mut self.policy["trustPolicies"][0]
    }

    pub(crate) fn set_level(&mut self, level: &str) {
        self.statement()["signatureVerification"] = json!({ "level": level });
    }

    pub(crate) fn envelope(&self) -> Vec<u8> {
        let unsigned = UnsignedEnvelope::new(self.request.clone()).unwrap();
        unsigned.assemble(&self.leaf.key.sign(unsigned.signing_input()))
    }

    pub(crate) fn attestation(&self, statement: &Value) -> Vec<u8> {
        let payload = statement.to_string().into_bytes();
        let kind = MediaType::IN_TOTO;
        let signature = self
            .leaf
            .key
            .sign(&trust::dsse::pae(kind.as_str(), &payload));
        trust::dsse::assemble(kind.as_str(), &payload, &signature, &self.request.chain)
    }

    /// A statement about the target.
    pub(crate) fn provenance(&self) -> Value {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "shop", "digest": {"sha256": self.target.digest.hex()}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {"buildDefinition": {"buildType": "https://example/build"}},
        })
    }

    pub(crate) fn verify(&self, envelope: &[u8]) -> VerificationOutcome {
        self.with_request(envelope, trust::verify)
    }

    pub(crate) fn verify_attestation(&self, envelope: &[u8]) -> AttestationOutcome {
        self.with_request(envelope, trust::verify_attestation)
    }

    fn with_request<T>(&self, envelope: &[u8], judge: impl Fn(&VerifyRequest<'_>) -> T) -> T {
        let policy = TrustPolicy::parse(self.policy.to_string().as_bytes()).unwrap();
        judge(&VerifyRequest {
            media_type: &self.media_type,
            envelope,
            target: &self.target,
            statement: policy.statement(SCOPE).unwrap(),
            store: &self.store,
            revocation: &self.evidence,
            required_metadata: &self.required_metadata,
            log: self
                .log
                .as_ref()
                .map(|(entry, proof)| LogEvidence { entry, proof }),
            now: self.now,
        })
    }

    /// What is wrong with the envelope of this world.
    pub(crate) fn failures(&self) -> String {
        failures(&self.verify(&self.envelope()))
    }
}

/// One line for each failed check.
pub(crate) fn failures(outcome: &VerificationOutcome) -> String {
    let failures = outcome.failures().into_iter().map(|one| {
        let action = serde_json::to_value(one.action).unwrap();
        format!(
            "{} ({}) {}: {}",
            one.verification_type.name(),
            action.as_str().unwrap(),
            one.code,
            one.reason
        )
    });
    failures.collect::<Vec<_>>().join("\n")
}

pub(crate) fn algorithm(kind: KeyKind) -> SignatureAlgorithm {
    SignatureAlgorithm::from_name(kind.jose_name()).unwrap()
}

fn request(target: &Descriptor, leaf: &TestCertificate) -> EnvelopeRequest {
    EnvelopeRequest {
        target: TargetArtifact {
            annotations: BTreeMap::from([("buildId".to_owned(), "7".to_owned())]),
            ..TargetArtifact::of(target)
        },
        scheme: SigningScheme::SigningAuthority,
        algorithm: algorithm(leaf.key.kind()),
        signing_time: NOW - time::Duration::HOUR,
        expiry: Some(testkit::after(6)),
        chain: leaf.chain(),
        agent: Some("test/1".to_owned()),
        aws: None,
    }
}

pub(crate) fn policy() -> Value {
    json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "shop",
            "registryScopes": [SCOPE],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["signingAuthority:example"],
            "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example, CN=ci-build"],
        }],
    })
}

/// Takes an envelope apart, lets a test change the two headers and the payload, and signs it
/// again, so that only what was changed is wrong.
pub(crate) struct Parts {
    pub(crate) protected: Map<String, Value>,
    pub(crate) header: Map<String, Value>,
    pub(crate) payload: Vec<u8>,
}

impl Parts {
    pub(crate) fn of(world: &World) -> Self {
        let envelope: Value = serde_json::from_slice(&world.envelope()).unwrap();
        let bytes = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(envelope[name].as_str().unwrap())
                .unwrap()
        };
        Self {
            protected: serde_json::from_slice(&bytes("protected")).unwrap(),
            header: envelope["header"].as_object().unwrap().clone(),
            payload: bytes("payload"),
        }
    }

    pub(crate) fn signed(&self, world: &World) -> Vec<u8> {
        let protected = serde_json::to_string(&self.protected).unwrap();
        self.signed_over(world, &protected)
    }

    /// Signs this text as the protected header.
    pub(crate) fn signed_over(&self, world: &World, protected: &str) -> Vec<u8> {
        let protected = URL_SAFE_NO_PAD.encode(protected);
        let payload = URL_SAFE_NO_PAD.encode(&self.payload);
        let signature = world
            .leaf
            .key
            .sign(format!("{protected}.{payload}").as_bytes());
        let envelope = json!({
            "payload": payload,
            "protected": protected,
            "header": self.header,
            "signature": URL_SAFE_NO_PAD.encode(signature),
        });
        envelope.to_string().into_bytes()
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A store that holds one more root, nobody's of this world.
pub(crate) fn stranger() -> TestCertificate {
    let mut params = authority_params("Stranger");
    params.not_before = before(30);
    root(params, KeyKind::P256)
}

/// Replaces counts that depend on the length of signatures, which differs from run to run.
pub(crate) fn stable(text: &str) -> String {
    const BEFORE: &[&str] = &["column", "has", "decoded", "byte"];
    let mut previous = "";
    let words = text.split(' ').map(|word| {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        let counted = BEFORE.contains(&previous) && digits.parse::<u32>().is_ok_and(|n| n > 99);
        previous = word;
        match counted {
            true => word.replace(digits, "N"),
            false => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
