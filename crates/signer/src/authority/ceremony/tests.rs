//! Tests of the ceremony: a root elsewhere, several intermediates, and what is refused.

use time::Duration;

use super::*;
use crate::Authority;
use crate::authority::request::CertificateRequest;
use crate::authority::tests::{NOW, config, open, sealed};
use crate::authority::{IssuerRole, Leaf};
use crate::custody::{KdfCost, SealedFolder, UnlockSecret};

struct Places {
    service: tempfile::TempDir,
    root: tempfile::TempDir,
}

impl Places {
    fn new() -> Self {
        Self {
            service: tempfile::tempdir().unwrap(),
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn root(&self) -> RootAuthority {
        let secret = UnlockSecret::parse(b"another passphrase than that".to_vec()).unwrap();
        let keys = SealedFolder::open(self.root.path(), secret, KdfCost::TESTS_ONLY).unwrap();
        RootAuthority::make(self.root.path(), &AuthoritySubject::default(), &keys, NOW).unwrap()
    }

    /// Does something with the service's half.
    fn with<T>(&self, act: impl FnOnce(&Ceremony<'_>) -> T) -> T {
        let (config, keys) = (config(self.service.path()), sealed(self.service.path()));
        std::fs::create_dir_all(&config.folder).unwrap();
        act(&Ceremony::new(&config, keys.as_ref()))
    }

    /// The whole ceremony, by request, certificate and import.
    fn complete(&self) -> RootAuthority {
        let root = self.root();
        for role in IssuerRole::ALL {
            let certified = self.certified(&root, role);
            let imported = self.import(certified.as_bytes()).unwrap();
            let expected = role;
            assert!(
                matches!(imported, Imported::Intermediate { role, generation: 1, .. } if role == expected)
            );
        }
        let list = root.refresh_list(NOW).unwrap();
        self.with(|ceremony| ceremony.import_list(&list.der))
            .unwrap();
        root
    }

    fn certified(&self, root: &RootAuthority, role: IssuerRole) -> String {
        let request = self.with(|ceremony| {
            let subject = ceremony.subject().unwrap();
            let request = ceremony.request(role, &subject).unwrap();
            let key = |text: &str| {
                let request = CertificateRequest::from_pem(text.as_bytes()).unwrap();
                rcgen::PublicKeyData::der_bytes(&request.key).to_vec()
            };
            let again = ceremony.request(role, &subject).unwrap();
            assert_eq!(key(&again), key(&request), "of the same key");
            request
        });
        let request = CertificateRequest::from_pem(request.as_bytes()).unwrap();
        let url = "http://127.0.0.1:5000/pki/root.crl";
        root.certify(&request, Some(url), NOW).unwrap()
    }

    fn import(&self, text: &[u8]) -> Result<Imported, AuthorityError> {
        self.with(|ceremony| ceremony.import(text, NOW))
    }

    fn authority(&self) -> Result<Authority, AuthorityError> {
        open(self.service.path(), NOW)
    }
}

fn leaf(authority: &Authority) -> Leaf {
    let times = LeafTimes {
        not_before: NOW,
        not_after: NOW + Duration::HOUR,
    };
    let key = LeafKey::generate(KeyAlgorithm::P256).unwrap();
    let name = "ci-build".parse().unwrap();
    authority
        .issue_leaf(&name, times, (key, LeafSerial::Random))
        .unwrap()
}

#[test]
fn a_root_that_is_elsewhere_makes_an_authority() {
    let places = Places::new();
    let root = places.complete();
    let authority = places.authority().unwrap();
    assert!(!authority.root_key_beside());
    assert!(!places.service.path().join("keys/root.key").exists());
    assert_eq!(authority.root_pem(), root.certificate_pem().unwrap());
    assert!(authority.timestamping().is_some());
    let chain = leaf(&authority).chain;
    trust::CertificateChain::from_ders(&chain)
        .unwrap()
        .check_rules()
        .unwrap();
}

#[test]
fn the_next_intermediate_issues_and_the_one_before_goes_on_answering() {
    let places = Places::new();
    let root = places.complete();
    let first = places.authority().unwrap();
    let before = leaf(&first);
    places
        .with(|ceremony| ceremony.renew(&root, IssuerRole::Signing, NOW))
        .unwrap();
    let second = places.authority().unwrap();
    let after = leaf(&second);
    assert_eq!((before.issuer, after.issuer), (1, 2));
    assert_ne!(second.crl_url(), first.crl_url());
    let ids: Vec<_> = second.list_urls().into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [first.current().key_id(), second.current().key_id()]);
    assert_eq!(second.root_pem(), first.root_pem());
    // Each list is signed by the key that signed the leaf.
    let old = second.issuer_by_key(&ids[0]).unwrap();
    assert_eq!(old.chain()[0], before.chain[1]);
}

#[test]
fn a_revoked_intermediate_signs_no_more_until_there_is_another() {
    let places = Places::new();
    let root = places.complete();
    let revoked = std::fs::read(places.service.path().join("keys/intermediate.pem")).unwrap();
    let revoked = crate::authority::first_certificate(&revoked).unwrap();
    let list = root.revoke(&revoked, NOW).unwrap();
    let imported = places
        .with(|ceremony| ceremony.import_list(&list.der))
        .unwrap();
    assert_eq!(imported, Imported::RootList { revoked: 1 });
    let refused = places.authority().err().unwrap();
    assert!(
        matches!(refused, AuthorityError::Revoked { .. }),
        "{refused}"
    );
    places
        .with(|ceremony| ceremony.renew(&root, IssuerRole::Signing, NOW))
        .unwrap();
    let authority = places.authority().unwrap();
    assert_eq!(leaf(&authority).issuer, 2);
    let shown = places.with(|ceremony| ceremony.show()).unwrap();
    let revoked = shown.certificates.iter().filter(|one| one.revoked);
    assert_eq!(
        revoked.map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["intermediate"]
    );
    // A fresh list forgets nothing, and an older one is not taken.
    let fresh = root.refresh_list(NOW).unwrap();
    assert_eq!(fresh.entries, list.entries);
    assert!(fresh.number > list.number);
    places
        .with(|ceremony| ceremony.import_list(&fresh.der))
        .unwrap();
    let older = places
        .with(|ceremony| ceremony.import_list(&list.der))
        .unwrap_err();
    assert!(older.to_string().contains("a newer list"), "{older}");
}

#[test]
fn what_another_root_signed_is_refused() {
    let (ours, theirs) = (Places::new(), Places::new());
    ours.complete();
    let their_root = theirs.complete();
    let list = their_root.refresh_list(NOW).unwrap();
    let refused = ours
        .with(|ceremony| ceremony.import_list(&list.der))
        .unwrap_err();
    assert!(
        refused.to_string().contains("not signed by the root"),
        "{refused}"
    );
    let certificate = std::fs::read(theirs.service.path().join("keys/intermediate.pem")).unwrap();
    let refused = ours.import(&certificate).unwrap_err().to_string();
    assert!(refused.contains("none of the keys that asked"), "{refused}");
    let refused = ours.import(b"nonsense").err().unwrap();
    assert!(
        matches!(refused, AuthorityError::Der(_) | AuthorityError::Unfit(_)),
        "{refused}"
    );
}

/// One certificate each, of a key that asked, which is wrong in one thing.
#[test]
fn an_intermediate_that_verifiers_would_refuse_is_refused_here() {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    };
    let places = Places::new();
    let request = places.with(|ceremony| {
        ceremony
            .request(IssuerRole::Signing, &AuthoritySubject::default())
            .unwrap()
    });
    let request = CertificateRequest::from_pem(request.as_bytes()).unwrap();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let mut root = CertificateParams::default();
    root.distinguished_name
        .push(rcgen::DnType::CommonName, "Corporate Root");
    root.not_before = NOW - Duration::days(1);
    root.not_after = NOW + Duration::days(4000);
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root_pem = root.clone().self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(root.clone(), key);
    let attempt = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = root.clone();
        let name = AuthoritySubject::default()
            .with_common_name("Team CA")
            .unwrap();
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let signed = params.signed_by(&request.key, &issuer).unwrap().pem();
        places.import((signed + &root_pem).as_bytes())
    };
    type Change = &'static dyn Fn(&mut CertificateParams);
    let table: [(Change, &str); 7] = [
        (&|p| p.is_ca = IsCa::ExplicitNoCa, "it is no CA"),
        (
            &|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign],
            "keyCertSign and cRLSign",
        ),
        (
            &|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            "extended key usage",
        ),
        (
            &|p| p.not_after = NOW + Duration::days(29),
            "less than 30 days",
        ),
        (&|p| p.not_before = NOW + Duration::days(1), "not valid yet"),
        (
            &|p| {
                let mut extension =
                    rcgen::CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
                extension.set_criticality(true);
                p.custom_extensions = vec![extension];
            },
            "critical extension 1.2.3",
        ),
        (
            &|p| {
                p.distinguished_name = rcgen::DistinguishedName::new();
                p.distinguished_name
                    .push(rcgen::DnType::CommonName, "Team CA");
            },
            "names no country",
        ),
    ];
    for (change, expected) in table {
        let refused = attempt(change).unwrap_err().to_string();
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
    attempt(&|_| {}).unwrap();
    let authority = places.authority().unwrap();
    assert_eq!(authority.root_pem(), root_pem);
    assert!(authority.timestamping().is_none());
    let chain = leaf(&authority).chain;
    trust::CertificateChain::from_ders(&chain)
        .unwrap()
        .check_rules()
        .unwrap();
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let places = Places::new();
    let request = places.with(|ceremony| {
        ceremony
            .request(IssuerRole::Signing, &AuthoritySubject::default())
            .unwrap()
    });
    let (_, mut der) = der::Document::from_pem(&request).unwrap();
    let mut bytes = der.to_vec();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    der = der::Document::try_from(bytes).unwrap();
    let pem = der
        .to_pem("CERTIFICATE REQUEST", der::pem::LineEnding::LF)
        .unwrap();
    let refused = CertificateRequest::from_pem(pem.as_bytes())
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("not signed by the key"), "{refused}");
}
