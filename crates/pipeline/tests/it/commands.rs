//! Commands in containers.

use std::collections::BTreeMap;
use std::fs;

use pipeline::build::{AgentLog, BuildReport, InContainer, run_phases, upload_artifacts};
use pipeline::buildspec::Buildspec;
use pipeline::container::{
    CommandStatus, ContainerLimits, ContainerNetwork, ContainerRequest, ShellChoice, WorkContainer,
};
use time::OffsetDateTime;

use crate::machine::{Lines, Machine};

fn clock() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}

async fn start<'a>(machine: &'a Machine, name: &str) -> (WorkContainer<'a>, std::path::PathBuf) {
    let workspace = machine.folder(name, &[("in.txt", "input")]);
    let environment = BTreeMap::from([("GREETING".to_owned(), "it's\n$HOME".to_owned())]);
    let request = ContainerRequest {
        image: &machine.base,
        name,
        workspace: &workspace,
        scratch: &machine.folder(&format!("{name}-scratch"), &[]),
        network: ContainerNetwork::None,
        limits: ContainerLimits::default(),
        environment: &environment,
        login: &machine.login(),
    };
    let container = WorkContainer::start(&machine.engine, &request, &machine.log).await;
    (container.unwrap(), workspace)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_share_one_confined_shell() {
    let machine = Machine::start().await;
    let (mut container, workspace) = start(&machine, "shell").await;
    let mut check = async |command: &str, status: i32, expected: &str| {
        let lines = Lines::default();
        let choice = ShellChoice::default();
        let found = container.run(choice, command, &lines).await.unwrap();
        assert_eq!(found, CommandStatus(status), "{command}: {}", lines.text());
        assert_eq!(lines.text(), expected, "{command}");
    };
    // Folders, variables and functions last; each command has its own empty input.
    check("cd /tmp; X=1; f() { echo f$X; }", 0, "").await;
    check("pwd; f; cat", 0, "/tmp\nf1").await;
    check("printf '%s' \"$GREETING\"", 0, "it's\n$HOME").await;
    check("echo out; echo err >&2; echo end", 0, "out\nerr\nend").await;
    // Only the last line of a command counts, as in CodeBuild.
    check("false\ntrue", 0, "").await;
    check("(exit 3)", 3, "").await;
    // A command that ends the shell costs what was not exported.
    check("export Y=2; cd /bin", 0, "").await;
    check("exit 4", 4, "").await;
    check("echo $X-$Y; pwd", 0, "-2\n/bin").await;
    check(
        "echo 'unfinished",
        2,
        "/bin/sh: /countersign/in/10.sh: line 2: syntax error: unterminated quoted string",
    )
    .await;
    check("set -e; false; echo no", 1, "").await;
    // Confinement.
    check("cat /workspace/in.txt", 0, "input").await;
    check("ls /sys/class/net", 0, "lo").await;
    check(
        "grep -E 'NoNewPrivs|CapEff' /proc/self/status",
        0,
        "CapEff:\t00000000000000cb\nNoNewPrivs:\t1",
    )
    .await;
    check("{ echo x >/countersign/in/x; } 2>/dev/null", 1, "").await;
    check("echo out >/workspace/out.txt", 0, "").await;
    check("head -c 9000 /dev/zero | tr '\\0' x | wc -c", 0, "9000").await;

    let lines = Lines::default();
    let long = "head -c 9000 /dev/zero | tr '\\0' x";
    container
        .run(ShellChoice::default(), long, &lines)
        .await
        .unwrap();
    let lengths: Vec<usize> = lines.text().lines().map(str::len).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 9000, "{lengths:?}");

    let user = ShellChoice {
        user: "app",
        ..ShellChoice::default()
    };
    let lines = Lines::default();
    container
        .run(user, "id -u; echo x >/workspace/y", &lines)
        .await
        .unwrap();
    assert!(lines.text().starts_with("1000\n"), "{}", lines.text());
    let none = ShellChoice {
        program: "no-such-shell",
        ..ShellChoice::default()
    };
    let error = container.run(none, "true", &lines).await.unwrap_err();
    assert!(error.to_string().contains("no-such-shell"), "{error}");
    container.remove().await;
    assert_eq!(
        fs::read_to_string(workspace.join("out.txt")).unwrap(),
        "out\n"
    );
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buildspec_runs_to_its_end() {
    let machine = Machine::start().await;
    let (mut container, workspace) = start(&machine, "spec").await;
    let spec = Buildspec::parse(
        "version: 0.2\n\
         env: {exported-variables: [TAG, EMPTY]}\n\
         phases:\n\
         \x20 pre_build: {commands: [\"TAG=v$(cat in.txt | wc -c)\", mkdir out]}\n\
         \x20 build: {commands: [echo building $TAG, exit 9], finally: [\"echo '<x/>' >out/report.xml\"]}\n\
         \x20 post_build: {commands: [echo succeeding=$CODEBUILD_BUILD_SUCCEEDING, export TAG=w6]}\n\
         artifacts: {files: ['out/*.xml']}\n",
    )
    .unwrap();
    let log = AgentLog::new(&machine.log, &clock);
    let mut executor = InContainer {
        container: &mut container,
        shell: spec.env.shell.program(),
    };
    let report: BuildReport = run_phases(&spec, &mut executor, &log).await.unwrap();
    container.remove().await;
    let failure = "BUILD: Error while executing command: exit 9. Reason: exit status 9";
    assert_eq!(report.failure.as_deref(), Some(failure));
    assert_eq!(report.exported["TAG"], "w6");
    assert_eq!(report.exported["EMPTY"], "");
    let artifacts = spec.artifacts.as_ref().unwrap();
    let files = upload_artifacts(artifacts, &workspace, &log).await.unwrap();
    assert_eq!(files[0].path, "out/report.xml");
    let text = machine.log.text();
    for line in [
        "building v5",
        "succeeding=0",
        "Entering phase BUILD",
        "State: FAILED",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    machine.stop().await;
}
