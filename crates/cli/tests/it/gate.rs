//! `gate`, run as people run it, over an image layout.

use oci::{Digest, Manifest, MediaType};
use serde_json::json;
use testkit::{KeyKind, after, before, leaf_params};

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

const WHOLE: &str = r#"apiVersion: countersign.dev/v1
kind: GatePolicy
name: whole
roles:
  build: {profiles: [ci-build]}
require:
  - id: cve
    artifact: {type: cve/example, pick: latest, signedBy: build, complete: true}
    assert:
      - code: fixable-critical
        that: "report.findings.filter(f, f.severity == 'Critical' && f.fixedIn != '').size() == 0"
        otherwise: "update the packages that have a fix"
  - id: accepted
    acceptance: {by: build}
  - id: approved
    approval: {by: [ada], signedBy: build, over: release}
forbid:
  - id: hold
    artifact: {type: hold/example}
"#;

/// Attaches a CVE report with one finding and signs it.
fn report(world: &World, severity: &str) -> Manifest {
    let report = json!({
        "matches": [{
            "vulnerability": {"id": "CVE-2024-49768", "severity": severity, "fix": {"versions": ["3.0.1"], "state": "fixed"}},
            "artifact": {"name": "waitress", "version": "2.1.2", "type": "python"},
        }],
        "source": {"type": "image", "target": {"manifestDigest": world.image.digest()}},
        "descriptor": {"name": "grype", "version": "0.116.0", "timestamp": "2020-09-08T11:00:00Z"},
    });
    let types = ("cve/example".parse().unwrap(), MediaType::JSON);
    let attached = world.attach_to(&world.image, types, report.to_string().as_bytes());
    let envelope = world.envelope(&attached.descriptor(), None);
    let types = (MediaType::NOTARY_SIGNATURE, MediaType::JOSE_JSON);
    world.attach_to(&attached, types, &envelope);
    attached
}

/// Attaches a statement. An attestation counts as long as its certificate does.
fn attest(world: &World, artifact_type: MediaType, payload: &[u8]) {
    let mut params = leaf_params("ci-build");
    params.not_before = before(2);
    params.not_after = after(3000);
    let leaf = world.root.issue(params, KeyKind::P384);
    let kind = MediaType::IN_TOTO;
    let signature = leaf.key.sign(&trust::dsse::pae(kind.as_str(), payload));
    let envelope = trust::dsse::assemble(kind.as_str(), payload, &signature, &leaf.chain());
    world.attach_to(&world.image, (artifact_type, MediaType::DSSE), &envelope);
}

fn graph_root(world: &World) -> Digest {
    let text = world.raw(&["discover", &world.reference(), "-o", "json"]);
    let discovered: serde_json::Value = serde_json::from_slice(&text).unwrap();
    discovered["graphRoot"].as_str().unwrap().parse().unwrap()
}

fn accept(world: &World) {
    let acceptance = gate::statement::Acceptance {
        graph_root: graph_root(world),
        profile: "ci-build".to_owned(),
        account: "grace".to_owned(),
        comment: String::new(),
        at: before(1),
    };
    let payload = acceptance.to_payload(SCOPE, world.image.digest()).unwrap();
    attest(world, MediaType::ACCEPTANCE, &payload);
}

fn approve(world: &World) {
    let approval = gate::statement::Approval {
        graph_root: graph_root(world),
        policy: gate::statement::ApprovedPolicy {
            name: "release".to_owned(),
            digest: Digest::sha256(RELEASE.as_bytes()),
        },
        decision: gate::statement::ApprovalDecision::Approve,
        run: "run-1".to_owned(),
        stage: "approve".to_owned(),
        account: "ada".to_owned(),
        comment: "go".to_owned(),
        at: before(1),
        expires: after(3000),
    };
    let payload = approval.to_payload(SCOPE, world.image.digest()).unwrap();
    attest(world, MediaType::APPROVAL, &payload);
}

const RELEASE: &str = "\
apiVersion: countersign.dev/v1
kind: GatePolicy
name: release
roles:
  build: {profiles: [ci-build]}
require:
  - id: image
    signed: {by: build}
";

#[test]
fn reports_acceptances_and_approvals_are_judged_from_their_own_bytes() {
    let world = world();
    world.write("whole.yaml", WHOLE.as_bytes());
    world.write("release.yaml", RELEASE.as_bytes());
    report(&world, "Critical");
    let denied = check(&world, 6, "whole.yaml", &[]);
    assert!(
        denied.contains("CVE-2024-49768 in waitress 2.1.2 is fixed in 3.0.1"),
        "{denied}"
    );
    assert!(
        denied.contains("acceptance-missing") && denied.contains("approval-missing"),
        "{denied}"
    );

    let world = self::world();
    world.write("whole.yaml", WHOLE.as_bytes());
    world.write("release.yaml", RELEASE.as_bytes());
    report(&world, "Low");
    accept(&world);
    approve(&world);
    insta::assert_snapshot!(check(&world, 0, "whole.yaml", &[]), @r#"
    ✓ allow: policy `whole` on registry.example/apps/shop@sha256:SHORT…
    ├─ ✓ cve  `cve/example`, signed by `ci-build` at 2020-09-08T12:00:00Z
    ├─ ✓ accepted  accepted by `ci-build` (grace) at 2026-02-28T12:00:00Z
    ├─ ✓ approved  approved by `ada` at 2026-02-28T12:00:00Z
    └─ ✓ hold  no `hold/example` is attached
    warning: tag `v1` may move: judging `HASH`, which it names now
    "#);
    // The text of the policy that was approved changes.
    world.write("release.yaml", format!("# stricter\n{RELEASE}").as_bytes());
    assert!(check(&world, 6, "whole.yaml", &[]).contains("approval-outdated"));
    world.write("release.yaml", RELEASE.as_bytes());
    // Evidence is added after people stood for it.
    let types = ("hold/example".parse().unwrap(), MediaType::JSON);
    world.attach_to(&world.image, types, b"{}");
    let denied = check(&world, 6, "whole.yaml", &[]);
    for code in ["acceptance-outdated", "approval-outdated", "hold-in-force"] {
        assert!(denied.contains(code), "{denied}");
    }
}
