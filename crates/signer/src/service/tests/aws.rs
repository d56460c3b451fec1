//! The dialect of AWS, permissions, and what its clients ask about revocation.

use super::*;
use crate::account::AccountNumber;
use crate::profile::{
    Dialect, PermissionChange, PermissionError, PermittedAction, ProfilePermission, TagChange,
};

const TENANT: &str = "111122223333";

fn number(text: &str) -> AccountNumber {
    text.parse().unwrap()
}

/// Somebody of another account number.
fn stranger() -> Principal {
    Principal {
        number: Some(number(TENANT)),
        ..Principal::account("stranger")
    }
}

fn aws_spec(name: &str) -> ProfileSpec {
    ProfileSpec {
        dialect: Dialect::Aws,
        ..spec(name, LeafPolicy::Rotating { days: 3 })
    }
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let put = fixture
        .signer
        .put_profile(&admin(), aws_spec("ci_build"), false)
        .await;
    put.unwrap();
    fixture
}

fn permission(action: PermittedAction) -> PermissionChange {
    PermissionChange::Add(ProfilePermission {
        statement_id: "one".to_owned(),
        action,
        principal: TENANT.to_owned(),
        profile_version: None,
    })
}

async fn permit(fixture: &Fixture, action: PermittedAction) {
    let name = "ci_build".parse().unwrap();
    let change = (permission(action), None);
    let changed = fixture
        .signer
        .change_permissions(&admin(), &name, change)
        .await;
    assert!(!changed.unwrap().revision_id.is_empty());
}

fn request(principal: Principal, owner: Option<AccountNumber>) -> SignRequest {
    SignRequest {
        principal,
        profile: "ci_build".parse().unwrap(),
        owner,
        payload: notary_payload(),
        artifact: crate::Artifact::default(),
    }
}

/// The question that a verifier asks about an envelope.
async fn question(fixture: &Fixture, signed: &SignedEnvelope) -> StatusQuestion {
    let envelope = trust::jws::ParsedEnvelope::parse(&signed.envelope).unwrap();
    let hashes: Vec<String> = envelope
        .chain()
        .certificates()
        .map(|one| one.tbs_sha384())
        .collect();
    let issuers = hashes.iter().skip(1).chain(hashes.last());
    let pairs = hashes
        .iter()
        .zip(issuers)
        .map(|(one, issuer)| format!("{one}{issuer}"));
    let verified = envelope.verify().unwrap();
    let aws = verified.aws().unwrap();
    let here = &fixture.signer.installation;
    let version = here.parse_arn(&aws.profile_version).unwrap();
    let (crate::ArnKind::Version(profile, version), owner) = (version.kind, version.owner) else {
        panic!("not a version: {}", aws.profile_version);
    };
    let crate::ArnKind::Job(job) = here.parse_arn(&aws.job).unwrap().kind else {
        panic!("not a job: {}", aws.job);
    };
    assert_eq!(job, signed.job);
    StatusQuestion {
        owner,
        profile,
        version,
        job,
        certificate_hashes: pairs.collect(),
    }
}

#[tokio::test]
async fn an_envelope_of_the_dialect_is_verified_by_its_subject_and_its_job_can_be_revoked() {
    let fixture = fixture().await;
    let signed = fixture.sign("ci_build").await.unwrap();
    let mut question = question(&fixture, &signed).await;
    let leaf_hash = question.certificate_hashes[0].clone();
    question.certificate_hashes.reverse();
    let parts = async || fixture.signer.revoked_parts(&question).await.unwrap();
    assert_eq!(parts().await, RevokedParts::default());

    let reason = ("by mistake", false);
    fixture
        .signer
        .revoke_job(&dev(), signed.job, reason)
        .await
        .unwrap();
    let revoked = parts().await;
    assert!(revoked.job && !revoked.profile_version);
    assert!(revoked.certificate_hashes.is_empty());

    let whole_leaf = ("key lost", true);
    fixture
        .signer
        .revoke_job(&dev(), signed.job, whole_leaf)
        .await
        .unwrap();
    let hashes = parts().await.certificate_hashes;
    assert_eq!(hashes, [leaf_hash]);
}

