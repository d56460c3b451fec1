//! The place that the story is played in: one temporary folder, free ports, and every account's
//! own home, so that nothing of the machine's user is read or changed.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::CliError;

/// What a command came to.
pub(super) struct Done {
    /// The exit code; 128 where a signal ended it.
    pub(super) code: i32,
    /// Standard output.
    pub(super) stdout: String,
    /// Standard error.
    pub(super) stderr: String,
}

impl Done {
    /// Returns both outputs, one after the other.
    pub(super) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The folders and addresses of one performance.
pub(super) struct Sandbox {
    /// The folder of everything.
    pub(super) dir: PathBuf,
    /// The address of the server, `127.0.0.1:port`.
    pub(super) server: String,
    executable: PathBuf,
}

impl Sandbox {
    /// Returns a sandbox in a new folder below `parent`.
    pub(super) fn new(parent: &Path) -> Result<Self, CliError> {
        let io =
            |e: std::io::Error| CliError::config("the demo's folder could not be made").because(e);
        let dir = parent.join(format!("countersign-demo-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(io)?;
        let executable = std::env::current_exe().map_err(io)?;
        Ok(Self {
            dir,
            server: format!("127.0.0.1:{}", free_port()?),
            executable,
        })
    }

    /// Runs `countersign` as `who`, whose credentials lie in a home of their own.
    pub(super) fn countersign(&self, who: &str, arguments: &[&str]) -> Result<Done, CliError> {
        self.countersign_with_input(who, arguments, "")
    }

    /// Runs `countersign` as `who`, with `input` on its standard input.
    pub(super) fn countersign_with_input(
        &self,
        who: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<Done, CliError> {
        let mut command = command(&self.executable);
        command
            .args(arguments)
            .envs(self.environment(who)?)
            .current_dir(&self.dir);
        finish(command, input)
    }

    /// Runs a foreign program as `who` in `folder`.
    pub(super) fn program(
        &self,
        who: &str,
        folder: &Path,
        line: &[&str],
    ) -> Result<Done, CliError> {
        let mut command = command(Path::new(line[0]));
        command
            .args(&line[1..])
            .envs(self.environment(who)?)
            .current_dir(folder);
        finish(command, "")
    }

    /// Returns the home of `who`, which is made on first use.
    pub(super) fn home(&self, who: &str) -> Result<PathBuf, CliError> {
        let io = |e| CliError::config("an account's home could not be made").because(e);
        let home = self.dir.join("homes").join(who);
        let credentials = home.join("docker").join("config.json");
        // buildah stops when the folder is named and the file is not there.
        if !credentials.exists() {
            std::fs::create_dir_all(home.join("docker")).map_err(io)?;
            std::fs::write(&credentials, "{}").map_err(io)?;
        }
        Ok(home)
    }

    fn environment(&self, who: &str) -> Result<BTreeMap<&'static str, String>, CliError> {
        let home = self.home(who)?;
        let folder = |name: &str| home.join(name).display().to_string();
        Ok(BTreeMap::from([
            ("HOME", home.display().to_string()),
            ("DOCKER_CONFIG", folder("docker")),
            ("COUNTERSIGN_CONFIG", folder("countersign")),
            (
                "COUNTERSIGN_DB",
                self.dir.join("advisories").display().to_string(),
            ),
            ("COUNTERSIGN_SERVER", format!("http://{}", self.server)),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            ("GIT_TERMINAL_PROMPT", "0".to_owned()),
            ("GIT_AUTHOR_NAME", who.to_owned()),
            ("GIT_AUTHOR_EMAIL", format!("{who}@shop.example")),
            ("GIT_COMMITTER_NAME", who.to_owned()),
            ("GIT_COMMITTER_EMAIL", format!("{who}@shop.example")),
        ]))
    }
}

/// Returns a port that nobody listens on now.
pub(super) fn free_port() -> Result<u16, CliError> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    port.map(|address| address.port())
        .map_err(|e| CliError::config("no free port was found on 127.0.0.1").because(e))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo types the commands that a user would"
)]
fn command(program: &Path) -> Command {
    Command::new(program)
}

fn finish(mut command: Command, input: &str) -> Result<Done, CliError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed =
        |e: std::io::Error| CliError::config(format!("`{name}` could not be run")).because(e);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input is not wrong to do so.
        let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    }
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().map_err(failed)?;
    Ok(Done {
        code: status.code().unwrap_or(128),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

impl Sandbox {
    /// Runs `countersign` as `who` and hands on each line of its standard output as it is written.
    pub(super) fn stream(
        &self,
        who: &str,
        arguments: &[&str],
        mut line: impl FnMut(&str),
    ) -> Result<(), CliError> {
        let failed =
            |e: std::io::Error| CliError::config("the log could not be followed").because(e);
        let mut command = command(&self.executable);
        command
            .args(arguments)
            .envs(self.environment(who)?)
            .current_dir(&self.dir);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(stdout) = child.stdout.take() {
            for text in std::io::BufRead::lines(std::io::BufReader::new(stdout)) {
                line(&text.map_err(failed)?);
            }
        }
        child.wait().map(drop).map_err(failed)
    }
}
