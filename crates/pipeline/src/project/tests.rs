use super::*;

/// A small project that uses every kind of action.
const SHOP: &str = include_str!("tests/shop.yaml");

#[test]
fn a_whole_project_is_read() {
    let project = Project::parse(SHOP).unwrap();
    assert_eq!(
        project.policy_names().collect::<Vec<_>>(),
        ["base-image", "candidate", "production"]
    );
    let kinds: Vec<&str> = project
        .pipelines
        .iter()
        .flat_map(Pipeline::actions)
        .map(|action| action.work.kind())
        .collect();
    assert_eq!(
        kinds,
        [
            "buildspec",
            "image",
            "sbom",
            "scan",
            "attach",
            "sign",
            "gate",
            "deploy",
            "test",
            "hook",
            "sign",
            "gate",
            "approval",
            "deploy"
        ]
    );
    let production = project.pipeline(&"production".parse().unwrap()).unwrap();
    let approval = "approval".parse().unwrap();
    assert_eq!(
        production.verdict_policy(&approval).unwrap().as_str(),
        "production"
    );
}

#[test]
fn a_project_survives_json() {
    let project = Project::parse(SHOP).unwrap();
    let text = serde_json::to_string(&project).unwrap();
    assert_eq!(serde_json::from_str::<Project>(&text).unwrap(), project);
}

