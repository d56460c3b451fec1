//! The only place that starts processes: buildah, podman, runc, git.
//!
//! Every process gets a cleared environment with a named list of variables, a process group of
//! its own, bounded output and a time limit, and none of them gets a secret in its arguments:
//! those are readable by every user of the machine (`/proc/*/cmdline`). What a process says goes
//! line by line to a [`LogSink`]. Deciding what to run is left to the engines.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// Where programs are looked for. Fixed, so that the caller's `PATH` decides nothing.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The longest line that is logged, in bytes; what is longer is cut into several. The size of a
/// pipe's atomic write, which no line meant for people exceeds.
pub const MAX_LINE_BYTES: usize = 4096;
/// The most bytes that [`capture`] keeps of standard output. Ours to choose: `podman inspect` of
/// a large image has a few tens of KiB.
pub const MAX_CAPTURE_BYTES: usize = 8 * 1024 * 1024;
/// How many of the last lines are kept for an error message.
const TAIL_LINES: usize = 20;

/// Takes the lines of a log, in order.
///
/// A sink that is slow slows the process down; that is meant: the log is bounded by whoever
/// keeps it, not by memory.
#[async_trait]
pub trait LogSink: Send + Sync {
    /// Takes one line, without its line feed.
    async fn line(&self, text: &str);
}

/// A sink that keeps the last lines: for calls whose output only matters when they fail.
#[derive(Default)]
pub struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    /// Returns the lines that were kept, joined.
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(|e| e.into_inner());
        Vec::from_iter(lines.iter().cloned()).join("\n")
    }

    fn push(&self, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(text.to_owned());
    }
}

#[async_trait]
impl LogSink for Tail {
    async fn line(&self, text: &str) {
        self.push(text);
    }
}

/// A sink that replaces secrets by `***` before the next sink sees them.
pub struct Masked<'a> {
    sink: &'a dyn LogSink,
    secrets: Vec<String>,
}

impl<'a> Masked<'a> {
    /// Masks each of `secrets`; ones shorter than four bytes would mask ordinary words and are
    /// left alone.
    pub fn new(sink: &'a dyn LogSink, secrets: impl IntoIterator<Item = String>) -> Self {
        let secrets = secrets.into_iter().filter(|s| s.len() >= 4).collect();
        Self { sink, secrets }
    }
}

#[async_trait]
impl LogSink for Masked<'_> {
    async fn line(&self, text: &str) {
        let mut text = std::borrow::Cow::Borrowed(text);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***").into();
            }
        }
        self.sink.line(&text).await;
    }
}

/// A program with its arguments, the whole of its environment, and its folder.
#[derive(Clone, Debug)]
pub struct CommandLine {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<String, OsString>,
    directory: Option<PathBuf>,
    /// The name for messages, where it is not the program's.
    shown: Option<String>,
}

/// Says why a process gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// The program could not be started: it is missing, or may not be executed.
    #[error("`{program}` could not be started")]
    Start {
        /// The program.
        program: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// Reading its output or waiting for it failed.
    #[error("the output of `{program}` could not be read")]
    Output {
        /// The program.
        program: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time, and its process group was killed.
    #[error("`{program}` did not end within {} seconds and was stopped", limit.as_secs())]
    Timeout {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// It wrote more than [`MAX_CAPTURE_BYTES`] where a small answer was expected.
    #[error("`{program}` wrote more than {MAX_CAPTURE_BYTES} bytes")]
    TooMuchOutput {
        /// The program.
        program: String,
    },
    /// It ended with a status other than zero.
    #[error("`{program}` failed with {status}: {tail}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote.
        tail: String,
    },
}

/// What a process wrote, and how it ended.
#[derive(Debug)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// The last lines of standard error.
    pub stderr: String,
}

impl CommandLine {
    /// Starts a command line; the environment holds nothing but `PATH` and a C locale.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let environment = BTreeMap::from([
            ("PATH".to_owned(), SEARCH_PATH.into()),
            ("LC_ALL".to_owned(), "C.UTF-8".into()),
        ]);
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment,
            directory: None,
            shown: None,
        }
    }

    /// Adds one argument. Never a secret.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments. Never a secret.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(|a| a.as_ref().to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    /// Sets the folder that it runs in.
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Lets the kernel end the program when we die, however we die: an orphan would go on
    /// working for nobody. By `setpriv` of util-linux, which Debian always has; without it the
    /// program runs all the same.
    #[must_use]
    pub fn dies_with_us(self) -> Self {
        let Some(setpriv) = find_program("setpriv") else {
            return self;
        };
        let shown = self.name();
        let mut arguments: Vec<OsString> = ["--pdeathsig", "KILL", "--"].map(Into::into).into();
        arguments.push(self.program.clone().into());
        arguments.extend(self.arguments);
        Self {
            program: setpriv,
            arguments,
            shown: Some(shown),
            ..self
        }
    }

    /// Returns the name of the program, for messages.
    pub fn name(&self) -> String {
        if let Some(shown) = &self.shown {
            return shown.clone();
        }
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        name.to_string_lossy().into_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    fn spawn(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Running, RunnerError> {
        let mut command = self.command();
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let child = command.spawn().map_err(|source| RunnerError::Start {
            program: self.name(),
            source,
        })?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Ok(Running {
            program: self.name(),
            child,
            group,
        })
    }
}

/// A process that runs. Dropping it kills its whole process group.
pub struct Running {
    program: String,
    child: Child,
    group: Option<Pid>,
}

impl Running {
    /// Returns the process id, until it has been waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Takes standard input, if it is a pipe.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Takes standard output, if it is a pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Takes standard error, if it is a pipe.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If the kernel will not say.
    pub async fn wait(&mut self) -> Result<ExitStatus, RunnerError> {
        let status = self
            .child
            .wait()
            .await
            .map_err(|source| RunnerError::Output {
                program: self.program.clone(),
                source,
            })?;
        self.group = None;
        Ok(status)
    }

    /// Returns whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the whole group to end (SIGTERM).
    pub fn terminate(&self) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, Signal::TERM);
        }
    }

    /// Kills the whole group and waits for the end.
    pub async fn kill(&mut self) {
        self.kill_group();
        let _ = self.child.wait().await;
        self.group = None;
    }

    fn kill_group(&self) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Runs a command whose output is a log: both streams go to `sink`, in the order of arrival.
