//! The container engine of one worker: buildah and podman over a private storage, with runc.
//!
//! Nothing of the machine's own container configuration is read: storage, run folder,
//! `containers.conf`, `registries.conf` and the signature policy are ours, inside the worker's
//! folder. What the machine lacks is named, with the way to get it, before anything is started;
//! isolation is never weakened to make a build possible.
//!
//! containers.conf(5), containers-registries.conf(5), containers-policy.json(5).

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use oci::{Reference, Registry};
use serde_json::json;

use crate::runner::{self, CommandLine, Running, find_program};

/// The most open files in a container: the hard limit of common machines, and never more than
/// our own, which podman's default of a million exceeds wherever `CAP_SYS_RESOURCE` is missing.
const MAX_OPEN_FILES: u64 = 20_000;
/// The most processes of one user in a container.
const MAX_PROCESSES: u64 = 32_768;
/// How long a program may take to print its version.
const VERSION_LIMIT: Duration = Duration::from_secs(30);
/// How long each step of tidying and closing may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(20);
/// How long the API service may take to create its socket.
const SERVICE_START_LIMIT: Duration = Duration::from_secs(30);
/// How often the socket is looked for meanwhile.
const SERVICE_POLL: Duration = Duration::from_millis(25);
/// The longest path of a unix socket, in bytes (`sun_path` in unix(7), less the final zero).
const MAX_SOCKET_PATH_BYTES: usize = 107;
/// The capability that mounting a container's file systems needs (capabilities(7)).
const CAP_SYS_ADMIN: u32 = 21;

/// Something that the machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// How to get it.
    pub how: String,
}

/// Says why there is no container engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The machine lacks something.
    #[error("building and running containers is not possible here: {}", list(.0))]
    Missing(Vec<Missing>),
    /// A file of the engine could not be written.
    #[error("`{}` could not be written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The worker's folder is too deep for a unix socket.
    #[error(
        "the path of the socket `{}` is longer than {MAX_SOCKET_PATH_BYTES} bytes: choose a shorter data folder",
        .0.display()
    )]
    SocketPath(PathBuf),
    /// The API service ended or did not come up.
    #[error("`podman system service` did not come up: {0}")]
    Service(String),
    /// A program could not be run.
    #[error("the container engine failed")]
    Run(#[from] runner::RunnerError),
}

fn list(missing: &[Missing]) -> String {
    let one = |m: &Missing| format!("{} ({})", m.what, m.how);
    missing.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The programs of an engine, found on this machine.
#[derive(Clone, Debug)]
pub struct Programs {
    buildah: PathBuf,
    podman: PathBuf,
    runc: PathBuf,
    versions: Vec<(&'static str, String)>,
}

impl fmt::Display for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(name, version): &(&str, String)| format!("{name} {version}");
        f.write_str(&self.versions.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

/// Looks for buildah, podman, runc and what they need, and for the rights that isolation `oci`
/// needs.
///
/// # Errors
/// [`EngineError::Missing`] with everything that is missing, not only the first.
pub async fn detect() -> Result<Programs, EngineError> {
    let mut missing = missing_rights();
    let mut find = |name: &str| {
        find_program(name).or_else(|| {
            missing.push(Missing {
                what: format!("the program `{name}`"),
                how: format!("`apt-get install {name}` on Debian 12 or later"),
            });
            None
        })
    };
    let programs = (find("buildah"), find("podman"), find("runc"));
    find("conmon");
    find("catatonit");
    let (Some(buildah), Some(podman), Some(runc)) = programs else {
        return Err(EngineError::Missing(missing));
    };
    if !missing.is_empty() {
        return Err(EngineError::Missing(missing));
    }
    let versions = vec![
        ("buildah", version(&buildah).await?),
        ("podman", version(&podman).await?),
        ("runc", version(&runc).await?),
    ];
    Ok(Programs {
        buildah,
        podman,
        runc,
        versions,
    })
}

fn missing_rights() -> Vec<Missing> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push(Missing {
            what: "the right to isolate builds (isolation `oci` with runc)".to_owned(),
            how: "run the worker as root; without it builds would see the machine's processes \
                  and network, so they are refused"
                .to_owned(),
        });
    } else if !has_capability(CAP_SYS_ADMIN) {
        missing.push(Missing {
            what: "the capability `CAP_SYS_ADMIN`".to_owned(),
            how: "run the worker on a machine or in a privileged container that has it".to_owned(),
        });
    }
    missing
}

fn has_capability(bit: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let set = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << bit) != 0)
}

