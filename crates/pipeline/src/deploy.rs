//! Deploying through the Docker-compatible API: the verified digest, with exactly the privileges
//! that the environment grants, beside what runs there already.
//!
//! [`Deployer::deploy`] never touches the container that serves: it starts a second one, asks it
//! over HTTP whether it is well, and takes it away again if it is not. Switching is the front's
//! business, and so is [`Deployer::retire`], once it has switched. Names and labels carry the
//! deployment, so that the same action again finds its own container. Containers belong to the
//! engine: they go on when worker and front end.
//!
//! Docker Engine API 1.41.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error as DockerError;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, HostConfig, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, ListContainersOptions, LogsOptions,
    RemoveContainerOptions, StopContainerOptions,
};
use futures_util::StreamExt;
use oci::Reference;
use tokio::time::Instant;

use crate::engine::RegistryLogin;
use crate::probe::{self, ProbeFailure};
use crate::runner::{LogSink, printable};

/// The label that names the environment of a container.
pub const ENVIRONMENT_LABEL: &str = "dev.countersign.environment";
/// The label that names the deployment.
pub const DEPLOYMENT_LABEL: &str = "dev.countersign.deployment";
/// The label that names the run.
pub const RUN_LABEL: &str = "dev.countersign.run";
/// The label that names the digest.
pub const DIGEST_LABEL: &str = "dev.countersign.digest";
/// How long one call to the engine may take, in seconds: pulling is one call.
const CALL_LIMIT_SECS: u64 = 600;
/// How long requests in flight have before their container is asked to end. Many programs end at
/// once when they are asked.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a retired container has to finish its requests before it is killed, in seconds.
const STOP_GRACE_SECS: i32 = 5;
/// How often a container that fails is started again before it stays down.
const MAX_RESTARTS: i64 = 5;
/// How many of a container's last lines are shown when it does not become well.
const SHOWN_LINES: usize = 20;
/// The temporary file system of a container whose root is read-only.
const TMPFS: (&str, &str) = ("/tmp", "rw,noexec,nosuid,nodev,size=16m");

/// A container and its privileges, as the environment grants them: never more.
#[derive(Clone, Debug, PartialEq)]
pub struct Privileges {
    /// The port that the image listens on.
    pub port: u16,
    /// The user, as `uid` or `uid:gid`.
    pub user: String,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// The most memory, in bytes.
    pub memory_bytes: u64,
    /// The most processor time, in processors.
    pub cpus: f64,
    /// The most processes.
    pub pids: u32,
    /// The capabilities that are kept.
    pub capabilities: Vec<String>,
}

/// How a container says that it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path that is asked for.
    pub path: String,
    /// How long it may take to become well.
    pub within: Duration,
}

/// A container that is to be started.
pub struct DeployRequest<'a> {
    /// The image, by digest.
    pub image: &'a Reference,
    /// The environment.
    pub environment: &'a str,
    /// The unique name of the deployment.
    pub deployment: &'a str,
    /// The run that deploys.
    pub run: &'a str,
    /// The privileges.
    pub privileges: &'a Privileges,
    /// How it says that it is well.
    pub health: &'a HealthCheck,
    /// The credentials of the run, to pull the image.
    pub login: &'a RegistryLogin,
}

/// A container of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The container's name.
    pub name: String,
    /// The deployment.
    pub deployment: String,
    /// The digest that it was started from.
    pub digest: String,
    /// Whether it runs.
    pub running: bool,
}

/// Says why nothing was deployed. What served before still serves.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The engine cannot be reached.
    #[error("the container engine at `{socket}` cannot be reached")]
    Engine {
        /// The socket.
        socket: String,
        /// What happened.
        #[source]
        source: DockerError,
    },
    /// The image has no digest: a tag may have moved since it was judged.
    #[error("image `{0}` is not named by a digest")]
    NoDigest(Box<Reference>),
    /// A name has characters that are not for names of containers.
    #[error("`{0}` cannot be part of a container's name")]
    Name(String),
    /// The engine refused a step.
    #[error("the container engine could not {step}")]
    Step {
        /// The step.
        step: &'static str,
        /// What it said.
        #[source]
        source: DockerError,
    },
    /// The engine has other bytes under the digest, or made something else than was asked for.
    #[error("the container engine did not do what it was asked: {0}")]
    Deviation(String),
    /// The container did not become well.
    #[error("the new container is not well after {} seconds: {reason}", within.as_secs())]
    Unhealthy {
        /// How long it had.
        within: Duration,
        /// What it answered last.
        reason: ProbeFailure,
    },
    /// The container ended.
    #[error("the new container ended with status {0}")]
    Ended(i64),
}