///
/// # Errors
/// If it cannot be started or does not end within `limit`. A status other than zero is a result.
pub async fn stream(
    command: &CommandLine,
    limit: Duration,
    sink: &dyn LogSink,
) -> Result<ExitStatus, RunnerError> {
    let mut running = command.spawn(Stdio::null(), Stdio::piped(), Stdio::piped())?;
    let (stdout, stderr) = (running.stdout(), running.stderr());
    let work = async {
        let copied = tokio::join!(lines_of(stdout, sink), lines_of(stderr, sink));
        copied
            .0
            .and(copied.1)
            .map_err(|e| output_error(command, e))?;
        running.wait().await
    };
    let done = tokio::time::timeout(limit, work).await;
    end(command, limit, done, &mut running).await
}

/// Runs a command and fails unless it ends with status zero; the last lines go into the error.
///
/// # Errors
/// As [`stream`], and [`RunnerError::Failed`].
pub async fn succeed(
    command: &CommandLine,
    limit: Duration,
    sink: &dyn LogSink,
) -> Result<(), RunnerError> {
    let both = Tee {
        tail: Tail::default(),
        sink,
    };
    let status = stream(command, limit, &both).await?;
    if status.success() {
        return Ok(());
    }
    Err(RunnerError::Failed {
        program: command.name(),
        status,
        tail: both.tail.text(),
    })
}

/// Runs a command whose standard output is an answer.
///
/// # Errors
/// As [`succeed`], and if it writes more than [`MAX_CAPTURE_BYTES`].
pub async fn capture(command: &CommandLine, limit: Duration) -> Result<Captured, RunnerError> {
    let mut running = command.spawn(Stdio::null(), Stdio::piped(), Stdio::piped())?;
    let (stdout, stderr) = (running.stdout(), running.stderr());
    let tail = Tail::default();
    let work = async {
        let read = tokio::join!(read_bounded(stdout), lines_of(stderr, &tail));
        let stdout = read.0.map_err(|e| output_error(command, e))?;
        read.1.map_err(|e| output_error(command, e))?;
        if stdout.len() > MAX_CAPTURE_BYTES {
            let program = command.name();
            return Err(RunnerError::TooMuchOutput { program });
        }
        Ok((stdout, running.wait().await?))
    };
    let done = tokio::time::timeout(limit, work).await;
    let (stdout, status) = end(command, limit, done, &mut running).await?;
    let stderr = tail.text();
    if status.success() {
        return Ok(Captured {
            status,
            stdout,
            stderr,
        });
    }
    Err(RunnerError::Failed {
        program: command.name(),
        status,
        tail: stderr,
    })
}

/// Starts a long-running service whose output goes to `log`.
///
/// # Errors
/// If it cannot be started.
pub fn service(command: &CommandLine, log: std::fs::File) -> Result<Running, RunnerError> {
    let again = log.try_clone().map_err(|e| output_error(command, e))?;
    command.spawn(Stdio::null(), log.into(), again.into())
}

/// Starts a process that is talked to through its three streams.
///
/// # Errors
/// If it cannot be started.
pub fn piped(command: &CommandLine) -> Result<Running, RunnerError> {
    command.spawn(Stdio::piped(), Stdio::piped(), Stdio::piped())
}

/// Returns the first program of that name on [`SEARCH_PATH`].
pub fn find_program(name: &str) -> Option<PathBuf> {
    SEARCH_PATH
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

/// Returns `error` and everything that caused it, as `outer: inner: root`, for logs.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Kills what is left of a process that ran out of time, and names the reason.
async fn end<T>(
    command: &CommandLine,
    limit: Duration,
    done: Result<Result<T, RunnerError>, tokio::time::error::Elapsed>,
    running: &mut Running,
) -> Result<T, RunnerError> {
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            running.kill().await;
            Err(error)
        }
        Err(_) => {
            running.kill().await;
            Err(RunnerError::Timeout {
                program: command.name(),
                limit,
            })
        }
    }
}

