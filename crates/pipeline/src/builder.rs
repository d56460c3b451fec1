//! Building an image from a Dockerfile: base images resolved to digests and checked first, then
//! buildah with runc in isolation `oci`, then pushed.
//!
//! The build sees the source, the checked bases and nothing else: no network unless asked for, no
//! credentials, no host namespaces. buildah is told to admit exactly the digests that were
//! checked ([`ContainerEngine::write_image_policy`]). With the same source, bases and timestamp the
//! result has the same digest, also on another machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use client::{ArtifactSource, ClientError, TagOrDigest};
use oci::{Descriptor, Digest, Reference, Tag};

use crate::dockerfile::{self, Dockerfile, DockerfileError};
use crate::engine::{ContainerEngine, EngineError, RegistryLogin};
use crate::runner::{self, LogSink, RunnerError};

/// How long building may take, without pulling and pushing. Long enough for a compiler, short
/// enough that a hanging build does not hold a worker for a night.
pub const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
/// How long pushing may take.
const PUSH_LIMIT: Duration = Duration::from_secs(20 * 60);
/// How long removing the local copy may take.
const REMOVE_LIMIT: Duration = Duration::from_secs(60);

/// The network that build steps see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildNetwork {
    /// None: what a build needs is in its source and its bases.
    #[default]
    None,
    /// That of the machine, where the administrator allows it.
    Host,
}

impl BuildNetwork {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// Decides over base images. The worker asks the front's gate.
#[async_trait]
pub trait BaseImages: Send + Sync {
    /// Resolves a name from a `FROM` line to one digest and judges it.
    async fn admit(&self, name: &str) -> Result<Reference, BaseRefusal>;
}

/// Says why a base image may not be built on.
#[derive(Debug, thiserror::Error)]
#[error("base image `{name}` is refused: {reason}")]
pub struct BaseRefusal {
    /// The name in the Dockerfile.
    pub name: String,
    /// Why, with the codes of the decision.
    pub reason: String,
    /// Whether this is a verdict, which trying again will not change.
    pub is_verdict: bool,
}

/// An image that is to be built.
pub struct BuildRequest<'a> {
    /// The root of the source.
    pub source: &'a Path,
    /// The Dockerfile, below the source.
    pub dockerfile: &'a str,
    /// The folder that is sent to the build, below the source.
    pub context: &'a str,
    /// A folder of this build alone, for its configuration.
    pub scratch: &'a Path,
    /// Where the image goes, with the tag that it is pushed under.
    pub target: &'a Reference,
    /// The time that is written into the image, in seconds since 1970: that of the commit.
    pub timestamp: u64,
    /// The network that build steps see.
    pub network: BuildNetwork,
    /// The credentials of the run.
    pub login: &'a RegistryLogin,
}

/// What a build uses besides the request.
pub struct BuildServices<'a> {
    /// The container engine.
    pub engine: &'a ContainerEngine,
    /// Decides over base images.
    pub bases: &'a dyn BaseImages,
    /// The repository that the image goes to, to read back what was pushed.
    pub repository: &'a dyn ArtifactSource,
    /// Takes the log.
    pub log: &'a dyn LogSink,
}

/// An image that was built and pushed.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// The manifest, as the registry has it.
    pub descriptor: Descriptor,
    /// The base images by the names that the Dockerfile gives them.
    pub bases: BTreeMap<String, Reference>,
}

