//! Git repositories: made and served by the front, fetched by the worker, always by the real git.
//!
//! Serving is git's own `http-backend` as a CGI program, with a configuration of ours alone: no
//! hooks, objects checked on the way in, sizes bounded. Which references a push changed is found
//! by listing them before and after; pushes to one repository are done one after the other, so
//! the difference is that push's.
//!
//! git-http-backend(1), gitprotocol-http(5), RFC 3875.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::project::Name;
use crate::runner::{self, CommandLine, LogSink, RunnerError, Running};

/// The largest push, in bytes: a source, not a store of binaries.
pub const MAX_PUSH_BYTES: u64 = 1024 * 1024 * 1024;
/// How long one request may take: a first push of a large repository over a slow line.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long making or listing a repository may take.
const CONTROL_LIMIT: Duration = Duration::from_secs(60);
/// How long fetching a commit may take.
const FETCH_LIMIT: Duration = Duration::from_secs(15 * 60);
/// The most header lines of a CGI answer. `http-backend` writes four.
const MAX_HEADERS: usize = 32;

/// A change of one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefUpdate {
    /// The reference, such as `refs/heads/main`.
    pub name: String,
    /// The object before, unless the reference is new.
    pub old: Option<String>,
    /// The object now, unless the reference is gone.
    pub new: Option<String>,
}

impl RefUpdate {
    /// Returns the branch, if this is one.
    pub fn branch(&self) -> Option<&str> {
        self.name.strip_prefix("refs/heads/")
    }
}

/// What a client may ask a repository for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitService {
    /// Fetching.
    UploadPack,
    /// Pushing.
    ReceivePack,
}

/// A request for `http-backend`.
#[derive(Clone, Debug)]
pub struct CgiRequest<'a> {
    /// The repository.
    pub repository: &'a Name,
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The path below the repository, such as `/info/refs`.
    pub path: &'a str,
    /// The query, without the question mark.
    pub query: &'a str,
    /// The header `Content-Type`.
    pub content_type: &'a str,
    /// The header `Content-Encoding`: `http-backend` itself inflates `gzip`.
    pub content_encoding: &'a str,
    /// The header `Git-Protocol`.
    pub protocol: &'a str,
    /// The account that asks.
    pub account: &'a str,
}

