use std::sync::Mutex;

use time::macros::datetime;

use super::*;

/// Answers each command as a shell would that knows `fail`, and keeps what it was asked.
#[derive(Default)]
struct Script {
    ran: Vec<String>,
    /// How often `flaky` fails before it succeeds.
    failures: u32,
}

#[async_trait]
impl Executor for Script {
    async fn run(
        &mut self,
        user: &str,
        command: &str,
        log: &dyn LogSink,
    ) -> Result<CommandStatus, ContainerError> {
        let user = if user == "root" { "" } else { user };
        let command = command.replace("export CODEBUILD_BUILD_SUCCEEDING", "succeeding");
        self.ran.push(format!(
            "{command}{}{user}",
            if user.is_empty() { "" } else { "@" }
        ));
        let status = match command.as_str() {
            "flaky" if self.failures > 0 => {
                self.failures -= 1;
                7
            }
            text if text.starts_with("fail") => 3,
            _ => 0,
        };
        if let Some(text) = command.strip_prefix("say ") {
            log.line(text).await;
        }
        Ok(CommandStatus(status))
    }

    async fn variables(
        &mut self,
        _: &str,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, ContainerError> {
        Ok(names
            .iter()
            .map(|n| (n.clone(), "value".to_owned()))
            .collect())
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

#[async_trait]
impl LogSink for Lines {
    async fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

async fn run(yaml: &str, failures: u32) -> (Script, BuildReport, String) {
    let spec = Buildspec::parse(&format!("version: 0.2\n{yaml}")).unwrap();
    let mut script = Script {
        failures,
        ..Script::default()
    };
    let lines = Lines::default();
    let clock = || datetime!(2026-01-22 23:28:03.574404 UTC);
    let log = AgentLog::new(&lines, &clock);
    let report = run_phases(&spec, &mut script, &log).await.unwrap();
    let text = lines.0.lock().unwrap().join("\n");
    (script, report, text)
}

async fn check(yaml: &str, expected: &str, failure: Option<&str>) {
    let (script, report, _) = run(yaml, 1).await;
    assert_eq!(script.ran.join(" "), expected, "{yaml}");
    let message = report.failure.as_deref();
    match failure {
        None => assert_eq!(message, None, "{yaml}"),
        Some(start) => assert!(message.unwrap().starts_with(start), "{yaml}: {message:?}"),
    }
}

#[tokio::test]
async fn phases_follow_each_other_as_in_codebuild() {
    let all = |install: &str, pre: &str, build: &str, post: &str| {
        format!(
            "phases: {{install: {{commands: [{install}]}}, pre_build: {{commands: [{pre}]}}, build: {{commands: [{build}]}}, post_build: {{commands: [{post}]}}}}"
        )
    };
    check(
        &all("a", "b", "c", "d"),
        "succeeding=1 a succeeding=1 b succeeding=1 c succeeding=1 d",
        None,
    )
    .await;
    // A failed install or pre_build ends the build.
    check(
        &all("fail", "b", "c", "d"),
        "succeeding=1 fail",
        Some("INSTALL: "),
    )
    .await;
    check(
        &all("a", "fail", "c", "d"),
        "succeeding=1 a succeeding=1 fail",
        Some("PRE_BUILD: "),
    )
    .await;
    // A failed build is followed by post_build, which is told so.
    check(
        &all("a", "b", "fail", "d"),
        "succeeding=1 a succeeding=1 b succeeding=1 fail succeeding=0 d",
        Some("BUILD: "),
    )
    .await;
    // The first failure is reported, also when post_build fails as well.
    check(
        &all("a", "b", "fail1", "fail2"),
        "succeeding=1 a succeeding=1 b succeeding=1 fail1 succeeding=0 fail2",
        Some("BUILD: Error while executing command: fail1. Reason: exit status 3"),
    )
    .await;
}

#[tokio::test]
async fn a_failed_command_skips_the_rest_but_not_finally() {
    let build = |rest: &str| format!("phases: {{build: {{commands: [a, fail, b], {rest}}}}}");
    check(
        &build("finally: [z]"),
        "succeeding=1 a fail z",
        Some("BUILD: "),
    )
    .await;
    let only_finally = "phases: {build: {commands: [a], finally: [fail, z]}}";
    check(only_finally, "succeeding=1 a fail", Some("BUILD: ")).await;
}

#[tokio::test]
async fn on_failure_decides_what_follows() {
    let build = |word: &str, command: &str| {
        format!(
            "phases: {{build: {{on-failure: {word}, commands: [{command}]}}, post_build: {{commands: [z]}}}}"
        )
    };
    check(&build("ABORT", "fail"), "succeeding=1 fail", Some("BUILD")).await;
    check(
        &build("CONTINUE", "fail"),
        "succeeding=1 fail succeeding=0 z",
        Some("BUILD"),
    )
    .await;
    let install =
        "phases: {install: {on-failure: CONTINUE, commands: [fail]}, build: {commands: [b]}}";
    check(install, "succeeding=1 fail succeeding=0 b", Some("INSTALL")).await;
    check(
        &build("RETRY-2", "flaky"),
        "succeeding=1 flaky succeeding=1 flaky succeeding=1 z",
        None,
    )
    .await;
    check(
        &build("RETRY-2", "fail"),
        "succeeding=1 fail succeeding=1 fail succeeding=1 fail succeeding=0 z",
        Some("BUILD"),
    )
    .await;
    check(
        &build("'RETRY-2-status 7'", "flaky"),
        "succeeding=1 flaky succeeding=1 flaky succeeding=1 z",
        None,
    )
    .await;
    check(
        &build("'RETRY-2-status 8'", "flaky"),
        "succeeding=1 flaky succeeding=0 z",
        Some("BUILD"),
    )
    .await;
}

#[tokio::test]
async fn the_user_of_a_phase_wins() {
    check(
        "run-as: app\nphases: {install: {run-as: root, commands: [a]}, build: {commands: [b]}}",
        "succeeding=1 a succeeding=1@app b@app",
        None,
    )
    .await;
}

#[tokio::test]
async fn exported_variables_are_reported_also_after_a_failure() {
    let yaml = "env: {exported-variables: [TAG]}\nphases: {build: {commands: [fail]}}";
    let (_, report, _) = run(yaml, 0).await;
    assert_eq!(report.exported["TAG"], "value");
    assert!(report.failure.is_some());
}

#[tokio::test]
async fn the_log_reads_like_codebuilds() {
    let yaml = "phases: {build: {commands: [say hello, \"fail\\nmore\"]}}";
    let (_, _, text) = run(yaml, 0).await;
    insta::assert_snapshot!(text, @r"
    [Container] 2026/01/22 23:28:03.574404 Processing environment variables
    [Container] 2026/01/22 23:28:03.574404 Phases found in YAML: 1
    [Container] 2026/01/22 23:28:03.574404 Entering phase BUILD
    [Container] 2026/01/22 23:28:03.574404 Running command say hello
    hello
    [Container] 2026/01/22 23:28:03.574404 Running command fail
    more
    [Container] 2026/01/22 23:28:03.574404 Command did not exit successfully fail exit status 3
    [Container] 2026/01/22 23:28:03.574404 Phase complete: BUILD State: FAILED
    [Container] 2026/01/22 23:28:03.574404 Phase context status code: COMMAND_EXECUTION_ERROR Message: Error while executing command: fail. Reason: exit status 3
    ");
}

#[test]
fn a_buildspec_cannot_replace_what_a_build_is_told() {
    let spec = Buildspec::parse(
        "version: 0.2\nenv: {variables: {A: $PATH:/x}}\nphases: {build: {commands: [a]}}",
    )
    .unwrap();
    let facts = BuildFacts {
        project: "shop",
        pipeline: "development",
        run: "r1",
        commit: "c0ffee",
        source_url: "http://127.0.0.1/git/shop.git",
        image: "base/python:12",
        started: datetime!(2026-01-22 0:00 UTC),
    };
    let variables = environment(&facts, &spec);
    assert_eq!(variables["A"], "$PATH:/x");
    assert_eq!(variables["CODEBUILD_BUILD_ID"], "shop:r1");
    assert_eq!(variables["CODEBUILD_START_TIME"], "1769040000000");
    assert_eq!(variables["CODEBUILD_SRC_DIR"], "/workspace");
}
