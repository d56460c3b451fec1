//! A server in the background: started by `up`, ended by `down`.
//!
//! Its process id is kept in `DIR/serve.pid`, its log in `DIR/serve.log`. A process is only ever
//! signalled after the kernel has confirmed that it is ours: process ids are used again.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use client::control::ControlClient;
use client::http_client::HttpOptions;
use rustix::process::{Pid, Signal, kill_process};
use url::Url;

use crate::error::{CliError, Kind};

/// How long a server may take to answer: the first start makes keys.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to stop: it lets requests in flight finish.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often we look meanwhile.
const POLL: Duration = Duration::from_millis(100);
/// How many lines of the log are shown when a server does not start.
const SHOWN_LINES: usize = 5;

/// What a server in the background is started with.
pub(crate) struct Background<'a> {
    /// Its data folder.
    pub(crate) data: &'a Path,
    /// The address that it listens on.
    pub(crate) listen: SocketAddr,
    /// The file with the secret that unlocks the signing keys, if not the usual one.
    pub(crate) unlock_file: Option<&'a Path>,
}

/// A server that answers.
pub(crate) struct Running {
    /// Its address.
    pub(crate) url: Url,
    /// The administrator's token.
    pub(crate) token: String,
    /// Whether it was started now.
    pub(crate) is_new: bool,
}

impl Background<'_> {
    /// Returns the server of this data folder, and starts it if it does not run.
    pub(crate) async fn ensure(&self) -> Result<Running, CliError> {
        let url = format!("http://{}/", self.listen);
        let url: Url = url
            .parse()
            .map_err(|e| CliError::internal("an address").because(e))?;
        let runs = running(self.data).is_some();
        if !runs {
            let mut child = self.start()?;
            self.until_up(&url, &mut child).await?;
        } else if !answers(&url).await {
            return Err(CliError::new(Kind::Unavailable, format!(
                "the server of `{}` runs, but does not answer at `{}`",
                self.data.display(), self.listen
            )).hint("give the same `--listen` as when it was started, or stop it with `countersign down`"));
        }
        Ok(Running {
            url,
            token: admin_token(self.data)?,
            is_new: !runs,
        })
    }

    fn start(&self) -> Result<Child, CliError> {
        fs::create_dir_all(self.data).map_err(|e| file_error(self.data, e))?;
        let log_path = self.data.join("serve.log");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&log_path)
            .map_err(|e| file_error(&log_path, e))?;
        let again = log.try_clone().map_err(|e| file_error(&log_path, e))?;
        let program = std::env::current_exe()
            .map_err(|e| CliError::internal("our own program was not found").because(e))?;
        let mut command = command(&program);
        command
            .arg("serve")
            .arg("--data")
            .arg(self.data)
            .args(["--listen", &self.listen.to_string()])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            // A signal from this terminal is meant for `up`, not for the server.
            .process_group(0);
        if let Some(path) = self.unlock_file {
            command.arg("--unlock-file").arg(path);
        }
        let child = command
            .spawn()
            .map_err(|e| CliError::config("the server could not be started").because(e))?;
        write_pid(self.data, child.id())?;
        Ok(child)
    }

    async fn until_up(&self, url: &Url, child: &mut Child) -> Result<(), CliError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let ended = child.try_wait().ok().flatten();
            if ended.is_none() && answers(url).await && admin_token(self.data).is_ok() {
                return Ok(());
            }
            if ended.is_some() || Instant::now() >= deadline {
                let said = last_lines(&self.data.join("serve.log"));
                let _ = child.kill();
                let _ = fs::remove_file(pid_file(self.data));
                return Err(CliError::config("the server did not start").because(said));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Stops the server of a data folder and waits for its end. Returns whether one ran.
pub(crate) async fn stop(data: &Path) -> Result<bool, CliError> {
    let Some(pid) = running(data) else {
        return Ok(false);
    };
    kill_process(pid, Signal::TERM)
        .map_err(|e| CliError::config("the server could not be stopped").because(e))?;
    let deadline = Instant::now() + STOP_LIMIT;
    while running(data).is_some() {
        if Instant::now() >= deadline {
            let text = format!("the server (process {}) did not stop", pid.as_raw_nonzero());
            return Err(CliError::new(Kind::Unavailable, text));
        }
        tokio::time::sleep(POLL).await;
    }
    let _ = fs::remove_file(pid_file(data));
    Ok(true)
}

/// Returns the token that the first start has written.
pub(crate) fn admin_token(data: &Path) -> Result<String, CliError> {
    let path = data.join("admin.token");
    let text = fs::read_to_string(&path).map_err(|e| file_error(&path, e))?;
    Ok(text.trim().to_owned())
}

/// Returns the process that serves this data folder, if it is still one of ours.
pub(crate) fn running(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(pid_file(data)).ok()?;
    let number: i32 = text.trim().parse().ok()?;
    // The arguments are separated by zeros. A process that has ended has none.
    let line = fs::read(format!("/proc/{number}/cmdline")).ok()?;
    let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let serves = arguments.get(1) == Some(&&b"serve"[..]);
    let folder = data.as_os_str().as_encoded_bytes();
    match serves && arguments.contains(&folder) {
        true => Pid::from_raw(number),
        false => None,
    }
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("serve.pid")
}

fn write_pid(data: &Path, pid: u32) -> Result<(), CliError> {
    let path = pid_file(data);
    let written = fs::File::create(&path).and_then(|mut file| writeln!(file, "{pid}"));
    written.map_err(|e| file_error(&path, e))
}

async fn answers(url: &Url) -> bool {
    let once = HttpOptions {
        attempts: 1,
        ..HttpOptions::default()
    };
    match ControlClient::with_options(url.clone(), None, &once) {
        Ok(client) => client.get::<serde_json::Value>("healthz").await.is_ok(),
        Err(_) => false,
    }
}

fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[expect(
    clippy::disallowed_methods,
    reason = "`up` starts the server in the background"
)]
fn command(program: &Path) -> Command {
    Command::new(program)
}

fn file_error(path: &Path, error: std::io::Error) -> CliError {
    CliError::config(format!("`{}` could not be used", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_server_is_ever_signalled() {
        let folder = tempfile::tempdir().unwrap();
        assert!(running(folder.path()).is_none());
        for text in ["", "x", "0", "-1", "999999999"] {
            fs::write(pid_file(folder.path()), text).unwrap();
            assert!(running(folder.path()).is_none(), "{text}");
        }
        // This test's own process exists, and serves nothing.
        write_pid(folder.path(), std::process::id()).unwrap();
        assert!(running(folder.path()).is_none());
    }
}
