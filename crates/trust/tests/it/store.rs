//! Trust stores: what may be an anchor, and what files may hold.

use testkit::{KeyKind, authority_params, leaf_params, root};
use trust::{StoreKind, TrustStore};

use crate::world::stable;

fn add(kind: StoreKind, name: &str, bytes: &[u8]) -> Result<usize, String> {
    let mut store = TrustStore::default();
    store
        .add(kind, name, bytes)
        .map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })?;
    let count = store.stores().map(|(_, _, anchors)| anchors.len()).sum();
    Ok(count)
}

#[test]
fn pem_der_and_several_certificates_are_read() {
    let (one, two) = (
        root(authority_params("One"), KeyKind::P256),
        root(authority_params("Two"), KeyKind::P256),
    );
    assert_eq!(add(StoreKind::Ca, "a", &one.der), Ok(1));
    assert_eq!(add(StoreKind::Ca, "a", one.pem().as_bytes()), Ok(1));
    let both = format!("# roots\n{}\n{}{}", one.pem(), two.pem(), one.pem());
    assert_eq!(add(StoreKind::Ca, "a", both.as_bytes()), Ok(2));
}

#[test]
fn files_and_names_that_cannot_be_used_are_refused() {
    let authority = root(authority_params("Root"), KeyKind::P256);
    let intermediate = authority.issue(authority_params("Intermediate"), KeyKind::P256);
    let leaf = authority.issue(leaf_params("leaf"), KeyKind::P256);
    let pem = authority.pem();
    let cut = &pem[..pem.len() - 10];
    let damaged = pem.replacen("MII", "M*I", 1);
    let mut trailing = authority.der.clone();
    trailing.push(0);
    let ca = StoreKind::Ca;
    let cases = [
        ("a leaf", add(ca, "a", &leaf.der)),
        (
            "an intermediate as tsa",
            add(StoreKind::Tsa, "a", &intermediate.der),
        ),
        ("an empty file", add(ca, "a", b"")),
        ("no certificate", add(ca, "a", b"hello")),
        ("a cut block", add(ca, "a", cut.as_bytes())),
        ("a damaged block", add(ca, "a", damaged.as_bytes())),
        ("trailing bytes", add(ca, "a", &trailing)),
        ("a path as a name", add(ca, "../a", &authority.der)),
        ("dots as a name", add(ca, "..", &authority.der)),
        ("no name", add(ca, "", &authority.der)),
    ];
    let lines = cases.map(|(name, result)| stable(&format!("{name}: {}", result.unwrap_err())));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    a leaf: `CN=leaf,O=Example,ST=WA,C=US` is neither the certificate of a certificate authority nor self-signed, so trust cannot start from it
    an intermediate as tsa: `CN=Intermediate,O=Example,ST=WA,C=US` is neither the certificate of a certificate authority nor self-signed, so trust cannot start from it
    an empty file: no certificate found: expected PEM or DER
    no certificate: no certificate found: expected PEM or DER
    a cut block: certificate 1 cannot be read: the PEM block is broken
    a damaged block: certificate 1 cannot be read: the PEM block is broken
    trailing bytes: certificate 1 cannot be read: not a certificate in DER: trailing data at end of DER message: decoded N bytes, 1 bytes remaining at DER byte N
    a path as a name: `../a` is not a trust store name: use letters, digits, `_`, `.` and `-`
    dots as a name: `..` is not a trust store name: use letters, digits, `_`, `.` and `-`
    no name: `` is not a trust store name: use letters, digits, `_`, `.` and `-`
    "#);
    assert_eq!(add(ca, "a", &intermediate.der), Ok(1));
    let lone = root(leaf_params("lone"), KeyKind::P256);
    assert_eq!(add(ca, "a", &lone.der), Ok(1));
}
