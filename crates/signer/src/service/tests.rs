//! Tests of the rules: with records in memory, keys in a temporary folder, and a clock that moves
//! when it is told to.

mod aws;
mod custody;
mod ocsp;
mod revocation;
mod rules;

use std::path::Path;

use der::Decode as _;
use serde_json::json;
use time::macros::datetime;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;

use super::*;
use crate::custody::KdfCost;
use crate::job::{IssuedLeaf, RevokedLeaf};
use crate::job::{JobKind, JobStatus, SigningJob};
use crate::profile::{Grants, LeafPolicy, ProfileSpec, ProfileStatus};
use crate::records::{
    Batch, Coverage, CoverageQuery, ExpiryQuery, JobPage, JobQuery, KeptRevocation, LeafName,
    LogHead, LogRecords, MemoryRecords, RecordsError, RevocationRecords,
};
use crate::{AuthoritySubject, JobRevocation, PkiSettings};
use trust::tlog::{Hash, Node};

const START: OffsetDateTime = datetime!(2026-03-01 12:00:00.5 UTC);

struct Fixture {
    signer: Arc<Signer>,
    records: Arc<MemoryRecords>,
    time: Arc<Mutex<OffsetDateTime>>,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let records = Arc::new(MemoryRecords::default());
        let time = Arc::new(Mutex::new(START));
        let config = config(folder.path(), time.clone());
        let signer = Signer::open(config, records.clone()).await.unwrap();
        Self {
            signer,
            records,
            time,
            folder,
        }
    }

    /// The same folder and records, opened by a new process.
    async fn restart(self) -> Self {
        let config = config(self.folder.path(), self.time.clone());
        let signer = Signer::open(config, self.records.clone()).await.unwrap();
        Self { signer, ..self }
    }

    fn pass(&self, duration: Duration) {
        *self.time.lock().unwrap() += duration;
    }

    async fn profile(&self, name: &str, leaf: LeafPolicy) {
        let (change, _) = self
            .signer
            .put_profile(&admin(), spec(name, leaf), false)
            .await
            .unwrap();
        assert_eq!(change, ProfileChange::Created);
    }

    async fn sign(&self, profile: &str) -> Result<SignedEnvelope, SignerError> {
        let request = SignRequest {
            principal: dev(),
            profile: profile.parse().unwrap(),
            owner: None,
            payload: notary_payload(),
            artifact: Default::default(),
        };
        self.signer.sign(request).await
    }

    /// Serial numbers and dates of invalidity on the current list.
    async fn listed(&self) -> Vec<(String, Option<OffsetDateTime>)> {
        let list = self.signer.revocation_list(None).await.unwrap();
        let list = CertificateList::<Rfc5280>::from_der(&list.der).unwrap();
        let revoked = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
        let entry = |entry: &x509_cert::crl::RevokedCert<Rfc5280>| {
            let serial = hex::encode(entry.serial_number.as_bytes());
            let mut extensions = entry.crl_entry_extensions.iter().flatten();
            let date = extensions.find(|e| e.extn_id.to_string() == "2.5.29.24");
            let date = date.map(|e| {
                let time = der::asn1::GeneralizedTime::from_der(e.extn_value.as_bytes()).unwrap();
                OffsetDateTime::UNIX_EPOCH + time.to_unix_duration()
            });
            (serial, date)
        };
        revoked.iter().map(entry).collect()
    }

    async fn job(&self, signed: &SignedEnvelope) -> SigningJob {
        self.signer.job(&admin(), signed.job).await.unwrap()
    }
}

fn config(folder: &Path, time: Arc<Mutex<OffsetDateTime>>) -> ServiceConfig {
    let unlock = folder.join("unlock");
    if !unlock.exists() {
        crate::custody::files::write_new(&unlock, b"correct horse battery staple").unwrap();
    }
    ServiceConfig {
        installation: crate::Installation::default(),
        authority: AuthorityConfig {
            folder: folder.join("data/keys"),
            subject: AuthoritySubject::default(),
            pki: PkiSettings {
                crl_url: Some("http://127.0.0.1:5000/pki/ca.crl".to_owned()),
                ..PkiSettings::default()
            },
            kdf_cost: KdfCost::TESTS_ONLY,
        },
        unlock: UnlockSource::File(unlock),
        custody: None,
        crl_period: DEFAULT_CRL_PERIOD,
        log_origin: "sign.example/log".to_owned(),
        clock: Arc::new(move || *time.lock().unwrap()),
    }
}

