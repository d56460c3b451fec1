//! Revocation lists as evidence.

use testkit::rcgen::{
    CertificateRevocationListParams, CrlIssuingDistributionPoint, CrlScope, RevocationReason,
    RevokedCertParams,
};
use testkit::{
    KeyKind, NOW, TestCertificate, after, authority_params, before, crl_at, crl_params,
    leaf_params, revoked,
};
use trust::{FailureCode, RevocationStatus, revocation_needs};

use crate::world::{World, failures};

const LEAF_LIST: &str = "http://pki.example/intermediate.crl";

/// A world whose leaf names a revocation list.
fn world() -> World {
    let world = World::new(KeyKind::P256);
    let mut params = leaf_params("ci-build");
    params.crl_distribution_points = vec![crl_at(LEAF_LIST)];
    let leaf = world.intermediate.issue(params, KeyKind::P256);
    world.with_leaf(leaf)
}

/// What is wrong once this list of the intermediate is known.
fn with_list(world: &mut World, list: &CertificateRevocationListParams) -> String {
    let der = world.intermediate.crl(list);
    let _ = world.evidence.add_crl(LEAF_LIST, &der, world.now);
    world.failures()
}

fn entry(leaf: &TestCertificate, reason: RevocationReason) -> RevokedCertParams {
    RevokedCertParams {
        reason_code: Some(reason),
        ..revoked(leaf, before(1))
    }
}

#[test]
fn a_certificate_that_names_no_list_is_good() {
    assert_eq!(World::new(KeyKind::P256).failures(), "");
}

#[test]
fn a_certificate_that_is_not_on_the_list_is_good() {
    let mut world = world();
    let other = world
        .intermediate
        .issue(leaf_params("other"), KeyKind::P256);
    let list = crl_params(vec![revoked(&other, before(1))]);
    assert_eq!(with_list(&mut world, &list), "");
}

#[test]
fn without_the_list_revocation_is_unknown() {
    let world = world();
    let outcome = world.verify(&world.envelope());
    assert_eq!(outcome.failures()[0].code, FailureCode::RevocationUnknown);
    insta::assert_snapshot!(failures(&outcome), @"revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the revocation list was not fetched");
}

