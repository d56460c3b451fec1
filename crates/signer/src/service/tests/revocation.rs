//! Revocation: what a verifier that holds the feed says is what the position in the log says, for
//! every signature, whatever is revoked.

use oci::{Descriptor, Digest, MediaType};
use trust::revocation::Pushed;
use trust::revocation::feed::{Applied, Bundle, FeedHandle};
use trust::tlog::SignedNote;
use trust::{RevocationEvidence, StoreKind, TrustPolicy, TrustStore, VerifyRequest};

use super::*;
use crate::authority::whole_seconds;
use crate::service::{RevocationQuestion, RevocationRequest, RevocationTarget};

/// A signature that was given out, and what it is over.
struct Given {
    signed: SignedEnvelope,
    target: Descriptor,
}

impl Fixture {
    async fn give(&self, profile: &str, content: &str) -> Given {
        let target = Descriptor::of(MediaType::IMAGE_MANIFEST, content.as_bytes());
        let request = SignRequest {
            principal: dev(),
            profile: profile.parse().unwrap(),
            owner: None,
            payload: trust::TargetArtifact::of(&target).to_payload(),
            artifact: crate::Artifact::default(),
        };
        let signed = self.signer.sign(request).await.unwrap();
        Given { signed, target }
    }

    async fn replace(&self, name: &str, validity: &str) -> String {
        let spec = ProfileSpec {
            validity: validity.parse().unwrap(),
            ..spec(name, ROTATING)
        };
        let put = self.signer.put_profile(&admin(), spec, true).await.unwrap();
        put.1.version.clone()
    }

    async fn revoke(&self, target: RevocationTarget, from: Option<OffsetDateTime>) -> String {
        let request = RevocationRequest {
            target,
            from,
            reason: "leaked".to_owned(),
        };
        match self.signer.revoke(&admin(), &request).await {
            Ok(outcome) => format!("{} of {}", outcome.changed, outcome.signatures),
            Err(error) => error.to_string(),
        }
    }

    /// A reader that holds the whole feed and a heartbeat over it.
    async fn feed(&self) -> FeedHandle {
        let feed = FeedHandle::new(self.signer.log_key().clone());
        loop {
            let page = self
                .signer
                .revocation_feed(feed.sequence(), std::time::Duration::ZERO)
                .await
                .unwrap();
            for line in &page.lines {
                feed.apply(line.as_bytes(), self.signer.now()).unwrap();
            }
            if let Some(heartbeat) = page.heartbeat {
                let applied = feed.apply(heartbeat.as_bytes(), self.signer.now());
                assert_eq!(applied, Ok(Applied::Heartbeat));
                return feed;
            }
        }
    }

    /// Which of these are revoked for a verifier that holds `pushed`, one letter each.
    fn verdicts(&self, given: &[Given], pushed: &Pushed) -> String {
        let pem = self.signer.authority().root_pem();
        let mut store = TrustStore::default();
        store
            .add(StoreKind::SigningAuthority, "own", pem.as_bytes())
            .unwrap();
        let policy = json!({"version": "1.0", "trustPolicies": [{
            "name": "all", "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["signingAuthority:own"], "trustedIdentities": ["*"],
        }]});
        let policy = TrustPolicy::parse(policy.to_string().as_bytes()).unwrap();
        let mut revocation = RevocationEvidence::default();
        revocation.add_pushed(pushed.clone());
        let verdict = |given: &Given| {
            let outcome = trust::verify(&VerifyRequest {
                media_type: &given.signed.media_type,
                envelope: &given.signed.envelope,
                target: &given.target,
                statement: policy.statement("example/x").unwrap(),
                store: &store,
                revocation: &revocation,
                log: None,
                required_metadata: &BTreeMap::new(),
                now: self.signer.now(),
            });
            let codes: Vec<_> = outcome
                .failures()
                .iter()
                .map(|one| one.code.as_str())
                .collect();
            match codes[..] {
                [] => 'g',
                ["signature-revoked"] => 'R',
                _ => panic!("{codes:?}"),
            }
        };
        given.iter().map(verdict).collect()
    }