/// Says why a repository gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no such repository.
    #[error("there is no git repository `{0}`")]
    NotFound(Name),
    /// git is not installed.
    #[error("the program `git` is missing: `apt-get install git` on Debian")]
    Missing,
    /// A folder could not be made.
    #[error("`{}` could not be made", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// git failed.
    #[error("git failed")]
    Run(#[from] RunnerError),
    /// `http-backend` could not be talked to.
    #[error("`git http-backend` broke off")]
    Cgi(#[source] std::io::Error),
    /// `http-backend` answered something that is not CGI.
    #[error("`git http-backend` answered without headers")]
    Malformed,
    /// The name of a commit is not one.
    #[error("`{0}` is not the name of a commit")]
    Commit(String),
}

/// How many git processes serve at once: each may use a core and hundreds of megabytes.
const MAX_PROCESSES: usize = 8;

/// The git repositories of one server.
#[derive(Clone)]
pub struct GitRepositories {
    folder: PathBuf,
    git: PathBuf,
    slots: Arc<Semaphore>,
    /// One lock for each repository that is pushed to.
    pushes: Arc<Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>>,
}

/// An answer of `http-backend`: status, headers, and a body that is still being written.
pub struct CgiAnswer {
    /// The status.
    pub status: u16,
    /// The headers, in their order.
    pub headers: Vec<(String, String)>,
    /// The body. Dropping it ends the program.
    pub body: CgiBody,
}

/// The body of an answer, with the process that writes it.
pub struct CgiBody {
    output: BufReader<ChildStdout>,
    running: Running,
    _slot: Option<OwnedSemaphorePermit>,
}

impl CgiBody {
    /// Waits until the program has ended, after the body was read.
    pub async fn finish(mut self) {
        let _ = self.running.wait().await;
    }
}

impl AsyncRead for CgiBody {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl GitRepositories {
    /// Opens the repositories in `folder`.
    ///
    /// # Errors
    /// If git is missing or the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, GitError> {
        let git = runner::find_program("git").ok_or(GitError::Missing)?;
        make_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            git,
            slots: Arc::new(Semaphore::new(MAX_PROCESSES)),
            pushes: Arc::default(),
        })
    }

    /// Makes an empty repository, unless it is there.
    ///
    /// # Errors
    /// If git fails.
    pub async fn create(&self, name: &Name) -> Result<(), GitError> {
        if self.exists(name) {
            return Ok(());
        }
        let command = self
            .command()
            .args(["init", "--quiet", "--bare", "--initial-branch=main"])
            .arg(self.path(name));
        runner::capture(&command, CONTROL_LIMIT).await?;
        Ok(())
    }

    /// Returns whether there is such a repository.
    pub fn exists(&self, name: &Name) -> bool {
        self.path(name).join("HEAD").is_file()
    }

    /// Removes a repository with all that is in it. Doing it twice is harmless.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn remove(&self, name: &Name) -> Result<(), GitError> {
        let path = self.path(name);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(GitError::Folder { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Returns all references and the objects that they name.
    ///
    /// # Errors
    /// If there is no such repository, or git fails.
    pub async fn references(&self, name: &Name) -> Result<BTreeMap<String, String>, GitError> {
        if !self.exists(name) {
            return Err(GitError::NotFound(name.clone()));
        }
        let command = self
            .command()
            .arg("--git-dir")
            .arg(self.path(name))
            .args(["for-each-ref", "--format=%(refname) %(objectname)"]);
        let output = runner::capture(&command, CONTROL_LIMIT).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let pair = |line: &str| {
            let (name, object) = line.rsplit_once(' ')?;
            Some((name.to_owned(), object.to_owned()))
        };
        Ok(text.lines().filter_map(pair).collect())
    }

    /// Waits for the turn to push to a repository; others wait until the guard is dropped.
    pub async fn lock_pushes(&self, name: &Name) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(name.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }

    /// Starts `http-backend` over a request body, and returns its answer once the headers are
    /// there. The body is copied on the side, since git may answer before it has read it all.
    ///
    /// # Errors
    /// If there is no such repository, or git cannot be started or talked to.
    pub async fn serve<B>(&self, request: &CgiRequest<'_>, body: B) -> Result<CgiAnswer, GitError>
    where
        B: AsyncRead + Send + Unpin + 'static,
    {
        if !self.exists(request.repository) {
            return Err(GitError::NotFound(request.repository.clone()));
        }
        let slot = self.slots.clone().acquire_owned().await.ok();
        let mut running = runner::piped(&self.cgi_command(request))?;
        let closed = || GitError::Cgi(std::io::ErrorKind::BrokenPipe.into());
        let mut input = running.stdin().ok_or_else(closed)?;
        let output = running.stdout().ok_or_else(closed)?;
        drain_errors(&mut running);
        tokio::spawn(async move {
            let mut body = body;
            let copied = tokio::io::copy(&mut body, &mut input).await;
            if let Err(error) = copied {
                tracing::debug!(%error, "the body of a git request broke off");
            }
            let _ = input.shutdown().await;
        });
        let mut output = BufReader::new(output);
        let (status, headers) = read_headers(&mut output).await?;
        let body = CgiBody {
            output,
            running,
            _slot: slot,
        };
        Ok(CgiAnswer {
            status,
            headers,
            body,
        })
    }

    fn path(&self, name: &Name) -> PathBuf {
        // A name has no `/` and no `.`: it cannot lead anywhere else.
        self.folder.join(format!("{name}.git"))
    }

    fn command(&self) -> CommandLine {
        command(&self.git, &self.folder)
    }

    fn cgi_command(&self, request: &CgiRequest<'_>) -> CommandLine {
        let path = format!("/{}.git{}", request.repository, request.path);
        let limit = MAX_PUSH_BYTES.to_string();
        self.command()
            .args([
                "-c",
                "http.receivepack=true",
                "-c",
                "core.hooksPath=/dev/null",
            ])
            .args([
                "-c",
                "transfer.fsckObjects=true",
                "-c",
                "receive.autogc=false",
            ])
            .args(["-c", &format!("receive.maxInputSize={limit}")])
            // The worker asks for the commit that was pushed, also when the branch went on.
            .args(["-c", "uploadpack.allowReachableSHA1InWant=true"])
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.folder)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GATEWAY_INTERFACE", "CGI/1.1")
            .env("SERVER_PROTOCOL", "HTTP/1.1")
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("REQUEST_METHOD", request.method)
            .env("PATH_INFO", &path)
            .env("PATH_TRANSLATED", self.folder.join(&path[1..]))
            .env("QUERY_STRING", request.query)
            .env("CONTENT_TYPE", request.content_type)
            .env("HTTP_CONTENT_ENCODING", request.content_encoding)
            .env("GIT_PROTOCOL", request.protocol)
            .env("REMOTE_USER", request.account)
    }
}

/// Returns what changed between two listings of references.
pub fn updates(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<RefUpdate> {
    let mut updates: Vec<RefUpdate> = after
        .iter()
        .filter(|(name, object)| before.get(*name) != Some(object))
        .map(|(name, object)| RefUpdate {
            name: name.clone(),
            old: before.get(name).cloned(),
            new: Some(object.clone()),
        })
        .collect();
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    updates.extend(gone.map(|(name, object)| RefUpdate {
        name: name.clone(),
        old: Some(object.clone()),
        new: None,
    }));
    updates
}

/// A commit that is to be fetched into a folder.
pub struct Checkout<'a> {
    /// The URL of the repository, without credentials.
    pub url: &'a str,
    /// The commit, in hexadecimal.
    pub commit: &'a str,
    /// The folder, which must not be there yet.
    pub folder: &'a Path,
    /// A folder for the credentials, which nobody else can read.
    pub scratch: &'a Path,
    /// The account's name.
    pub account: &'a str,
    /// The token of the run: goes through a file, never through arguments.
    pub token: &'a str,
}

/// Fetches one commit and leaves its files in the folder, without the repository. Returns the
/// time of the commit, in seconds since 1970.
///
/// # Errors
/// If git fails, or does not know the commit.
pub async fn checkout(request: &Checkout<'_>, log: &dyn LogSink) -> Result<u64, GitError> {
    let is_hex = request.commit.bytes().all(|b| b.is_ascii_hexdigit());
    if !matches!(request.commit.len(), 40 | 64) || !is_hex {
        return Err(GitError::Commit(request.commit.chars().take(80).collect()));
    }
    let git = runner::find_program("git").ok_or(GitError::Missing)?;
    make_folder(request.folder)?;
    let config = write_credentials(request)?;
    let repository = request.scratch.join("source.git");
    let _ = fs::remove_dir_all(&repository);
    let done = fetch(request, &git, &config, &repository, log).await;
    let _ = fs::remove_file(&config);
    let _ = fs::remove_dir_all(&repository);
    done
}

async fn fetch(
    request: &Checkout<'_>,
    git: &Path,
    config: &Path,
    repository: &Path,
    log: &dyn LogSink,
) -> Result<u64, GitError> {
    let base = || {
        command(git, request.scratch)
            .env("GIT_CONFIG_GLOBAL", config)
            .arg("--git-dir")
            .arg(repository)
    };
    runner::capture(&base().args(["init", "--quiet", "--bare"]), CONTROL_LIMIT).await?;
    let fetch = base()
        .args([
            "-c",
            "transfer.fsckObjects=true",
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
        ])
        .args([request.url, request.commit]);
    runner::succeed(&fetch, FETCH_LIMIT, log).await?;
    let time = base().args(["show", "--no-patch", "--format=%ct", request.commit]);
    let time = runner::capture(&time, CONTROL_LIMIT).await?;
    // No smudge filters, no hooks, and no submodules: a source is what is in the commit.
    let files = base()
        .arg("--work-tree")
        .arg(request.folder)
        .args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.autocrlf=false",
        ])
        .args(["checkout", "--quiet", "--force", "--detach", request.commit]);
    runner::succeed(&files, FETCH_LIMIT, log).await?;
    let text = String::from_utf8_lossy(&time.stdout).into_owned();
    text.trim()
        .parse()
        .map_err(|_| GitError::Commit(request.commit.to_owned()))
}

