//! Writes a seed of every format that `fuzz/` has a target for, made with fresh keys:
//! `cargo run -p countersign-trust --example fuzz_seeds -- fuzz/seeds`.

use std::path::{Path, PathBuf};

use oci::{Descriptor, MediaType};
use testkit::{KeyKind, NOW, authority_params, crl_params, leaf_params, revoked, root};
use trust::jws::UnsignedEnvelope;
use trust::{EnvelopeRequest, SignatureAlgorithm, SigningScheme, TargetArtifact};

/// A policy with every member.
const POLICY: &str = r#"{"version":"1.0","trustPolicies":[{"name":"p","registryScopes":["*"],
"signatureVerification":{"level":"strict","override":{"expiry":"log"},"verifyTimestamp":"always"},
"trustStores":["ca:s","tsa:t"],"trustedIdentities":["x509.subject: C=US, ST=WA, O=A\\, Inc"]}]}"#;
/// A statement about nothing.
const STATEMENT: &str = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[],
"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}"#;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or("fuzz/seeds".into(), PathBuf::from);
    let authority = root(authority_params("Root"), KeyKind::P256);
    let leaf = authority.issue(leaf_params("ci-build"), KeyKind::P256);
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, b"target");
    for (name, scheme) in [
        ("x509", SigningScheme::X509),
        ("authority", SigningScheme::SigningAuthority),
    ] {
        let unsigned = UnsignedEnvelope::new(EnvelopeRequest {
            target: TargetArtifact::of(&target),
            scheme,
            algorithm: SignatureAlgorithm::Es256,
            signing_time: NOW,
            expiry: Some(testkit::after(7)),
            chain: leaf.chain(),
            agent: Some("seed/1".to_owned()),
            aws: None,
        });
        let unsigned = unsigned.map_err(std::io::Error::other)?;
        let envelope = unsigned.assemble(&leaf.key.sign(unsigned.signing_input()));
        write(&folder, "jws", name, &envelope)?;
    }
    let kind = MediaType::IN_TOTO;
    let signature = leaf
        .key
        .sign(&trust::dsse::pae(kind.as_str(), STATEMENT.as_bytes()));
    let chain = leaf.chain();
    let envelope = trust::dsse::assemble(kind.as_str(), STATEMENT.as_bytes(), &signature, &chain);
    write(&folder, "dsse", "provenance", &envelope)?;
    let list = authority.crl(&crl_params(vec![revoked(&leaf, NOW)]));
    write(&folder, "crl", "one", &list)?;
    write(&folder, "chain_der", "leaf", &leaf.der)?;
    write(&folder, "trust_store", "der", &authority.der)?;
    write(&folder, "trust_store", "pem", authority.pem().as_bytes())?;
    write(&folder, "trust_policy", "whole", POLICY.as_bytes())?;
    let reference = format!("registry.example:5000/apps/shop:1.0@{}", target.digest);
    write(&folder, "reference", "whole", reference.as_bytes())?;
    let manifest = r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    write(&folder, "manifest", "image", manifest.as_bytes())
}

fn write(folder: &Path, target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}
