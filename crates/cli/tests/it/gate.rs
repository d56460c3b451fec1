//! `gate`, run as people run it, over an image layout.

use crate::verify::{SCOPE, World};

const POLICY: &str = "\
apiVersion: countersign.dev/v1
kind: GatePolicy
name: candidate
roles:
  build: {profiles: [ci-build]}
require:
  - id: image
    signed: {by: build}
";

const WITH_SBOM: &str = r"  - id: sbom
    artifact: {type: sbom/example, pick: latest, signedBy: build}
";

fn world() -> World {
    let world = World::trusting();
    world.write("candidate.yaml", POLICY.as_bytes());
    world.write("release.yaml", format!("{POLICY}{WITH_SBOM}").as_bytes());
    world
}

fn check(world: &World, code: i32, policy: &str, more: &[&str]) -> String {
    let (reference, policy) = (world.reference(), world.path(policy));
    let arguments = [
        "gate", "check", &reference, "--scope", SCOPE, "--policy", &policy,
    ];
    let said = world.fails(code, &[&arguments[..], more].concat());
    let short = world.image.digest().short();
    said.replace(short, "SHORT")
}

#[test]
fn an_image_is_allowed_or_denied() {
    let world = world();
    insta::assert_snapshot!(check(&world, 6, "candidate.yaml", &[]), @r#"
    ✗ deny: policy `candidate` on registry.example/apps/shop@sha256:SHORT…
    └─ ✗ image  signature-missing: nobody in the role `build` has signed it
       → sign it under a profile that the policy names
    warning: tag `v1` may move: judging `HASH`, which it names now
    "#);
    world.sign(&world.image.descriptor(), None);
    insta::assert_snapshot!(check(&world, 0, "candidate.yaml", &[]), @r#"
    ✓ allow: policy `candidate` on registry.example/apps/shop@sha256:SHORT…
    └─ ✓ image  signed by `ci-build` at 2020-09-08T12:00:00Z
    warning: tag `v1` may move: judging `HASH`, which it names now
    "#);
    insta::assert_snapshot!(check(&world, 6, "release.yaml", &[]), @r#"
    ✗ deny: policy `candidate` on registry.example/apps/shop@sha256:SHORT…
    ├─ ✓ image  signed by `ci-build` at 2020-09-08T12:00:00Z
    └─ ✗ sbom  artifact-missing: no `sbom/example` is attached
       → attach the artifact and sign it, or run the pipeline that does
    warning: tag `v1` may move: judging `HASH`, which it names now
    "#);
    let json = check(&world, 6, "release.yaml", &["-o", "json"]);
    assert!(json.contains("\"code\": \"artifact-missing\""), "{json}");
    let explained = check(&world, 0, "candidate.yaml", &["--explain"]);
    assert!(explained.contains("✓ signature "), "{explained}");
}

#[test]
fn policies_are_checked_and_explained() {
    let world = world();
    let good = world.path("release.yaml");
    insta::assert_snapshot!(world.succeeds(&["gate", "policy", "check", &good]), @"policy `candidate` HASH");
    insta::assert_snapshot!(world.succeeds(&["gate", "policy", "explain", &good]), @r#"
    policy `candidate` (sha256:3c32d358bada78453b2b97e2a0ef6115792ce54eb979ec70c9cf9b095b046563)
    image: the image must be signed by `build` (ci-build)
    sbom: the newest `sbom/example` must be signed by `build` (ci-build)
    "#);
    world.write(
        "bad.yaml",
        POLICY.replace("by: build", "by: builder").as_bytes(),
    );
    let bad = world.path("bad.yaml");
    insta::assert_snapshot!(world.fails(2, &["gate", "policy", "check", &good, &bad]), @"error: DIR/bad.yaml:8:18: `require[0].signed.by`: there is no role `builder`: there are `build`");
}

#[test]
fn nothing_is_decided_without_a_policy_or_a_server() {
    let world = world();
    let reference = world.reference();
    let missing = [
        "gate",
        "check",
        &reference,
        "--scope",
        SCOPE,
        "--policy",
        "./missing.yaml",
    ];
    insta::assert_snapshot!(world.fails(3, &missing), @"error: there is no file `./missing.yaml`");
    let named = ["gate", "check", &reference, "--policy", "candidate"];
    insta::assert_snapshot!(world.fails(2, &named), @r#"
    error: a server does not see a layout on this machine
    hint: give a policy file, or push the layout first
    "#);
}

#[test]
fn what_cannot_be_read_is_not_decided() {
    let world = world();
    world.sign(&world.image.descriptor(), None);
    let blobs = std::path::PathBuf::from(world.path("layout")).join("blobs/sha256");
    let is_envelope = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.contains("\"protected\"")
    };
    let files = std::fs::read_dir(blobs).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    std::fs::remove_file(files.find(is_envelope).unwrap()).unwrap();
    let said = check(&world, 7, "candidate.yaml", &[]);
    assert!(said.starts_with("? inconclusive"), "{said}");
    assert!(said.contains("artifact-unreadable"), "{said}");
}