/// Credentials go into a configuration file of this checkout alone, as a header for this URL.
fn write_credentials(request: &Checkout<'_>) -> Result<PathBuf, GitError> {
    use base64::Engine as _;
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let pair = format!("{}:{}", request.account, request.token);
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let text = format!(
        "[http \"{}\"]\n\textraHeader = Authorization: Basic {encoded}\n[http]\n\tfollowRedirects = false\n",
        request.url
    );
    let path = request.scratch.join("gitconfig");
    let _ = fs::remove_file(&path);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| GitError::Folder {
            path: path.clone(),
            source,
        })?;
    Ok(path)
}

/// Nothing of the machine's or the user's configuration is read.
fn command(git: &Path, home: &Path) -> CommandLine {
    CommandLine::new(git)
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ATTR_NOSYSTEM", "1")
        // The folder may belong to another role of ours than the one that looks at it.
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .directory(home)
}

fn make_folder(path: &Path) -> Result<(), GitError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| GitError::Folder {
            path: path.to_owned(),
            source,
        })
}

/// What git complains about goes to the log of the server: clients get it through the protocol.
fn drain_errors(running: &mut Running) {
    if let Some(stderr) = running.stderr() {
        tokio::spawn(async move {
            let mut reader = BufReader::new(stderr);
            while let Ok(Some(line)) = runner::next_line(&mut reader).await {
                tracing::info!(line, "git");
            }
        });
    }
}

async fn read_headers(
    output: &mut BufReader<ChildStdout>,
) -> Result<(u16, Vec<(String, String)>), GitError> {
    let mut status = 200;
    let mut headers = Vec::new();
    for _ in 0..MAX_HEADERS {
        let mut line = String::new();
        let read = output.read_line(&mut line).await.map_err(GitError::Cgi)?;
        let line = line.trim_end_matches(['\r', '\n']);
        if read == 0 {
            return Err(GitError::Malformed);
        }
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or(GitError::Malformed)?;
        match name.eq_ignore_ascii_case("status") {
            true => status = parse_status(value).ok_or(GitError::Malformed)?,
            false => headers.push((name.to_owned(), value.trim().to_owned())),
        }
    }
    Err(GitError::Malformed)
}

fn parse_status(value: &str) -> Option<u16> {
    let code = value.split_whitespace().next()?.parse().ok()?;
    (100..=599).contains(&code).then_some(code)
}

#[cfg(test)]
mod tests;