    async fn by_record(&self, given: &[Given]) -> String {
        let mut letters = String::new();
        for one in given {
            let is_revoked = self.job(&one.signed).await.status == JobStatus::Revoked;
            letters.push(if is_revoked { 'R' } else { 'g' });
        }
        letters
    }

    /// Both sides agree.
    async fn agreed(&self, given: &[Given]) -> String {
        let pushed = Pushed::Feed(self.feed().await);
        let letters = self.verdicts(given, &pushed);
        assert_eq!(letters, self.by_record(given).await);
        letters
    }
}

fn profile(name: &str, version: Option<&str>) -> RevocationTarget {
    RevocationTarget::Profile {
        name: name.parse().unwrap(),
        version: version.map(str::to_owned),
    }
}

fn job_of(given: &Given, whole_leaf: bool) -> RevocationTarget {
    let id = given.signed.job;
    RevocationTarget::Job { id, whole_leaf }
}

#[tokio::test]
async fn one_signature_of_a_shared_leaf_is_revoked_alone() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let given = [fixture.give("ci", "a").await, fixture.give("ci", "b").await];
    assert_eq!(fixture.agreed(&given).await, "gg");
    let target = job_of(&given[0], false);
    assert_eq!(fixture.revoke(target.clone(), None).await, "true of 1");
    assert_eq!(fixture.agreed(&given).await, "Rg");
    assert_eq!(fixture.revoke(target, None).await, "false of 0");
    assert!(fixture.listed().await.is_empty());
    fixture.revoke(job_of(&given[0], true), None).await;
    let pushed = Pushed::Feed(fixture.feed().await);
    assert_eq!(fixture.verdicts(&given, &pushed), "RR");
    assert_eq!(fixture.listed().await.len(), 1);
}

#[tokio::test]
async fn a_digest_is_revoked_as_far_as_it_was_signed() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    fixture.profile("release", LeafPolicy::PerJob).await;
    let mut given = vec![fixture.give("ci", "a").await, fixture.give("ci", "b").await];
    fixture.pass(Duration::HOUR);
    // In the same second as the revocation, before it and after it.
    given.push(fixture.give("release", "a").await);
    let digest = RevocationTarget::Digest(given[0].target.digest.clone());
    assert_eq!(fixture.revoke(digest.clone(), None).await, "true of 2");
    given.push(fixture.give("release", "a").await);
    assert_eq!(fixture.agreed(&given).await, "RgRg");
    // Only the leaf of its own is on the list.
    assert_eq!(fixture.listed().await.len(), 1);
    fixture.pass(Duration::SECOND);
    assert_eq!(fixture.revoke(digest, None).await, "true of 3");
    assert_eq!(fixture.agreed(&given).await, "RgRR");
    let other = RevocationTarget::Digest(Digest::sha256(b"never signed"));
    insta::assert_snapshot!(fixture.revoke(other, None).await, @"nothing was signed that digest `sha256:18b5270843a5d4411c9cf6766ea838896ea4da277623f027a2b9eb87f3a04d86` covers");
}

#[tokio::test]
async fn a_version_is_revoked_and_its_neighbours_are_not() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let mut given = vec![fixture.give("ci", "a").await];
    // Three versions in one second, and one that outlasts it.
    let second = fixture.replace("ci", "8 days").await;
    given.push(fixture.give("ci", "a").await);
    fixture.replace("ci", "9 days").await;
    given.push(fixture.give("ci", "a").await);
    let fourth = fixture.replace("ci", "10 days").await;
    fixture.pass(Duration::SECOND);
    given.push(fixture.give("ci", "a").await);
    fixture.replace("ci", "11 days").await;
    given.push(fixture.give("ci", "a").await);
    fixture.revoke(profile("ci", Some(&second)), None).await;
    assert_eq!(fixture.agreed(&given).await, "gRggg");
    assert_eq!(
        fixture.revoke(profile("ci", Some(&second)), None).await,
        "false of 0"
    );
    fixture.revoke(profile("ci", Some(&fourth)), None).await;
    assert_eq!(fixture.agreed(&given).await, "gRgRg");
    assert!(fixture.sign("ci").await.is_ok());
    fixture.revoke(profile("ci", None), None).await;
    assert_eq!(fixture.agreed(&given).await, "RRRRR");
}

