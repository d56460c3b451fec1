//! An image with its evidence and endorsements, made up for tests.

use std::collections::BTreeMap;

use oci::descriptor::Annotations;
use oci::graph::{Ask, GraphLimits, GraphWalk};
use oci::{Descriptor, Digest, ImageManifest, Manifest, MediaType};
use serde_json::json;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use trust::trust_policy::VerificationLevel;
use trust::{
    AttestationOutcome, FailureCode, Finding, Signer, SigningScheme, VerificationOutcome,
    VerifiedStatement,
};

use crate::facts::{Content, Facts};
use crate::statement::{self, Acceptance, Approval, ApprovalDecision, ApprovedPolicy};

pub(super) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00:00 UTC);

/// When everything was made and signed, unless a test says otherwise.
pub(super) fn lately() -> OffsetDateTime {
    NOW - Duration::hours(2)
}

pub(super) fn kind(text: &str) -> MediaType {
    text.parse().unwrap()
}

pub(super) struct World {
    pub(super) image: Descriptor,
    pub(super) facts: Facts,
    pub(super) limits: GraphLimits,
    manifests: BTreeMap<Digest, Manifest>,
    /// The number of manifests so far, which makes each one different.
    count: usize,
}

impl World {
    /// An image that nobody has looked at.
    pub(super) fn bare() -> Self {
        let config = Descriptor::of(MediaType::IMAGE_CONFIG, b"{}");
        let image = manifest(None, config, Vec::new(), None, 0);
        Self::with_root(image)
    }

    pub(super) fn with_root(root: Manifest) -> Self {
        let image = root.descriptor();
        let graph = GraphWalk::new(image.clone(), GraphLimits::default()).finish();
        let mut facts = Facts::new("registry.example/apps/shop", graph, NOW);
        facts
            .policies
            .insert("release".to_owned(), Digest::sha256(b"release"));
        let manifests = BTreeMap::from([(image.digest.clone(), root)]);
        Self {
            image,
            facts,
            limits: GraphLimits::default(),
            manifests,
            count: 0,
        }
    }

    fn add(&mut self, artifact_type: &MediaType, layer: Descriptor, subject: &Digest) -> Digest {
        self.count += 1;
        let subject = self.manifests[subject].descriptor();
        let made = manifest(
            Some(artifact_type.clone()),
            Descriptor::empty(),
            vec![layer],
            Some(subject),
            self.count,
        );
        let digest = made.digest().clone();
        self.manifests.insert(digest.clone(), made);
        digest
    }

    /// Attaches a document to the image.
    pub(super) fn attach(&mut self, artifact_type: &str, document: &serde_json::Value) -> Digest {
        self.attach_bytes(artifact_type, document.to_string().as_bytes())
    }

    pub(super) fn attach_bytes(&mut self, artifact_type: &str, bytes: &[u8]) -> Digest {
        let layer = Descriptor::of(MediaType::JSON, bytes);
        let image = self.image.digest.clone();
        let digest = self.add(&kind(artifact_type), layer, &image);
        let content = Content {
            media_type: MediaType::JSON,
            bytes: bytes.to_vec(),
        };
        self.facts.contents.insert(digest.clone(), content);
        digest
    }

    /// Signs what `digest` names under a profile.
    pub(super) fn sign(&mut self, digest: &Digest, profile: &str) -> Digest {
        self.sign_at(digest, profile, lately())
    }

    pub(super) fn sign_at(&mut self, digest: &Digest, profile: &str, at: OffsetDateTime) -> Digest {
        let layer = Descriptor::of(MediaType::JOSE_JSON, b"envelope");
        let signature = self.add(&MediaType::NOTARY_SIGNATURE, layer, digest);
        let outcome = trusted(profile, Some(SigningScheme::SigningAuthority), at);
        self.facts.outcomes.insert(signature.clone(), outcome);
        signature
    }

    /// Attaches a statement about the image, signed under a profile.
    pub(super) fn attest(
        &mut self,
        (artifact_type, predicate_type): (&MediaType, &str),
        predicate: serde_json::Value,
        profile: &str,
    ) -> Digest {
        let layer = Descriptor::of(MediaType::DSSE, predicate.to_string().as_bytes());
        let image = self.image.digest.clone();
        let digest = self.add(artifact_type, layer, &image);
        let statement = VerifiedStatement {
            predicate_type: predicate_type.to_owned(),
            subjects: vec![image],
            predicate,
        };
        let outcome = AttestationOutcome {
            outcome: trusted(profile, None, lately()),
            statement: Some(statement),
        };
        self.facts.attestations.insert(digest.clone(), outcome);
        digest
    }

