//! `countersign serve` as a process: roles that are killed come back, and a signal ends it all.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A running server with the lines of its log.
struct Server {
    process: Child,
    log: std::io::Lines<BufReader<std::process::ChildStderr>>,
    seen: String,
    data: PathBuf,
    address: String,
}

impl Server {
    fn start(root: &Path) -> Self {
        let (data, unlock) = (root.join("data"), root.join("unlock"));
        // Started as root, the roles have users of their own, who must get to their folders.
        std::fs::set_permissions(root, PermissionsExt::from_mode(0o711)).unwrap();
        std::fs::write(&unlock, "a secret that is long enough\n").unwrap();
        std::fs::set_permissions(&unlock, PermissionsExt::from_mode(0o600)).unwrap();
        let mut process = serve(&data, "127.0.0.1:0", &unlock)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut server = Self {
            process,
            log,
            seen: String::new(),
            data,
            address: String::new(),
        };
        let ready = server.wait_for("ready: front listening on ");
        server.address = ready.trim().to_owned();
        server
    }

    /// Reads the log up to a line with `text`, and returns what follows it.
    fn wait_for(&mut self, text: &str) -> String {
        for line in self.log.by_ref() {
            let line = line.unwrap();
            self.seen.push_str(&line);
            self.seen.push('\n');
            if let Some((_, rest)) = line.split_once(text) {
                let end = rest.find(['"', ' ']).unwrap_or(rest.len());
                return rest[..end].to_owned();
            }
        }
        panic!("`{text}` never came:\n{}", self.seen);
    }

    fn pid(&self, role: &str) -> Pid {
        let text = std::fs::read_to_string(self.data.join(format!("{role}.pid"))).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }

    fn token(&self) -> String {
        let text = std::fs::read_to_string(self.data.join("admin.token")).unwrap();
        text.trim().to_owned()
    }

    /// Asks for `/v2/` and returns the status line.
    fn ask(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (token, host) = (self.token(), &self.address);
        let request = format!(
            "GET /v2/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// Tells it to stop, and returns the exit code and the whole log.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        for line in self.log.by_ref() {
            self.seen.push_str(&line.unwrap());
        }
        (self.process.wait().unwrap().code(), self.seen)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test of the program has to start it"
)]
fn serve(data: &Path, listen: &str, unlock: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["serve", "--log-format", "json", "--listen", listen]);
    command.arg("--data").arg(data);
    command.arg("--unlock-file").arg(unlock);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
fn roles_that_are_killed_come_back_and_a_signal_ends_all() {
    let root = tempfile::tempdir().unwrap();
    let mut server = Server::start(root.path());
    assert_eq!(server.ask(), "HTTP/1.1 200 OK");
    for role in ["front", "signer", "worker"] {
        let old = server.pid(role);
        kill_process(old, Signal::KILL).unwrap();
        server.wait_for(&format!("the {role} ended: starting it again"));
        server.wait_for(&format!("\"started the {role}"));
        assert_ne!(server.pid(role), old, "{role}");
        if role == "front" {
            server.wait_for("ready: front listening on ");
        }
        assert_eq!(server.ask(), "HTTP/1.1 200 OK", "{role}");
    }
    let roles = ["front", "signer", "worker"].map(|role| server.pid(role));
    let token = server.token();
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    for pid in roles {
        assert!(test_kill_process(pid).is_err(), "{pid:?} still lives");
    }
    assert!(!log.contains(&token), "{log}");
    assert!(!log.contains("a secret that is long enough"), "{log}");
}

#[test]
fn the_administrators_token_is_made_once() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(root.path());
    let token = server.token();
    let path = server.data.join("admin.token");
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.ask(), "HTTP/1.1 200 OK");
    server.stop();
    let server = Server::start(root.path());
    assert_eq!(server.token(), token);
    assert_eq!(server.ask(), "HTTP/1.1 200 OK");
    server.stop();
}

#[test]
fn what_cannot_be_served_is_one_clear_error() {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let data = root.path().join("data");
    let missing = root.path().join("missing");
    for (listen, expected) in [
        ("0.0.0.0:0", "is not a loopback address"),
        ("127.0.0.1:0", "cannot read secret file"),
        (taken.as_str(), "cannot listen on"),
    ] {
        let output = serve(&data, listen, &missing).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{listen}: {text}");
        assert!(text.contains(expected), "{listen}: {text}");
    }
}