/// Deploys through one engine.
pub struct Deployer {
    docker: Docker,
}

impl Deployer {
    /// Connects to the engine at a unix socket.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn connect(socket: &Path) -> Result<Self, DeployError> {
        let shown = socket.display().to_string();
        let unreachable = |source| DeployError::Engine {
            socket: shown.clone(),
            source,
        };
        let docker =
            Docker::connect_with_unix(&shown, CALL_LIMIT_SECS, bollard::API_DEFAULT_VERSION)
                .map_err(&unreachable)?;
        let docker = docker.negotiate_version().await.map_err(&unreachable)?;
        Ok(Self { docker })
    }

    /// Starts a container beside what serves, waits until it is well, and returns where it
    /// answers, as `host:port`. Doing it twice is harmless.
    ///
    /// # Errors
    /// Everything that [`DeployError`] names; the new container is gone then.
    pub async fn deploy(
        &self,
        request: &DeployRequest<'_>,
        log: &dyn LogSink,
    ) -> Result<String, DeployError> {
        let name = container_name(request.environment, request.deployment)?;
        if request.image.digest.is_none() {
            return Err(DeployError::NoDigest(Box::new(request.image.clone())));
        }
        if self.is_running(&name, request).await? {
            log.line(&format!("container {name} runs already")).await;
        } else {
            self.pull(request).await?;
            log.line(&format!("pulled {}", request.image)).await;
            self.remove(&name).await?;
            self.create(&name, request).await?;
            log.line(&format!("started container {name}")).await;
        }
        let ready = self.until_well(&name, request, log).await;
        if ready.is_err() {
            self.show_last_lines(&name, log).await;
            // It goes even if removing fails once: the next attempt finds it by its name.
            let _ = self.remove(&name).await;
        }
        ready
    }

    /// Returns the containers of an environment.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn list(&self, environment: &str) -> Result<Vec<Deployed>, DeployError> {
        let label = format!("{ENVIRONMENT_LABEL}={environment}");
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..Default::default()
        };
        let found = self.docker.list_containers(Some(options)).await;
        let found = found.map_err(step("list containers"))?;
        Ok(found.into_iter().filter_map(deployed).collect())
    }

    /// Takes the containers of some deployments of an environment away, or of all, and returns
    /// how many. Where others stay, requests have just been switched to one of them: those that
    /// are still in flight get a moment to finish first. Which go is said, not which stay: a
    /// newer deployment may be starting at this moment.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn retire(
        &self,
        environment: &str,
        deployments: Option<&[String]>,
    ) -> Result<usize, DeployError> {
        let mut leaving = self.list(environment).await?;
        leaving.retain(|container| {
            deployments.is_none_or(|leaving| leaving.contains(&container.deployment))
        });
        if deployments.is_some() && !leaving.is_empty() {
            tokio::time::sleep(DRAIN).await;
        }
        for container in &leaving {
            let options = StopContainerOptions {
                t: Some(STOP_GRACE_SECS),
                ..Default::default()
            };
            // One that has ended already answers 304; one that does not stop is removed by force.
            let _ = self
                .docker
                .stop_container(&container.name, Some(options))
                .await;
            self.remove(&container.name).await?;
        }
        Ok(leaving.len())
    }

    async fn is_running(
        &self,
        name: &str,
        request: &DeployRequest<'_>,
    ) -> Result<bool, DeployError> {
        let found = self.list(request.environment).await?;
        let digest = digest_of(request);
        Ok(found
            .iter()
            .any(|c| c.name == name && c.running && c.digest == digest))
    }

    async fn pull(&self, request: &DeployRequest<'_>) -> Result<(), DeployError> {
        let options = CreateImageOptions {
            from_image: Some(request.image.to_string()),
            ..Default::default()
        };
        let credentials = DockerCredentials {
            username: Some(request.login.account.clone()),
            password: Some(request.login.token.clone()),
            serveraddress: Some(request.login.registry.to_string()),
            ..Default::default()
        };
        let mut progress = self
            .docker
            .create_image(Some(options), None, Some(credentials));
        while let Some(message) = progress.next().await {
            message.map_err(step("pull the image"))?;
        }
        // Engines answer 200 before they know; only an image under the digest is a success.
        let image = self.docker.inspect_image(&request.image.to_string()).await;
        let image = image.map_err(step("pull the image"))?;
        let digest = digest_of(request);
        let named = image.repo_digests.unwrap_or_default();
        match named.iter().any(|name| name.ends_with(&digest)) {
            true => Ok(()),
            false => Err(DeployError::Deviation(format!("it pulled {named:?}"))),
        }
    }

    async fn create(&self, name: &str, request: &DeployRequest<'_>) -> Result<(), DeployError> {
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        let body = body(request);
        let created = self.docker.create_container(Some(options), body).await;
        created.map_err(step("create the container"))?;
        let made = self.inspect(name).await?;
        if let Some(more) = more_than(request.privileges, &made) {
            let _ = self.remove(name).await;
            return Err(DeployError::Deviation(more));
        }
        let started = self.docker.start_container(name, None).await;
        match started {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = self.remove(name).await;
                Err(step("start the container")(error))
            }
        }
    }

    async fn inspect(&self, name: &str) -> Result<ContainerInspectResponse, DeployError> {
        let found = self.docker.inspect_container(name, None).await;
        found.map_err(step("inspect the container"))
    }

    /// Between the end of a container and its clean-up podman calls it `stopped`, a word that
    /// Docker's API does not have: `None`, ask again.
    async fn inspect_unsettled(
        &self,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, DeployError> {
        match self.docker.inspect_container(name, None).await {
            Ok(state) => Ok(Some(state)),
            Err(DockerError::JsonDataError { .. }) => Ok(None),
            Err(error) => Err(step("inspect the container")(error)),
        }
    }

    async fn remove(&self, name: &str) -> Result<(), DeployError> {
        let options = RemoveContainerOptions {
            force: true,
            v: true,
            ..Default::default()
        };
        match self.docker.remove_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(DockerError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            Err(error) => Err(step("remove a container")(error)),
        }
    }

    async fn until_well(
        &self,
        name: &str,
        request: &DeployRequest<'_>,
        log: &dyn LogSink,
    ) -> Result<String, DeployError> {
        let health = request.health;
        let deadline = Instant::now() + health.within;
        loop {
            let state = self.inspect_unsettled(name).await?.unwrap_or_default();
            let reason = match endpoint(&state, request.privileges.port) {
                Some(endpoint) => match probe::get(&endpoint, &health.path).await {
                    Ok(status) => {
                        let line = format!("{} answers {status} at {endpoint}", health.path);
                        log.line(&line).await;
                        return Ok(endpoint);
                    }
                    Err(failure) => failure,
                },
                None => ProbeFailure::NoPort,
            };
            if let Some(status) = ended(&state) {
                return Err(DeployError::Ended(status));
            }
            if Instant::now() >= deadline {
                let within = health.within;
                return Err(DeployError::Unhealthy { within, reason });
            }
            tokio::time::sleep(probe::INTERVAL).await;
        }
    }

    async fn show_last_lines(&self, name: &str, log: &dyn LogSink) {
        let options = LogsOptions {
            stdout: true,
            stderr: true,
            tail: SHOWN_LINES.to_string(),
            ..Default::default()
        };
        let mut lines = self.docker.logs(name, Some(options)).take(SHOWN_LINES);
        while let Some(Ok(line)) = lines.next().await {
            let text = printable(&line.into_bytes());
            log.line(&format!("{name}: {text}")).await;
        }
    }
}