/// Says why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A file of the source cannot be read, or leads out of it.
    #[error("`{path}` of the source cannot be read: {reason}")]
    Source {
        /// The path below the source.
        path: String,
        /// Why.
        reason: String,
    },
    /// The Dockerfile is malformed or uses what is refused.
    #[error("`{file}`")]
    Dockerfile {
        /// The path below the source.
        file: String,
        /// What is refused, and where.
        #[source]
        source: DockerfileError,
    },
    /// A base image was refused.
    #[error(transparent)]
    Base(#[from] BaseRefusal),
    /// The target has no tag to push under.
    #[error("`{0}` has no tag to push under")]
    Target(Box<Reference>),
    /// A file of the build could not be written.
    #[error("the build could not be prepared")]
    Prepare(#[from] EngineError),
    /// A step of the Dockerfile failed.
    #[error("the build failed")]
    Build(#[source] RunnerError),
    /// The image could not be pushed.
    #[error("the image could not be pushed to `{target}`")]
    Push {
        /// Where it should go.
        target: Box<Reference>,
        /// What buildah said.
        #[source]
        source: RunnerError,
    },
    /// The registry does not have what was pushed.
    #[error("the pushed image cannot be read back")]
    ReadBack(#[source] ClientError),
    /// buildah does not say what it pushed, or the registry has another digest.
    #[error("the pushed image has digest `{found}`, but the tool said `{said}`")]
    Digest {
        /// What the registry has.
        found: String,
        /// What buildah said.
        said: String,
    },
}

/// Builds and pushes an image. Doing it twice is harmless.
///
/// # Errors
/// Everything that [`BuildError`] names.
pub async fn build_image(
    request: &BuildRequest<'_>,
    services: &BuildServices<'_>,
) -> Result<BuiltImage, BuildError> {
    let tag = request
        .target
        .tag
        .as_ref()
        .ok_or_else(|| BuildError::Target(Box::new(request.target.clone())))?;
    let file = read_dockerfile(request)?;
    let bases = admit_bases(&file, services).await?;
    let files = prepare(request, services.engine, &file, &bases)?;
    // Named after where it goes: the same action again replaces it, another run's is untouched.
    let local = format!("localhost/build/{}:{tag}", request.target.repository);
    let built = run_build(request, services, &files, &local).await;
    let pushed = match built {
        Ok(()) => push(request, services, &files, &local).await,
        Err(error) => Err(error),
    };
    remove_local(services, &local).await;
    let _ = fs::remove_file(&files.auth);
    let descriptor = read_back(&pushed?, tag, services).await?;
    Ok(BuiltImage { descriptor, bases })
}

/// The files that a build is configured by.
struct BuildFiles {
    context: PathBuf,
    dockerfile: PathBuf,
    policy: PathBuf,
    auth: PathBuf,
    digest: PathBuf,
}

fn read_dockerfile(request: &BuildRequest<'_>) -> Result<Dockerfile, BuildError> {
    let path = inside(request.source, request.dockerfile)?;
    let refuse = |reason: String| BuildError::Source {
        path: request.dockerfile.to_owned(),
        reason,
    };
    let size = fs::metadata(&path)
        .map_err(|e| refuse(e.to_string()))?
        .len();
    if size > dockerfile::MAX_DOCKERFILE_BYTES as u64 {
        return Err(refuse(format!("it has {size} bytes")));
    }
    let text = fs::read_to_string(&path).map_err(|e| refuse(e.to_string()))?;
    Dockerfile::parse(&text).map_err(|source| BuildError::Dockerfile {
        file: request.dockerfile.to_owned(),
        source,
    })
}

/// Returns the path of something in the source, which a symbolic link must not lead out of.
fn inside(source: &Path, path: &str) -> Result<PathBuf, BuildError> {
    let refuse = |reason: String| BuildError::Source {
        path: path.to_owned(),
        reason,
    };
    let root = source.canonicalize().map_err(|e| refuse(e.to_string()))?;
    let full = root
        .join(path)
        .canonicalize()
        .map_err(|e| refuse(e.to_string()))?;
    match full.starts_with(&root) {
        true => Ok(full),
        false => Err(refuse("it leads out of the source".to_owned())),
    }
}

async fn admit_bases(
    file: &Dockerfile,
    services: &BuildServices<'_>,
) -> Result<BTreeMap<String, Reference>, BuildError> {
    let mut admitted = BTreeMap::new();
    for name in file.bases() {
        let reference = services.bases.admit(name).await?;
        let line = format!("base image {name} is {reference}");
        services.log.line(&line).await;
        admitted.insert(name.clone(), reference);
    }
    Ok(admitted)
}

fn prepare(
    request: &BuildRequest<'_>,
    engine: &ContainerEngine,
    file: &Dockerfile,
    bases: &BTreeMap<String, Reference>,
) -> Result<BuildFiles, BuildError> {
    let files = BuildFiles {
        context: inside(request.source, request.context)?,
        dockerfile: request.scratch.join("Dockerfile.pinned"),
        policy: request.scratch.join("policy.json"),
        auth: request.scratch.join("auth.json"),
        digest: request.scratch.join("digest"),
    };
    let references: Vec<Reference> = bases.values().cloned().collect();
    let names = bases.iter().map(|(name, r)| (name.clone(), r.to_string()));
    let pinned = file
        .pin(&names.collect())
        .map_err(|source| BuildError::Dockerfile {
            file: request.dockerfile.to_owned(),
            source,
        })?;
    fs::write(&files.dockerfile, pinned).map_err(|source| EngineError::Write {
        path: files.dockerfile.clone(),
        source,
    })?;
    engine.write_image_policy(&files.policy, &references)?;
    engine.write_auth_file(&files.auth, request.login)?;
    let _ = fs::remove_file(&files.digest);
    Ok(files)
}

async fn run_build(
    request: &BuildRequest<'_>,
    services: &BuildServices<'_>,
    files: &BuildFiles,
    local: &str,
) -> Result<(), BuildError> {
    let engine = services.engine;
    let command = engine
        .buildah()
        .args(["bud", "--isolation", "oci", "--runtime"])
        .arg(engine.runc())
        .args(["--network", request.network.as_str()])
        // Asks the registry again, by digest and under the policy: what lies in the storage
        // under the same name was pulled for somebody else.
        .args(["--pull-always", "--layers=false", "--format", "oci"])
        .arg("--signature-policy")
        .arg(&files.policy)
        .arg("--authfile")
        .arg(&files.auth)
        .arg("--timestamp")
        .arg(request.timestamp.to_string())
        .arg("--file")
        .arg(&files.dockerfile)
        .args(["--tag", local])
        .arg(&files.context)
        .env("SOURCE_DATE_EPOCH", request.timestamp.to_string())
        .dies_with_us();
    runner::succeed(&command, BUILD_LIMIT, services.log)
        .await
        .map_err(BuildError::Build)
}

async fn push(
    request: &BuildRequest<'_>,
    services: &BuildServices<'_>,
    files: &BuildFiles,
    local: &str,
) -> Result<Digest, BuildError> {
    let command = services
        .engine
        .buildah()
        .args(["push", "--format", "oci", "--signature-policy"])
        .arg(&files.policy)
        .arg("--authfile")
        .arg(&files.auth)
        .arg("--digestfile")
        .arg(&files.digest)
        .arg(local)
        .arg(format!("docker://{}", request.target));
    runner::succeed(&command, PUSH_LIMIT, services.log)
        .await
        .map_err(|source| BuildError::Push {
            target: Box::new(request.target.clone()),
            source,
        })?;
    let text = fs::read_to_string(&files.digest).unwrap_or_default();
    text.trim().parse().map_err(|_| BuildError::Digest {
        found: "unknown".to_owned(),
        said: text.trim().to_owned(),
    })
}

/// Asks the registry for the digest that was pushed: only what it answers for counts.
async fn read_back(
    digest: &Digest,
    tag: &Tag,
    services: &BuildServices<'_>,
) -> Result<Descriptor, BuildError> {
    let name = TagOrDigest::Digest(digest.clone());
    let descriptor = services
        .repository
        .resolve(&name)
        .await
        .map_err(BuildError::ReadBack)?;
    if descriptor.digest != *digest {
        return Err(BuildError::Digest {
            found: descriptor.digest.to_string(),
            said: digest.to_string(),
        });
    }
    services
        .log
        .line(&format!("pushed {tag} as {digest}"))
        .await;
    Ok(descriptor)
}

/// The registry has it; the local name would only fill the disk. The base's layers stay.
async fn remove_local(services: &BuildServices<'_>, local: &str) {
    let command = services.engine.buildah().args(["rmi", "--force", local]);
    if let Err(error) = runner::capture(&command, REMOVE_LIMIT).await {
        tracing::debug!(%error, local, "the local copy of a build was not removed");
    }
}
