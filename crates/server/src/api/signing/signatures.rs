//! Signatures and attestations over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use oci::Digest;
use serde::Deserialize;
use signer::{
    Artifact, AttestRequest, JobId, Principal, ProfileName, SignRequest, SignedEnvelope,
    SigningJob, Unknown,
};
use trust::TargetArtifact;

use super::artifact::known_artifact;
use super::{NewAttestation, NewSignature, RevokeSignature, principal};
use crate::api::extract::Body;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::{Front, FrontState};
use crate::two_person::{self, Operation};

pub(super) async fn create(
    State(front): State<Front>,
    caller: Caller,
    Body(new): Body<NewSignature>,
) -> Result<(StatusCode, Json<SignedEnvelope>), ApiError> {
    principal::check_limits(&caller, &new.profile)?;
    let made = (&new.artifact.digest, new.repository.as_ref());
    principal::check_made_by_run(&front, &caller, made).await?;
    let principal = principal::of_caller(&front, &caller).await?;
    let target = TargetArtifact {
        annotations: new.metadata,
        ..TargetArtifact::of(&new.artifact)
    };
    let request = SignRequest {
        principal,
        profile: new.profile,
        owner: None,
        payload: target.to_payload(),
        artifact: known_artifact(&front, &caller, made).await?,
    };
    let signed = front.signer.sign(request).await?;
    Ok((StatusCode::CREATED, Json(signed)))
}

/// Has an artifact signed of which a payload alone is known: no rule that is bound to a
/// repository or an artifact type matches.
///
/// # Errors
/// When the signer refuses or does not answer.
pub async fn sign(
    front: &FrontState,
    principal: Principal,
    (profile, target): (&ProfileName, &TargetArtifact),
) -> Result<SignedEnvelope, ApiError> {
    let request = SignRequest {
        principal,
        profile: profile.clone(),
        owner: None,
        payload: target.to_payload(),
        artifact: Artifact::default(),
    };
    Ok(front.signer.sign(request).await?)
}

pub(super) async fn create_attestation(
    State(front): State<Front>,
    caller: Caller,
    Body(new): Body<NewAttestation>,
) -> Result<(StatusCode, Json<SignedEnvelope>), ApiError> {
    principal::check_limits(&caller, &new.profile)?;
    let payload = BASE64_STANDARD
        .decode(&new.payload)
        .map_err(|_| ApiError::usage("`payload` is not base64"))?;
    let subjects = subjects(&payload)?;
    for digest in &subjects {
        principal::check_made_by_run(&front, &caller, (digest, None)).await?;
    }
    let artifact = match &subjects[..] {
        [one] => known_artifact(&front, &caller, (one, new.repository.as_ref())).await?,
        _ => Artifact::Unknown(Unknown::SeveralSubjects),
    };
    let request = AttestRequest {
        principal: principal::of_caller(&front, &caller).await?,
        profile: new.profile,
        payload_type: new.payload_type,
        payload,
        artifact,
    };
    let signed = attest(&front, request).await?;
    Ok((StatusCode::CREATED, Json(signed)))
}

/// Has a statement signed.
///
/// # Errors
/// When the signer refuses or does not answer.
pub async fn attest(
    front: &FrontState,
    request: AttestRequest,
) -> Result<SignedEnvelope, ApiError> {
    Ok(front.signer.attest(request).await?)
}

/// Returns what a statement is about: every digest of every subject.
fn subjects(payload: &[u8]) -> Result<Vec<Digest>, ApiError> {
    #[derive(Deserialize)]
    struct Statement {
        subject: Vec<Subject>,
    }
    #[derive(Deserialize)]
    struct Subject {
        digest: std::collections::BTreeMap<String, String>,
    }
    let malformed = |why: String| ApiError::usage(format!("the statement is malformed: {why}"));
    let statement: Statement =
        serde_json::from_slice(payload).map_err(|error| malformed(error.to_string()))?;
    let digests = statement.subject.iter().flat_map(|subject| &subject.digest);
    let parse = |(algorithm, hex): (&String, &String)| {
        let digest: Result<Digest, _> = format!("{algorithm}:{hex}").parse();
        digest.map_err(|error| malformed(error.to_string()))
    };
    digests.map(parse).collect()
}

pub(super) async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(job): Path<String>,
) -> Result<Json<SigningJob>, ApiError> {
    let principal = principal::of_caller(&front, &caller).await?;
    Ok(Json(front.signer.job(principal, parsed(&job)?).await?))
}

pub(super) async fn revoke(
    State(front): State<Front>,
    caller: Caller,
    Path(job): Path<String>,
    Body(revocation): Body<RevokeSignature>,
) -> Result<Response, ApiError> {
    let job = parsed(&job)?;
    two_person::submit(
        &front,
        &caller,
        Operation::RevokeSignature { job, revocation },
    )
    .await
}

fn parsed(job: &str) -> Result<JobId, ApiError> {
    let parsed: Result<JobId, _> = job.parse();
    parsed.map_err(|error| ApiError::usage(error.to_string()))
}