fn admin() -> Principal {
    Principal::account("root").as_admin()
}

fn dev() -> Principal {
    Principal::account("dev")
}

fn spec(name: &str, leaf: LeafPolicy) -> ProfileSpec {
    ProfileSpec {
        name: name.parse().unwrap(),
        platform: crate::SigningPlatform::default(),
        validity: "7 days".parse().unwrap(),
        leaf,
        dialect: crate::Dialect::default(),
        owner: None,
        grants: Grants {
            accounts: ["dev".to_owned()].into(),
            ..Grants::default()
        },
        rules: Default::default(),
        two_person: false,
    }
}

fn notary_payload() -> Vec<u8> {
    let target = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", "a".repeat(64)),
        "size": 512,
        "annotations": {"build": "7"},
    });
    json!({"targetArtifact": target}).to_string().into_bytes()
}

fn statement() -> Vec<u8> {
    let statement = json!({
        "_type": crate::payload::IN_TOTO_STATEMENT_TYPE,
        "subject": [{"digest": {"sha256": "b".repeat(64)}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    });
    statement.to_string().into_bytes()
}

const ROTATING: LeafPolicy = LeafPolicy::Rotating { days: 3 };

#[tokio::test]
async fn a_signature_is_on_record_when_it_is_given_out() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let signed = fixture.sign("ci-build").await.unwrap();
    let job = fixture.records.job(signed.job).await.unwrap().unwrap();
    assert_eq!(job.caller, dev());
    assert_eq!(job.target.hex(), "a".repeat(64));
    assert_eq!(
        (job.kind, job.status),
        (JobKind::Notary, JobStatus::Succeeded)
    );
    assert_eq!(job.signed_at, datetime!(2026-03-01 12:00 UTC));
    assert_eq!(job.expires, datetime!(2026-03-08 12:00 UTC));
    assert_eq!(job.leaf_sha256, signed.certificate_sha256[0]);
    assert_eq!(job.profile_version, signed.profile_version);
    assert_eq!(signed.certificate_sha256.len(), 3);
}

#[tokio::test]
async fn leaves_are_as_the_profile_says() {
    let fixture = Fixture::new().await;
    fixture.profile("per-job", LeafPolicy::PerJob).await;
    fixture.profile("rotating", ROTATING).await;
    let leaf = async |profile| fixture.sign(profile).await.unwrap().certificate_sha256[0].clone();
    assert_ne!(leaf("per-job").await, leaf("per-job").await);
    let first = leaf("rotating").await;
    assert_eq!(first, leaf("rotating").await);
    // It is replaced after two thirds of its life.
    fixture.pass(Duration::days(2) - Duration::SECOND);
    assert_eq!(first, leaf("rotating").await);
    fixture.pass(Duration::SECOND);
    assert_ne!(first, leaf("rotating").await);
}

#[tokio::test]
async fn a_statement_always_has_a_leaf_of_its_own_that_lives_as_long_as_the_signature() {
    let fixture = Fixture::new().await;
    fixture.profile("rotating", ROTATING).await;
    let attest = async || {
        let request = AttestRequest {
            principal: dev(),
            profile: "rotating".parse().unwrap(),
            payload_type: crate::payload::IN_TOTO_PAYLOAD_TYPE.to_owned(),
            payload: statement(),
            artifact: Default::default(),
        };
        fixture.signer.attest(request).await.unwrap()
    };
    let (one, two) = (attest().await, attest().await);
    assert_ne!(one.certificate_sha256[0], two.certificate_sha256[0]);
    assert_eq!(one.media_type, oci::MediaType::DSSE);
    let envelope: serde_json::Value = serde_json::from_slice(&one.envelope).unwrap();
    let leaf = envelope["signatures"][0]["x5c"][0].as_str().unwrap();
    let leaf = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, leaf).unwrap();
    let leaf = x509_cert::Certificate::from_der(&leaf).unwrap();
    let end = leaf
        .tbs_certificate()
        .validity()
        .not_after
        .to_unix_duration();
    assert_eq!(OffsetDateTime::UNIX_EPOCH + end, one.expires);
    let job = fixture.records.job(one.job).await.unwrap().unwrap();
    assert_eq!((job.kind, job.shares_leaf), (JobKind::Dsse, false));
}