async fn version(program: &Path) -> Result<String, EngineError> {
    let command = CommandLine::new(program).arg("--version");
    let output = runner::capture(&command, VERSION_LIMIT).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let word = text.split_whitespace().find(is_version).unwrap_or("?");
    Ok(word.trim_end_matches(',').to_owned())
}

/// An engine over the storage in one folder.
#[derive(Clone, Debug)]
pub struct ContainerEngine {
    folder: PathBuf,
    programs: Programs,
}

/// A name and a secret for a registry. Never printed.
pub struct RegistryLogin {
    /// The registry that the secret is for.
    pub registry: Registry,
    /// The account's name.
    pub account: String,
    /// Its token.
    pub token: String,
}

impl ContainerEngine {
    /// Opens the engine in `folder`, writing its configuration anew. `registry` is ours; plain
    /// HTTP is allowed for it if it is on this machine's loopback, and for nothing else.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn open(
        folder: &Path,
        programs: Programs,
        registry: &Registry,
    ) -> Result<Self, EngineError> {
        let engine = Self {
            folder: folder.to_owned(),
            programs,
        };
        for name in ["", "storage", "run", "tmp", "cni", "config"] {
            make_folder(&folder.join(name))?;
        }
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .maximum
            .unwrap_or(MAX_OPEN_FILES)
            .min(MAX_OPEN_FILES);
        engine.write("containers.conf", &engine.containers_conf(open_files))?;
        engine.write("registries.conf", &registries_conf(registry))?;
        engine.write("storage.conf", &engine.storage_conf())?;
        Ok(engine)
    }

    /// Returns the programs that the engine uses.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Returns the folder of the engine.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of runc.
    pub fn runc(&self) -> &Path {
        &self.programs.runc
    }

    /// Starts a buildah command line over this storage.
    pub fn buildah(&self) -> CommandLine {
        self.over_storage(&self.programs.buildah)
    }

    /// Starts a podman command line over this storage.
    pub fn podman(&self) -> CommandLine {
        self.over_storage(&self.programs.podman)
    }

    fn over_storage(&self, program: &Path) -> CommandLine {
        CommandLine::new(program)
            .args([Path::new("--root"), &self.folder.join("storage")])
            .args([Path::new("--runroot"), &self.folder.join("run")])
            .args(["--storage-driver", "overlay"])
            .env("HOME", &self.folder)
            .env("TMPDIR", self.folder.join("tmp"))
            .env("CONTAINERS_CONF", self.config("containers.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.config("registries.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.config("storage.conf"))
            .directory(&self.folder)
    }

    /// Starts the Docker-compatible API on a unix socket, and waits until it is there.
    ///
    /// Containers that it starts belong to conmon and go on when it ends.
    ///
    /// # Errors
    /// If it does not come up; its log says why.
    pub async fn start_service(&self) -> Result<Service, EngineError> {
        let socket = self.folder.join("run").join("podman.sock");
        if socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            return Err(EngineError::SocketPath(socket));
        }
        let _ = fs::remove_file(&socket);
        let log_path = self.folder.join("service.log");
        let log = create(&log_path)?;
        let command = self
            .podman()
            .args(["system", "service", "--time=0"])
            .arg(format!("unix://{}", socket.display()))
            .dies_with_us();
        let mut service = Service {
            running: runner::service(&command, log)?,
            socket,
        };
        let up = tokio::time::timeout(SERVICE_START_LIMIT, service.until_up()).await;
        match up {
            Ok(true) => Ok(service),
            _ => {
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                let last = log.lines().last().unwrap_or("its log is empty");
                Err(EngineError::Service(last.to_owned()))
            }
        }
    }

    /// Writes an auth file for one run (containers-auth.json(5)), readable by the owner alone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_auth_file(&self, path: &Path, login: &RegistryLogin) -> Result<(), EngineError> {
        let pair = format!("{}:{}", login.account, login.token);
        let auth = base64::engine::general_purpose::STANDARD.encode(pair);
        let document = json!({"auths": {login.registry.as_str(): {"auth": auth}}});
        write_private(path, document.to_string().as_bytes())
    }

    /// Writes a signature policy that admits exactly these references from registries, by
    /// digest. The tools enforce it themselves, so an image that our own reading of a Dockerfile
    /// missed is refused by buildah.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_image_policy(
        &self,
        path: &Path,
        admitted: &[Reference],
    ) -> Result<(), EngineError> {
        let accept = json!([{"type": "insecureAcceptAnything"}]);
        let docker: serde_json::Map<_, _> = admitted
            .iter()
            .map(|reference| (reference.to_string(), accept.clone()))
            .collect();
        let document = json!({
            "default": [{"type": "reject"}],
            "transports": {"docker": docker, "containers-storage": {"": accept}},
        });
        write_private(path, document.to_string().as_bytes())
    }

    /// Removes what a process that was killed has left half done: the containers of builds and
    /// of commands. Deployed containers are not touched. Only for a start, when nothing runs yet.
    pub async fn tidy(&self) {
        let builds = self.buildah().args(["rm", "--all"]);
        let commands = self
            .podman()
            .args(["ps", "--all", "--quiet", "--filter", "name=^work-"]);
        let _ = runner::capture(&builds, CLOSE_LIMIT).await;
        let Ok(found) = runner::capture(&commands, CLOSE_LIMIT).await else {
            return;
        };
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        let ids: Vec<&str> = text.split_whitespace().collect();
        if !ids.is_empty() {
            let remove = ["rm", "--force", "--time", "0"];
            let remove = self.podman().args(remove).args(ids);
            let _ = runner::capture(&remove, CLOSE_LIMIT).await;
        }
    }

    /// Takes down what the storage keeps mounted, unless containers run: so that its folder can
    /// be removed once everything has stopped. What cannot be unmounted stays.
    pub async fn close(&self) {
        let running = self.podman().args(["ps", "--quiet"]);
        match runner::capture(&running, CLOSE_LIMIT).await {
            Ok(output) if output.stdout.is_empty() => {}
            _ => return,
        }
        let Some(umount) = find_program("umount") else {
            return;
        };
        self.until_quiet().await;
        for name in ["storage/overlay", "storage", "run"] {
            let command = CommandLine::new(&umount)
                .arg("--recursive")
                .arg(self.folder.join(name));
            let _ = runner::capture(&command, CLOSE_LIMIT).await;
        }
    }

    /// Waits until no process works on the storage: after a container's end, conmon starts one
    /// that cleans up, and mounts the storage for it.
    async fn until_quiet(&self) {
        let storage = self.folder.join("storage");
        let storage = storage.as_os_str().as_encoded_bytes();
        let deadline = tokio::time::Instant::now() + CLOSE_LIMIT;
        while is_named_by_a_process(storage) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(SERVICE_POLL).await;
        }
    }

    fn config(&self, name: &str) -> PathBuf {
        self.folder.join("config").join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), EngineError> {
        write_private(&self.config(name), text.as_bytes())
    }

    fn containers_conf(&self, open_files: u64) -> String {
        // cgroupfs and files: a worker must not need systemd.
        format!(
            "[containers]\n\
             default_ulimits = [\"nofile={open_files}:{open_files}\", \"nproc={MAX_PROCESSES}:{MAX_PROCESSES}\"]\n\
             log_driver = \"k8s-file\"\n\
             log_size_max = 8388608\n\
             [engine]\n\
             runtime = \"runc\"\n\
             cgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\n\
             [engine.runtimes]\n\
             runc = [{runc}]\n\
             [network]\n\
             network_config_dir = {cni}\n",
            runc = quoted(&self.programs.runc),
            cni = quoted(&self.folder.join("cni")),
        )
    }

    fn storage_conf(&self) -> String {
        format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {}\nrunroot = {}\n",
            quoted(&self.folder.join("storage")),
            quoted(&self.folder.join("run")),
        )
    }
}

