//! A container that commands run in: one shell for many commands, over a private copy of the
//! source, with no network, no host namespaces and few capabilities.
//!
//! The container does nothing by itself. Commands are files in a folder that it sees read-only;
//! the shell is told to read them one after the other, and after each it writes a line that
//! starts with a random marker and ends with the status. So every command has its own standard
//! input, `cd` and variables last, and the output stays in one order. A command that ends the
//! shell (`exit`, a failure under `set -e`) costs the shell; the next command gets a new one
//! with the exported variables and the folder of the last completed command.
//!
//! What the phases of a build mean is [`crate::build`]'s business.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::Reference;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};

use crate::engine::{ContainerEngine, EngineError, RegistryLogin};
use crate::runner::{self, LogSink, MAX_LINE_BYTES, RunnerError, Running};

/// Where the workspace is in the container.
pub const WORKSPACE: &str = "/workspace";
/// Where the commands are in the container.
const INBOX: &str = "/countersign/in";
/// Where the shell leaves what the host reads afterwards.
const OUTBOX: &str = "/countersign/out";
/// How long pulling the image may take.
const PULL_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long starting or removing a container may take.
const CONTROL_LIMIT: Duration = Duration::from_secs(120);
/// The largest file that is read back from the outbox, in bytes. Ours to choose: exported
/// variables are names and digests.
const MAX_OUTBOX_BYTES: u64 = 64 * 1024;
/// What installing packages and dropping privileges needs as root in a container. None of them
/// reaches beyond it: there are no devices, no mounts and no namespaces to change.
const CAPABILITIES: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"];

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContainerNetwork {
    /// None but its own loopback.
    #[default]
    None,
    /// That of another container, so that it can be reached on its loopback and nothing else.
    Of(String),
}

/// What a container may use at most.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerLimits {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processor time, in processors.
    pub cpus: f64,
    /// Processes.
    pub pids: u32,
}

impl Default for ContainerLimits {
    /// Returns the size of the smallest common build machine: two processors, 3 GiB
    /// (CodeBuild's `BUILD_GENERAL1_SMALL`).
    fn default() -> Self {
        Self {
            memory_bytes: 3 * 1024 * 1024 * 1024,
            cpus: 2.0,
            pids: 4096,
        }
    }
}

/// A container that is to be started.
pub struct ContainerRequest<'a> {
    /// The image, by digest.
    pub image: &'a Reference,
    /// The name: that of the run and action, so that a leftover of an earlier attempt is found.
    pub name: &'a str,
    /// The workspace: a private copy, which the commands may change.
    pub workspace: &'a Path,
    /// A folder of this container alone, for commands and configuration.
    pub scratch: &'a Path,
    /// The network.
    pub network: ContainerNetwork,
    /// What it may use at most.
    pub limits: ContainerLimits,
    /// The variables that every command finds.
    pub environment: &'a BTreeMap<String, String>,
    /// The credentials of the run, to pull the image.
    pub login: &'a RegistryLogin,
}