#[tokio::test]
async fn the_version_in_use_signs_no_more_once_it_is_revoked() {
    let fixture = Fixture::new().await;
    let version = fixture.replace("ci", "7 days").await;
    fixture.revoke(profile("ci", Some(&version)), None).await;
    let refused = fixture.sign("ci").await.unwrap_err();
    insta::assert_snapshot!(refused.to_string().replace(&version, "VERSION"), @"version `VERSION` of profile `ci` is revoked: it makes no new signatures until the profile has another version");
    // The same settings again make another version.
    fixture.replace("ci", "7 days").await;
    assert!(fixture.sign("ci").await.is_ok());
}

#[tokio::test]
async fn a_moment_is_resolved_to_a_position_and_moved_only_further_back() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let mut given = Vec::new();
    for content in ["a", "b", "c"] {
        fixture.pass(Duration::HOUR);
        given.push(fixture.give("ci", content).await);
    }
    let hour = |count: i32| Some(START + Duration::HOUR * count);
    let revoke = async |count| fixture.revoke(profile("ci", None), hour(count)).await;
    assert_eq!(revoke(3).await, "true of 1");
    assert_eq!(fixture.agreed(&given).await, "ggR");
    assert_eq!(revoke(3).await, "false of 0");
    insta::assert_snapshot!(revoke(4).await, @"profile `ci` cannot be revoked from 2026-03-01T16:00:00Z on: that is in the future");
    fixture.pass(Duration::HOUR * 2);
    insta::assert_snapshot!(revoke(4).await, @"profile `ci` cannot be revoked from 2026-03-01T16:00:00Z on: it is revoked from an earlier moment on, and a revocation is never taken back");
    assert_eq!(revoke(2).await, "true of 2");
    assert_eq!(fixture.agreed(&given).await, "gRR");
    assert_eq!(fixture.revoke(profile("ci", None), None).await, "true of 3");
    assert_eq!(fixture.agreed(&given).await, "RRR");
}

#[tokio::test]
async fn a_clock_that_goes_back_moves_nothing_out_of_a_revocation() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let mut given = vec![fixture.give("ci", "a").await];
    fixture.pass(Duration::HOUR);
    given.push(fixture.give("ci", "b").await);
    // The log's time stays at one o'clock; the signature says half past twelve.
    fixture.pass(-Duration::MINUTE * 30);
    given.push(fixture.give("ci", "c").await);
    fixture.pass(Duration::HOUR);
    fixture
        .revoke(profile("ci", None), Some(START + Duration::HOUR))
        .await;
    assert_eq!(fixture.agreed(&given).await, "gRR");
}

#[tokio::test]
async fn a_certificate_is_revoked_by_either_name() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let mut given = vec![fixture.give("ci", "a").await];
    fixture.pass(Duration::HOUR);
    given.push(fixture.give("ci", "b").await);
    let job = fixture.job(&given[0].signed).await;
    let by_serial = RevocationTarget::Certificate(LeafName::Serial(job.leaf_serial));
    let by_hash = RevocationTarget::Certificate(LeafName::Sha256(job.leaf_sha256));
    let from = Some(START + Duration::HOUR);
    assert_eq!(fixture.revoke(by_serial, from).await, "true of 1");
    let verdicts = async || fixture.verdicts(&given, &Pushed::Feed(fixture.feed().await));
    assert_eq!(verdicts().await, "gR");
    assert_eq!(
        fixture.listed().await[0].1,
        Some(whole_seconds(START) + Duration::HOUR)
    );
    assert_eq!(fixture.revoke(by_hash.clone(), None).await, "true of 2");
    assert_eq!(verdicts().await, "RR");
    assert_eq!(fixture.revoke(by_hash.clone(), None).await, "false of 0");
    let later = fixture.revoke(by_hash, from).await;
    assert!(
        later.contains("revoked from an earlier moment on"),
        "{later}"
    );
    let none = RevocationTarget::Certificate(LeafName::Serial("00".to_owned()));
    insta::assert_snapshot!(fixture.revoke(none, None).await, @"nothing was signed that the certificate with serial number `00` covers");
}