/// A TOML basic string is a JSON string for every path that we meet.
fn quoted(path: &Path) -> String {
    json!(path.to_string_lossy()).to_string()
}

fn registries_conf(registry: &Registry) -> String {
    let mut text =
        "unqualified-search-registries = []\nshort-name-mode = \"enforcing\"\n".to_owned();
    if registry.is_loopback() {
        text += &format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
    }
    text
}

/// The Docker-compatible API of an engine. Dropping it ends the API, not the containers.
pub struct Service {
    running: Running,
    socket: PathBuf,
}

impl Service {
    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns whether the process has ended, for whoever wants to start it again.
    pub fn has_ended(&mut self) -> bool {
        self.running.has_ended()
    }

    async fn until_up(&mut self) -> bool {
        while !self.has_ended() {
            if tokio::net::UnixStream::connect(&self.socket).await.is_ok() {
                return true;
            }
            tokio::time::sleep(SERVICE_POLL).await;
        }
        false
    }
}

fn is_named_by_a_process(path: &[u8]) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let arguments = processes.filter_map(|one| fs::read(one.path().join("cmdline")).ok());
    let names = |line: &[u8]| line.split(|byte| *byte == 0).any(|word| word == path);
    arguments.into_iter().any(|line| names(&line))
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> EngineError + '_ {
    |source| EngineError::Write {
        path: path.to_owned(),
        source,
    }
}