fn step(step: &'static str) -> impl FnOnce(DockerError) -> DeployError {
    move |source| DeployError::Step { step, source }
}

/// Returns the name of a deployment's container.
///
/// # Errors
/// If a part has characters that are not for such names.
pub fn container_name(environment: &str, deployment: &str) -> Result<String, DeployError> {
    for part in [environment, deployment] {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if part.is_empty() || part.len() > 128 || !part.bytes().all(good) {
            return Err(DeployError::Name(part.to_owned()));
        }
    }
    Ok(format!("countersign-{environment}-{deployment}"))
}

fn digest_of(request: &DeployRequest<'_>) -> String {
    let digest = request.image.digest.as_ref();
    digest.map(ToString::to_string).unwrap_or_default()
}

fn body(request: &DeployRequest<'_>) -> ContainerCreateBody {
    let digest = digest_of(request);
    let labels = [
        (ENVIRONMENT_LABEL, request.environment),
        (DEPLOYMENT_LABEL, request.deployment),
        (RUN_LABEL, request.run),
        (DIGEST_LABEL, &digest),
    ];
    let port = format!("{}/tcp", request.privileges.port);
    ContainerCreateBody {
        image: Some(request.image.to_string()),
        user: Some(request.privileges.user.clone()),
        labels: Some(labels.map(|(n, v)| (n.to_owned(), v.to_owned())).into()),
        exposed_ports: Some(vec![port.clone()]),
        env: Some(vec![
            format!("COUNTERSIGN_ENVIRONMENT={}", request.environment),
            format!("COUNTERSIGN_DIGEST={digest}"),
            format!("PORT={}", request.privileges.port),
        ]),
        host_config: Some(host_config(request.privileges, port)),
        ..Default::default()
    }
}

