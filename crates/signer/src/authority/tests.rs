//! Tests of the authority: shapes of certificates and lists, and what happens on disk.

use der::{Decode as _, Encode as _};
use time::Duration;
use time::macros::datetime;
use x509_cert::Certificate;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::{BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage};

use super::*;
use crate::custody::{KeyAlgorithm, SealedFolder, UnlockSecret};
use crate::keys::LeafKey;

pub(super) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn custody(folder: &Path, secret: &str) -> Arc<dyn Custody> {
    let secret = UnlockSecret::parse(secret.as_bytes().to_vec()).unwrap();
    let keys = folder.join("keys");
    Arc::new(SealedFolder::open(&keys, secret, KdfCost::TESTS_ONLY).unwrap())
}

pub(super) fn sealed(folder: &Path) -> Arc<dyn Custody> {
    custody(folder, "correct horse battery staple")
}

pub(super) fn config(folder: &Path) -> AuthorityConfig {
    AuthorityConfig {
        folder: folder.join("keys"),
        subject: AuthoritySubject::default(),
        pki: PkiSettings {
            crl_url: Some("http://127.0.0.1:5000/pki/ca.crl".to_owned()),
            ocsp_url: Some("http://127.0.0.1:5000/pki/ocsp".to_owned()),
            root_crl_url: Some("http://127.0.0.1:5000/pki/root.crl".to_owned()),
            ..PkiSettings::default()
        },
        kdf_cost: KdfCost::TESTS_ONLY,
    }
}

pub(super) fn open(folder: &Path, now: OffsetDateTime) -> Result<Authority, AuthorityError> {
    Authority::open(config(folder), sealed(folder), now)
}

fn leaf(authority: &Authority) -> Leaf {
    let times = LeafTimes {
        not_before: NOW,
        not_after: NOW + LEAF_LIFE,
    };
    let name = "ci-build".parse().unwrap();
    let key = LeafKey::generate(KeyAlgorithm::P384).unwrap();
    let key = (key, LeafSerial::Random);
    authority.issue_leaf(&name, times, key).unwrap()
}

fn parsed(chain: &[Vec<u8>]) -> Vec<Certificate> {
    chain
        .iter()
        .map(|der| Certificate::from_der(der).unwrap())
        .collect()
}

/// The critical bit and the value of an extension.
fn extension<T: for<'a> der::Decode<'a, Error = der::Error> + der::oid::AssociatedOid>(
    certificate: &Certificate,
) -> Option<(bool, T)> {
    certificate.tbs_certificate().get_extension::<T>().unwrap()
}

#[test]
fn the_chain_has_the_shape_that_notation_wants() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), NOW).unwrap();
    let chain = parsed(&leaf(&authority).chain);
    let [leaf, intermediate, root] = &chain[..] else {
        panic!("three certificates")
    };

    for (certificate, path_length) in [(root, None), (intermediate, Some(0))] {
        let (critical, basic) = extension::<BasicConstraints>(certificate).unwrap();
        assert!(critical && basic.ca);
        assert_eq!(basic.path_len_constraint, path_length);
        let (critical, usage) = extension::<KeyUsage>(certificate).unwrap();
        assert!(critical && usage.key_cert_sign() && usage.crl_sign());
        assert!(!usage.digital_signature());
        let has_list = extension::<CrlDistributionPoints>(certificate).is_some();
        assert_eq!(has_list, certificate == intermediate, "the root's list");
    }
    let (critical, usage) = extension::<KeyUsage>(leaf).unwrap();
    assert!(critical && usage.digital_signature());
    assert_eq!(usage.0.into_iter().count(), 1, "digitalSignature only");
    let (_, extended) = extension::<ExtendedKeyUsage>(leaf).unwrap();
    assert_eq!(extended.0, [der::oid::db::rfc5280::ID_KP_CODE_SIGNING]);
    assert!(extension::<BasicConstraints>(leaf).is_none_or(|(_, basic)| !basic.ca));
    assert!(extension::<CrlDistributionPoints>(leaf).is_some());

    let name = |certificate: &Certificate| certificate.tbs_certificate().subject().to_string();
    assert_eq!(name(leaf), "CN=ci-build,O=Countersign,ST=WA,C=US");
    for (child, parent) in [(leaf, intermediate), (intermediate, root), (root, root)] {
        let issuer = child.tbs_certificate().issuer();
        assert_eq!(issuer, parent.tbs_certificate().subject());
        assert_signed(child, parent);
    }
}

/// Checks ECDSA with SHA-384 over the exact bytes.
fn assert_signed(child: &Certificate, parent: &Certificate) {
    assert_eq!(
        child.signature_algorithm().oid.to_string(),
        "1.2.840.10045.4.3.3"
    );
    let point = parent.tbs_certificate().subject_public_key_info();
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P384_SHA384_ASN1,
        point.subject_public_key.raw_bytes(),
    );
    let body = child.tbs_certificate().to_der().unwrap();
    key.verify(&body, child.signature().raw_bytes()).unwrap();
}

#[test]
fn each_leaf_has_its_own_key_and_serial() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), NOW).unwrap();
    let (one, two) = (leaf(&authority), leaf(&authority));
    assert_ne!(one.serial, two.serial);
    assert_ne!(one.fingerprints[0], two.fingerprints[0]);
    assert_eq!(one.fingerprints[1..], two.fingerprints[1..]);
    let serial = parsed(&one.chain)[0]
        .tbs_certificate()
        .serial_number()
        .to_string();
    assert_eq!(serial.replace(':', "").to_lowercase(), one.serial);
}