fn output_error(command: &CommandLine, source: std::io::Error) -> RunnerError {
    RunnerError::Output {
        program: command.name(),
        source,
    }
}

struct Tee<'a> {
    tail: Tail,
    sink: &'a dyn LogSink,
}

#[async_trait]
impl LogSink for Tee<'_> {
    async fn line(&self, text: &str) {
        self.tail.push(text);
        self.sink.line(text).await;
    }
}

async fn read_bounded(stream: Option<ChildStdout>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let limit = MAX_CAPTURE_BYTES as u64 + 1;
        stream.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

async fn lines_of(
    stream: Option<impl AsyncRead + Unpin>,
    sink: &dyn LogSink,
) -> std::io::Result<()> {
    let Some(stream) = stream else {
        return Ok(());
    };
    let mut reader = BufReader::new(stream);
    while let Some(line) = next_line(&mut reader).await? {
        sink.line(&line).await;
    }
    Ok(())
}

/// Reads one line of at most [`MAX_LINE_BYTES`], without its line feed; `None` at the end.
///
/// # Errors
/// What reading says.
pub async fn next_line(
    reader: &mut (impl AsyncBufRead + Unpin),
) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let limit = MAX_LINE_BYTES as u64;
    if reader.take(limit).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(printable(&line)))
}

/// Returns a line as text, without its line end.
///
/// Bytes that are not UTF-8 are replaced, and so are control characters: a build log is shown on
/// terminals, and must not move their cursor or retitle their window. Of what tools write, only
/// the tab is harmless.
pub fn printable(line: &[u8]) -> String {
    let end = line.iter().rposition(|b| !matches!(b, b'\n' | b'\r'));
    let line = &line[..end.map_or(0, |end| end + 1)];
    let harmless = |c: char| match c.is_control() && c != '\t' {
        true => '\u{fffd}',
        false => c,
    };
    String::from_utf8_lossy(line)
        .chars()
        .map(harmless)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> CommandLine {
        CommandLine::new("/bin/sh").arg("-c").arg(script)
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_environment_holds_only_what_was_named() {
        let command = CommandLine::new("/usr/bin/env").env("NAMED", "yes");
        let output = capture(&command, LIMIT).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|l| l.split('=').next()).collect();
        assert_eq!(names, ["LC_ALL", "NAMED", "PATH"]);
    }

    #[tokio::test]
    async fn both_streams_arrive_as_lines_without_control_characters() {
        let tail = Tail::default();
        let script = "printf 'a\\r\\nb\\033[2J'; printf 'c\\n' >&2";
        let status = stream(&shell(script), LIMIT, &tail).await.unwrap();
        assert!(status.success());
        let mut lines: Vec<String> = tail.text().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, ["a", "b\u{fffd}[2J", "c"]);
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_nothing_is_lost() {
        struct Lengths(Mutex<Vec<usize>>);
        #[async_trait]
        impl LogSink for Lengths {
            async fn line(&self, text: &str) {
                self.0.lock().unwrap().push(text.len());
            }
        }
        let sink = Lengths(Mutex::default());
        let command = shell("head -c 10000 /dev/zero | tr '\\0' x");
        stream(&command, LIMIT, &sink).await.unwrap();
        assert_eq!(*sink.0.lock().unwrap(), [4096, 4096, 1808]);
    }

    #[tokio::test]
    async fn a_failure_carries_the_last_lines() {
        let sink = Tail::default();
        let error = succeed(&shell("echo reason; exit 3"), LIMIT, &sink).await;
        let text = error.unwrap_err().to_string();
        assert_eq!(text, "`sh` failed with exit status: 3: reason");
    }

    #[tokio::test]
    async fn running_out_of_time_kills_the_whole_group() {
        let command = shell("sleep 1000 & echo $!; wait");
        let tail = Tail::default();
        let error = stream(&command, Duration::from_secs(2), &tail).await;
        assert!(matches!(error, Err(RunnerError::Timeout { .. })));
        let child: i32 = tail.text().trim().parse().unwrap();
        // The kernel ends it in its own time, and it is a zombie until init reaps it.
        let gone = || match std::fs::read_to_string(format!("/proc/{child}/stat")) {
            Ok(state) => state.contains(") Z ") || state.contains(") X "),
            Err(_) => true,
        };
        let waited = tokio::time::timeout(LIMIT, async {
            while !gone() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "process {child} of the group lives on"
        );
    }

    #[tokio::test]
    async fn an_answer_is_bounded() {
        let command = shell("head -c 9000000 /dev/zero");
        let error = capture(&command, LIMIT).await.unwrap_err();
        assert!(
            matches!(error, RunnerError::TooMuchOutput { .. }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = capture(&CommandLine::new("/nonexistent/tool"), LIMIT).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "`tool` could not be started"
        );
    }

    #[tokio::test]
    async fn secrets_are_masked() {
        let tail = Tail::default();
        let masked = Masked::new(&tail, ["hunter22".to_owned(), "x".to_owned()]);
        masked.line("token hunter22, not x").await;
        assert_eq!(tail.text(), "token ***, not x");
    }
}