#[tokio::test]
async fn a_revoked_profile_reaches_what_it_signed_from_then_on() {
    let fixture = fixture().await;
    let before = fixture.sign("ci_build").await.unwrap();
    fixture.pass(Duration::HOUR);
    let after = fixture.sign("ci_build").await.unwrap();
    fixture.pass(Duration::HOUR);
    let name = "ci_build".parse().unwrap();
    let from = Some(START + Duration::minutes(30));
    let revoked = fixture
        .signer
        .revoke_profile(&admin(), &name, (from, "key lost"))
        .await;
    revoked.unwrap();
    for (signed, expected) in [(&before, false), (&after, true)] {
        let question = question(&fixture, signed).await;
        let parts = fixture.signer.revoked_parts(&question).await.unwrap();
        assert_eq!(parts.profile_version, expected);
        assert!(!parts.job);
        // Both share the leaf; what it signed before stays good.
        assert_eq!(parts.certificate_hashes.len(), usize::from(expected));
    }
}

#[tokio::test]
async fn a_question_about_what_does_not_belong_together_is_not_answered() {
    let fixture = fixture().await;
    let other = fixture
        .signer
        .put_profile(&admin(), aws_spec("release"), false)
        .await;
    other.unwrap();
    let signed = fixture.sign("ci_build").await.unwrap();
    let good = question(&fixture, &signed).await;
    type Change = fn(&mut StatusQuestion);
    let changes: [(&str, Change); 5] = [
        ("owner", |one| one.owner = number(TENANT)),
        ("profile", |one| one.profile = "release".parse().unwrap()),
        ("version", |one| one.version = "AAAAAAAAAA".to_owned()),
        ("hash", |one| drop(one.certificate_hashes.remove(0))),
        ("no hash", |one| one.certificate_hashes.clear()),
    ];
    for (what, change) in changes {
        let mut changed = good.clone();
        change(&mut changed);
        let refused = fixture.signer.revoked_parts(&changed).await.unwrap_err();
        assert!(
            matches!(refused, SignerError::Question(_)),
            "{what}: {refused}"
        );
    }
    let unknown = StatusQuestion {
        job: JobId::new(START),
        ..good
    };
    let refused = fixture.signer.revoked_parts(&unknown).await.unwrap_err();
    assert!(matches!(refused, SignerError::NoJob(_)));
}

#[tokio::test]
async fn another_account_number_signs_with_a_permission_only() {
    let fixture = fixture().await;
    let owner = Some(fixture.signer.installation.number);
    let denied = fixture.signer.sign(request(stranger(), owner)).await;
    assert!(matches!(
        denied,
        Err(SignerError::Denied(Denial::NotGranted { .. }))
    ));
    permit(&fixture, PermittedAction::SignPayload).await;
    let signed = fixture
        .signer
        .sign(request(stranger(), owner))
        .await
        .unwrap();
    let job = fixture.job(&signed).await;
    assert_eq!(job.owner, crate::AccountNumber::UNSET.as_str());
    assert_eq!(job.caller.number, Some(number(TENANT)));
    // Without saying whose profile it is, the caller's own number is meant, which has none.
    let own = fixture
        .signer
        .sign(request(stranger(), Some(number(TENANT))))
        .await;
    assert!(matches!(own, Err(SignerError::NoProfile(_))));
    // Its permission does not reach an account of the same name without a number.
    let native = fixture
        .signer
        .sign(request(Principal::account("stranger"), None))
        .await;
    assert!(matches!(native, Err(SignerError::Denied(_))));
}

#[tokio::test]
async fn a_permission_to_revoke_is_none_to_sign() {
    let fixture = fixture().await;
    let signed = fixture.sign("ci_build").await.unwrap();
    let revoke = async || {
        let revoked = fixture
            .signer
            .revoke_job(&stranger(), signed.job, ("why not", false))
            .await;
        revoked.map(|job| job.status)
    };
    assert!(matches!(revoke().await, Err(SignerError::Denied(_))));
    permit(&fixture, PermittedAction::RevokeSignature).await;
    let owner = Some(fixture.signer.installation.number);
    assert!(
        fixture
            .signer
            .sign(request(stranger(), owner))
            .await
            .is_err()
    );
    assert_eq!(revoke().await.unwrap(), JobStatus::Revoked);
}