#[tokio::test]
async fn who_was_not_granted_signs_nothing_and_leaves_no_job() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let name: ProfileName = "ci-build".parse().unwrap();
    for principal in [admin(), Principal::account("eve")] {
        let profile = name.clone();
        let request = SignRequest {
            principal,
            profile,
            owner: None,
            payload: notary_payload(),
            artifact: Default::default(),
        };
        let refused = fixture.signer.sign(request).await;
        assert!(matches!(
            refused,
            Err(SignerError::Denied(Denial::NotGranted { .. }))
        ));
    }
    let unknown = fixture.sign("other").await;
    assert!(matches!(unknown, Err(SignerError::NoProfile(_))));
    let query = JobQuery {
        limit: 10,
        ..JobQuery::default()
    };
    assert_eq!(
        fixture.records.jobs(&query).await.unwrap(),
        JobPage::default()
    );
}

#[tokio::test]
async fn only_administrators_change_profiles() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let signer = &fixture.signer;
    let name: ProfileName = "ci-build".parse().unwrap();
    let run_of_admin = Principal {
        pipeline: Some("build".to_owned()),
        ..admin()
    };
    for who in [dev(), run_of_admin] {
        let denied = |error: SignerError| {
            assert!(matches!(
                error,
                SignerError::Denied(Denial::AdministratorsOnly { .. })
            ));
        };
        let other = spec("other", LeafPolicy::PerJob);
        denied(signer.put_profile(&who, other, false).await.unwrap_err());
        denied(signer.cancel_profile(&who, &name).await.unwrap_err());
        denied(
            signer
                .revoke_profile(&who, &name, (None, "x"))
                .await
                .unwrap_err(),
        );
    }
}

#[tokio::test]
async fn putting_a_profile_again_makes_a_version_only_when_something_changed() {
    let fixture = Fixture::new().await;
    let signer = &fixture.signer;
    let first = spec("ci-build", LeafPolicy::PerJob);
    let (_, created) = signer
        .put_profile(&admin(), first.clone(), false)
        .await
        .unwrap();
    assert_eq!(created.version.len(), 10);
    assert!(
        created
            .version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric())
    );
    let (change, same) = signer
        .put_profile(&admin(), first.clone(), false)
        .await
        .unwrap();
    assert_eq!((change, &same), (ProfileChange::Unchanged, &created));
    let mut longer = first.clone();
    longer.validity = "8 days".parse().unwrap();
    let refused = signer.put_profile(&admin(), longer.clone(), false).await;
    assert!(matches!(refused, Err(SignerError::ProfileExists(_))));
    fixture.pass(Duration::HOUR);
    let (change, updated) = signer.put_profile(&admin(), longer, true).await.unwrap();
    assert_eq!(change, ProfileChange::Updated);
    assert_ne!(updated.version, created.version);
    assert_eq!(updated.created_at, created.created_at);
}

#[tokio::test]
async fn a_canceled_profile_can_come_back_and_a_revoked_one_cannot() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let signer = &fixture.signer;
    let name: ProfileName = "ci-build".parse().unwrap();
    let signed = fixture.sign("ci-build").await.unwrap();
    signer.cancel_profile(&admin(), &name).await.unwrap();
    let refused = fixture.sign("ci-build").await;
    assert!(matches!(
        refused,
        Err(SignerError::Denied(Denial::Canceled(_)))
    ));
    assert_eq!(fixture.job(&signed).await.status, JobStatus::Succeeded);
    assert!(fixture.listed().await.is_empty());

    let again = spec("ci-build", LeafPolicy::PerJob);
    signer
        .put_profile(&admin(), again.clone(), true)
        .await
        .unwrap();
    assert!(fixture.sign("ci-build").await.is_ok());
    signer
        .revoke_profile(&admin(), &name, (None, "key stolen"))
        .await
        .unwrap();
    let refused = fixture.sign("ci-build").await;
    assert!(matches!(
        refused,
        Err(SignerError::Denied(Denial::Revoked(_)))
    ));
    let refused = signer.put_profile(&admin(), again, true).await;
    assert!(matches!(refused, Err(SignerError::ProfileRevoked(_))));
    let canceled = signer.cancel_profile(&admin(), &name).await.unwrap();
    assert_eq!(canceled.status, ProfileStatus::Revoked);
}

