//! A registry, a container engine and a base image, for one test alone.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use client::registry::{RegistryClient, RegistryOptions, RegistryRepository};
use client::{ArtifactSource, TagOrDigest};
use oci::{Reference, Registry};
use pipeline::engine::{self, ContainerEngine, RegistryLogin};
use pipeline::runner::{self, CommandLine, LogSink, Running};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);

/// A log that is kept.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

#[async_trait]
impl LogSink for Lines {
    async fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

pub(crate) struct Machine {
    pub(crate) engine: ContainerEngine,
    pub(crate) registry: Registry,
    /// The base image, `base/box`, by digest.
    pub(crate) base: Reference,
    pub(crate) log: Lines,
    _registry_process: Running,
    folder: TempDir,
}

impl Machine {
    /// Starts the registry and pushes a busybox image as `base/box:1`.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("cs").tempdir().unwrap();
        let (registry, registry_process) = start_registry(folder.path());
        let programs = engine::detect().await.unwrap();
        let engine = ContainerEngine::open(&folder.path().join("w"), programs, &registry).unwrap();
        let base: Reference = format!("{registry}/base/box:1").parse().unwrap();
        push_base(&engine, folder.path(), &base).await;
        let mut machine = Self {
            engine,
            registry,
            base: base.clone(),
            log: Lines::default(),
            _registry_process: registry_process,
            folder,
        };
        let name = TagOrDigest::of(&base).unwrap();
        let found = machine.repository(&base).resolve(&name).await.unwrap();
        machine.base = base.at(found.digest);
        machine
    }

    pub(crate) fn reference(&self, text: &str) -> Reference {
        format!("{}/{text}", self.registry).parse().unwrap()
    }

    pub(crate) fn repository(&self, reference: &Reference) -> RegistryRepository {
        let client = RegistryClient::new(RegistryOptions::default()).unwrap();
        client.repository(reference)
    }

    /// Debian's registry takes any credentials, so these only have to be well-formed.
    pub(crate) fn login(&self) -> RegistryLogin {
        RegistryLogin {
            registry: self.registry.clone(),
            account: "run".to_owned(),
            token: "the-token-of-the-run".to_owned(),
        }
    }

    /// Returns a new folder with these files.
    pub(crate) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    /// Ends everything, and waits for it.
    pub(crate) async fn stop(self) {
        let remove = ["rm", "--all", "--force", "--time", "0"];
        let remove = self.engine.podman().args(remove);
        runner::capture(&remove, LIMIT).await.unwrap();
        self.engine.close().await;
    }
}

/// A test that fails must not leave containers and mounts behind either.
impl Drop for Machine {
    fn drop(&mut self) {
        let folder = self.folder.path().join("w");
        let (storage, run) = (folder.join("storage"), folder.join("run"));
        let storage = storage.to_string_lossy();
        let podman = ["--root", &*storage, "--runroot", &run.to_string_lossy()];
        let remove = ["rm", "--all", "--force", "--time", "0"];
        quietly("podman", &[&podman[..], &remove].concat());
        quietly("umount", &["--recursive", &format!("{storage}/overlay")]);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a drop cannot wait for the runner"
)]
fn quietly(program: &str, arguments: &[&str]) {
    let mut command = std::process::Command::new(program);
    let _ = command.args(arguments).output();
}

fn start_registry(folder: &Path) -> (Registry, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = folder.join("registry.yml");
    let root = folder.join("registry");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        root.display()
    );
    fs::write(&config, text).unwrap();
    let program = runner::find_program("docker-registry").expect(
        "`docker-registry` is missing: run `make test`, or apt-get install docker-registry",
    );
    let log = fs::File::create(folder.join("registry.log")).unwrap();
    let command = CommandLine::new(program).arg("serve").arg(&config);
    let process = runner::service(&command, log).unwrap();
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    (address.to_string().parse().unwrap(), process)
}

async fn push_base(engine: &ContainerEngine, folder: &Path, base: &Reference) {
    let context = folder.join("base");
    fs::create_dir(&context).unwrap();
    let busybox = runner::find_program("busybox")
        .expect("`busybox` is missing: run `make test`, or apt-get install busybox-static");
    fs::copy(busybox, context.join("busybox")).unwrap();
    let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\n\
         RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
         RUN mkdir -p -m 1777 /tmp && mkdir -p /root && echo root:x:0:0::/root:/bin/sh >/etc/passwd \
         && echo app:x:1000:1000::/tmp:/bin/sh >>/etc/passwd\nENV PATH=/bin\n";
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let build = engine
        .buildah()
        .args([
            "bud",
            "--isolation",
            "oci",
            "--network",
            "none",
            "--runtime",
        ])
        .arg(engine.runc())
        .args(["--timestamp", "0", "--tag", &base.to_string()])
        .arg(&context);
    runner::capture(&build, LIMIT).await.unwrap();
    let push = engine.buildah().args(["push", &base.to_string()]);
    runner::capture(&push, LIMIT).await.unwrap();
}
