//! What becomes unverifiable soon: signatures and certificates that expire, joined with the tags
//! that name what they signed and with what serves.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use oci::Digest;
use serde::{Deserialize, Serialize};
use signer::{ExpiringJob, ExpiryPlace, JobId, ProfileName};
use time::{Duration, OffsetDateTime};

use super::revocations::{PlacedDigest, places};
use crate::auth::Caller;
use crate::clock;
use crate::error::{ApiError, chain};
use crate::state::{Front, FrontState};

/// The longest look ahead: longer than the longest validity of a signature.
const MAX_WITHIN: Duration = Duration::days(12 * 366);
/// The most signatures that are listed; the first to expire.
const MAX_LISTED: usize = 1000;
/// The most signatures that are looked at.
const MAX_READ: usize = 100_000;

/// How far to look ahead.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ahead {
    /// In seconds.
    within_secs: u64,
}

/// What becomes unverifiable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Now.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The end of the look ahead.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// The artifacts whose last signature expires by then, the first to expire first.
    pub artifacts: Vec<ExpiringArtifact>,
    /// The certificates of the authority that expire by then.
    pub certificates: Vec<ExpiringCertificate>,
    /// Whether there is more than is listed.
    pub truncated: bool,
}

/// An artifact whose last signature expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiringArtifact {
    /// The artifact.
    pub digest: Digest,
    /// When its last signature expires.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    /// The job of that signature.
    pub job: JobId,
    /// The profile that signed.
    pub profile: ProfileName,
    /// Where it lies, as `repository` or `repository:tag`.
    pub names: Vec<String>,
    /// The environments that it serves.
    pub environments: Vec<String>,
}

/// A certificate that expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiringCertificate {
    /// Its subject.
    pub subject: String,
    /// When it expires.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new().route("/api/v1/forecast", get(forecast))
}

async fn forecast(
    State(front): State<Front>,
    caller: Caller,
    Query(ahead): Query<Ahead>,
) -> Result<Json<Forecast>, ApiError> {
    caller.require_account()?;
    let within = i64::try_from(ahead.within_secs).ok().map(Duration::seconds);
    let within = within.filter(|within| *within <= MAX_WITHIN);
    let within =
        within.ok_or_else(|| ApiError::usage("that is too far ahead: at most 12 years"))?;
    let from = clock::now();
    let until = from + within;
    let (expiring, complete) = last_signatures(&front, (from, until)).await?;
    let mut artifacts = joined(&front, &caller, expiring).await?;
    artifacts.sort_by(|one, other| (one.expires, &one.digest).cmp(&(other.expires, &other.digest)));
    let truncated = !complete || artifacts.len() > MAX_LISTED;
    artifacts.truncate(MAX_LISTED);
    Ok(Json(Forecast {
        from,
        until,
        artifacts,
        certificates: certificates(&front, until).await?,
        truncated,
    }))
}

/// Returns, of each artifact, the signature that expires last in a stretch of time.
async fn last_signatures(
    front: &FrontState,
    (from, until): (OffsetDateTime, OffsetDateTime),
) -> Result<(BTreeMap<Digest, ExpiringJob>, bool), ApiError> {
    let mut last = BTreeMap::new();
    let mut after: Option<ExpiryPlace> = None;
    let mut read = 0;
    loop {
        let (jobs, next) = front.signer.expiring((from, until), after).await?;
        read += jobs.len();
        last.extend(jobs.into_iter().map(|job| (job.digest.clone(), job)));
        match next {
            None => return Ok((last, true)),
            Some(_) if read >= MAX_READ => return Ok((last, false)),
            Some(next) => after = Some(next),
        }
    }
}

/// Adds where artifacts lie and serve. An artifact that lies nowhere here, that the caller may not
/// see, or that has a signature that outlasts the look ahead, is left out.
async fn joined(
    front: &FrontState,
    caller: &Caller,
    expiring: BTreeMap<Digest, ExpiringJob>,
) -> Result<Vec<ExpiringArtifact>, ApiError> {
    let digests: BTreeSet<&Digest> = expiring.keys().collect();
    let mut names: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for place in places(front, caller, &digests).await? {
        let all = names.entry(place.digest.clone()).or_default();
        all.extend(written(&place));
    }
    let mut environments: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for row in front.store.deployments.routes().await? {
        if caller.require_pull(&row.repository).is_ok() {
            let all = environments.entry(row.digest).or_default();
            all.push(row.environment);
        }
    }
    let mut found = Vec::new();
    for (digest, job) in expiring {
        let (names, environments) = (names.remove(&digest), environments.remove(&digest));
        if names.is_none() && environments.is_none() {
            continue;
        }
        if outlasts(front, &digest, job.expires).await? {
            continue;
        }
        found.push(ExpiringArtifact {
            digest,
            expires: job.expires,
            job: job.job,
            profile: job.profile,
            names: names.unwrap_or_default(),
            environments: environments.unwrap_or_default(),
        });
    }
    Ok(found)
}

fn written(place: &PlacedDigest) -> Vec<String> {
    match place.tags.is_empty() {
        true => vec![place.repository.to_string()],
        false => {
            let tags = place.tags.iter();
            tags.map(|tag| format!("{}:{tag}", place.repository))
                .collect()
        }
    }
}

/// Returns whether another signature of the artifact is in force after that moment.
async fn outlasts(
    front: &FrontState,
    digest: &Digest,
    expires: OffsetDateTime,
) -> Result<bool, ApiError> {
    Ok(front
        .signer
        .is_signed_after(digest.clone(), expires)
        .await?)
}

async fn certificates(
    front: &FrontState,
    until: OffsetDateTime,
) -> Result<Vec<ExpiringCertificate>, ApiError> {
    let authority = front.signer.authority().await?;
    let chain_pem = authority.chain_pem.as_bytes();
    let found = trust::trust_store::certificates_in(chain_pem);
    let found = found.map_err(|error| ApiError::internal(chain(&error)))?;
    let expiring = found.iter().filter(|one| one.not_after() < until);
    let mut expiring: Vec<_> = expiring
        .map(|one| ExpiringCertificate {
            subject: one.subject().to_string(),
            expires: one.not_after(),
        })
        .collect();
    expiring.sort_by_key(|one| one.expires);
    Ok(expiring)
}