/// Says why commands could not be run. A command that fails is a [`CommandStatus`], not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The image has no digest: a tag may have moved since it was judged.
    #[error("image `{0}` is not named by a digest")]
    NoDigest(Box<Reference>),
    /// The image could not be pulled.
    #[error("image `{image}` could not be pulled")]
    Pull {
        /// The image.
        image: Box<Reference>,
        /// What podman said.
        #[source]
        source: RunnerError,
    },
    /// The container could not be started.
    #[error("the container could not be started")]
    Start(#[source] RunnerError),
    /// A file for or from the container could not be handled.
    #[error("`{}` could not be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The configuration could not be written.
    #[error("the container could not be prepared")]
    Prepare(#[from] EngineError),
    /// The shell could not be talked to.
    #[error("the shell in the container could not be talked to")]
    Shell(#[source] std::io::Error),
    /// The shell ended before the first command: the image has no such shell or user.
    #[error("the image has no shell `{shell}`, or no user `{user}`: {said}")]
    NoShell {
        /// The shell.
        shell: String,
        /// The user.
        user: String,
        /// What podman said.
        said: String,
    },
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandStatus(pub i32);

impl CommandStatus {
    /// Returns whether it succeeded.
    pub fn is_success(self) -> bool {
        self.0 == 0
    }
}

/// A running container, which is removed by [`WorkContainer::remove`]; if that never happens,
/// the next attempt of the same action removes it.
pub struct WorkContainer<'a> {
    engine: &'a ContainerEngine,
    name: String,
    scratch: PathBuf,
    marker: String,
    shell: Option<Shell>,
    commands: usize,
}

impl<'a> WorkContainer<'a> {
    /// Pulls the image by its digest and starts a container of it, in place of an earlier one
    /// with the same name.
    ///
    /// # Errors
    /// Everything that [`ContainerError`] names.
    pub async fn start(
        engine: &'a ContainerEngine,
        request: &ContainerRequest<'_>,
        log: &dyn LogSink,
    ) -> Result<Self, ContainerError> {
        pull(engine, request).await?;
        log.line(&format!("commands run in {}", request.image))
            .await;
        let container = Self {
            engine,
            name: request.name.to_owned(),
            scratch: request.scratch.to_owned(),
            marker: format!("countersign-{}", uuid::Uuid::new_v4().simple()),
            shell: None,
            commands: 0,
        };
        container.prepare(request)?;
        container.remove().await;
        let command = container.run_command(request);
        runner::capture(&command, CONTROL_LIMIT)
            .await
            .map_err(ContainerError::Start)?;
        Ok(container)
    }

    /// Runs one command as `user` with `program` as its shell, and logs what it writes.
    ///
    /// # Errors
    /// If the shell cannot be started or talked to.
    pub async fn run(
        &mut self,
        shell: ShellChoice<'_>,
        command: &str,
        log: &dyn LogSink,
    ) -> Result<CommandStatus, ContainerError> {
        self.commands += 1;
        let file = format!("{}.sh", self.commands);
        write(&self.inbox().join(&file), &format!("{command}\n"))?;
        let mut open = match self.shell.take() {
            Some(open) if open.is(shell) => open,
            _ => self.open_shell(shell).await?,
        };
        // The redirection is for the sourced commands: they must not read the driver's lines.
        let line = format!(
            ". {INBOX}/{file} </dev/null; printf '%s %s\\n' {marker} \"$?\"; {SNAPSHOT}\n",
            marker = self.marker,
        );
        let status = open.ask(&line, &self.marker, log).await?;
        match status {
            Some(status) => {
                self.shell = Some(open);
                Ok(status)
            }
            None => Ok(CommandStatus(open.end().await)),
        }
    }

    /// Returns the values of variables as the shell has them, without logging them.
    ///
    /// # Errors
    /// If the shell cannot be talked to.
    pub async fn variables(
        &mut self,
        shell: ShellChoice<'_>,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, ContainerError> {
        for (index, name) in names.iter().enumerate() {
            // Names come from a parsed buildspec, where they are identifiers.
            let command = format!("printf '%s' \"${{{name}-}}\" >{OUTBOX}/value-{index}");
            self.run(shell, &command, &runner::Tail::default()).await?;
        }
        let value = |(index, name): (usize, &String)| {
            let path = self.outbox().join(format!("value-{index}"));
            Some((name.clone(), read_regular(&path)?))
        };
        Ok(names.iter().enumerate().filter_map(value).collect())
    }

    /// Ends the container with everything in it. Doing it twice is harmless.
    pub async fn remove(&self) {
        let command = self
            .engine
            .podman()
            .args(["rm", "--force", "--ignore", "--time", "0", &self.name]);
        if let Err(error) = runner::capture(&command, CONTROL_LIMIT).await {
            tracing::warn!(%error, name = self.name, "a container was not removed");
        }
    }

    fn inbox(&self) -> PathBuf {
        self.scratch.join("in")
    }

    fn outbox(&self) -> PathBuf {
        self.scratch.join("out")
    }

    fn prepare(&self, request: &ContainerRequest<'_>) -> Result<(), ContainerError> {
        // The container's users must get in and none of the machine's: the folder above is 0700.
        for (path, mode) in [(self.inbox(), 0o755), (self.outbox(), 0o1777)] {
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
                .map_err(file_error(&path))?;
        }
        let line = |(name, value): (&String, &String)| format!("export {name}={}\n", quote(value));
        let environment: String = request.environment.iter().map(line).collect();
        write(&self.inbox().join("environment"), &environment)
    }

    fn run_command(&self, request: &ContainerRequest<'_>) -> runner::CommandLine {
        let network = match &request.network {
            ContainerNetwork::None => "none".to_owned(),
            ContainerNetwork::Of(name) => format!("container:{name}"),
        };
        let limits = &request.limits;
        let mount = |host: &Path, inside: &str, mode: &str| {
            format!("{}:{inside}:{mode},nosuid,nodev", host.display())
        };
        self.engine
            .podman()
            .args(["run", "--detach", "--init", "--pull", "never"])
            .args(["--name", &self.name, "--network", &network])
            .args(["--cap-drop", "all", "--security-opt", "no-new-privileges"])
            .args(CAPABILITIES.iter().flat_map(|name| ["--cap-add", name]))
            .args(["--memory", &limits.memory_bytes.to_string()])
            .args(["--cpus", &limits.cpus.to_string()])
            .args(["--pids-limit", &limits.pids.to_string()])
            .args([
                "--user",
                "0",
                "--workdir",
                WORKSPACE,
                "--log-driver",
                "none",
            ])
            .args(["--no-healthcheck", "--env", "HOME=/root"])
            .args(["--volume", &mount(request.workspace, WORKSPACE, "rw")])
            .args(["--volume", &mount(&self.inbox(), INBOX, "ro")])
            .args(["--volume", &mount(&self.outbox(), OUTBOX, "rw")])
            .args(["--entrypoint", "/bin/sh"])
            .arg(request.image.to_string())
            .args(["-c", "while :; do sleep 3600; done"])
    }

    async fn open_shell(&self, choice: ShellChoice<'_>) -> Result<Shell, ContainerError> {
        let command = self
            .engine
            .podman()
            .args(["exec", "--interactive", "--user", choice.user])
            .args(["--workdir", WORKSPACE, &self.name, choice.program]);
        let running = runner::piped(&command).map_err(ContainerError::Start)?;
        let mut shell = Shell::new(running, choice)?;
        // One stream, so that the order of output and errors is that in which they were written.
        let hello = format!(
            "exec 2>&1; . {INBOX}/environment; [ ! -f {OUTBOX}/environment ] || . {OUTBOX}/environment; \
             cd \"$(cat {OUTBOX}/folder 2>/dev/null || echo {WORKSPACE})\"; printf '%s %s\\n' {} 0\n",
            self.marker
        );
        let said = runner::Tail::default();
        match shell.ask(&hello, &self.marker, &said).await? {
            Some(_) => Ok(shell),
            None => Err(ContainerError::NoShell {
                shell: choice.program.to_owned(),
                user: choice.user.to_owned(),
                said: format!("{}{}", said.text(), shell.errors().await),
            }),
        }
    }
}

/// Keeps the exported variables and the folder for a shell that takes over.
const SNAPSHOT: &str =
    "{ export -p >/countersign/out/environment; pwd >/countersign/out/folder; } 2>/dev/null || :";

/// The shell and the user of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShellChoice<'a> {
    /// The program, such as `/bin/sh`.
    pub program: &'a str,
    /// The user.
    pub user: &'a str,
}

impl Default for ShellChoice<'_> {
    /// Returns the shell that every image with a shell has, and root as in CodeBuild.
    fn default() -> Self {
        Self {
            program: "/bin/sh",
            user: "root",
        }
    }
}

