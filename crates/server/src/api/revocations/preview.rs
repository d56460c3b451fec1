//! What a revocation would do, joined with what is deployed and where artifacts lie.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use signer::{Preview, RevocationTarget};
use time::OffsetDateTime;

use crate::api::extract::Body;
use crate::api::signing::of_caller;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::{Front, FrontState};

/// A question what a revocation would cover.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreviewRequest {
    /// What would be revoked.
    pub target: RevocationTarget,
    /// From when on; everything when absent.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub from: Option<OffsetDateTime>,
}

/// What a revocation would cover, and what that would mean.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationPreview {
    /// What the signer says.
    #[serde(flatten)]
    pub preview: Preview,
    /// Where the artifacts of the newest signatures lie.
    pub places: Vec<PlacedDigest>,
    /// How many of those artifacts lie in which repository.
    pub by_repository: BTreeMap<String, u64>,
    /// What serves now with a signature that would be revoked.
    pub deployed: Vec<DeployedDigest>,
}

/// Where an artifact lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedDigest {
    /// The artifact.
    pub digest: Digest,
    /// The repository.
    pub repository: RepositoryName,
    /// The tags that name it there.
    pub tags: Vec<Tag>,
}

/// An artifact that serves now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployedDigest {
    /// The environment.
    pub environment: String,
    /// The repository.
    pub repository: RepositoryName,
    /// The artifact.
    pub digest: Digest,
    /// How many of its signatures would be revoked.
    pub revoked: u64,
    /// How many of its signatures would stay in force.
    pub left: u64,
}

pub(super) async fn preview(
    State(front): State<Front>,
    caller: Caller,
    Body(request): Body<PreviewRequest>,
) -> Result<Json<RevocationPreview>, ApiError> {
    let principal = of_caller(&front, &caller).await?;
    let PreviewRequest { target, from } = request;
    let mut routes = front.store.deployments.routes().await?;
    routes.retain(|row| caller.require_pull(&row.repository).is_ok());
    let watched: BTreeSet<Digest> = routes.iter().map(|row| row.digest.clone()).collect();
    let watched = watched.into_iter().collect();
    let what = (target, from);
    let preview = front.signer.preview_revocation(principal, what, watched);
    let preview = preview.await?;
    let deployed = routes.into_iter().filter_map(|row| {
        let found = preview.watched.get(&row.digest)?;
        Some(DeployedDigest {
            environment: row.environment,
            repository: row.repository,
            digest: row.digest,
            revoked: found.revoked,
            left: found.left,
        })
    });
    let deployed = deployed.collect();
    let digests: BTreeSet<&Digest> = preview.newest.iter().map(|job| &job.digest).collect();
    let places = places(&front, &caller, &digests).await?;
    Ok(Json(RevocationPreview {
        by_repository: counted(&places),
        places,
        deployed,
        preview,
    }))
}

/// Returns where digests lie, as far as the caller may see it.
pub(crate) async fn places(
    front: &FrontState,
    caller: &Caller,
    digests: &BTreeSet<&Digest>,
) -> Result<Vec<PlacedDigest>, ApiError> {
    let mut found = Vec::new();
    for digest in digests {
        for place in front.store.repositories.places(digest).await? {
            if caller.require_pull(&place.repository).is_ok() {
                found.push(PlacedDigest {
                    digest: (*digest).clone(),
                    repository: place.repository,
                    tags: place.tags,
                });
            }
        }
    }
    Ok(found)
}

fn counted(places: &[PlacedDigest]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for place in places {
        *counts.entry(place.repository.to_string()).or_default() += 1;
    }
    counts
}
