//! The binary in an environment of its own: a home without settings, no network, a real server.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A home folder to run the binary in.
pub(crate) struct TestEnvironment {
    home: TempDir,
    server: Option<TestServer>,
}

/// A server that is stopped when the test ends.
struct TestServer {
    child: Child,
    address: String,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The roles die with the supervisor.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl TestEnvironment {
    /// Returns an environment without a server.
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        // Started as root, the roles of a server have user ids of their own.
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self { home, server: None }
    }

    /// Returns an environment with a server of its own, fresh and empty.
    pub(crate) fn with_server() -> Self {
        let mut environment = Self::new();
        environment.write("unlock", "a secret that only this test knows\n");
        let unlock = environment.path("unlock");
        std::fs::set_permissions(&unlock, PermissionsExt::from_mode(0o600)).unwrap();
        let address = free_address();
        let mut child = environment
            .command(&["serve", "--data", "data", "--listen", &address])
            .arg("--unlock-file")
            .arg(&unlock)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until_ready(&mut child);
        environment.server = Some(TestServer { child, address });
        environment
    }

    /// Returns the address of the server.
    #[allow(dead_code, reason = "for tests that talk to the server themselves")]
    pub(crate) fn server(&self) -> &str {
        &self.server.as_ref().unwrap().address
    }

    /// Returns the path of a file in the home folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file in the home folder.
    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Reads a file in the home folder.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs the binary in the home folder. `SERVER` in an argument is the server's address.
    /// Returns the exit code and everything printed, with what differs from run to run replaced.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, Stdio::null())
    }

    /// Runs the binary with a file as standard input.
    pub(crate) fn run_reading(&self, arguments: &[&str], file: &str) -> String {
        let file = std::fs::File::open(self.path(file)).unwrap();
        self.run_with(arguments, file.into())
    }

    /// Returns what the binary printed as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments = self.resolve(&[arguments, &["--output", "json"]].concat());
        let output = self.command(&arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn run_with(&self, arguments: &[&str], stdin: Stdio) -> String {
        let arguments = self.resolve(arguments);
        let output = self.command(&arguments).stdin(stdin).output().unwrap();
        self.redact(&describe(&output))
    }

    fn resolve(&self, arguments: &[&str]) -> Vec<String> {
        let address = self.server.as_ref().map_or("", |server| &server.address);
        let arguments = arguments.iter();
        arguments
            .map(|one| one.replace("SERVER", address))
            .collect()
    }

    #[expect(clippy::disallowed_methods, reason = "the binary is what is tested")]
    fn command(&self, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command
            .args(arguments)
            .current_dir(&self.home)
            .env_clear()
            .env("HOME", self.home.path())
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .stdin(Stdio::null());
        command
    }

    fn redact(&self, text: &str) -> String {
        let home = self.home.path().display().to_string();
        let mut text = text.replace(&home, "HOME");
        if let Some(server) = &self.server {
            text = text.replace(&server.address, "SERVER");
        }
        redact_times(&redact_digests(&text))
    }
}

fn describe(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().unwrap();
    match stderr.is_empty() {
        true => format!("exit {code}\n{stdout}"),
        false => format!("exit {code}\n{stdout}--- stderr\n{stderr}"),
    }
}

/// Every digest becomes the word that says so: artifacts carry the time at which they were made.
fn redact_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut redacted = parts.next().unwrap().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        let is_digest = rest.len() < part.len();
        redacted.push_str(if is_digest { "sha256:…" } else { "sha256:" });
        redacted.push_str(rest);
    }
    redacted
}

fn redact_times(text: &str) -> String {
    let shape = "0000-00-00T00:00:00Z";
    let is_time = |candidate: &str| {
        let digits = candidate
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c });
        digits.eq(shape.chars())
    };
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest
            .get(..shape.len())
            .filter(|candidate| is_time(candidate))
        {
            Some(_) => {
                redacted.push_str("<time>");
                rest = &rest[shape.len()..];
            }
            None => {
                redacted.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    redacted
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Reads the log up to the line that says so, and leaves the rest to a thread.
fn wait_until_ready(child: &mut Child) {
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    let is_ready = log.by_ref().map_while(Result::ok).any(|line| {
        let is_ready = line.contains("listening on");
        seen.push(line);
        is_ready
    });
    assert!(is_ready, "the server did not start:\n{}", seen.join("\n"));
    std::thread::spawn(move || log.for_each(drop));
}

/// Returns the names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
