//! What the front knows itself of an artifact that is to be signed. The caller's word counts for
//! nothing: the repository must hold the digest, and the type is read from the stored manifest.

use oci::{Digest, Manifest, RepositoryName};
use signer::{Artifact, Unknown};

use crate::auth::{Action, Caller};
use crate::error::{ApiError, chain};
use crate::state::FrontState;

/// Returns what rules may know of `digest`, which the caller says lies in `repository`.
///
/// A repository that the caller may not read is taken for one that does not hold the digest: an
/// answer must not tell what lies there, and nobody signs by a rule over it.
///
/// # Errors
/// When the store fails or holds something that is not a manifest.
pub async fn known_artifact(
    front: &FrontState,
    caller: &Caller,
    (digest, repository): (&Digest, Option<&RepositoryName>),
) -> Result<Artifact, ApiError> {
    let Some(repository) = repository else {
        return Ok(Artifact::Unknown(Unknown::NoRepository));
    };
    if !caller.may(Action::Pull, repository.as_str()) {
        return Ok(Artifact::Unknown(Unknown::NotStored));
    }
    stored_artifact(front, digest, repository).await
}

/// Returns what rules may know of `digest` in `repository`, for what the front itself has signed.
///
/// # Errors
/// When the store fails or holds something that is not a manifest.
pub(crate) async fn stored_artifact(
    front: &FrontState,
    digest: &Digest,
    repository: &RepositoryName,
) -> Result<Artifact, ApiError> {
    let repositories = &front.store.repositories;
    let Some(row) = repositories.manifest(repository, digest).await? else {
        return Ok(Artifact::Unknown(Unknown::NotStored));
    };
    let manifest = Manifest::parse(row.media_type.clone(), row.bytes.to_vec());
    let manifest = manifest.map_err(|error| ApiError::internal(chain(&error)))?;
    let artifact_type = manifest.artifact_type().unwrap_or(manifest.media_type());
    Ok(Artifact::Stored {
        repository: repository.clone(),
        artifact_type: artifact_type.clone(),
    })
}