    pub(super) fn accept(&mut self, profile: &str) -> Digest {
        let acceptance = Acceptance {
            graph_root: self.root(),
            profile: profile.to_owned(),
            account: "security".to_owned(),
            comment: String::new(),
            at: lately(),
        };
        let predicate = serde_json::to_value(acceptance).unwrap();
        self.attest(
            (&MediaType::ACCEPTANCE, statement::ACCEPTANCE),
            predicate,
            profile,
        )
    }

    pub(super) fn approve(&mut self, change: impl FnOnce(&mut Approval)) -> Digest {
        let mut approval = Approval {
            graph_root: self.root(),
            policy: ApprovedPolicy {
                name: "release".to_owned(),
                digest: Digest::sha256(b"release"),
            },
            decision: ApprovalDecision::Approve,
            run: "run-1".to_owned(),
            stage: "approve".to_owned(),
            account: "release-manager".to_owned(),
            comment: "go".to_owned(),
            at: lately(),
            expires: NOW + Duration::hours(22),
        };
        change(&mut approval);
        let predicate = serde_json::to_value(approval).unwrap();
        self.attest(
            (&MediaType::APPROVAL, statement::APPROVAL),
            predicate,
            "release",
        )
    }

    /// Makes a signature or attestation fail one check.
    pub(super) fn spoil(&mut self, digest: &Digest, code: FailureCode) {
        let attestation = self.facts.attestations.get_mut(digest);
        let outcome = match attestation {
            Some(attestation) => {
                attestation.statement = None;
                &mut attestation.outcome
            }
            None => self.facts.outcomes.get_mut(digest).unwrap(),
        };
        let check = match code {
            FailureCode::SignerNotTrusted | FailureCode::CertificateInvalid => {
                &mut outcome.authenticity
            }
            FailureCode::SignatureExpired => &mut outcome.expiry,
            FailureCode::CertificateExpired | FailureCode::TimestampUnverified => {
                &mut outcome.authentic_timestamp
            }
            FailureCode::SignatureRevoked | FailureCode::RevocationUnknown => {
                &mut outcome.revocation
            }
            FailureCode::MetadataMismatch => {
                outcome.metadata.action = trust::VerificationAction::Enforce;
                &mut outcome.metadata
            }
            FailureCode::LogInclusionMissing | FailureCode::LogInclusionInvalid => {
                outcome.transparency.action = trust::VerificationAction::Enforce;
                &mut outcome.transparency
            }
            _ => {
                outcome.signer = None;
                outcome.claimed_signer = None;
                &mut outcome.integrity
            }
        };
        let reason = format!("made to fail with {code}");
        check.finding = Finding::Failed { code, reason };
        if code == FailureCode::SignerNotTrusted {
            outcome.claimed_signer = outcome.signer.take();
        }
    }

    pub(super) fn outcome(&mut self, digest: &Digest) -> &mut VerificationOutcome {
        self.facts.outcomes.get_mut(digest).unwrap()
    }

    pub(super) fn remove(&mut self, digest: &Digest) {
        self.manifests.remove(digest).unwrap();
    }

    /// Returns the only artifact of a type.
    pub(super) fn find(&self, artifact_type: &str) -> Digest {
        let wanted = kind(artifact_type);
        let mut all = self.manifests.iter();
        let found = all.find(|(_, one)| one.artifact_type() == Some(&wanted));
        found.unwrap().0.clone()
    }

    /// Returns the artifact of a type that is not `digest`.
    pub(super) fn find_other(&self, artifact_type: &str, digest: &Digest) -> Digest {
        let wanted = kind(artifact_type);
        let mut all = self.manifests.iter();
        let found = all.find(|(one, m)| *one != digest && m.artifact_type() == Some(&wanted));
        found.unwrap().0.clone()
    }

    /// Returns the only signature of what `digest` names.
    pub(super) fn signature_of(&self, digest: &Digest) -> Digest {
        let mut all = self.manifests.iter();
        let found = all.find(|(_, one)| {
            one.artifact_type() == Some(&MediaType::NOTARY_SIGNATURE)
                && one
                    .subject()
                    .is_some_and(|subject| subject.digest == *digest)
        });
        found.unwrap().0.clone()
    }

    fn root(&self) -> Digest {
        self.walk(&BTreeMap::new(), GraphLimits::default())
            .graph_root()
            .unwrap()
    }

    /// Returns the facts, with the graph as it is now.
    pub(super) fn facts(&self) -> Facts {
        self.facts_without(&BTreeMap::new())
    }