#[tokio::test]
async fn a_revoked_signature_is_on_the_list_until_long_after_its_expiry() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let (good, bad) = (
        fixture.sign("ci-build").await.unwrap(),
        fixture.sign("ci-build").await.unwrap(),
    );
    assert!(fixture.listed().await.is_empty());
    let revoked = fixture
        .signer
        .revoke_job(&dev(), bad.job, ("built by mistake", false))
        .await;
    let revoked = revoked.unwrap();
    assert_eq!(revoked.status, JobStatus::Revoked);
    assert!(revoked.revocation.as_ref().unwrap().on_crl);
    // At once, and without a date: the leaf signed nothing else.
    assert_eq!(
        fixture.listed().await,
        [(revoked.leaf_serial.clone(), None)]
    );
    assert_eq!(fixture.job(&good).await.status, JobStatus::Succeeded);
    // Doing it twice changes nothing.
    fixture.pass(Duration::HOUR);
    let twice = fixture
        .signer
        .revoke_job(&admin(), bad.job, ("again", false))
        .await
        .unwrap();
    assert_eq!(twice, revoked);
    fixture.pass(Duration::days(7) + LISTED_AFTER_EXPIRY - Duration::hours(2));
    assert_eq!(fixture.listed().await.len(), 1);
    fixture.pass(Duration::hours(2));
    assert!(fixture.listed().await.is_empty());
}

#[tokio::test]
async fn a_shared_leaf_is_listed_only_when_that_is_asked_for() {
    let fixture = Fixture::new().await;
    fixture.profile("rotating", ROTATING).await;
    let bad = fixture.sign("rotating").await.unwrap();
    let sibling = fixture.sign("rotating").await.unwrap();
    let revoked = fixture
        .signer
        .revoke_job(&dev(), bad.job, ("wrong", false))
        .await
        .unwrap();
    assert!(!revoked.revocation.as_ref().unwrap().on_crl);
    assert_eq!(fixture.job(&bad).await.status, JobStatus::Revoked);
    assert!(fixture.listed().await.is_empty());

    let revoked = fixture
        .signer
        .revoke_job(&dev(), bad.job, ("wrong", true))
        .await
        .unwrap();
    assert!(revoked.revocation.as_ref().unwrap().on_crl);
    assert_eq!(fixture.listed().await, [(revoked.leaf_serial, None)]);
    // The leaf signs no more.
    let next = fixture.sign("rotating").await.unwrap();
    assert_ne!(next.certificate_sha256[0], sibling.certificate_sha256[0]);
}

#[tokio::test]
async fn a_profile_is_revoked_from_a_time_on_and_only_ever_earlier() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let name: ProfileName = "ci-build".parse().unwrap();
    let mut signed = Vec::new();
    for _ in 0..4 {
        signed.push(fixture.sign("ci-build").await.unwrap());
        fixture.pass(Duration::HOUR);
    }
    let revoke = async |from| {
        let what = (Some(from), "token leaked");
        fixture.signer.revoke_profile(&admin(), &name, what).await
    };
    let serial = async |index: usize| fixture.job(&signed[index]).await.leaf_serial;

    let future = revoke(START + Duration::hours(5)).await;
    assert!(matches!(future, Err(SignerError::RevocationTime { .. })));
    let from = signed[2].signing_time;
    revoke(from).await.unwrap();
    let mut expected = [(serial(2).await, Some(from)), (serial(3).await, Some(from))];
    expected.sort();
    assert_eq!(fixture.listed().await, expected);
    let statuses = async || {
        let mut statuses = Vec::new();
        for one in &signed {
            statuses.push(fixture.job(one).await.status == JobStatus::Revoked);
        }
        statuses
    };
    assert_eq!(statuses().await, [false, false, true, true]);

    let later = revoke(from + Duration::SECOND).await;
    assert!(matches!(later, Err(SignerError::RevocationTime { .. })));
    let earlier = signed[1].signing_time;
    revoke(earlier).await.unwrap();
    assert_eq!(statuses().await, [false, true, true, true]);
    let listed = fixture.listed().await;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|(_, date)| *date == Some(earlier)));
    // The same again changes nothing.
    let number = fixture.signer.revocation_list(None).await.unwrap().number;
    revoke(earlier).await.unwrap();
    assert_eq!(
        fixture.signer.revocation_list(None).await.unwrap().number,
        number
    );
}

