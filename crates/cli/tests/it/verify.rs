//! `verify`, `inspect` and `trust`, run as people run them, over an image layout.

use std::path::Path;
use std::process::Output;

use client::{ArtifactSink, Layout};
use oci::{Descriptor, ImageManifest, Manifest, MediaType};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{KeyKind, NOW, TestCertificate, authority_params, before, leaf_params, root};
use time::OffsetDateTime;
use trust::jws::UnsignedEnvelope;
use trust::{EnvelopeRequest, SignatureAlgorithm, SigningScheme, TargetArtifact};

pub(crate) const SCOPE: &str = "registry.example/apps/shop";

/// A layout with one image, a folder for settings, and a signer.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) root: TestCertificate,
    leaf: TestCertificate,
    pub(crate) image: Manifest,
    layout: Layout,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = root(authority_params("Root"), KeyKind::P256);
        let mut params = leaf_params("ci-build");
        params.not_before = before(3000);
        let leaf = root.issue(params, KeyKind::P384);
        let layout = Layout::create(folder.path().join("layout")).unwrap();
        let image = manifest(None, Descriptor::empty(), Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let world = Self {
            folder,
            root,
            leaf,
            image,
            layout,
            runtime: runtime.unwrap(),
        };
        world.push_blob(&Descriptor::empty(), b"{}");
        world.push(&world.image, Some("v1"));
        world.write("root.pem", world.root.pem().as_bytes());
        world.write("policy.json", policy("ci-build").to_string().as_bytes());
        world
    }

    /// A world in which the root and the policy are in place.
    pub(crate) fn trusting() -> Self {
        let world = Self::new();
        let add = [
            "trust",
            "store",
            "add",
            "-t",
            "signingAuthority",
            "-n",
            "example",
        ];
        world.succeeds(&[&add[..], &[&world.path("root.pem")]].concat());
        world.succeeds(&["trust", "policy", "import", &world.path("policy.json")]);
        world
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    pub(crate) fn push_blob(&self, descriptor: &Descriptor, bytes: &[u8]) {
        let mut reader = bytes;
        let pushed = self.layout.push_blob_from(descriptor, &mut reader);
        self.runtime.block_on(pushed).unwrap();
    }

    pub(crate) fn push(&self, manifest: &Manifest, tag: Option<&str>) {
        let tag = tag.map(|tag| tag.parse().unwrap());
        let pushed = self.layout.push_manifest(manifest, tag.as_ref());
        self.runtime.block_on(pushed).unwrap();
    }

    /// Signs a target and attaches the signature to the image.
    pub(crate) fn sign(&self, target: &Descriptor, expiry: Option<OffsetDateTime>) {
        self.attach(&self.envelope(target, expiry));
    }

    /// Returns a signature of a target.
    pub(crate) fn envelope(&self, target: &Descriptor, expiry: Option<OffsetDateTime>) -> Vec<u8> {
        let unsigned = UnsignedEnvelope::new(EnvelopeRequest {
            target: TargetArtifact::of(target),
            scheme: SigningScheme::SigningAuthority,
            algorithm: SignatureAlgorithm::Es384,
            signing_time: before(2000),
            expiry,
            chain: self.leaf.chain(),
            agent: None,
            aws: None,
        });
        let unsigned = unsigned.unwrap();
        unsigned.assemble(&self.leaf.key.sign(unsigned.signing_input()))
    }

    /// Attaches an envelope to the image, in the form that every verifier finds.
    fn attach(&self, envelope: &[u8]) {
        self.attach_to(
            &self.image,
            (MediaType::NOTARY_SIGNATURE, MediaType::JOSE_JSON),
            envelope,
        );
    }

    /// Attaches bytes to a manifest, as an artifact of one type with a layer of another.
    pub(crate) fn attach_to(
        &self,
        subject: &Manifest,
        (kind, media_type): (MediaType, MediaType),
        bytes: &[u8],
    ) -> Manifest {
        let layer = Descriptor::of(media_type, bytes);
        self.push_blob(&layer, bytes);
        let config = Descriptor::of(kind, b"{}");
        let attached = manifest(Some(subject.descriptor()), config, vec![layer]);
        self.push(&attached, None);
        attached
    }

    pub(crate) fn reference(&self) -> String {
        format!("oci:{}:v1", self.path("layout"))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the binary under test is a process"
    )]
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.env_clear().args(arguments);
        command.env("COUNTERSIGN_CONFIG", self.folder.path().join("config"));
        command.output().unwrap()
    }

    /// Returns what was printed, as it was.
    pub(crate) fn raw(&self, arguments: &[&str]) -> Vec<u8> {
        self.run(arguments).stdout
    }

    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = self.words(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        self.words(&output.stdout)
    }

    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = self.words(&output.stdout) + &self.words(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn verify(&self, code: i32) -> String {
        self.fails(code, &["verify", &self.reference(), "--scope", SCOPE])
    }

    /// What was printed, without what differs from run to run.
    fn words(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let text = text.replace(&self.folder.path().display().to_string(), "DIR");
        let words = text.split_inclusive([' ', '\n', '@', '/', '.', '`']);
        words
            .map(|word| {
                if is_hash(word) {
                    mask(word)
                } else {
                    word.to_owned()
                }
            })
            .collect()
    }
}

