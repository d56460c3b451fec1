use std::collections::BTreeMap;

use oci::{Digest, MediaType};
use time::Duration;
use trust::{FailureCode, SigningScheme};

use super::*;
use crate::facts::TagFact;
use crate::statement::{self, ApprovalDecision};
use crate::{Decision, DecisionResult};

mod world;

use world::{NOW, World, finding, kind, lately, provenance, report, sbom, signer, trusted};

const POLICY: &str = include_str!("tests/policy.yaml");

fn policy() -> GatePolicy {
    GatePolicy::parse(POLICY).unwrap()
}

fn base() -> Digest {
    Digest::sha256(b"base")
}

/// All evidence that the policy asks for, and nothing wrong with it.
fn evidence() -> World {
    let mut world = World::bare();
    let image = world.image.digest.clone();
    world.sign(&image, "ci-build");
    let sbom = world.attach("sbom/example", &sbom(3));
    world.sign(&sbom, "ci-build");
    let cve = world.attach("cve/example", &report(&image, lately(), &[]));
    world.sign(&cve, "ci-build");
    let about = (&MediaType::PROVENANCE, statement::PROVENANCE);
    world.attest(about, provenance(Some(&base())), "ci-build");
    let platform = trusted("platform", Some(SigningScheme::SigningAuthority), lately());
    world.facts.bases.insert(base(), vec![platform]);
    world
}

/// Whatever people add to the evidence.
fn endorse(world: &mut World) {
    let image = world.image.digest.clone();
    world.accept("security-team");
    world.approve(|_| {});
    world.sign(&image, "security-team");
    world.sign(&image, "compliance");
}

fn good() -> World {
    let mut world = evidence();
    endorse(&mut world);
    world
}

fn decision(world: &World) -> Decision {
    decide(&policy(), &world.facts())
}

#[test]
fn everything_in_order_is_allowed() {
    let decision = decision(&good());
    insta::assert_snapshot!(decision.render_tree());
    assert!(decision.is_allowed());
    assert_eq!(decision.sentence(), "policy `production` allows this");
}

#[test]
fn every_part_can_be_shown() {
    insta::assert_snapshot!(decision(&good()).render_whole_tree());
}

#[test]
fn a_bare_image_is_denied_with_all_that_is_missing() {
    let decision = decision(&World::bare());
    insta::assert_snapshot!(decision.render_tree());
    insta::assert_snapshot!(decision.sentence(), @"policy `production` denies this: `image`: signature-missing: nobody in the role `build` has signed it; sign it under a profile that the policy names");
}

type Change = fn(&mut World);

/// When a change is made: to the evidence, before anybody stands for it, or after.
enum When {
    Before(Change),
    After(Change),
}

use When::{After, Before};

fn spoil_cve(world: &mut World, code: FailureCode) {
    let signature = world.signature_of(&world.find("cve/example"));
    world.spoil(&signature, code);
}

fn replace_cve(world: &mut World, document: &serde_json::Value) {
    let old = world.find("cve/example");
    world.remove(&old);
    let new = world.attach("cve/example", document);
    world.sign(&new, "ci-build");
}

fn known_cve(world: &mut World, digest: Digest, at: time::OffsetDateTime) {
    world
        .facts
        .newest_known
        .insert("cve/example".to_owned(), NewestKnown { digest, at });
}

