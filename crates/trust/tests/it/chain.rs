//! The rules for certificate chains: each bent alone, under a trusted root.

use testkit::rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose,
};
use testkit::{KeyKind, TestCertificate, authority_params, leaf_params, root};
use trust::{FailureCode, StoreKind};

use crate::world::{World, failures, stable};

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];

fn leaf(bend: impl Fn(&mut CertificateParams)) -> World {
    let world = World::new(KeyKind::P256);
    let mut params = leaf_params("ci-build");
    bend(&mut params);
    let leaf = world.intermediate.issue(params, KeyKind::P256);
    world.with_leaf(leaf)
}

/// A world whose intermediate is bent.
fn authority(bend: impl Fn(&mut CertificateParams)) -> World {
    let world = World::new(KeyKind::P256);
    let mut params = authority_params("Intermediate");
    bend(&mut params);
    let intermediate = world.root.issue(params, KeyKind::P256);
    let leaf = intermediate.issue(leaf_params("ci-build"), KeyKind::P256);
    world.with_leaf(leaf)
}

fn chained(bend: impl Fn(&World, &mut Vec<Vec<u8>>)) -> World {
    let mut world = World::new(KeyKind::P256);
    let mut chain = world.request.chain.clone();
    bend(&world, &mut chain);
    world.request.chain = chain;
    world
}