#[tokio::test]
async fn a_single_revocation_is_not_weakened_by_one_of_its_profile() {
    let fixture = Fixture::new().await;
    fixture.profile("rotating", ROTATING).await;
    let signed = fixture.sign("rotating").await.unwrap();
    let job = fixture
        .signer
        .revoke_job(&dev(), signed.job, ("wrong", true))
        .await
        .unwrap();
    let name = "rotating".parse().unwrap();
    fixture
        .signer
        .revoke_profile(&admin(), &name, (None, "all of it"))
        .await
        .unwrap();
    assert_eq!(fixture.listed().await, [(job.leaf_serial, None)]);
}

#[tokio::test]
async fn lists_are_kept_until_something_changes_or_half_their_time_is_over() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let number = async || fixture.signer.revocation_list(None).await.unwrap().number;
    assert_eq!(number().await, 1);
    fixture.pass(DEFAULT_CRL_PERIOD / 2 - Duration::SECOND);
    assert_eq!(number().await, 1);
    fixture.pass(Duration::SECOND);
    assert_eq!(number().await, 2);
    let signed = fixture.sign("ci-build").await.unwrap();
    assert_eq!(number().await, 2);
    fixture
        .signer
        .revoke_job(&dev(), signed.job, ("x", false))
        .await
        .unwrap();
    assert_eq!(number().await, 3);
    // A clock that goes back makes a new list rather than one from the future.
    fixture.pass(-Duration::HOUR);
    assert_eq!(number().await, 4);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    fixture.profile("gone", LeafPolicy::PerJob).await;
    let kept = fixture.sign("ci-build").await.unwrap();
    let revoked = fixture.sign("ci-build").await.unwrap();
    fixture
        .signer
        .revoke_job(&dev(), revoked.job, ("x", false))
        .await
        .unwrap();
    let gone = "gone".parse().unwrap();
    fixture
        .signer
        .revoke_profile(&admin(), &gone, (None, "x"))
        .await
        .unwrap();
    let listed = fixture.listed().await;
    let number = fixture.signer.revocation_list(None).await.unwrap().number;
    let root = fixture.signer.authority().root_pem();

    let fixture = fixture.restart().await;
    assert_eq!(fixture.signer.authority().root_pem(), root);
    assert_eq!(fixture.listed().await, listed);
    assert!(fixture.signer.revocation_list(None).await.unwrap().number > number);
    assert_eq!(fixture.job(&kept).await.status, JobStatus::Succeeded);
    assert_eq!(fixture.job(&revoked).await.status, JobStatus::Revoked);
    assert!(fixture.sign("ci-build").await.is_ok());
    assert!(fixture.sign("gone").await.is_err());
}

#[tokio::test]
async fn only_its_maker_and_administrators_handle_a_signature() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let signed = fixture.sign("ci-build").await.unwrap();
    let run = Principal {
        pipeline: Some("build".to_owned()),
        ..dev()
    };
    for stranger in [Principal::account("eve"), run] {
        let seen = fixture.signer.job(&stranger, signed.job).await;
        assert!(matches!(
            seen,
            Err(SignerError::Denied(Denial::OthersSignature { .. }))
        ));
        let revoked = fixture
            .signer
            .revoke_job(&stranger, signed.job, ("x", false))
            .await;
        assert!(matches!(revoked, Err(SignerError::Denied(_))));
    }
    for one in [dev(), admin()] {
        assert!(fixture.signer.job(&one, signed.job).await.is_ok());
    }
    let unknown = crate::JobId::new(START);
    let missing = fixture.signer.job(&admin(), unknown).await;
    assert!(matches!(missing, Err(SignerError::NoJob(_))));
}

#[tokio::test]
async fn a_revocation_needs_a_reason() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let signed = fixture.sign("ci-build").await.unwrap();
    let too_long = "x".repeat(501);
    for reason in ["", "  ", "a\nb", &too_long] {
        let refused = fixture
            .signer
            .revoke_job(&dev(), signed.job, (reason, false))
            .await;
        assert!(matches!(refused, Err(SignerError::Reason)), "{reason:?}");
    }
    let revoked = fixture
        .signer
        .revoke_job(&dev(), signed.job, (" why ", false))
        .await
        .unwrap();
    let JobRevocation { by, reason, .. } = revoked.revocation.unwrap();
    assert_eq!((by.as_str(), reason.as_str()), ("account `dev`", "why"));
}