fn make_folder(path: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(write_error(path))
}

fn create(path: &Path) -> Result<fs::File, EngineError> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(write_error(path))
}

/// Writes a file that only its owner can read, also if it was there before with other rights.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let mut file = create(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(bytes))
        .map_err(write_error(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(folder: &Path, registry: &str) -> ContainerEngine {
        let programs = Programs {
            buildah: "/usr/bin/buildah".into(),
            podman: "/usr/bin/podman".into(),
            runc: "/usr/sbin/runc".into(),
            versions: vec![("runc", "1.1.5".to_owned())],
        };
        ContainerEngine::open(folder, programs, &registry.parse().unwrap()).unwrap()
    }

    #[test]
    fn plain_http_is_for_the_loopback_registry_only() {
        let local = registries_conf(&"127.0.0.1:5000".parse().unwrap());
        assert!(local.contains("location = \"127.0.0.1:5000\"\ninsecure = true"));
        let remote = registries_conf(&"registry.example".parse().unwrap());
        assert!(!remote.contains("insecure"), "{remote}");
    }

    #[test]
    fn secrets_and_configuration_are_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path(), "127.0.0.1:5000");
        let path = folder.path().join("auth.json");
        fs::write(&path, "was there before").unwrap();
        let login = RegistryLogin {
            registry: "127.0.0.1:5000".parse().unwrap(),
            account: "run".to_owned(),
            token: "secret".to_owned(),
        };
        engine.write_auth_file(&path, &login).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            r#"{"auths":{"127.0.0.1:5000":{"auth":"cnVuOnNlY3JldA=="}}}"#
        );
    }

    #[test]
    fn the_image_policy_rejects_what_it_does_not_name() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path(), "127.0.0.1:5000");
        let digest = oci::Digest::sha256(b"base");
        let base: Reference = format!("127.0.0.1:5000/base@{digest}").parse().unwrap();
        let path = folder.path().join("policy.json");
        engine
            .write_image_policy(&path, std::slice::from_ref(&base))
            .unwrap();
        let policy: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(policy["default"][0]["type"], "reject");
        let docker = policy["transports"]["docker"].as_object().unwrap();
        assert_eq!(Vec::from_iter(docker.keys()), [&base.to_string()]);
    }

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let one = |what: &str, how: &str| Missing {
            what: what.to_owned(),
            how: how.to_owned(),
        };
        let error = EngineError::Missing(vec![
            one("the program `buildah`", "`apt-get install buildah`"),
            one("the program `runc`", "`apt-get install runc`"),
        ]);
        insta::assert_snapshot!(error, @"building and running containers is not possible here: the program `buildah` (`apt-get install buildah`); the program `runc` (`apt-get install runc`)");
    }
}
