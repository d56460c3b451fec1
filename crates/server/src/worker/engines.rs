//! The worker's container engine, found when the first job needs it.

use std::path::{Path, PathBuf};

use oci::Registry;
use pipeline::deploy::Deployer;
use pipeline::engine::{self, ContainerEngine, EngineError, Service};
use pipeline::project::{Engine, Target};
use tokio::sync::Mutex;

use super::WorkFailure;

/// Where Docker listens unless something else is said.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The engine, and its Docker-compatible API where a deployment has needed it.
pub(crate) struct Engines {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    engine: Option<(Registry, ContainerEngine)>,
    service: Option<Service>,
}

impl Engines {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            state: Mutex::default(),
        }
    }

    /// Returns the engine, configured for our own registry.
    pub(crate) async fn engine(&self, registry: &Registry) -> Result<ContainerEngine, EngineError> {
        let mut state = self.state.lock().await;
        self.open(&mut state, registry).await
    }

    /// Connects to the engine that an environment names; ours is started where it is needed.
    pub(crate) async fn deployer(
        &self,
        registry: &Registry,
        target: &Target,
    ) -> Result<Deployer, WorkFailure> {
        let socket = match (target.engine, &target.socket) {
            (_, Some(socket)) => PathBuf::from(socket),
            (Engine::Docker, None) => PathBuf::from(DOCKER_SOCKET),
            (Engine::Podman, None) => self.own_socket(registry).await?,
        };
        Ok(Deployer::connect(&socket).await?)
    }

    /// Ends the API and takes down what the storage keeps mounted. Containers go on.
    pub(crate) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.service = None;
        if let Some((_, engine)) = &state.engine {
            engine.close().await;
        }
    }

    async fn own_socket(&self, registry: &Registry) -> Result<PathBuf, EngineError> {
        let mut state = self.state.lock().await;
        let engine = self.open(&mut state, registry).await?;
        let is_up = state.service.as_mut().is_some_and(|s| !s.has_ended());
        if !is_up {
            state.service = Some(engine.start_service().await?);
        }
        let socket = state.service.as_ref().map(Service::socket);
        Ok(socket.unwrap_or(Path::new("")).to_owned())
    }

    async fn open(
        &self,
        state: &mut State,
        registry: &Registry,
    ) -> Result<ContainerEngine, EngineError> {
        match &state.engine {
            Some((known, engine)) if known == registry => Ok(engine.clone()),
            _ => {
                let programs = engine::detect().await?;
                tracing::info!(%programs, "container engine");
                let engine = ContainerEngine::open(&self.folder, programs, registry)?;
                if state.engine.is_none() {
                    engine.tidy().await;
                }
                state.engine = Some((registry.clone(), engine.clone()));
                Ok(engine)
            }
        }
    }
}