#[test]
fn an_authority_is_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), NOW).unwrap();
    let mut changed = config(folder.path());
    changed.subject.organization = "Other".to_owned();
    let later = NOW + Duration::days(300);
    let second = Authority::open(changed, sealed(folder.path()), later).unwrap();
    assert_eq!(first.chain_pem(), second.chain_pem());
    // The subject is that of the root, whatever is configured now.
    assert_eq!(second.subject().organization, "Countersign");
    let chain = parsed(&leaf(&second).chain);
    assert_signed(&chain[0], &chain[1]);
}

#[test]
fn an_intermediate_is_renewed_in_time_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let before = open(folder.path(), NOW).unwrap();
    let just_before = NOW + INTERMEDIATE_LIFE - INTERMEDIATE_RENEWAL;
    assert_eq!(
        open(folder.path(), just_before).unwrap().chain_pem(),
        before.chain_pem()
    );
    let after = open(folder.path(), just_before + Duration::SECOND).unwrap();
    assert_eq!(after.root_pem(), before.root_pem());
    assert_ne!(after.chain_pem(), before.chain_pem());
    // A leaf of before and one of after are signed by the same key.
    let (old, new) = (parsed(&leaf(&before).chain), parsed(&leaf(&after).chain));
    assert_signed(&old[0], &new[1]);
    assert_signed(&new[1], &new[2]);
}

#[test]
fn another_secret_does_not_open_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), NOW).unwrap();
    let other = custody(folder.path(), "incorrect horse battery");
    let refused = Authority::open(config(folder.path()), other, NOW);
    assert!(matches!(
        refused.err().unwrap(),
        AuthorityError::Custody(CustodyError::Locked { .. })
    ));
}

#[test]
fn a_lost_key_is_an_error_and_not_a_new_key() {
    for name in ["intermediate", "timestamping-ca"] {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), NOW).unwrap();
        std::fs::remove_file(folder.path().join(format!("keys/{name}.key"))).unwrap();
        let refused = open(folder.path(), NOW).err().unwrap();
        assert!(
            matches!(refused, AuthorityError::KeyMissing { .. }),
            "{name}"
        );
    }
}

#[test]
fn the_root_key_may_be_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let beside = open(folder.path(), NOW).unwrap();
    assert!(beside.root_key_beside());
    std::fs::remove_file(folder.path().join("keys/root.key")).unwrap();
    let elsewhere = open(folder.path(), NOW).unwrap();
    assert!(!elsewhere.root_key_beside());
    assert_eq!(elsewhere.chain_pem(), beside.chain_pem());
    let chain = parsed(&leaf(&elsewhere).chain);
    assert_signed(&chain[0], &chain[1]);
}

#[test]
fn a_key_of_another_authority_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(one.path(), NOW).unwrap();
    open(two.path(), NOW).unwrap();
    let name = "keys/intermediate.key";
    std::fs::copy(two.path().join(name), one.path().join(name)).unwrap();
    let refused = open(one.path(), NOW).err().unwrap().to_string();
    assert!(
        refused.contains("not the certificate of key `intermediate`"),
        "{refused}"
    );
}

#[test]
fn making_an_authority_resumes_where_it_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), NOW).unwrap();
    for name in ["intermediate.pem", "intermediate.key"] {
        std::fs::remove_file(folder.path().join("keys").join(name)).unwrap();
    }
    let second = open(folder.path(), NOW).unwrap();
    assert_eq!(first.root_pem(), second.root_pem());
    assert_ne!(first.chain_pem(), second.chain_pem());
}

#[test]
fn a_leaf_says_where_its_list_and_its_responder_are() {
    use x509_cert::ext::pkix::AuthorityInfoAccessSyntax;
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), NOW).unwrap();
    let leaf = leaf(&authority);
    let list = format!(
        "http://127.0.0.1:5000/pki/crl/{}.crl",
        authority.current().key_id()
    );
    assert_eq!(authority.crl_url(), Some(list.clone()));
    let text = String::from_utf8_lossy(&leaf.chain[0]).into_owned();
    assert!(text.contains(&list));
    let certificate = &parsed(&leaf.chain)[0];
    let (critical, access) = extension::<AuthorityInfoAccessSyntax>(certificate).unwrap();
    assert!(!critical);
    assert_eq!(access.0.len(), 1);
    assert!(text.contains("http://127.0.0.1:5000/pki/ocsp"));
}

#[test]
fn a_list_holds_what_was_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), NOW).unwrap();
    let entry = |serial: u8, invalid_from| RevocationEntry {
        serial: vec![serial, 1],
        revoked_at: NOW,
        invalid_from,
    };
    let times = CrlTimes {
        this_update: NOW,
        next_update: NOW + Duration::minutes(10),
    };
    let entries = [
        entry(0x41, None),
        entry(0x42, Some(NOW - Duration::days(1))),
    ];
    let der = authority.current().sign_crl(300, times, &entries).unwrap();
    let list = CertificateList::<Rfc5280>::from_der(&der).unwrap();
    let revoked = list.tbs_cert_list.revoked_certificates.unwrap();
    let oids = |index: usize| {
        let extensions = revoked[index].crl_entry_extensions.iter().flatten();
        extensions
            .map(|e| (e.extn_id.to_string(), e.critical))
            .collect::<Vec<_>>()
    };
    let reason = ("2.5.29.21".to_owned(), false);
    assert_eq!(oids(0), std::slice::from_ref(&reason));
    assert_eq!(oids(1), [reason, ("2.5.29.24".to_owned(), false)]);
    let critical = |e: &x509_cert::ext::Extension| e.critical;
    assert!(
        !list
            .tbs_cert_list
            .crl_extensions
            .unwrap()
            .iter()
            .any(critical)
    );

    let empty = authority.current().sign_crl(301, times, &[]).unwrap();
    let empty = CertificateList::<Rfc5280>::from_der(&empty).unwrap();
    assert!(empty.tbs_cert_list.revoked_certificates.is_none());
}
