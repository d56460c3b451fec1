//! What the OCSP responder says of leaves, before and after revocations.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::asn1::OctetString;
use der::{Any, Encode as _, Tag};
use x509_cert::Certificate;

use super::*;
use crate::authority::ocsp::CertificateStatus;
use crate::authority::ocsp::read::read;
use crate::authority::whole_seconds;

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    Any::new(Tag::Sequence, parts.concat())
        .unwrap()
        .to_der()
        .unwrap()
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    OctetString::new(bytes).unwrap().to_der().unwrap()
}

/// A request for the serial numbers under the newest intermediate.
fn request(signer: &Signer, serials: &[&str], nonce: Option<&[u8]>) -> Vec<u8> {
    let issuer = &signer.authority.current().chain()[0];
    let issuer = Certificate::from_der(issuer).unwrap();
    let tbs = issuer.tbs_certificate();
    let sha1 = |bytes: &[u8]| octets(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    let key = tbs.subject_public_key_info().subject_public_key.raw_bytes();
    let names = [sha1(&tbs.subject().to_der().unwrap()), sha1(key)].concat();
    let hash = sequence(&[der::oid::ObjectIdentifier::new_unwrap("1.3.14.3.2.26")
        .to_der()
        .unwrap()]);
    let id = |serial: &&str| {
        let serial = hex::decode(serial).unwrap();
        let serial = der::asn1::Uint::new(&serial).unwrap().to_der().unwrap();
        sequence(&[sequence(&[hash.clone(), names.clone(), serial])])
    };
    let list = sequence(&serials.iter().map(id).collect::<Vec<_>>());
    let extensions = nonce.map_or_else(Vec::new, |nonce| {
        let oid = der::oid::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
        let one = sequence(&[oid.to_der().unwrap(), octets(&octets(nonce))]);
        let all = sequence(&[one]);
        [vec![0xa2, u8::try_from(all.len()).unwrap()], all].concat()
    });
    sequence(&[sequence(&[list, extensions])])
}

impl Fixture {
    fn now(&self) -> OffsetDateTime {
        *self.time.lock().unwrap()
    }

    fn advance(&self, by: Duration) {
        *self.time.lock().unwrap() += by;
    }

    async fn status(&self, serial: &str) -> CertificateStatus {
        let answer = self
            .signer
            .ocsp(&request(&self.signer, &[serial], None))
            .await;
        read(&answer.der).unwrap().statuses.remove(0)
    }
}

#[tokio::test]
async fn a_leaf_of_one_job_is_found_by_the_jobs_identifier() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::default()).await;
    let signed = fixture.sign("ci-build").await.unwrap();
    let job = fixture.job(&signed).await;
    assert_eq!(job.leaf_serial, signed.job.to_string().replace('-', ""));
    assert_eq!(
        fixture.status(&job.leaf_serial).await,
        CertificateStatus::Good
    );
    fixture
        .signer
        .revoke_job(&admin(), signed.job, ("x", false))
        .await
        .unwrap();
    let revoked = fixture.status(&job.leaf_serial).await;
    assert!(matches!(
        revoked,
        CertificateStatus::Revoked {
            invalid_from: None,
            ..
        }
    ));
}

#[tokio::test]
async fn a_rotating_leaf_is_good_until_it_is_revoked_as_a_whole() {
    let fixture = Fixture::new().await;
    fixture
        .profile("ci-build", LeafPolicy::Rotating { days: 3 })
        .await;
    let signed = fixture.sign("ci-build").await.unwrap();
    let serial = fixture.job(&signed).await.leaf_serial;
    assert_eq!(fixture.status(&serial).await, CertificateStatus::Good);
    fixture
        .signer
        .revoke_job(&admin(), signed.job, ("x", false))
        .await
        .unwrap();
    assert_eq!(fixture.status(&serial).await, CertificateStatus::Good);
    fixture
        .signer
        .revoke_job(&admin(), signed.job, ("x", true))
        .await
        .unwrap();
    let revoked = fixture.status(&serial).await;
    assert!(matches!(revoked, CertificateStatus::Revoked { .. }));
}