#[tokio::test]
async fn attestations_are_covered_too() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let request = AttestRequest {
        principal: dev(),
        profile: "ci".parse().unwrap(),
        payload_type: crate::payload::IN_TOTO_PAYLOAD_TYPE.to_owned(),
        payload: statement(),
        artifact: crate::Artifact::default(),
    };
    let signed = fixture.signer.attest(request).await.unwrap();
    let job = fixture.job(&signed).await;
    fixture
        .revoke(RevocationTarget::Digest(job.target), None)
        .await;
    assert_eq!(fixture.job(&signed).await.status, JobStatus::Revoked);
    assert_eq!(fixture.listed().await[0].0, job.leaf_serial);
}

#[tokio::test]
async fn a_preview_counts_what_the_revocation_then_covers() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let mut given = Vec::new();
    for content in ["a", "b", "b"] {
        fixture.pass(Duration::HOUR);
        given.push(fixture.give("ci", content).await);
    }
    fixture.profile("release", LeafPolicy::PerJob).await;
    given.push(fixture.give("release", "b").await);
    let b = given[1].target.digest.clone();
    let leaf = fixture.job(&given[0].signed).await.leaf_sha256;
    let from = Some(START + Duration::HOUR * 2);
    let table = [
        (job_of(&given[0], false), None),
        (job_of(&given[0], true), None),
        (RevocationTarget::Digest(b.clone()), None),
        (
            RevocationTarget::Digest(b.clone()),
            Some(START + Duration::HOUR * 3),
        ),
        (RevocationTarget::Certificate(LeafName::Sha256(leaf)), from),
        (profile("ci", None), from),
        (profile("ci", None), None),
    ];
    let mut lines = Vec::new();
    for (target, from) in table {
        let what = (&target, from);
        let watched = [b.clone()];
        let asked = fixture
            .signer
            .preview_revocation(&admin(), what, &watched)
            .await;
        let preview = asked.unwrap();
        let watched = preview.watched.get(&b).cloned().unwrap_or_default();
        let newest: String = preview
            .newest
            .iter()
            .map(|job| job.digest.hex().get(..1).unwrap().to_owned())
            .collect();
        let crate::Coverage {
            signatures,
            in_force,
            artifacts,
            by_profile,
        } = preview.coverage;
        lines.push(format!(
            "{signatures} ({in_force} in force) of {artifacts}, {by_profile:?}, {newest}, b: {} {}",
            watched.revoked, watched.left
        ));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    1 (1 in force) of 1, {"ci": 1}, c, b: 0 0
    3 (3 in force) of 2, {"ci": 3}, 33c, b: 2 1
    3 (3 in force) of 1, {"ci": 2, "release": 1}, 333, b: 3 0
    2 (2 in force) of 1, {"ci": 1, "release": 1}, 33, b: 2 1
    2 (2 in force) of 1, {"ci": 2}, 33, b: 2 1
    2 (2 in force) of 1, {"ci": 2}, 33, b: 2 1
    3 (3 in force) of 2, {"ci": 3}, 33c, b: 2 1
    "#);
    // Nothing happened.
    assert_eq!(fixture.agreed(&given).await, "gggg");
    assert_eq!(fixture.feed().await.sequence(), 0);
}

#[tokio::test]
async fn only_administrators_revoke_more_than_their_own_signatures() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let given = fixture.give("ci", "a").await;
    let targets = [
        RevocationTarget::Digest(given.target.digest.clone()),
        RevocationTarget::Certificate(LeafName::Serial("41".to_owned())),
        profile("ci", None),
        profile("ci", Some("ABCDEFGHJK")),
    ];
    for target in targets {
        let what = (&target, None);
        let seen = fixture.signer.preview_revocation(&dev(), what, &[]).await;
        assert!(matches!(seen, Err(SignerError::Denied(_))));
        let request = RevocationRequest {
            target,
            from: None,
            reason: "x".to_owned(),
        };
        let done = fixture.signer.revoke(&dev(), &request).await;
        assert!(matches!(done, Err(SignerError::Denied(_))));
    }
    let own = RevocationRequest {
        target: job_of(&given, false),
        from: None,
        reason: "x".to_owned(),
    };
    assert!(fixture.signer.revoke(&dev(), &own).await.is_ok());
    let from = Some(START);
    insta::assert_snapshot!(fixture.revoke(job_of(&given, false), from).await, @"the request cannot be read: a single signature is revoked as a whole, not from a time on");
}