/// An extension of DER bytes.
fn extension(oid: &[u64], critical: bool, content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

fn usages(usages: &[KeyUsagePurpose]) -> World {
    leaf(|params| params.key_usages = usages.to_vec())
}

fn cases() -> Vec<(&'static str, World)> {
    use ExtendedKeyUsagePurpose as Use;
    use KeyUsagePurpose::{
        ContentCommitment, CrlSign, DataEncipherment, DecipherOnly, DigitalSignature, EncipherOnly,
        KeyAgreement, KeyCertSign, KeyEncipherment,
    };
    let forbidden = |usage| usages(&[DigitalSignature, usage]);
    let used = |purpose: Use| leaf(move |params| params.extended_key_usages.push(purpose.clone()));
    vec![
        ("key encipherment", forbidden(KeyEncipherment)),
        ("data encipherment", forbidden(DataEncipherment)),
        ("key agreement", forbidden(KeyAgreement)),
        ("certificate signing", forbidden(KeyCertSign)),
        ("list signing", forbidden(CrlSign)),
        ("encipher only", forbidden(EncipherOnly)),
        ("decipher only", forbidden(DecipherOnly)),
        ("no digital signature", usages(&[ContentCommitment])),
        ("no key usage", usages(&[])),
        (
            "key usage not critical",
            leaf(|params| {
                params.key_usages.clear();
                let usage = extension(KEY_USAGE, false, &[3, 2, 7, 128]);
                params.custom_extensions.push(usage);
            }),
        ),
        ("any use", used(Use::Any)),
        ("server authentication", used(Use::ServerAuth)),
        ("client authentication", used(Use::ClientAuth)),
        ("e-mail protection", used(Use::EmailProtection)),
        ("timestamping", used(Use::TimeStamping)),
        ("OCSP signing", used(Use::OcspSigning)),
        (
            "the leaf is an authority",
            leaf(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        (
            "an issuer without basic constraints",
            authority(|params| params.is_ca = IsCa::NoCa),
        ),
        (
            "an issuer that is no authority",
            authority(|params| params.is_ca = IsCa::ExplicitNoCa),
        ),
        (
            "basic constraints not critical",
            authority(|params| {
                params.is_ca = IsCa::NoCa;
                let constraints = extension(BASIC_CONSTRAINTS, false, &[48, 3, 1, 1, 255]);
                params.custom_extensions.push(constraints);
            }),
        ),
        (
            "an issuer without key usage",
            authority(|params| params.key_usages.clear()),
        ),
        (
            "an issuer that may not sign certificates",
            authority(|params| params.key_usages = vec![CrlSign]),
        ),
        ("a path that is too long", path_too_long()),
        ("no root", chained(|_, chain| drop(chain.pop()))),
        (
            "a missing intermediate",
            chained(|_, chain| drop(chain.remove(1))),
        ),
        ("the wrong order", chained(|_, chain| chain.swap(1, 2))),
        (
            "one certificate too many",
            chained(|world, chain| chain.push(world.root.der.clone())),
        ),
        ("a certificate with a broken signature", broken_signature()),
    ]
}

fn path_too_long() -> World {
    let world = World::new(KeyKind::P256);
    let mut params = authority_params("Short");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = world.root.issue(params, KeyKind::P256);
    let intermediate = short.issue(authority_params("Intermediate"), KeyKind::P256);
    let leaf = intermediate.issue(leaf_params("ci-build"), KeyKind::P256);
    world.with_leaf(leaf)
}

fn broken_signature() -> World {
    chained(|_, chain| {
        let last = chain[1].last_mut().unwrap();
        *last ^= 1;
    })
}

#[test]
fn each_broken_rule_makes_the_signer_untrusted() {
    let mut reasons = Vec::new();
    for (name, world) in cases() {
        let outcome = world.verify(&world.envelope());
        let found = outcome.failures();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].code, FailureCode::CertificateInvalid, "{name}");
        assert_eq!(outcome.signer, None, "{name}");
        reasons.push(format!("{name}: {}", found[0].reason));
    }
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    key encipherment: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for keyEncipherment
    data encipherment: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for dataEncipherment
    key agreement: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for keyAgreement
    certificate signing: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for keyCertSign
    list signing: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for cRLSign
    encipher only: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for encipherOnly
    decipher only: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for decipherOnly
    no digital signature: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` does not say, critically, that its key makes digital signatures
    no key usage: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` does not say, critically, that its key makes digital signatures
    key usage not critical: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` does not say, critically, that its key makes digital signatures
    any use: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for any extended key usage
    server authentication: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for server authentication
    client authentication: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for client authentication
    e-mail protection: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for e-mail protection
    timestamping: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for timestamping
    OCSP signing: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` may also be used for OCSP signing
    the leaf is an authority: the signing certificate `CN=ci-build,O=Example,ST=WA,C=US` is a certificate authority's
    an issuer without basic constraints: the authority `CN=Intermediate,O=Example,ST=WA,C=US` has no basic constraints
    an issuer that is no authority: the authority `CN=Intermediate,O=Example,ST=WA,C=US` does not say, critically, that it is a certificate authority
    basic constraints not critical: the authority `CN=Intermediate,O=Example,ST=WA,C=US` does not say, critically, that it is a certificate authority
    an issuer without key usage: the authority `CN=Intermediate,O=Example,ST=WA,C=US` does not say, critically, that its key signs certificates
    an issuer that may not sign certificates: the authority `CN=Intermediate,O=Example,ST=WA,C=US` does not say, critically, that its key signs certificates
    a path that is too long: the authority `CN=Short,O=Example,ST=WA,C=US` has more authorities below it than its path length allows
    no root: the chain ends at `CN=Intermediate,O=Example,ST=WA,C=US`, which is not a root: its issuer `CN=Root,O=Example,ST=WA,C=US` is missing
    a missing intermediate: `CN=ci-build,O=Example,ST=WA,C=US` is not signed by the next certificate, `CN=Root,O=Example,ST=WA,C=US`
    the wrong order: `CN=ci-build,O=Example,ST=WA,C=US` is not signed by the next certificate, `CN=Root,O=Example,ST=WA,C=US`
    one certificate too many: `CN=Root,O=Example,ST=WA,C=US` is signed by itself, but is not the last certificate
    a certificate with a broken signature: `CN=Intermediate,O=Example,ST=WA,C=US` is not signed by the next certificate, `CN=Root,O=Example,ST=WA,C=US`
    "#);
}

#[test]
fn an_issuer_is_not_known_by_its_name() {
    let world = World::new(KeyKind::P256);
    let stranger = root(authority_params("Intermediate"), KeyKind::P256);
    let leaf = stranger.issue(leaf_params("ci-build"), KeyKind::P256);
    let chain = vec![
        leaf.der.clone(),
        world.intermediate.der.clone(),
        world.root.der.clone(),
    ];
    let mut world = world.with_leaf(leaf);
    world.request.chain = chain;
    insta::assert_snapshot!(world.failures(), @"authenticity (enforce) certificate-invalid: `CN=ci-build,O=Example,ST=WA,C=US` is not signed by the next certificate, `CN=Intermediate,O=Example,ST=WA,C=US`");
}

#[test]
fn a_certificate_signed_with_sha1_is_refused() {
    // Nothing here can make one any more, so the algorithm in a certificate is rewritten; the
    // list of algorithms is looked at before the signature.
    let world = World::new(KeyKind::P256);
    let old = root(authority_params("Old"), KeyKind::Rsa2048);
    let mut leaf = old.issue(leaf_params("ci-build"), KeyKind::P256);
    leaf.der = replaced(&leaf.der);
    let mut world = world.with_leaf(leaf);
    world
        .store
        .add(StoreKind::SigningAuthority, "example", &old.der)
        .unwrap();
    insta::assert_snapshot!(world.failures(), @"authenticity (enforce) certificate-invalid: `CN=ci-build,O=Example,ST=WA,C=US` is not signed with RSA or ECDSA over SHA-256, SHA-384 or SHA-512");
}

/// Rewrites `sha256WithRSAEncryption` to `sha1WithRSAEncryption`.
fn replaced(der: &[u8]) -> Vec<u8> {
    const PREFIX: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    let mut der = der.to_vec();
    let places = der.windows(9).enumerate();
    let found = places.filter(|(_, bytes)| bytes.starts_with(PREFIX) && bytes[8] == 11);
    let found: Vec<usize> = found.map(|(at, _)| at + 8).collect();
    assert_eq!(found.len(), 2);
    found.into_iter().for_each(|at| der[at] = 5);
    der
}

#[test]
fn good_chains_of_every_shape_are_trusted() {
    let mut lone = leaf_params("ci-build");
    lone.is_ca = IsCa::ExplicitNoCa;
    let lone = root(lone, KeyKind::P384);
    let direct = |world: &World| world.root.issue(leaf_params("ci-build"), KeyKind::P521);
    let without_use = |world: &World| {
        let mut params = leaf_params("ci-build");
        params.extended_key_usages.clear();
        params.key_usages.push(KeyUsagePurpose::ContentCommitment);
        world.intermediate.issue(params, KeyKind::P256)
    };
    let constrained = |world: &World| {
        let mut params = authority_params("Last");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let last = world.intermediate.issue(params, KeyKind::Rsa2048);
        last.issue(leaf_params("ci-build"), KeyKind::Rsa3072)
    };
    let with_unknown_extension = |world: &World| {
        let mut params = leaf_params("ci-build");
        let unknown = extension(&[1, 3, 6, 1, 4, 1, 99999, 1], true, &[5, 0]);
        params.custom_extensions.push(unknown);
        world.intermediate.issue(params, KeyKind::P256)
    };
    type Make<'a> = &'a dyn Fn(&World) -> TestCertificate;
    let without_end = |world: &World| {
        let mut params = leaf_params("ci-build");
        params.not_after = time::macros::datetime!(9999-12-31 23:59:59 UTC);
        world.intermediate.issue(params, KeyKind::P256)
    };
    let makers: [(&str, Make<'_>); 6] = [
        ("no well-defined end (RFC 5280 §4.1.2.5)", &without_end),
        ("one self-signed certificate", &|_| lone.clone()),
        ("no intermediate", &direct),
        ("no extended use", &without_use),
        ("a path length that is kept", &constrained),
        (
            "an unknown critical extension (R049)",
            &with_unknown_extension,
        ),
    ];
    for (name, make) in makers {
        let world = World::new(KeyKind::P256);
        let leaf = make(&world);
        let mut world = world.with_leaf(leaf);
        let kind = StoreKind::SigningAuthority;
        world.store.add(kind, "example", &lone.der).unwrap();
        assert_eq!(failures(&world.verify(&world.envelope())), "", "{name}");
    }
}

#[test]
fn a_chain_that_is_too_long_or_not_certificates_is_malformed() {
    let long = chained(|world, chain| {
        for _ in 0..20 {
            chain.push(world.root.der.clone());
        }
    });
    let empty = chained(|_, chain| chain[1].clear());
    let trailing = chained(|_, chain| chain[1].push(0));
    let reasons = [long, empty, trailing].map(|world| stable(&world.failures()));
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    integrity (enforce) envelope-malformed: `header.x5c`: there are 23 certificates, more than 16
    integrity (enforce) envelope-malformed: `header.x5c`: certificate 2 of the chain: not a certificate in DER: ASN.1 DER message is incomplete: expected 1, actual 0 at DER byte 0
    integrity (enforce) envelope-malformed: `header.x5c`: certificate 2 of the chain: not a certificate in DER: trailing data at end of DER message: decoded N bytes, 1 bytes remaining at DER byte N
    "#);
}
