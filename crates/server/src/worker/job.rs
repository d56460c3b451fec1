//! One job: its folder, its credentials, its log, and the way from the work to the outcome.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::control::ControlClient;
use client::credentials::{Credential, Credentials};
use client::http_client::HttpOptions;
use client::{ArtifactSource, RegistryClient, RegistryOptions, RegistryRepository, TagOrDigest};
use oci::{Descriptor, Digest, Reference, Registry, RepositoryName};
use pipeline::engine::{ContainerEngine, RegistryLogin};
use pipeline::git::{Checkout, checkout};
use pipeline::runner::{LogSink, Masked};

use super::engines::Engines;
use super::journal::Journal;
use super::{WorkFailure, commands, deploy, evidence, image};
use crate::api::worker::{Assignment, RunImage, Source, WorkItem, WorkOutcome};

/// What all jobs of a worker share.
pub(crate) struct Shared {
    /// The folder that the jobs have theirs in.
    pub(crate) folder: PathBuf,
    /// The front's URL.
    pub(crate) front: url::Url,
    /// How to connect to it.
    pub(crate) http: HttpOptions,
    /// The container engine.
    pub(crate) engines: Engines,
}

/// A job that is being worked on.
pub(crate) struct Job {
    pub(crate) shared: Arc<Shared>,
    pub(crate) assignment: Assignment,
    pub(crate) registry: Registry,
    folder: PathBuf,
    client: RegistryClient,
    journal: Journal,
}

/// A source that was fetched.
pub(crate) struct Fetched {
    /// Its files.
    pub(crate) folder: PathBuf,
    /// The time of the commit, in seconds since 1970.
    pub(crate) time: u64,
    /// The URL under which others fetch it.
    pub(crate) url: String,
}

impl Job {
    /// Prepares a job: an empty folder, and a registry client under the run's token.
    pub(crate) fn new(
        shared: Arc<Shared>,
        assignment: Assignment,
        journal: Journal,
    ) -> Result<Self, WorkFailure> {
        let malformed = |e: oci::name::NameError| WorkFailure::of_work("front", e.to_string());
        let registry: Registry = assignment.registry.parse().map_err(malformed)?;
        let credential = Credential::Basic {
            username: assignment.account.clone(),
            password: assignment.token.clone().into(),
        };
        let client = RegistryClient::new(RegistryOptions {
            http: shared.http.clone(),
            plain_http: false,
            credentials: Credentials::Fixed(BTreeMap::from([(registry.clone(), credential)])),
        })?;
        let folder = shared.folder.join(assignment.job.to_string());
        let _ = fs::remove_dir_all(&folder);
        make_folder(&folder)?;
        Ok(Self {
            shared,
            assignment,
            registry,
            folder,
            client,
            journal,
        })
    }

    /// Does the work.
    pub(crate) async fn perform(&self) -> Result<WorkOutcome, WorkFailure> {
        let masked = Masked::new(&self.journal, [self.assignment.token.clone()]);
        let log: &dyn LogSink = &masked;
        match &self.assignment.work {
            WorkItem::Buildspec {
                source,
                file,
                image,
            } => commands::buildspec(self, log, (source, file, image)).await,
            WorkItem::Image { .. } => image::build(self, log).await,
            WorkItem::Sbom {
                image,
                artifact_type,
                format,
            } => evidence::sbom(self, log, (image, artifact_type, *format)).await,
            WorkItem::Scan {
                image,
                artifact_type,
            } => evidence::scan(self, log, (image, artifact_type)).await,
            WorkItem::Attach { .. } => evidence::attach(self, log).await,
            WorkItem::Deploy { .. } => deploy::deploy(self, log).await,
            WorkItem::Retire {
                environment,
                deployments,
            } => deploy::retire(self, log, (environment, deployments.as_deref())).await,
            WorkItem::Test { .. } => commands::test(self, log).await,
            WorkItem::Hook { .. } => commands::hook(self, log).await,
        }
    }

    /// Removes what the job left on this machine.
    pub(crate) fn clean(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "a job's folder stays");
        }
    }

    /// Returns a new folder of this job.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, WorkFailure> {
        let folder = self.folder.join(name);
        make_folder(&folder)?;
        Ok(folder)
    }

    /// Returns the container engine.
    pub(crate) async fn engine(&self) -> Result<ContainerEngine, WorkFailure> {
        Ok(self.shared.engines.engine(&self.registry).await?)
    }

    /// Returns the credentials of the run, for tools.
    pub(crate) fn login(&self) -> RegistryLogin {
        RegistryLogin {
            registry: self.registry.clone(),
            account: self.assignment.account.clone(),
            token: self.assignment.token.clone(),
        }
    }

    /// Returns a connection to the front under the token of the run.
    pub(crate) fn control(&self) -> Result<ControlClient, WorkFailure> {
        let token = Some(self.assignment.token.clone());
        let base = self.shared.front.clone();
        Ok(ControlClient::with_options(base, token, &self.shared.http)?)
    }

    /// Returns a repository of our own registry.
    pub(crate) fn repository(&self, name: &RepositoryName) -> RegistryRepository {
        self.client.named_repository(&self.registry, name)
    }

    /// Returns the repository that a reference lies in.
    pub(crate) fn repository_of(&self, reference: &Reference) -> RegistryRepository {
        self.client.repository(reference)
    }

    /// Returns a reference into our own registry.
    pub(crate) fn reference(&self, repository: &RepositoryName, digest: &Digest) -> Reference {
        Reference {
            registry: self.registry.clone(),
            repository: repository.clone(),
            tag: None,
            digest: Some(digest.clone()),
        }
    }

    /// Returns the descriptor of the image that the run works on.
    pub(crate) async fn describe(&self, image: &RunImage) -> Result<Descriptor, WorkFailure> {
        let name = TagOrDigest::Digest(image.digest.clone());
        Ok(self.repository(&image.repository).resolve(&name).await?)
    }

    /// Returns the URL of something on this server, as others know it.
    pub(crate) fn public_url(&self, path: &str) -> String {
        let scheme = self.shared.front.scheme();
        format!("{scheme}://{}/{path}", self.registry)
    }

    /// Fetches the source into a folder of this job.
    pub(crate) async fn fetch(
        &self,
        source: &Source,
        log: &dyn LogSink,
    ) -> Result<Fetched, WorkFailure> {
        let path = format!("git/{}.git", source.repository);
        let url = self.shared.front.join(&path);
        let url = url.map_err(|e| WorkFailure::of_work("front", e.to_string()))?;
        let fetched = Fetched {
            folder: self.folder("source")?,
            time: 0,
            url: self.public_url(&path),
        };
        let request = Checkout {
            url: url.as_str(),
            commit: &source.commit,
            folder: &fetched.folder,
            scratch: &self.folder("git")?,
            account: &self.assignment.account,
            token: &self.assignment.token,
        };
        let time = checkout(&request, log).await?;
        let line = format!("source: {} at {}", source.repository, source.commit);
        log.line(&line).await;
        Ok(Fetched { time, ..fetched })
    }
}

fn make_folder(path: &Path) -> Result<(), WorkFailure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(WorkFailure::io)
}