/// Replaces one text of the project, which must be there, and returns the error.
fn broken((from, to): (&str, &str)) -> String {
    assert!(SHOP.contains(from), "{from}");
    let text = SHOP.replacen(from, to, 1);
    match Project::parse(&text) {
        Ok(_) => panic!("{to} was accepted"),
        Err(error) => format!("{to}\n    {error}"),
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let table = [
        ("countersign.dev/v1", "countersign.dev/v2"),
        ("kind: Project", "kind: Pipeline"),
        ("name: shop\n", "name: Shop\n"),
        ("name: shop\n", "nam: shop\n"),
        ("name: release-manager", "name: dev"),
        ("push: [shop]", "push: [shoe]"),
        ("approve: [production]", "approve: [prod]"),
        ("approve: [production]", "approve: []"),
        ("profiles: [security-team]", "profiles: [security]"),
        ("pull: [\"**\"]", "pull: [\"*x\"]"),
        ("validity: 7 days", "validity: 7"),
        ("validity: 7 days", "validity: 12 years"),
        ("pipelines: [development]", "pipelines: [dev]"),
        ("pipelines: [development]", "pipelines: []"),
        ("trust-policy.json", "../trust-policy.json"),
        ("policies/production.yaml", "other/candidate.yaml"),
        ("listen: 127.0.0.1:8443", "listen: 0.0.0.0:8443"),
        ("listen: 127.0.0.1:8443", "listen: shop.example"),
        ("engine: podman", "engine: runc"),
        ("memory: 128m", "memory: 1k"),
        ("user: \"10001\"", "user: www"),
        ("cpus: 0.5", "cpus: 0"),
        ("capabilities: []", "capabilities: [ALL]"),
        ("path: /healthz", "path: healthz"),
        ("within: 30s", "within: soon"),
        ("branch: main", "branch: -x"),
        ("repository: shop, branch", "repository: shoe, branch"),
        ("policy: candidate}}\n", "policy: release}}\n"),
        ("name: unit-tests, buildspec", "name: image, buildspec"),
        (
            "name: unit-tests, buildspec: {image: base/python:12}",
            "name: unit-tests",
        ),
        ("image: base/python:12", "image: base/python"),
        ("scan: {type: cve/example}", "scan: {type: cve}"),
        (
            "scan: {type: cve/example}",
            "scan: {type: cve/example}, sbom: {type: a/b, format: spdx-json}",
        ),
        ("format: spdx-json", "format: spdx"),
        ("repository: apps/shop, tag", "repository: Apps/shop, tag"),
        ("base: {policy: base-image}", "base: {policy: base}"),
        ("sign: {profile: ci-build", "sign: {profile: ci"),
        ("sign: {profile: ci-build", "sign: {profile: security-team"),
        (
            "what: [image, sbom/example, cve/example, provenance]",
            "what: [test/example]",
        ),
        (
            "what: [image, sbom/example, cve/example, provenance]",
            "what: []",
        ),
        ("files: [\"LICENSE:text/plain\"]", "files: [LICENSE]"),
        (
            "files: [\"LICENSE:text/plain\"]",
            "files: [\"/etc/passwd:text/plain\"]",
        ),
        ("what: [test/example]", "what: [provenance]"),
        ("environment: test, policy", "environment: tests, policy"),
        ("test: {environment: test", "test: {environment: production"),
        ("commands: [python3 check.py]", "commands: []"),
        ("by: [release-manager]", "by: []"),
        ("by: [release-manager]", "by: [dev]"),
        ("by: [release-manager]", "by: [nobody]"),
        ("profiles: [release]", "profiles: []"),
        ("profile: release,", "profile: releases,"),
        ("timeout: 7 days", "timeout: 0 days"),
        (
            "- {name: verdict, gate: {policy: production}}",
            "- {name: build, image: {repository: apps/shop}}",
        ),
        (
            "- {name: verdict, gate: {policy: production}}",
            "- {name: verdict, scan: {type: cve/example}}",
        ),
        (
            "trigger: {evidence: {repository: apps/shop, policy: candidate}}\n    stages:\n      - name: verify",
            "trigger: {push: {repository: shop, branch: main}}\n    stages:\n      - name: verify",
        ),
    ];
    let shown: Vec<String> = table.into_iter().map(broken).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn the_small_texts_round_trip() {
    for text in ["1 day", "7 days", "90 seconds", "12 months", "2 years"] {
        assert_eq!(text.parse::<Validity>().unwrap().to_string(), text);
    }
    for text in [
        "base/python:12",
        "localhost:5000/a/b:1",
        "registry.example/a:1",
    ] {
        assert_eq!(text.parse::<ImageName>().unwrap().to_string(), text);
    }
    let digest = format!("base/python@{}", oci::Digest::sha256(b""));
    assert_eq!(digest.parse::<ImageName>().unwrap().to_string(), digest);
    for text in ["128m", "1g", "7000k"] {
        assert_eq!(text.parse::<Memory>().unwrap().to_string(), text);
    }
}

#[test]
fn patterns_match_whole_parts() {
    let table = [
        ("**", "apps/shop", true),
        ("apps/**", "apps/a/b", true),
        ("apps/**", "apps", false),
        ("apps/**", "apps2/a", false),
        ("apps/*", "apps/a", true),
        ("apps/*", "apps/a/b", false),
        ("apps/shop", "apps/shop", true),
        ("apps/shop", "apps/shop2", false),
    ];
    for (pattern, name, expected) in table {
        let pattern: RepositoryPattern = pattern.parse().unwrap();
        assert_eq!(
            pattern.matches(&name.parse().unwrap()),
            expected,
            "{pattern} {name}"
        );
    }
}

/// The demo's files, as they are in the repository.
mod demo {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use gate::GatePolicy;
    use gate::policy::Demand;

    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo")
    }

    fn read(name: &str) -> String {
        std::fs::read_to_string(folder().join(name)).unwrap()
    }

    fn project() -> Project {
        let parsed = Project::parse(&read("countersign.yaml"));
        parsed.unwrap_or_else(|error| panic!("{error}"))
    }

    fn policies(project: &Project) -> Vec<GatePolicy> {
        let policy = |path: &RelativePath| {
            let parsed = GatePolicy::parse(&read(path.as_str()));
            parsed.unwrap_or_else(|error| panic!("{}", error.in_file(path.as_str())))
        };
        project.gate_policies.iter().map(policy).collect()
    }

    #[test]
    fn the_project_and_its_policies_fit_together() {
        let project = project();
        project.check_policies(&policies(&project)).unwrap();
        let files = std::fs::read_dir(folder().join("policies")).unwrap();
        assert_eq!(files.count(), project.gate_policies.len());
        let trust_policy = read(project.trust_policy.as_ref().unwrap().as_str());
        trust::TrustPolicy::parse(trust_policy.as_bytes()).unwrap();
    }

    #[test]
    fn the_policies_name_profiles_and_accounts_that_exist() {
        let project = project();
        let profiles: BTreeSet<&str> = project.profiles.iter().map(|p| p.name.as_str()).collect();
        let accounts: BTreeSet<&str> = project.accounts.iter().map(|a| a.name.as_str()).collect();
        for policy in policies(&project) {
            for (role, holders) in &policy.roles {
                for profile in &holders.profiles {
                    assert!(
                        profiles.contains(profile.as_str()),
                        "{}: {role}",
                        policy.name
                    );
                }
            }
            for rule in &policy.require {
                if let Demand::Approval(approval) = &rule.requirement {
                    assert!(approval.by.iter().all(|by| accounts.contains(by.as_str())));
                }
            }
        }
    }

    #[test]
    fn what_the_policies_ask_for_is_made_by_some_pipeline() {
        let project = project();
        let made: BTreeSet<String> = project
            .pipelines
            .iter()
            .flat_map(Pipeline::actions)
            .flat_map(|action| action.work.artifact_types())
            .map(ToString::to_string)
            .chain([oci::MediaType::PROVENANCE.to_string()])
            .collect();
        for policy in policies(&project) {
            for wanted in policy.content_types() {
                assert!(made.contains(wanted.as_str()), "{}: {wanted}", policy.name);
            }
        }
    }

    #[test]
    fn a_policy_under_another_name_is_refused() {
        let mut project = project();
        let policies = policies(&project);
        project.gate_policies[0] = "policies/other.yaml".parse().unwrap();
        let error = project.check_policies(&policies).unwrap_err();
        insta::assert_snapshot!(error, @"policies/other.yaml: `name`: `base-image` must be called `other` as its file is, for that is how pipelines name it");
    }

    #[test]
    fn the_buildspec_is_read() {
        crate::buildspec::Buildspec::parse(&read("app/buildspec.yml")).unwrap();
    }
}

proptest::proptest! {
    /// Whatever is cut out of a project or put into it, the answer is a project or an error with
    /// a place inside of the text.
    #[test]
    fn a_damaged_project_is_refused_politely(
        from in 0..SHOP.len(), length in 0usize..40, put in "[ -~\n]{0,8}"
    ) {
        let to = (from + length).min(SHOP.len());
        let text = format!("{}{put}{}", &SHOP[..from], &SHOP[to..]);
        if let Err(error) = Project::parse(&text) {
            let lines = u64::try_from(text.lines().count()).unwrap();
            proptest::prop_assert!(error.position.is_none_or(|(line, _)| line <= lines + 1));
            proptest::prop_assert!(!error.reason.is_empty());
        }
    }
}