/// One change for each code, and the requirement that must notice it. Everything else passes.
fn table() -> Vec<(Code, &'static str, When)> {
    vec![
        (
            Code::ArtifactMissing,
            "cve",
            Before(|w| w.remove(&w.find("cve/example"))),
        ),
        (
            Code::ArtifactUnreadable,
            "cve",
            Before(|w| {
                let cve = w.find("cve/example");
                w.facts.contents.remove(&cve);
            }),
        ),
        (
            Code::ArtifactIncomplete,
            "cve",
            Before(|w| {
                let other = Digest::sha256(b"other");
                replace_cve(w, &report(&other, lately(), &[]));
            }),
        ),
        (
            Code::ArtifactIncomplete,
            "sbom",
            Before(|w| {
                w.remove(&w.find("sbom/example"));
                let empty = w.attach("sbom/example", &sbom(0));
                w.sign(&empty, "ci-build");
            }),
        ),
        (
            Code::ArtifactTooOld,
            "cve",
            Before(|w| {
                let image = w.image.digest.clone();
                replace_cve(w, &report(&image, NOW - Duration::hours(25), &[]));
            }),
        ),
        (
            Code::ReportSuperseded,
            "cve",
            After(|w| known_cve(w, Digest::sha256(b"gone"), lately())),
        ),
        (
            Code::FixableCritical,
            "cve",
            Before(|w| {
                let image = w.image.digest.clone();
                let critical = finding("CVE-2024-49768", "Critical", &["3.0.1"]);
                replace_cve(w, &report(&image, lately(), &[critical]));
            }),
        ),
        (
            Code::AssertionFailed,
            "cve",
            Before(|w| {
                let image = w.image.digest.clone();
                let high = finding("CVE-2024-1", "High", &[]);
                replace_cve(w, &report(&image, lately(), &[high]));
            }),
        ),
        (
            Code::SignatureMissing,
            "cve",
            Before(|w| w.remove(&w.signature_of(&w.find("cve/example")))),
        ),
        (
            Code::SignatureInvalid,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::SignatureInvalid)),
        ),
        (
            Code::EnvelopeMalformed,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::EnvelopeMalformed)),
        ),
        (
            Code::EnvelopeUnsupported,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::EnvelopeUnsupported)),
        ),
        (
            Code::CriticalAttributeUnknown,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::CriticalAttributeUnknown)),
        ),
        (
            Code::SignatureForOtherArtifact,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::SignatureForOtherArtifact)),
        ),
        (
            Code::CertificateInvalid,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::CertificateInvalid)),
        ),
        (
            Code::SignerNotTrusted,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::SignerNotTrusted)),
        ),
        (
            Code::SignerNotInRole,
            "cve",
            Before(|w| {
                let cve = w.find("cve/example");
                let signature = w.signature_of(&cve);
                w.remove(&signature);
                w.sign(&cve, "marketing");
            }),
        ),
        (
            Code::SignatureExpired,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::SignatureExpired)),
        ),
        (
            Code::CertificateExpired,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::CertificateExpired)),
        ),
        (
            Code::TimestampUnverified,
            "cve",
            Before(|w| {
                let signature = w.signature_of(&w.find("cve/example"));
                w.outcome(&signature).scheme = Some(SigningScheme::X509);
            }),
        ),
        (
            Code::SignatureRevoked,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::SignatureRevoked)),
        ),
        (
            Code::RevocationUnknown,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::RevocationUnknown)),
        ),
        (
            Code::MetadataMismatch,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::MetadataMismatch)),
        ),
        (
            Code::LogInclusionMissing,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::LogInclusionMissing)),
        ),
        (
            Code::LogInclusionInvalid,
            "cve",
            Before(|w| spoil_cve(w, FailureCode::LogInclusionInvalid)),
        ),
        (
            Code::AcceptanceMissing,
            "accepted",
            After(|w| w.remove(&w.find(MediaType::ACCEPTANCE.as_str()))),
        ),
        (
            Code::ApprovalMissing,
            "approved",
            After(|w| w.remove(&w.find(MediaType::APPROVAL.as_str()))),
        ),
        (
            Code::ApprovalMissing,
            "approved",
            After(|w| {
                w.approve(|approval| {
                    approval.decision = ApprovalDecision::Reject;
                    approval.at = NOW - Duration::hours(1);
                });
            }),
        ),
        (
            Code::ApprovalOutdated,
            "approved",
            After(|w| {
                w.facts
                    .policies
                    .insert("release".to_owned(), Digest::sha256(b"another text"));
            }),
        ),
        (
            Code::ApprovalForOtherDigest,
            "approved",
            After(|w| {
                let approval = w.find(MediaType::APPROVAL.as_str());
                w.spoil(&approval, FailureCode::SignatureForOtherArtifact);
            }),
        ),
        (
            Code::ThresholdNotMet,
            "quorum",
            After(|w| {
                let image = w.image.digest.clone();
                // The same team twice is one signer.
                let compliance = w.facts.outcomes.iter();
                let is_compliance = |(_, o): &(&Digest, &trust::VerificationOutcome)| {
                    o.signer
                        .as_ref()
                        .is_some_and(|s| s.common_name == "compliance")
                };
                let signature = compliance
                    .into_iter()
                    .find(is_compliance)
                    .unwrap()
                    .0
                    .clone();
                w.remove(&signature);
                w.sign_at(&image, "security-team", NOW - Duration::hours(1));
            }),
        ),
        (
            Code::HoldInForce,
            "hold",
            Before(|w| {
                w.attach("hold/example", &serde_json::json!({"why": "wait"}));
            }),
        ),
        (
            Code::TagMoved,
            "tag",
            After(|w| {
                let now = Some(Digest::sha256(b"other"));
                w.facts.tag = Some(TagFact {
                    tag: "latest".parse().unwrap(),
                    now,
                });
            }),
        ),
        (Code::GraphTruncated, "graph", After(|w| w.limits.nodes = 5)),
        (
            Code::AdvisoriesStale,
            "cve",
            Before(|w| {
                let image = w.image.digest.clone();
                let mut stale = report(&image, lately(), &[]);
                stale["descriptor"]["coverage"] =
                    serde_json::json!({"complete": true, "stale": true, "gaps": []});
                replace_cve(w, &stale);
            }),
        ),
        (
            Code::BaseNotVouchedFor,
            "base",
            After(|w| {
                let stranger =
                    trusted("marketing", Some(SigningScheme::SigningAuthority), lately());
                w.facts.bases.insert(base(), vec![stranger]);
            }),
        ),
    ]
}