#[test]
fn a_revoked_certificate_fails_revocation_and_nothing_else() {
    let mut lines = Vec::new();
    for reason in [
        RevocationReason::Unspecified,
        RevocationReason::KeyCompromise,
        RevocationReason::CertificateHold,
        RevocationReason::PrivilegeWithdrawn,
    ] {
        let mut world = world();
        let list = crl_params(vec![entry(&world.leaf, reason)]);
        lines.push(with_list(&mut world, &list));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-02-28T12:00:00Z (unspecified)
    revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-02-28T12:00:00Z (keyCompromise)
    revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-02-28T12:00:00Z (certificateHold)
    revocation (enforce) signature-revoked: `CN=ci-build,O=Example,ST=WA,C=US` was revoked as of 2026-02-28T12:00:00Z (privilegeWithdrawn)
    "#);
}

#[test]
fn what_was_signed_before_the_certificate_became_invalid_stays_good() {
    let signed = NOW - time::Duration::HOUR;
    let with_date = |date, reason| {
        let mut world = world();
        let mut entry = entry(&world.leaf, reason);
        entry.invalidity_date = Some(date);
        with_list(&mut world, &crl_params(vec![entry]))
    };
    let compromised = RevocationReason::KeyCompromise;
    let later = signed + time::Duration::SECOND;
    assert_eq!(with_date(later, compromised), "");
    assert_ne!(with_date(signed, compromised), "");
    assert_ne!(with_date(later, RevocationReason::CertificateHold), "");
}

#[test]
fn without_an_authentic_time_the_date_of_invalidity_does_not_help() {
    let mut world = world();
    world.request.scheme = trust::SigningScheme::X509;
    world.statement()["trustStores"] = serde_json::json!(["ca:example"]);
    let mut entry = revoked(&world.leaf, before(1));
    entry.invalidity_date = Some(after(1));
    assert_ne!(with_list(&mut world, &crl_params(vec![entry])), "");
}

#[test]
fn lists_that_say_nothing_leave_revocation_unknown() {
    let dated = |this_update, next_update| CertificateRevocationListParams {
        this_update,
        next_update,
        ..crl_params(Vec::new())
    };
    let scoped = |url: &str, scope| CertificateRevocationListParams {
        issuing_distribution_point: Some(CrlIssuingDistributionPoint {
            distribution_point: crl_at(url),
            scope,
        }),
        ..crl_params(Vec::new())
    };
    let cases = [
        ("expired", dated(before(9), before(1))),
        ("from the future", dated(after(1), after(2))),
        ("of another point", scoped("http://other.example/", None)),
        (
            "for authorities",
            scoped(LEAF_LIST, Some(CrlScope::CaCertsOnly)),
        ),
    ];
    let lines = cases.map(|(name, list)| {
        let found = with_list(&mut world(), &list);
        assert!(found.contains("revocation-unknown"), "{name}: {found}");
        format!("{name}\n  {found}")
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    expired
      revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the revocation list expired at 2026-02-28T12:00:00Z
    from the future
      revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the revocation list is from the future: issued at 2026-03-02T12:00:00Z
    of another point
      revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the revocation list belongs to another distribution point
    for authorities
      revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the revocation list is about another kind of certificate
    "#);
    // Made while it was fetched, by a clock that is a little ahead.
    let ahead = CertificateRevocationListParams {
        this_update: NOW + time::Duration::seconds(2),
        ..dated(before(1), after(2))
    };
    assert_eq!(with_list(&mut world(), &ahead), "");
    let users = scoped(LEAF_LIST, Some(CrlScope::UserCertsOnly));
    assert_eq!(with_list(&mut world(), &users), "");
}

#[test]
fn an_expired_list_still_revokes_but_not_for_a_hold() {
    let expired = |reason| {
        let mut world = world();
        let list = CertificateRevocationListParams {
            this_update: before(9),
            next_update: before(1),
            ..crl_params(vec![entry(&world.leaf, reason)])
        };
        with_list(&mut world, &list)
    };
    assert!(expired(RevocationReason::KeyCompromise).contains("signature-revoked"));
    assert!(expired(RevocationReason::CertificateHold).contains("revocation-unknown"));
}

#[test]
fn only_the_issuer_of_the_certificate_signs_its_list() {
    let list = crl_params(Vec::new());
    let stranger = testkit::root(authority_params("Intermediate"), KeyKind::P256);
    let root = world().root;
    let lines = [("a stranger", stranger), ("the root", root)].map(|(name, signer)| {
        let mut world = world();
        let der = signer.crl(&list);
        world.evidence.add_crl(LEAF_LIST, &der, NOW).unwrap();
        format!("{name}\n  {}", world.failures())
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    a stranger
      revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the signature of the revocation list is not the issuer's
    the root
      revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the revocation list is another issuer's
    "#);
}

#[test]
fn an_authority_that_may_not_sign_lists_signs_none() {
    let world = World::new(KeyKind::P256);
    let mut params = authority_params("Intermediate");
    params.key_usages = vec![testkit::rcgen::KeyUsagePurpose::KeyCertSign];
    let mut intermediate = world.root.issue(params, KeyKind::P256);
    let mut params = leaf_params("ci-build");
    params.crl_distribution_points = vec![crl_at(LEAF_LIST)];
    let leaf = intermediate.issue(params, KeyKind::P256);
    let mut world = world.with_leaf(leaf);
    // The maker of certificates would refuse, too; a careless authority would not.
    intermediate.params.key_usages = Vec::new();
    let der = intermediate.crl(&crl_params(Vec::new()));
    world.evidence.add_crl(LEAF_LIST, &der, NOW).unwrap();
    insta::assert_snapshot!(world.failures(), @"revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: the issuer may not sign revocation lists");
}

#[test]
fn a_second_address_is_tried_when_the_first_gives_nothing() {
    let world = World::new(KeyKind::P256);
    let mut params = leaf_params("ci-build");
    let second = "http://mirror.example/intermediate.crl";
    params.crl_distribution_points = vec![crl_at(LEAF_LIST), crl_at(second)];
    let leaf = world.intermediate.issue(params, KeyKind::P256);
    let mut world = world.with_leaf(leaf);
    world.evidence.add_failure(LEAF_LIST, "connection refused");
    insta::assert_snapshot!(world.failures(), @"revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `http://pki.example/intermediate.crl`: connection refused; `http://mirror.example/intermediate.crl`: the revocation list was not fetched");
    let der = world.intermediate.crl(&crl_params(Vec::new()));
    let pem = testkit::pem("X509 CRL", &der);
    world.evidence.add_crl(second, pem.as_bytes(), NOW).unwrap();
    assert_eq!(world.failures(), "");
}

#[test]
fn a_revoked_authority_revokes_what_is_below() {
    let world = World::new(KeyKind::P256);
    let url = "http://pki.example/root.crl";
    let mut params = authority_params("Intermediate");
    params.crl_distribution_points = vec![crl_at(url)];
    let intermediate = world.root.issue(params, KeyKind::P256);
    let mut params = leaf_params("ci-build");
    params.crl_distribution_points = vec![crl_at(LEAF_LIST)];
    let leaf = intermediate.issue(params, KeyKind::P256);
    let mut world = world.with_leaf(leaf);
    let envelope = world.envelope();
    let needs = revocation_needs(&oci::MediaType::JOSE_JSON, &envelope);
    assert_eq!(needs, [LEAF_LIST, url]);
    let der = world
        .root
        .crl(&crl_params(vec![revoked(&intermediate, before(1))]));
    world.evidence.add_crl(url, &der, NOW).unwrap();
    // The leaf's own list is missing, which is the lesser news.
    insta::assert_snapshot!(world.failures(), @"revocation (enforce) signature-revoked: `CN=Intermediate,O=Example,ST=WA,C=US` was revoked as of 2026-02-28T12:00:00Z (unspecified)");
}

#[test]
fn addresses_that_are_not_http_are_not_fetched() {
    let world = World::new(KeyKind::P256);
    let mut params = leaf_params("ci-build");
    params.crl_distribution_points = vec![crl_at("ldap://pki.example/cn=x")];
    let leaf = world.intermediate.issue(params, KeyKind::P256);
    let world = world.with_leaf(leaf);
    let envelope = world.envelope();
    assert!(revocation_needs(&oci::MediaType::JOSE_JSON, &envelope).is_empty());
    insta::assert_snapshot!(world.failures(), @"revocation (enforce) revocation-unknown: `CN=ci-build,O=Example,ST=WA,C=US`: `ldap://pki.example/cn=x`: only `http` addresses are fetched");
}

#[test]
fn the_level_decides_what_revocation_means() {
    let mut world = world();
    world.set_level("permissive");
    assert!(world.verify(&world.envelope()).is_trusted());
    let skip = serde_json::json!({"level": "strict", "override": {"revocation": "skip"}});
    world.statement()["signatureVerification"] = skip;
    let outcome = world.verify(&world.envelope());
    assert!(outcome.is_trusted() && outcome.failures().is_empty());
}

#[test]
fn a_status_that_is_known_from_elsewhere_goes_before_lists() {
    let mut world = world();
    let digest = world.leaf.sha256().to_uppercase();
    world.evidence.set(&digest, RevocationStatus::Good);
    assert_eq!(world.failures(), "");
    let status = RevocationStatus::Revoked {
        at: NOW,
        reason: "job".to_owned(),
    };
    world.evidence.set(&digest, status);
    assert!(world.failures().contains("signature-revoked"));
}

#[test]
fn attestations_are_judged_by_revocation_too() {
    let mut world = world();
    world.media_type = oci::MediaType::DSSE;
    let envelope = world.attestation(&world.provenance());
    assert_eq!(
        revocation_needs(&oci::MediaType::DSSE, &envelope),
        [LEAF_LIST]
    );
    let list = crl_params(vec![revoked(&world.leaf, before(1))]);
    let der = world.intermediate.crl(&list);
    world.evidence.add_crl(LEAF_LIST, &der, NOW).unwrap();
    let outcome = world.verify_attestation(&envelope);
    assert_eq!(outcome.failures()[0].code, FailureCode::SignatureRevoked);
    assert_eq!(outcome.statement, None);
}

#[test]
fn bytes_that_are_no_list_are_refused_and_remembered() {
    let mut world = world();
    let html = b"<html>not found</html>";
    let error = world.evidence.add_crl(LEAF_LIST, html, NOW).unwrap_err();
    assert!(error.to_string().starts_with("not a revocation list"));
    assert!(world.failures().contains("not a revocation list"));
}