fn is_hash(word: &str) -> bool {
    let hex = word
        .trim_start_matches("sha256:")
        .trim_end_matches([' ', '\n', '.', '`', '/']);
    (hex.len() == 64 || hex.len() == 16) && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn mask(word: &str) -> String {
    let end = word.trim_end_matches([' ', '\n', '.', '`', '/']).len();
    format!("HASH{}", &word[end..])
}

fn manifest(subject: Option<Descriptor>, config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
    Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type: None,
        config,
        layers,
        subject,
        annotations: Default::default(),
    })
}

fn policy(common_name: &str) -> Value {
    json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "shop",
            "registryScopes": [SCOPE],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["signingAuthority:example"],
            "trustedIdentities": [format!("x509.subject: C=US, ST=WA, O=Example, CN={common_name}")],
        }],
    })
}

#[test]
fn one_trusted_signature_is_enough_and_what_is_wrong_with_others_is_said() {
    let world = World::trusting();
    world.sign(&world.image.descriptor(), None);
    assert!(world.verify(0).starts_with("trusted  oci:"));
    world.sign(&Descriptor::of(MediaType::IMAGE_MANIFEST, b"other"), None);
    let said = world.verify(0);
    assert!(said.contains("signature-for-other-artifact"), "{said}");
    let json = world.succeeds(&["verify", &world.reference(), "--scope", SCOPE, "-o", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["trusted"], true);
    assert_eq!(
        json["artifacts"][0]["signatures"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn a_signature_that_fails_is_explained() {
    let world = World::trusting();
    world.sign(&world.image.descriptor(), Some(before(1000)));
    insta::assert_snapshot!(world.verify(5), @r#"
    not trusted  oci:DIR/layout@HASH
    under statement `shop` of the trust policy
    ✗ signature HASH
        signed by           CN=ci-build,O=Example,ST=WA,C=US
        signed at           2020-09-08T12:00:00Z
        expires             2023-06-05T12:00:00Z
        expiry              the signature expired at 2023-06-05T12:00:00Z [signature-expired]
        remedy              sign the artifact again
    warning: tag `v1` may move: verifying `HASH`, which it names now
    "#);
    world.write("other.json", policy("release").to_string().as_bytes());
    let other = world.path("other.json");
    let said = world.fails(
        5,
        &[
            "verify",
            &world.reference(),
            "--scope",
            SCOPE,
            "--trust-policy",
            &other,
        ],
    );
    assert!(said.contains("signer-not-trusted"), "{said}");
    assert!(said.contains("signature-expired"), "{said}");
}

#[test]
fn an_artifact_without_a_signature_is_not_trusted() {
    let world = World::trusting();
    insta::assert_snapshot!(world.verify(7), @r#"
    not trusted  oci:DIR/layout@HASH
    under statement `shop` of the trust policy
    it has no signature
    warning: tag `v1` may move: verifying `HASH`, which it names now
    "#);
    world.attach(b"not an envelope");
    insta::assert_snapshot!(world.verify(5), @r#"
    not trusted  oci:DIR/layout@HASH
    under statement `shop` of the trust policy
    ✗ signature HASH
        integrity           the envelope is not JSON as it should be: expected ident at line 1 column 2 [envelope-malformed]
        remedy              sign the artifact again: these bytes are damaged or were not made by the signer
    warning: tag `v1` may move: verifying `HASH`, which it names now
    "#);
}

#[test]
fn metadata_that_was_asked_for_must_be_there() {
    let world = World::trusting();
    world.sign(&world.image.descriptor(), None);
    let said = world.fails(
        5,
        &[
            "verify",
            &world.reference(),
            "--scope",
            SCOPE,
            "-m",
            "build=7",
        ],
    );
    assert!(said.contains("metadata-mismatch"), "{said}");
    world.fails(
        2,
        &[
            "verify",
            &world.reference(),
            "--scope",
            SCOPE,
            "-m",
            "build",
        ],
    );
}

#[test]
fn recursive_verification_asks_for_a_signature_on_every_piece_of_evidence() {
    let world = World::trusting();
    world.sign(&world.image.descriptor(), None);
    let recursive = [
        "verify",
        &world.reference(),
        "--scope",
        SCOPE,
        "--recursive",
    ];
    world.succeeds(&recursive);
    let config = Descriptor::of("sbom/example".parse().unwrap(), b"{}");
    world.push(
        &manifest(Some(world.image.descriptor()), config, Vec::new()),
        None,
    );
    let said = world.fails(5, &recursive);
    assert!(
        said.contains("1 of 2 artifacts have no signature"),
        "{said}"
    );
    assert!(world.verify(0).starts_with("trusted"));
}

#[test]
fn nothing_is_verified_without_a_policy_a_scope_or_an_artifact() {
    let world = World::new();
    insta::assert_snapshot!(world.verify(2), @r#"
    error: there is no trust policy yet
    hint: import one with `countersign trust policy import FILE`
    "#);
    let world = World::trusting();
    let reference = world.reference();
    insta::assert_snapshot!(world.fails(2, &["verify", &reference]), @r#"
    error: a layout lies in no repository
    hint: give `--scope REGISTRY/REPOSITORY`, where its content comes from or will go to
    "#);
    let elsewhere = ["verify", &reference, "--scope", "registry.example/other"];
    insta::assert_snapshot!(world.fails(2, &elsewhere), @r#"
    error: no trust policy statement is for `registry.example/other`
    hint: add a statement for it, or one for `*`, and import the policy again
    "#);
    let missing = format!("oci:{}:v2", world.path("layout"));
    world.fails(3, &["verify", &missing, "--scope", SCOPE]);
}

#[test]
fn a_policy_is_imported_once_and_replaced_only_by_force() {
    let world = World::new();
    let file = world.path("policy.json");
    assert!(
        world
            .fails(3, &["trust", "policy", "show"])
            .contains("there is no trust policy")
    );
    world.succeeds(&["trust", "policy", "import", &file]);
    world.fails(8, &["trust", "policy", "import", &file]);
    world.succeeds(&["trust", "policy", "import", &file, "--force"]);
    let shown: Value = serde_json::from_str(&world.succeeds(&["trust", "policy", "show"])).unwrap();
    assert_eq!(shown, policy("ci-build"));
    world.write(
        "bad.json",
        b"{\n  \"version\": \"2.0\",\n  \"trustPolicies\": []\n}",
    );
    let bad = world.path("bad.json");
    let said = world.fails(2, &["trust", "policy", "import", &bad, "--force"]);
    insta::assert_snapshot!(said, @r#"
    error: `DIR/bad.json` is not a trust policy
      caused by: trust policy member `version`: `2.0` is not supported: use `1.0`
    "#);
    assert!(
        world
            .succeeds(&["trust", "policy", "show"])
            .contains("ci-build")
    );
}

#[test]
fn certificates_are_added_listed_and_removed() {
    let world = World::new();
    let at = ["-t", "ca", "-n", "roots"];
    let root = world.path("root.pem");
    world.succeeds(&[&["trust", "store", "add"][..], &at[..], &[&root]].concat());
    insta::assert_snapshot!(world.succeeds(&["trust", "store", "list"]), @r#"
    STORE     SUBJECT                       VALID UNTIL  SHA-256
    ca:roots  CN=Root,O=Example,ST=WA,C=US  2036-02-27   HASH
    "#);
    world.write("leaf.pem", world.leaf.pem().as_bytes());
    let leaf = world.path("leaf.pem");
    let both = [&["trust", "store", "add"][..], &at[..], &[&root, &leaf]].concat();
    insta::assert_snapshot!(world.fails(2, &both), @r#"
    error: `DIR/leaf.pem` cannot be used as a trust anchor
      caused by: `CN=ci-build,O=Example,ST=WA,C=US` is neither the certificate of a certificate authority nor self-signed, so trust cannot start from it
    "#);
    let remove = [&["trust", "store", "remove"][..], &at[..]].concat();
    world.fails(3, &[&remove[..], &["--certificate", "abc"]].concat());
    let hash = world.root.sha256();
    world.succeeds(&[&remove[..], &["--certificate", &hash[..12]]].concat());
    let listed = world.succeeds(&["trust", "store", "list"]);
    assert!(listed.contains("no trust stores"), "{listed}");
    world.fails(3, &[&remove[..], &["--all"]].concat());
}

#[test]
fn links_in_a_trust_store_are_refused() {
    let world = World::trusting();
    let folder = Path::new("config/trust-store/x509/signingAuthority/example");
    let link = world.folder.path().join(folder).join("link.pem");
    std::os::unix::fs::symlink(world.path("root.pem"), link).unwrap();
    assert!(world.verify(2).contains("is a symbolic link"));
}

#[test]
fn inspect_shows_claims_and_says_that_they_are_claims() {
    let world = World::trusting();
    world.sign(&world.image.descriptor(), Some(NOW));
    insta::assert_snapshot!(world.succeeds(&["inspect", &world.reference()]), @r#"
    oci:DIR/layout@HASH
    └── application/vnd.cncf.notary.signature  HASH
        ├── algorithm: ES384
        ├── signing scheme: notary.x509.signingAuthority
        ├── signing time: 2020-09-08T12:00:00Z
        ├── expiry: 2026-03-01T12:00:00Z
        ├── signed artifact: HASH
        └── certificates
            ├── CN=ci-build,O=Example,ST=WA,C=US
            │   ├── SHA-256: HASH
            │   ├── issued by: CN=Root,O=Example,ST=WA,C=US
            │   ├── key: P-384
            │   └── valid: 2017-12-13T12:00:00Z to 2026-03-08T12:00:00Z
            └── CN=Root,O=Example,ST=WA,C=US
                ├── SHA-256: HASH
                ├── issued by: CN=Root,O=Example,ST=WA,C=US
                ├── key: P-256
                └── valid: 2016-03-03T12:00:00Z to 2036-02-27T12:00:00Z
    nothing of this was verified: `countersign verify` says what is true
    "#);
    world.attach(b"{}");
    let json = world.succeeds(&["inspect", &world.reference(), "-o", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["verified"], false);
    let envelopes = json["envelopes"].as_array().unwrap();
    assert!(envelopes.iter().any(|one| one["problem"].is_string()));
    assert!(envelopes.iter().any(|one| one["claims"].is_object()));
}

#[test]
fn discover_draws_signers_and_says_that_nobody_verified_them() {
    let world = World::trusting();
    world.sign(&world.image.descriptor(), Some(NOW));
    insta::assert_snapshot!(world.succeeds(&["discover", &world.reference()]), @r"
    oci:DIR/layout@HASH
    └── application/vnd.cncf.notary.signature  HASH  signed by `ci-build` (not verified)
    graph root HASH
    ");
}