    /// Returns the facts when what these digests name cannot be read.
    pub(super) fn facts_without(&self, unread: &BTreeMap<Digest, &str>) -> Facts {
        let mut facts = self.facts.clone();
        facts.graph = self.walk(unread, self.limits);
        for digest in unread.keys() {
            facts.outcomes.remove(digest);
            facts.contents.remove(digest);
        }
        facts
    }

    fn walk(&self, unread: &BTreeMap<Digest, &str>, limits: GraphLimits) -> oci::ArtifactGraph {
        let mut walk = GraphWalk::new(self.image.clone(), limits);
        loop {
            let asks = walk.take_asks();
            if asks.is_empty() {
                return walk.finish();
            }
            for ask in asks {
                match ask {
                    Ask::Manifest(descriptor) => {
                        let digest = &descriptor.digest;
                        let answer = match unread.get(digest) {
                            Some(problem) => Err((*problem).to_owned()),
                            None => Ok(self.manifests[digest].clone()),
                        };
                        walk.give_manifest(digest, answer);
                    }
                    Ask::Referrers(digest) => {
                        let refers = |one: &&Manifest| {
                            one.subject()
                                .is_some_and(|subject| subject.digest == digest)
                        };
                        let referrers = self.manifests.values().filter(refers);
                        let descriptors = referrers.map(Manifest::descriptor).collect();
                        walk.give_referrers(&digest, Ok(descriptors));
                    }
                }
            }
        }
    }
}

fn manifest(
    artifact_type: Option<MediaType>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
    count: usize,
) -> Manifest {
    let content = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type,
        config,
        layers,
        subject,
        annotations: Annotations::from([("count".to_owned(), count.to_string())]),
    };
    let bytes = serde_json::to_vec(&content).unwrap();
    Manifest::parse(MediaType::IMAGE_MANIFEST, bytes).unwrap()
}

/// A signature with which nothing is wrong. Each has a key of its own, as our service makes them.
pub(super) fn trusted(
    profile: &str,
    scheme: Option<SigningScheme>,
    at: OffsetDateTime,
) -> VerificationOutcome {
    let mut outcome = VerificationOutcome::not_checked("shop", &VerificationLevel::STRICT);
    for check in [
        &mut outcome.integrity,
        &mut outcome.authenticity,
        &mut outcome.authentic_timestamp,
        &mut outcome.expiry,
        &mut outcome.revocation,
    ] {
        check.finding = Finding::Passed;
    }
    outcome.signer = Some(signer(profile, &format!("key of {profile} at {at}")));
    outcome.claimed_signer = outcome.signer.clone();
    outcome.scheme = scheme;
    outcome.signing_time = scheme.map(|_| at);
    outcome
}

pub(super) fn signer(profile: &str, key: &str) -> Signer {
    Signer {
        subject: format!("C=US, ST=WA, O=Countersign, CN={profile}")
            .parse()
            .unwrap(),
        common_name: profile.to_owned(),
        certificate_sha256: Digest::sha256(format!("certificate {key}").as_bytes())
            .hex()
            .to_owned(),
        public_key_sha256: Digest::sha256(key.as_bytes()).hex().to_owned(),
    }
}

/// A CVE report about `image` without gaps.
pub(super) fn report(
    image: &Digest,
    at: OffsetDateTime,
    findings: &[serde_json::Value],
) -> serde_json::Value {
    let at = at
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    json!({
        "matches": findings,
        "source": {"type": "image", "target": {"manifestDigest": image}},
        "descriptor": {"name": "countersign", "version": "0.1.0", "timestamp": at},
    })
}

pub(super) fn finding(id: &str, severity: &str, fixed: &[&str]) -> serde_json::Value {
    json!({
        "vulnerability": {"id": id, "severity": severity, "fix": {"versions": fixed, "state": "fixed"}},
        "artifact": {"name": "waitress", "version": "2.1.2", "type": "python"},
    })
}

/// An SPDX document with some packages.
pub(super) fn sbom(packages: usize) -> serde_json::Value {
    let package =
        |n: usize| json!({"SPDXID": format!("SPDXRef-Package-{n}"), "name": format!("p{n}")});
    json!({
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "packages": (0..packages).map(package).collect::<Vec<_>>(),
        "creationInfo": {"created": "2026-03-01T10:00:00Z"},
    })
}

pub(super) fn provenance(base: Option<&Digest>) -> serde_json::Value {
    let dependency = |base: &Digest| json!({"uri": "oci://registry.example/base/python", "digest": {"sha256": base.hex()}});
    json!({
        "buildDefinition": {"resolvedDependencies": base.map(dependency).into_iter().collect::<Vec<_>>()},
        "runDetails": {"metadata": {"finishedOn": "2026-03-01T10:00:00Z"}},
    })
}