#[tokio::test]
async fn a_profile_that_is_revoked_from_a_time_on_says_that_time() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::default()).await;
    let before = fixture.sign("ci-build").await.unwrap();
    fixture.advance(Duration::HOUR);
    let from = whole_seconds(fixture.now());
    let after = fixture.sign("ci-build").await.unwrap();
    let name = "ci-build".parse().unwrap();
    fixture
        .signer
        .revoke_profile(&admin(), &name, (Some(from), "x"))
        .await
        .unwrap();
    let serial = fixture.job(&before).await.leaf_serial;
    assert_eq!(fixture.status(&serial).await, CertificateStatus::Good);
    let serial = fixture.job(&after).await.leaf_serial;
    let expected = CertificateStatus::Revoked {
        at: whole_seconds(fixture.now()),
        invalid_from: Some(from),
    };
    assert_eq!(fixture.status(&serial).await, expected);
    // Long after it left the list, too.
    fixture.advance(Duration::days(7) + LISTED_AFTER_EXPIRY);
    assert!(fixture.listed().await.is_empty());
    let still = fixture.status(&serial).await;
    assert!(
        matches!(still, CertificateStatus::Revoked { .. }),
        "{still:?}"
    );
}

#[tokio::test]
async fn what_we_did_not_issue_is_unknown_and_other_issuers_are_none_of_ours() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::default()).await;
    let serial = fixture.sign("ci-build").await.unwrap();
    let serial = fixture.job(&serial).await.leaf_serial;
    for strange in ["41", "0199a0b0c0d07e0f8000000000000001", &"41".repeat(16)] {
        assert_eq!(fixture.status(strange).await, CertificateStatus::Unknown);
    }
    let mut other = request(&fixture.signer, &[&serial], None);
    // The last byte of the hash of the key.
    let at = other.len() - 18 - 1;
    other[at] ^= 1;
    let answer = fixture.signer.ocsp(&other).await;
    assert_eq!(&answer.der[..], [0x30, 3, 0x0a, 1, 6], "unauthorized");
    let answer = fixture.signer.ocsp(b"nonsense").await;
    assert_eq!(&answer.der[..], [0x30, 3, 0x0a, 1, 1], "malformedRequest");
}

#[tokio::test]
async fn an_answer_repeats_the_nonce_and_comes_from_a_delegate_of_thirty_days() {
    use x509_cert::ext::pkix::ExtendedKeyUsage;
    let fixture = Fixture::new().await;
    let ask = async |nonce: Option<&[u8]>| {
        let answer = fixture
            .signer
            .ocsp(&request(&fixture.signer, &["41", "42"], nonce))
            .await;
        read(&answer.der).unwrap()
    };
    let answer = ask(Some(&[7; 32])).await;
    assert_eq!(answer.nonce.as_deref(), Some(&[7; 32][..]));
    assert_eq!(
        answer.statuses,
        [CertificateStatus::Unknown, CertificateStatus::Unknown]
    );
    let until = OffsetDateTime::UNIX_EPOCH + answer.next_update.unix_duration();
    assert_eq!(until, whole_seconds(fixture.now()) + DEFAULT_CRL_PERIOD);
    let tbs = answer.responder.tbs_certificate();
    let (_, usage) = tbs.get_extension::<ExtendedKeyUsage>().unwrap().unwrap();
    assert_eq!(usage.0, [der::oid::db::rfc5280::ID_KP_OCSP_SIGNING]);
    let extensions = tbs.extensions().unwrap().iter();
    let mut oids = extensions.map(|extension| extension.extn_id.to_string());
    assert!(oids.any(|oid| oid == "1.3.6.1.5.5.7.48.1.5"), "no-check");

    assert_eq!(ask(None).await.responder, answer.responder);
    fixture.advance(Duration::days(16));
    assert_ne!(ask(None).await.responder, answer.responder);
}

#[tokio::test]
async fn answers_are_kept_until_something_is_revoked_or_half_their_time_is_over() {
    let fixture = Fixture::new().await;
    fixture.profile("ci-build", LeafPolicy::default()).await;
    let (one, two) = (
        fixture.sign("ci-build").await.unwrap(),
        fixture.sign("ci-build").await.unwrap(),
    );
    let serial = fixture.job(&one).await.leaf_serial;
    let question = request(&fixture.signer, &[&serial], None);
    let ask = async || fixture.signer.ocsp(&question).await;
    let first = ask().await;
    assert_eq!(ask().await, first);
    fixture.advance(DEFAULT_CRL_PERIOD / 2);
    let second = ask().await;
    assert_ne!(second, first);
    assert_eq!(ask().await, second);
    fixture
        .signer
        .revoke_job(&admin(), two.job, ("x", false))
        .await
        .unwrap();
    assert_ne!(ask().await, second);
    let with_nonce = request(&fixture.signer, &[&serial], Some(&[1; 8]));
    let ask = async || fixture.signer.ocsp(&with_nonce).await;
    assert_ne!(ask().await, ask().await);
}