#[tokio::test]
async fn profiles_are_shown_to_those_who_may_use_them() {
    let fixture = Fixture::new().await;
    fixture.profile("aa", LeafPolicy::PerJob).await;
    fixture.profile("bb", LeafPolicy::PerJob).await;
    let mut closed = spec("cc", LeafPolicy::PerJob);
    closed.grants = Grants::default();
    fixture
        .signer
        .put_profile(&admin(), closed, false)
        .await
        .unwrap();
    let names = |who: &Principal, after: Option<&str>, limit| {
        let after = after.map(|name| name.parse().unwrap());
        let profiles = fixture.signer.profiles(who, after.as_ref(), limit);
        profiles
            .iter()
            .map(|profile| profile.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&admin(), None, 9), ["aa", "bb", "cc"]);
    assert_eq!(names(&admin(), Some("aa"), 1), ["bb"]);
    assert_eq!(names(&dev(), None, 9), ["aa", "bb"]);
    assert!(names(&Principal::account("eve"), None, 9).is_empty());
    let hidden = fixture.signer.profile(&dev(), &"cc".parse().unwrap());
    assert!(matches!(hidden, Err(SignerError::Denied(_))));
}

/// Records that refuse to keep jobs; or that keep them, and then say that they did not; or that
/// hold jobs of a time before the log.
#[derive(Default)]
struct Bent {
    kept: MemoryRecords,
    refuses: bool,
    keeps_all_the_same: bool,
    unlogged: Mutex<Vec<SigningJob>>,
}

#[async_trait::async_trait]
impl LogRecords for Bent {
    async fn log_head(&self) -> Result<LogHead, RecordsError> {
        self.kept.log_head().await
    }
    async fn log_entries(&self, from: u64, count: u64) -> Result<Vec<Vec<u8>>, RecordsError> {
        self.kept.log_entries(from, count).await
    }
    async fn log_nodes(&self, first: Node, count: u64) -> Result<Vec<Hash>, RecordsError> {
        self.kept.log_nodes(first, count).await
    }
    async fn position_at(&self, time: OffsetDateTime) -> Result<u64, RecordsError> {
        self.kept.position_at(time).await
    }
}

#[async_trait::async_trait]
impl RevocationRecords for Bent {
    async fn revocations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptRevocation>, RecordsError> {
        self.kept.revocations(after, limit).await
    }
    async fn last_revocation(&self) -> Result<Option<KeptRevocation>, RecordsError> {
        self.kept.last_revocation().await
    }
    async fn coverage(&self, query: &CoverageQuery) -> Result<Coverage, RecordsError> {
        self.kept.coverage(query).await
    }
    async fn jobs_of_leaf(
        &self,
        leaf: &LeafName,
        from: u64,
        limit: usize,
    ) -> Result<Vec<SigningJob>, RecordsError> {
        self.kept.jobs_of_leaf(leaf, from, limit).await
    }
}

#[async_trait::async_trait]
impl Records for Bent {
    async fn commit(&self, batch: &Batch) -> Result<(), RecordsError> {
        let refuses = self.refuses && !batch.jobs.is_empty();
        if !refuses || self.keeps_all_the_same {
            self.kept.commit(batch).await?;
            let is_imported = |job: &SigningJob| batch.imported.contains(&job.id);
            self.unlogged
                .lock()
                .unwrap()
                .retain(|job| !is_imported(job));
        }
        let full = || RecordsError::new("written", std::io::Error::other("disk full"));
        if refuses { Err(full()) } else { Ok(()) }
    }
    async fn profiles(&self) -> Result<Vec<SigningProfile>, RecordsError> {
        self.kept.profiles().await
    }
    async fn job(&self, id: JobId) -> Result<Option<SigningJob>, RecordsError> {
        self.kept.job(id).await
    }
    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, RecordsError> {
        self.kept.jobs(query).await
    }
    async fn count_jobs(&self, key: &str, from: OffsetDateTime) -> Result<u64, RecordsError> {
        self.kept.count_jobs(key, from).await
    }
    async fn expiring_jobs(&self, query: &ExpiryQuery) -> Result<Vec<SigningJob>, RecordsError> {
        self.kept.expiring_jobs(query).await
    }
    async fn unlogged_jobs(&self, limit: usize) -> Result<Vec<SigningJob>, RecordsError> {
        let unlogged = self.unlogged.lock().unwrap();
        Ok(unlogged.iter().take(limit).cloned().collect())
    }
    async fn issued_leaf(&self, serial: &str) -> Result<Option<IssuedLeaf>, RecordsError> {
        self.kept.issued_leaf(serial).await
    }