#[tokio::test]
async fn the_feed_goes_on_after_a_restart() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let given = [fixture.give("ci", "a").await, fixture.give("ci", "b").await];
    fixture.revoke(job_of(&given[0], false), None).await;
    let before = fixture.feed().await;
    let fixture = fixture.restart().await;
    fixture.pass(Duration::SECOND);
    fixture.revoke(job_of(&given[1], false), None).await;
    assert_eq!(fixture.agreed(&given).await, "RR");
    let page = fixture
        .signer
        .revocation_feed(before.sequence(), std::time::Duration::ZERO);
    let page = page.await.unwrap();
    let lines = page.lines.iter().chain(&page.heartbeat);
    for line in lines {
        before.apply(line.as_bytes(), fixture.signer.now()).unwrap();
    }
    assert_eq!(before.sequence(), 2);
}

#[tokio::test]
async fn whoever_waits_for_the_feed_is_told_at_once() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let given = fixture.give("ci", "a").await;
    let signer = fixture.signer.clone();
    let long = std::time::Duration::from_secs(3600);
    let waiting = tokio::spawn(async move { signer.revocation_feed(0, long).await });
    fixture.revoke(job_of(&given, false), None).await;
    let page = waiting.await.unwrap().unwrap();
    assert_eq!((page.lines.len(), page.heartbeat.is_some()), (1, true));
}

#[tokio::test]
async fn a_bundle_holds_every_revocation() {
    let fixture = Fixture::new().await;
    fixture.profile("ci", ROTATING).await;
    let given = [fixture.give("ci", "a").await, fixture.give("ci", "b").await];
    fixture.revoke(job_of(&given[0], false), None).await;
    let until = fixture.signer.now() + Duration::DAY;
    let (note, sequence) = fixture.signer.revocation_bundle(&dev(), until).unwrap();
    let page = fixture
        .signer
        .revocation_feed(0, std::time::Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(sequence, page.lines.len() as u64);
    let note = SignedNote::parse(note.to_string().as_bytes()).unwrap();
    let text = Bundle::write(&note, page.lines.iter().map(String::as_str));
    let key = fixture.signer.log_key().clone();
    let bundle = Bundle::read(text.as_bytes(), &key).unwrap();
    assert_eq!(
        fixture.verdicts(&given, &Pushed::Bundle(Arc::new(bundle))),
        "Rg"
    );
    for until in [fixture.signer.now(), START + Duration::days(91)] {
        assert!(fixture.signer.revocation_bundle(&dev(), until).is_err());
    }
}

#[tokio::test]
async fn each_part_of_a_question_is_answered_by_itself() {
    let fixture = Fixture::new().await;
    let version = fixture.replace("ci", "7 days").await;
    let given = [fixture.give("ci", "a").await, fixture.give("ci", "b").await];
    let question = |given: &Given, version: &str| RevocationQuestion {
        profile: Some(("ci".parse().unwrap(), version.to_owned())),
        job: Some(given.signed.job),
        serials: vec![],
        signed_at: Some(given.signed.signing_time),
    };
    let ask = async |given: &Given, version: &str| {
        let answer = fixture
            .signer
            .revocation_status(&question(given, version))
            .await
            .unwrap();
        (answer.job_exists, answer.job, answer.profile_version)
    };
    assert_eq!(ask(&given[0], &version).await, (true, false, false));
    fixture.revoke(job_of(&given[0], false), None).await;
    assert_eq!(ask(&given[0], &version).await, (true, true, false));
    assert_eq!(ask(&given[1], &version).await, (true, false, false));
    fixture.revoke(profile("ci", Some(&version)), None).await;
    assert_eq!(ask(&given[1], &version).await, (true, false, true));
    assert_eq!(ask(&given[1], "ABCDEFGHJK").await, (true, false, false));
    // A job that is not ours is judged by the time that it claims.
    let unknown = RevocationQuestion {
        job: None,
        ..question(&given[1], &version)
    };
    let answer = fixture.signer.revocation_status(&unknown).await.unwrap();
    assert!(answer.profile_version && !answer.job_exists);
}