/// One open shell.
struct Shell {
    program: String,
    user: String,
    running: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    carried: Vec<u8>,
}

impl Shell {
    fn new(mut running: Running, choice: ShellChoice<'_>) -> Result<Self, ContainerError> {
        let closed = || ContainerError::Shell(std::io::ErrorKind::BrokenPipe.into());
        let input = running.stdin().ok_or_else(closed)?;
        let output = BufReader::new(running.stdout().ok_or_else(closed)?);
        Ok(Self {
            program: choice.program.to_owned(),
            user: choice.user.to_owned(),
            running,
            input,
            output,
            carried: Vec::new(),
        })
    }

    fn is(&self, choice: ShellChoice<'_>) -> bool {
        self.program == choice.program && self.user == choice.user
    }

    /// Sends one line and logs everything up to the marker. `None` if the shell ended before.
    async fn ask(
        &mut self,
        line: &str,
        marker: &str,
        log: &dyn LogSink,
    ) -> Result<Option<CommandStatus>, ContainerError> {
        // A shell that has ended closes the pipe; its end is seen when reading.
        let _ = self.input.write_all(line.as_bytes()).await;
        let _ = self.input.flush().await;
        while let Some(text) = self
            .next_line(marker)
            .await
            .map_err(ContainerError::Shell)?
        {
            let Some((rest, status)) = text.split_once(marker) else {
                log.line(&text).await;
                continue;
            };
            // Output without a final line feed stands before the marker.
            if !rest.is_empty() {
                log.line(rest).await;
            }
            let status = status.trim().parse().unwrap_or(1);
            return Ok(Some(CommandStatus(status)));
        }
        Ok(None)
    }