fn host_config(privileges: &Privileges, port: String) -> HostConfig {
    let binding = PortBinding {
        host_ip: Some("127.0.0.1".to_owned()),
        // The engine picks a free port.
        host_port: Some(String::new()),
    };
    let tmpfs = (TMPFS.0.to_owned(), TMPFS.1.to_owned());
    HostConfig {
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(privileges.capabilities.clone()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(privileges.read_only),
        tmpfs: privileges.read_only.then(|| HashMap::from([tmpfs])),
        memory: i64::try_from(privileges.memory_bytes).ok(),
        nano_cpus: Some((privileges.cpus * 1e9) as i64),
        pids_limit: Some(i64::from(privileges.pids)),
        init: Some(true),
        network_mode: Some("bridge".to_owned()),
        port_bindings: Some(HashMap::from([(port, Some(vec![binding]))])),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ON_FAILURE),
            maximum_retry_count: Some(MAX_RESTARTS),
        }),
        ..Default::default()
    }
}

/// Returns what the engine gave the container beyond what was asked for. An engine's own
/// configuration may add privileges; then nothing is started.
fn more_than(privileges: &Privileges, made: &ContainerInspectResponse) -> Option<String> {
    let Some(host) = &made.host_config else {
        return Some("it does not say how the container is confined".to_owned());
    };
    if host.privileged == Some(true) {
        return Some("the container is privileged".to_owned());
    }
    let bare = |name: &String| name.trim_start_matches("CAP_").to_ascii_uppercase();
    let allowed: Vec<String> = privileges.capabilities.iter().map(bare).collect();
    let added = host.cap_add.iter().flatten().map(bare);
    if let Some(extra) = added.into_iter().find(|name| !allowed.contains(name)) {
        return Some(format!("the container has the capability `{extra}`"));
    }
    if privileges.read_only && host.readonly_rootfs != Some(true) {
        return Some("the container's root file system is writable".to_owned());
    }
    let shares = [
        &host.pid_mode,
        &host.ipc_mode,
        &host.network_mode,
        &host.uts_mode,
    ];
    if shares.into_iter().flatten().any(|mode| mode == "host") {
        return Some("the container shares a namespace of the machine".to_owned());
    }
    let user = made.config.as_ref().and_then(|c| c.user.as_deref());
    if user != Some(privileges.user.as_str()) {
        return Some(format!("the container runs as user {user:?}"));
    }
    None
}

fn endpoint(state: &ContainerInspectResponse, port: u16) -> Option<String> {
    let ports = state.network_settings.as_ref()?.ports.as_ref()?;
    let bindings = ports.get(&format!("{port}/tcp"))?.as_ref()?;
    let port = bindings.first()?.host_port.as_deref()?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    Some(format!("127.0.0.1:{port}"))
}

fn ended(state: &ContainerInspectResponse) -> Option<i64> {
    let state = state.state.as_ref()?;
    let is_down = state.running == Some(false) && state.restarting != Some(true);
    is_down.then(|| state.exit_code.unwrap_or(-1))
}

fn deployed(summary: ContainerSummary) -> Option<Deployed> {
    let labels = summary.labels?;
    let name = summary.names?.first()?.trim_start_matches('/').to_owned();
    let running = summary.state.map(|s| s.to_string()) == Some("running".to_owned());
    Some(Deployed {
        name,
        deployment: labels.get(DEPLOYMENT_LABEL)?.clone(),
        digest: labels.get(DIGEST_LABEL)?.clone(),
        running,
    })
}

#[cfg(test)]
mod tests;