#[test]
fn each_change_is_noticed_by_one_requirement_with_its_code() {
    let mut shown = Vec::new();
    for (code, id, when) in table() {
        let mut world = evidence();
        match when {
            Before(change) => {
                change(&mut world);
                endorse(&mut world);
            }
            After(change) => {
                endorse(&mut world);
                change(&mut world);
            }
        }
        let decision = decision(&world);
        let wrong: Vec<&Requirement> = decision
            .requirements
            .iter()
            .filter(|r| !r.passes())
            .collect();
        let [only] = wrong.as_slice() else {
            panic!("{code}: {}", decision.render_tree());
        };
        assert_eq!(
            (only.code, only.id.as_str()),
            (Some(code), id),
            "{}",
            decision.render_tree()
        );
        assert_ne!(decision.decision, DecisionResult::Allow);
        shown.push(decision.sentence());
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn every_code_has_a_change_that_leads_to_it() {
    // Those that need another policy or a change of the evidence have a test of their own below.
    let elsewhere = [Code::AcceptanceOutdated, Code::PlatformMissing];
    let table = table();
    for code in Code::ALL {
        let is_there = table.iter().any(|(one, _, _)| one == code) || elsewhere.contains(code);
        assert!(is_there, "{code} has no test");
    }
}

#[test]
fn new_evidence_outdates_what_people_said() {
    let mut world = good();
    world.attach("notes/example", &serde_json::json!({}));
    let decision = decision(&world);
    let codes: Vec<_> = decision
        .requirements
        .iter()
        .filter_map(|r| Some((r.id.as_str(), r.code?)))
        .collect();
    assert_eq!(
        codes,
        [
            ("accepted", Code::AcceptanceOutdated),
            ("approved", Code::ApprovalOutdated)
        ]
    );
}

#[test]
fn a_new_signature_outdates_nothing() {
    let mut world = good();
    let cve = world.find("cve/example");
    world.sign(&cve, "security-team");
    assert!(decision(&world).is_allowed());
}

#[test]
fn what_is_not_known_is_never_allowed() {
    let mut world = evidence();
    spoil_cve(&mut world, FailureCode::RevocationUnknown);
    endorse(&mut world);
    assert_eq!(decision(&world).decision, DecisionResult::Inconclusive);
    // One failure more, and it is denied.
    let acceptance = world.find(MediaType::ACCEPTANCE.as_str());
    world.remove(&acceptance);
    assert_eq!(decision(&world).decision, DecisionResult::Deny);
}

#[test]
fn an_unsigned_report_cannot_take_the_place_of_a_signed_one() {
    let mut world = good();
    let image = world.image.digest.clone();
    let critical = finding("CVE-2024-49768", "Critical", &["3.0.1"]);
    let mut world = {
        replace_cve(&mut world, &report(&image, lately(), &[critical]));
        world
    };
    world.attach("cve/example", &report(&image, NOW, &[]));
    let decision = decision(&world);
    let cve = decision
        .requirements
        .iter()
        .find(|r| r.id == "cve")
        .unwrap();
    assert_eq!(cve.code, Some(Code::FixableCritical));
}

#[test]
fn latest_is_by_trusted_time_and_not_by_order_or_new_signatures() {
    let mut world = evidence();
    let image = world.image.digest.clone();
    let critical = finding("CVE-2024-49768", "Critical", &["3.0.1"]);
    let bad = world.attach(
        "cve/example",
        &report(&image, NOW - Duration::hours(1), &[critical]),
    );
    world.sign_at(&bad, "ci-build", NOW - Duration::hours(1));
    // The old clean report is signed once more, after the bad one.
    let clean = world.find_other("cve/example", &bad);
    world.sign_at(&clean, "ci-build", NOW - Duration::minutes(1));
    let codes = |world: &World| decision(world).requirements[2].code;
    assert_eq!(codes(&world), Some(Code::FixableCritical));
    // It is remembered, and cannot be made forgotten.
    let known = newest_signed(&policy(), &world.facts());
    assert_eq!(known["cve/example"].digest, bad);
    world.facts.newest_known = known;
    let signature = world.signature_of(&bad);
    world.remove(&signature);
    assert_eq!(codes(&world), Some(Code::ReportSuperseded));
    world.remove(&bad);
    assert_eq!(codes(&world), Some(Code::ReportSuperseded));
    assert_eq!(
        newest_signed(&policy(), &world.facts())["cve/example"].digest,
        bad
    );
}

#[test]
fn reports_of_the_same_second_must_all_hold() {
    let mut world = evidence();
    let image = world.image.digest.clone();
    let critical = finding("CVE-2024-49768", "Critical", &["3.0.1"]);
    let bad = world.attach("cve/example", &report(&image, lately(), &[critical]));
    world.sign(&bad, "ci-build");
    assert_eq!(
        decision(&world).requirements[2].code,
        Some(Code::FixableCritical)
    );
}

#[test]
fn without_trusted_times_the_latest_of_several_is_not_known() {
    let mut world = evidence();
    let image = world.image.digest.clone();
    let second = world.attach("cve/example", &report(&image, lately(), &[]));
    let signature = world.sign(&second, "ci-build");
    world.outcome(&signature).scheme = Some(SigningScheme::X509);
    let decision = decision(&world);
    assert_eq!(
        decision.requirements[2].code,
        Some(Code::TimestampUnverified)
    );
    assert_eq!(decision.requirements[2].result, RequirementResult::Unknown);
}

#[test]
fn what_cannot_be_read_is_not_absent() {
    let world = good();
    let cve = world.find("cve/example");
    let signature = world.signature_of(&cve);
    let unread = BTreeMap::from([(signature, "the registry said 500")]);
    let decision = decide(&policy(), &world.facts_without(&unread));
    let cve = decision
        .requirements
        .iter()
        .find(|r| r.id == "cve")
        .unwrap();
    assert_eq!(cve.result, RequirementResult::Unknown);
    insta::assert_snapshot!(decision.render_tree());
}

#[test]
fn a_signer_is_one_whatever_the_number_of_keys_names_or_signatures() {
    let over = |signers: &[(&str, &str)]| {
        let mut world = World::bare();
        let image = world.image.digest.clone();
        for (profile, key) in signers {
            let signature = world.sign(&image, profile);
            world.outcome(&signature).signer = Some(signer(profile, key));
        }
        let quorum = decision(&world);
        quorum
            .requirements
            .iter()
            .find(|r| r.id == "quorum")
            .unwrap()
            .clone()
    };
    let table: [(&[(&str, &str)], bool); 5] = [
        (&[("security-team", "a"), ("compliance", "b")], true),
        (&[("security-team", "a"), ("security-team", "b")], false),
        (&[("security-team", "a"), ("compliance", "a")], false),
        (&[("security-team", "a"), ("marketing", "b")], false),
        (
            &[
                ("security-team", "a"),
                ("security-team", "b"),
                ("compliance", "b"),
            ],
            false,
        ),
    ];
    for (signers, expected) in table {
        assert_eq!(over(signers).passes(), expected, "{signers:?}");
    }
    insta::assert_snapshot!(over(&[("security-team", "a"), ("compliance", "a")]).reason, @"1 of 2 distinct signers: `compliance`");
}

#[test]
fn an_approval_counts_only_from_who_may_give_it() {
    let cases: [(&str, Change); 6] = [
        ("another account", |w| {
            drop(w.approve(|a| a.account = "mallory".to_owned()))
        }),
        ("another profile", |w| {
            let approval = w.approve(|_| {});
            let attestation = w.facts.attestations.get_mut(&approval).unwrap();
            attestation.outcome.signer = Some(signer("marketing", "m"));
        }),
        ("too old", |w| {
            drop(w.approve(|a| a.at = NOW - Duration::hours(25)))
        }),
        ("over", |w| drop(w.approve(|a| a.expires = NOW))),
        ("from the future", |w| {
            drop(w.approve(|a| a.at = NOW + Duration::hours(1)))
        }),
        ("over another policy", |w| {
            drop(w.approve(|a| a.policy.name = "candidate".to_owned()))
        }),
    ];
    let mut shown = Vec::new();
    for (name, change) in cases {
        let mut world = evidence();
        change(&mut world);
        let decision = decision(&world);
        let approved = decision
            .requirements
            .iter()
            .find(|r| r.id == "approved")
            .unwrap();
        assert_eq!(approved.result, RequirementResult::Fail, "{name}");
        shown.push(format!(
            "{name}: {}: {}",
            approved.code.unwrap(),
            approved.reason
        ));
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn any_and_all() {
    let decide_with = |pick: &str| {
        let text = format!(
            "apiVersion: countersign.dev/v1\nkind: GatePolicy\nname: p\nroles:\n  build: {{profiles: [ci-build]}}\nrequire:\n  - id: cve\n    artifact: {{type: cve/example, pick: {pick}, signedBy: build, maxAge: 24h}}\n    assert:\n      - {{that: \"report.findings.size() == 0\"}}\n"
        );
        let mut world = evidence();
        let image = world.image.digest.clone();
        let bad = world.attach(
            "cve/example",
            &report(&image, NOW, &[finding("CVE-1", "Low", &[])]),
        );
        world.sign_at(&bad, "ci-build", NOW);
        decide(&GatePolicy::parse(&text).unwrap(), &world.facts()).requirements[0].clone()
    };
    assert!(decide_with("any").passes());
    assert_eq!(decide_with("all").code, Some(Code::AssertionFailed));
    assert_eq!(decide_with("latest").code, Some(Code::AssertionFailed));
}

#[test]
fn platforms_are_those_of_the_index() {
    let platform = |architecture: &str| oci::descriptor::Platform {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
        variant: None,
    };
    let entry = oci::Descriptor {
        platform: Some(platform("amd64")),
        ..World::bare().image
    };
    let bytes = serde_json::to_vec(&oci::Index::new(vec![entry])).unwrap();
    let index = oci::Manifest::parse(MediaType::IMAGE_INDEX, bytes).unwrap();
    let mut graph = oci::GraphWalk::new(index.descriptor(), oci::graph::GraphLimits::default());
    let digest = index.digest().clone();
    graph.give_manifest(&digest, Ok(index));
    graph.give_referrers(&digest, Ok(Vec::new()));
    let facts = Facts::new("registry.example/a", graph.finish(), NOW);
    let decide_for = |platforms: &str| {
        let text = format!(
            "apiVersion: countersign.dev/v1\nkind: GatePolicy\nname: p\nrequire:\n  - {{id: platforms, platforms: [{platforms}]}}\n"
        );
        decide(&GatePolicy::parse(&text).unwrap(), &facts)
    };
    assert!(decide_for("linux/amd64").is_allowed());
    let missing = decide_for("linux/amd64, linux/arm64");
    assert_eq!(missing.requirements[0].code, Some(Code::PlatformMissing));
    assert_eq!(missing.decision, DecisionResult::Deny);
}

#[test]
fn the_json_of_a_decision() {
    let mut world = evidence();
    let image = world.image.digest.clone();
    replace_cve(
        &mut world,
        &report(
            &image,
            lately(),
            &[finding("CVE-2024-49768", "Critical", &["3.0.1"])],
        ),
    );
    let mut decision = decision(&world);
    decision
        .requirements
        .retain(|r| r.id == "cve" || r.id == "hold");
    insta::assert_json_snapshot!(decision);
}

#[test]
fn the_verdict_digest_is_of_everything_but_the_time() {
    let world = good();
    let mut facts = world.facts();
    let first = decide(&policy(), &facts);
    facts.now += Duration::seconds(5);
    let later = decide(&policy(), &facts);
    assert_ne!(first.at, later.at);
    assert_eq!(first.verdict_digest(), later.verdict_digest());
    facts.tag = Some(TagFact {
        tag: "latest".parse().unwrap(),
        now: Some(facts.subject.clone()),
    });
    assert_ne!(
        decide(&policy(), &facts).verdict_digest(),
        first.verdict_digest()
    );
}

#[test]
fn a_verdict_fits_the_signer_and_says_what_was_decided() {
    let decision = decision(&good());
    let bytes = crate::verdict::statement(&decision, "https://countersign.example").unwrap();
    assert!(bytes.len() <= statement::MAX_PAYLOAD_BYTES);
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    insta::assert_json_snapshot!(json);
    // However much evidence there is, it fits.
    let mut large = decision.clone();
    let many = (0..200u32).map(|n| Digest::sha256(&n.to_le_bytes()));
    large.requirements[0].evidence.extend(many);
    let bytes = crate::verdict::statement(&large, "https://countersign.example").unwrap();
    assert!((2048..=statement::MAX_PAYLOAD_BYTES).contains(&bytes.len()));
}

#[test]
fn what_a_report_says_cannot_confuse_a_terminal() {
    let mut world = evidence();
    let image = world.image.digest.clone();
    let hostile = finding("CVE-1\u{1b}[2J\u{202e}\n✓ allow", "Critical", &["1"]);
    replace_cve(&mut world, &report(&image, lately(), &[hostile]));
    let text = decision(&world).render_tree();
    assert!(!text.contains(['\u{1b}', '\u{202e}']));
    assert!(text.lines().all(|line| !line.starts_with("✓ allow")));
}

#[test]
fn what_only_the_registry_calls_a_hold_is_one() {
    let world = {
        let mut world = good();
        world.attach("hold/example", &serde_json::json!({}));
        world
    };
    let hold = world.find("hold/example");
    let unread = BTreeMap::from([(hold, "the registry said 500")]);
    let decision = decide(&policy(), &world.facts_without(&unread));
    let hold = decision
        .requirements
        .iter()
        .find(|r| r.id == "hold")
        .unwrap();
    assert_eq!(hold.code, Some(Code::HoldInForce));
    assert_eq!(kind("hold/example").as_str(), "hold/example");
}

proptest::proptest! {
    /// Whoever can write to the registry, and sign only under a profile that no role names, can
    /// never turn a denial into an allowance, whatever is attached.
    #[test]
    fn what_strangers_add_never_allows_what_was_denied(
        kinds in proptest::collection::vec((0usize..5, proptest::prelude::any::<bool>()), 1..5),
        broken in 0usize..34,
    ) {
        let (_, _, when) = table().swap_remove(broken);
        let mut world = evidence();
        match when {
            Before(change) => { change(&mut world); endorse(&mut world) }
            After(change) => { endorse(&mut world); change(&mut world) }
        }
        let image = world.image.digest.clone();
        for (kind, signs) in kinds {
            let attached = match kind {
                0 => world.attach("cve/example", &report(&image, NOW, &[])),
                1 => world.attach("sbom/example", &sbom(9)),
                2 => world.accept("marketing"),
                3 => world.attach("other/example", &serde_json::json!({})),
                _ => image.clone(),
            };
            if signs {
                world.sign(&attached, "marketing");
            }
        }
        proptest::prop_assert!(!decision(&world).is_allowed());
    }
}