#[tokio::test]
async fn permissions_tags_and_owner_outlive_a_new_version_and_a_restart() {
    let fixture = fixture().await;
    permit(&fixture, PermittedAction::GetSigningProfile).await;
    let name = "ci_build".parse().unwrap();
    let tags = TagChange {
        set: [("team".to_owned(), "shop".to_owned())].into(),
        remove: Vec::new(),
    };
    let before = fixture
        .signer
        .change_tags(&admin(), &name, tags)
        .await
        .unwrap();
    let changed = ProfileSpec {
        validity: "1 day".parse().unwrap(),
        owner: Some(fixture.signer.installation.number),
        ..aws_spec("ci_build")
    };
    let put = fixture
        .signer
        .put_profile(&admin(), changed, true)
        .await
        .unwrap();
    assert_eq!(put.0, ProfileChange::Updated);
    let fixture = fixture.restart().await;
    let after = fixture.signer.profile(&stranger(), &name).unwrap();
    assert_ne!(after.version, before.version);
    assert_eq!(after.permissions, before.permissions);
    assert_eq!(after.revision_id, before.revision_id);
    assert_eq!(after.tags, before.tags);
}

#[tokio::test]
async fn a_stale_revision_changes_nothing() {
    let fixture = fixture().await;
    permit(&fixture, PermittedAction::SignPayload).await;
    let name = "ci_build".parse().unwrap();
    let remove = PermissionChange::Remove("one".to_owned());
    let stale = (remove.clone(), Some("stale"));
    let refused = fixture
        .signer
        .change_permissions(&admin(), &name, stale)
        .await;
    let refused = refused.unwrap_err();
    let is_stale = matches!(
        refused,
        SignerError::Permission(PermissionError::Revision { .. })
    );
    assert!(is_stale, "{refused}");
    let by_others = fixture
        .signer
        .change_permissions(&dev(), &name, (remove, None))
        .await;
    assert!(matches!(by_others, Err(SignerError::Denied(_))));
}

#[tokio::test]
async fn a_name_is_one_subject_and_so_one_owner() {
    let fixture = fixture().await;
    let taken = ProfileSpec {
        owner: Some(number(TENANT)),
        ..aws_spec("ci_build")
    };
    let refused = fixture
        .signer
        .put_profile(&admin(), taken, true)
        .await
        .unwrap_err();
    let denied = matches!(refused, SignerError::Denied(Denial::AnothersProfile(_)));
    assert!(denied, "{refused}");
    let of_tenant = Principal {
        number: Some(number(TENANT)),
        ..admin()
    };
    let name = "ci_build".parse().unwrap();
    let cancel = fixture.signer.cancel_profile(&of_tenant, &name).await;
    assert!(matches!(cancel, Err(SignerError::NoProfile(_))));
}

#[tokio::test]
async fn the_dialect_asks_for_a_rotating_leaf_and_a_plain_name() {
    let fixture = Fixture::new().await;
    let per_job = ProfileSpec {
        leaf: LeafPolicy::PerJob,
        ..aws_spec("ci_build")
    };
    for spec in [per_job, aws_spec("ci-build")] {
        let refused = fixture.signer.put_profile(&admin(), spec, false).await;
        assert!(matches!(refused, Err(SignerError::Spec(_))));
    }
}

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages_and_to_whom_they_belong() {
    let fixture = fixture().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(fixture.sign("ci_build").await.unwrap().job);
        fixture.pass(Duration::MINUTE);
    }
    let revoked = made[2];
    fixture
        .signer
        .revoke_job(&dev(), revoked, ("by mistake", false))
        .await
        .unwrap();
    let list = async |principal: Principal, filter: JobFilter| {
        let mut pages = Vec::new();
        let mut filter = JobFilter { limit: 2, ..filter };
        loop {
            let page = fixture
                .signer
                .list_jobs(&principal, filter.clone())
                .await
                .unwrap();
            pages.extend(page.jobs.iter().map(|job| job.id));
            match page.next {
                Some(next) => filter.before = Some(next),
                None => return pages,
            }
        }
    };
    let newest_first: Vec<_> = made.iter().rev().copied().collect();
    assert_eq!(list(admin(), JobFilter::default()).await, newest_first);
    assert_eq!(list(dev(), JobFilter::default()).await, newest_first);
    let nobody = Principal::account("nobody");
    assert_eq!(list(nobody, JobFilter::default()).await, []);
    let only = |revoked| JobFilter {
        revoked: Some(revoked),
        ..JobFilter::default()
    };
    assert_eq!(list(admin(), only(true)).await, [revoked]);
    assert_eq!(list(admin(), only(false)).await.len(), 4);
    let of_tenant = JobFilter {
        owner: Some(number(TENANT)),
        ..JobFilter::default()
    };
    assert_eq!(list(admin(), of_tenant).await, []);
    let by_tenant = JobFilter {
        invoker: Some(number(TENANT)),
        ..JobFilter::default()
    };
    assert_eq!(list(admin(), by_tenant).await, []);
}
