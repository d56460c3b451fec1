use super::*;

const WHOLE: &str = r#"
version: 0.2
run-as: builder
env:
  shell: bash
  variables:
    PORT: 8080
    DEBUG: true
    GREETING: "hello $USER"
  exported-variables: [IMAGE_TAG]
phases:
  install:
    runtime-versions: {python: 3.12}
    commands:
      - pip install -r requirements.txt
  build:
    on-failure: RETRY-2-timeout
    run-as: root
    commands:
      - true
      - |
        cd app
        make
    finally:
      - rm -rf tmp
  post_build:
    on-failure: CONTINUE
    commands: [echo done]
artifacts:
  files: dist/**
  base-directory: out
  discard-paths: yes
  name: shop
"#;

#[test]
fn a_whole_buildspec_is_read() {
    let spec = Buildspec::parse(WHOLE).unwrap();
    let phases: Vec<&str> = spec.phases().map(|(name, _)| name.as_str()).collect();
    assert_eq!(phases, ["install", "build", "post_build"]);
    assert_eq!(spec.env.variables["PORT"], "8080");
    assert_eq!(spec.env.variables["DEBUG"], "true");
    assert_eq!(spec.env.variables["GREETING"], "hello $USER");
    let build = spec.phases.build.as_ref().unwrap();
    assert_eq!(build.commands, ["true", "cd app\nmake\n"]);
    assert_eq!(
        build.on_failure.as_ref().unwrap().to_string(),
        "RETRY-2-timeout"
    );
    assert_eq!(spec.user_of(build), Some("root"));
    assert_eq!(
        spec.user_of(spec.phases.install.as_ref().unwrap()),
        Some("builder")
    );
    let artifacts = spec.artifacts.as_ref().unwrap();
    assert_eq!(artifacts.files, ["dist/**"]);
    assert!(artifacts.discard_paths);
    insta::assert_snapshot!(spec.warnings().join("\n"), @"`phases.install.runtime-versions` has no effect: the languages are those of the image");
}

#[test]
fn what_we_cannot_honour_is_refused_by_name() {
    let phases = "phases: {build: {commands: [make]}}\n";
    let table = [
        "version: 0.1\n".to_owned() + phases,
        "version: 0.3\n".to_owned() + phases,
        "version: 0.2\nphases: {}\n".to_owned(),
        "version: 0.2\nphases: {deploy: {commands: [make]}}\n".to_owned(),
        "version: 0.2\nphases:\n  build:\n    commands: make\n".to_owned(),
        "version: 0.2\nphases:\n  build:\n    on-failure: RETRY-101\n".to_owned(),
        "version: 0.2\nphases:\n  build:\n    runtime-versions: {go: 1}\n".to_owned(),
        format!("version: 0.2\n{phases}batch: {{fast-fail: true}}\n"),
        format!("version: 0.2\n{phases}reports: {{a: {{files: [x]}}}}\n"),
        format!("version: 0.2\n{phases}cache: {{paths: [x]}}\n"),
        format!("version: 0.2\n{phases}proxy: {{logs: yes}}\n"),
        format!("version: 0.2\n{phases}env:\n  secrets-manager: {{A: b}}\n"),
        format!("version: 0.2\n{phases}env:\n  parameter-store: {{A: b}}\n"),
        format!("version: 0.2\n{phases}env:\n  shell: powershell.exe\n"),
        format!("version: 0.2\n{phases}env:\n  git-credential-helper: yes\n"),
        format!("version: 0.2\n{phases}env:\n  variables:\n    CODEBUILD_X: y\n"),
        format!("version: 0.2\n{phases}env:\n  variables:\n    1X: y\n"),
        format!("version: 0.2\n{phases}env:\n  exported-variables: [AWS_X]\n"),
        format!("version: 0.2\n{phases}artifacts:\n  files: [../x]\n"),
        format!("version: 0.2\n{phases}artifacts:\n  base-directory: /etc\n  files: [x]\n"),
        format!("version: 0.2\n{phases}artifacts:\n  secondary-artifacts: {{}}\n  files: [x]\n"),
        format!("version: 0.2\n{phases}run-as: -x\n"),
        format!("version: 0.2\n{phases}phase: 1\n"),
    ];
    let shown: Vec<String> = table
        .iter()
        .map(|text| Buildspec::parse(text).unwrap_err().to_string())
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn the_forms_of_on_failure() {
    for (text, shown) in [
        ("ABORT", "ABORT"),
        ("CONTINUE", "CONTINUE"),
        ("RETRY", "RETRY-3"),
        ("RETRY-0", "RETRY-0"),
        ("RETRY-.*reset.*", "RETRY-3-.*reset.*"),
        ("RETRY-5-a-b", "RETRY-5-a-b"),
    ] {
        assert_eq!(text.parse::<OnFailure>().unwrap().to_string(), shown);
    }
    for text in ["", "abort", "RETRY-", "RETRYX", "RETRY-101", "IGNORE"] {
        assert!(text.parse::<OnFailure>().is_err(), "{text}");
    }
}

#[test]
fn only_post_build_runs_after_a_failed_build() {
    use PhaseName::*;
    assert!(PostBuild.runs_after_failure_of(Build));
    for (phase, failed) in [
        (PreBuild, Install),
        (Build, PreBuild),
        (PostBuild, PreBuild),
        (PostBuild, Install),
    ] {
        assert!(!phase.runs_after_failure_of(failed));
    }
}