    async fn revoked_leaves(&self, now: OffsetDateTime) -> Result<Vec<RevokedLeaf>, RecordsError> {
        self.kept.revoked_leaves(now).await
    }
    async fn next_crl_number(&self) -> Result<u64, RecordsError> {
        self.kept.next_crl_number().await
    }
}

async fn on_full_disk(keeps_all_the_same: bool) -> (tempfile::TempDir, Arc<Signer>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let config = config(folder.path(), Arc::new(Mutex::new(START)));
    let records = Arc::new(Bent {
        refuses: true,
        keeps_all_the_same,
        ..Bent::default()
    });
    let signer = Signer::open(config, records).await.unwrap();
    let spec = spec("ci-build", LeafPolicy::PerJob);
    signer.put_profile(&admin(), spec, false).await.unwrap();
    (folder, signer)
}

async fn sign_with(signer: &Arc<Signer>) -> Result<SignedEnvelope, SignerError> {
    let request = SignRequest {
        principal: dev(),
        profile: "ci-build".parse().unwrap(),
        owner: None,
        payload: notary_payload(),
        artifact: Default::default(),
    };
    signer.sign(request).await
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_given_out() {
    let (_folder, signer) = on_full_disk(false).await;
    let head = signer.log_head();
    let refused = sign_with(&signer).await;
    assert!(matches!(refused, Err(SignerError::Records(_))));
    assert_eq!(signer.log_head(), head);
}

/// A commit whose success was not heard of must not be followed by another entry in its place.
#[tokio::test]
async fn a_commit_that_says_it_failed_and_did_not_is_taken_into_account() {
    let (_folder, signer) = on_full_disk(true).await;
    for _ in 0..2 {
        let refused = sign_with(&signer).await;
        assert!(matches!(refused, Err(SignerError::Records(_))));
    }
    let other = spec("other", LeafPolicy::PerJob);
    signer.put_profile(&admin(), other, false).await.unwrap();
    let head = signer.log_head();
    assert_eq!(head.size, 4);
    let entries = signer.records.log_entries(0, 9).await.unwrap();
    let mut tree = trust::tlog::Frontier::empty();
    entries.iter().for_each(|entry| tree.push(entry, |_, _| {}));
    assert!(head.checkpoint.contains(&tree.root().to_string()));
}

/// Jobs of a version without a log come into it at the first start, with the times at which they
/// were signed, and stay where they are.
#[tokio::test]
async fn jobs_of_a_time_before_the_log_are_brought_into_it_once() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    let mut old = Vec::new();
    for _ in 0..600 {
        let signed = fixture.sign("ci-build").await.unwrap();
        let job = fixture.job(&signed).await;
        let (position, envelope_sha256) = (0, None);
        old.push(SigningJob {
            position,
            envelope_sha256,
            ..job
        });
        fixture.pass(Duration::MINUTE);
    }
    old[1].status = JobStatus::Revoked;
    old[1].revocation = Some(JobRevocation {
        at: START,
        by: "account `dev`".to_owned(),
        reason: "wrong".to_owned(),
        on_crl: false,
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let later = START + Duration::days(1);
    let records = Arc::new(Bent {
        unlogged: Mutex::new(old.clone()),
        ..Bent::default()
    });
    for _ in 0..2 {
        let config = config(folder.path(), Arc::new(Mutex::new(later)));
        let signer = Signer::open(config, records.clone()).await.unwrap();
        assert_eq!(signer.log_head().size, 600);
        for (position, job) in (0..).zip(&old) {
            let kept = signer.job(&admin(), job.id).await.unwrap();
            assert_eq!(
                kept,
                SigningJob {
                    position,
                    ..job.clone()
                }
            );
            let before = records.position_at(job.signed_at).await.unwrap();
            assert_eq!(before, position);
        }
    }
    assert_eq!(records.log_head().await.unwrap().at, old[599].signed_at);
}