    /// Reads a line; a long one is given in pieces, of which none cuts the marker.
    async fn next_line(&mut self, marker: &str) -> std::io::Result<Option<String>> {
        /// Room for a space and a status behind the marker.
        const STATUS_BYTES: usize = 16;
        let limit = MAX_LINE_BYTES + marker.len() + STATUS_BYTES;
        let mut line = std::mem::take(&mut self.carried);
        while line.len() < limit && line.last() != Some(&b'\n') {
            let available = self.output.fill_buf().await?;
            if available.is_empty() {
                break;
            }
            let end = available.iter().position(|b| *b == b'\n');
            let take = end.map_or(available.len(), |end| end + 1);
            let take = take.min(limit - line.len());
            line.extend_from_slice(&available[..take]);
            self.output.consume(take);
        }
        if line.len() == limit && line.last() != Some(&b'\n') {
            self.carried = line.split_off(MAX_LINE_BYTES);
        }
        match line.is_empty() {
            true => Ok(None),
            false => Ok(Some(runner::printable(&line))),
        }
    }

    async fn end(mut self) -> i32 {
        drop(self.input);
        match self.running.wait().await {
            // A shell that ends with success in the middle of a command did not run it to the
            // end, but that is what `exit 0` asks for.
            Ok(status) => status.code().unwrap_or(137),
            Err(_) => 1,
        }
    }

    async fn errors(&mut self) -> String {
        let Some(stderr) = self.running.stderr() else {
            return String::new();
        };
        let mut reader = BufReader::new(stderr);
        let line = runner::next_line(&mut reader).await;
        line.ok().flatten().unwrap_or_default()
    }
}

async fn pull(
    engine: &ContainerEngine,
    request: &ContainerRequest<'_>,
) -> Result<(), ContainerError> {
    let image = request.image;
    if image.digest.is_none() {
        return Err(ContainerError::NoDigest(Box::new(image.clone())));
    }
    let policy = request.scratch.join("policy.json");
    let auth = request.scratch.join("auth.json");
    engine.write_image_policy(&policy, std::slice::from_ref(image))?;
    engine.write_auth_file(&auth, request.login)?;
    let command = engine
        .podman()
        .args(["pull", "--quiet", "--signature-policy"])
        .arg(&policy)
        .arg("--authfile")
        .arg(&auth)
        .arg(image.to_string());
    let pulled = runner::capture(&command, PULL_LIMIT).await;
    let _ = fs::remove_file(&auth);
    match pulled {
        Ok(_) => Ok(()),
        Err(source) => Err(ContainerError::Pull {
            image: Box::new(image.clone()),
            source,
        }),
    }
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> ContainerError + '_ {
    |source| ContainerError::File {
        path: path.to_owned(),
        source,
    }
}

fn write(path: &Path, text: &str) -> Result<(), ContainerError> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o644)))
        .map_err(file_error(path))
}

/// Reads a small file that somebody in the container wrote: never through a symbolic link, which
/// could name any file of the machine.
fn read_regular(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_OUTBOX_BYTES {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Quotes a text for a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_literal_word() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn links_and_large_files_are_not_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert_eq!(read_regular(&link), None);
        let large = folder.path().join("large");
        fs::write(&large, vec![b'x'; MAX_OUTBOX_BYTES as usize + 1]).unwrap();
        assert_eq!(read_regular(&large), None);
        let good = folder.path().join("good");
        fs::write(&good, "value").unwrap();
        assert_eq!(read_regular(&good).as_deref(), Some("value"));
    }
}
