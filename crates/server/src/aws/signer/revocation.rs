//! RevokeSignature, RevokeSigningProfile, GetRevocationStatus.

use ::signer::{ArnKind, JobId, Principal, ProfileName, StatusQuestion};
use serde::Deserialize;
use serde_json::json;

use super::jobs::job_id;
use super::platforms;
use super::profiles::Shown;
use super::{Answer, account_number, time_of_query, time_of_seconds};
use crate::aws::error::AwsError;
use crate::aws::invocations::AwsAnswer;
use crate::aws::request::{AwsRequest, Query};
use crate::clock;
use crate::two_person;

/// The longest chain that is asked about, as long as a verifier accepts.
const MAX_CERTIFICATES: usize = 16;
/// Two SHA-384 in hexadecimal.
const CERTIFICATE_HASH_CHARS: usize = 192;
/// The shortest and the longest ARN of the service model.
const ARN_CHARS: std::ops::RangeInclusive<usize> = 20..=2048;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobInput {
    reason: String,
    job_owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileInput {
    profile_version: String,
    reason: String,
    effective_time: f64,
}

/// Revokes one signature.
pub(super) async fn job(request: &AwsRequest, id: &str) -> Answer {
    let input: JobInput = request.json()?;
    let id = job_id(id)?;
    let owner = match &input.job_owner {
        Some(owner) => account_number(owner)?,
        None => request.caller.number,
    };
    check_job_owner(request, id, owner).await?;
    let principal = request.principal().await?;
    let what = (input.reason, false);
    request.front.signer.revoke_job(principal, id, what).await?;
    Ok(AwsAnswer::done())
}

/// Somebody else's job is not there; whether the caller may revoke it, the signer says.
async fn check_job_owner(
    request: &AwsRequest,
    id: JobId,
    owner: ::signer::AccountNumber,
) -> Result<(), AwsError> {
    let front = &request.front;
    let job = front
        .signer
        .job(Principal::account("@front").as_admin(), id)
        .await?;
    two_person::guard_profile(front, &job.profile).await?;
    let job_owner = job.owner.parse().unwrap_or(front.aws.installation.number);
    match job_owner == owner {
        true => Ok(()),
        false => Err(AwsError::not_found(format!(
            "account number {owner} has no signing job `{id}`"
        ))),
    }
}

/// Revokes what a profile signed from a moment in the past on.
pub(super) async fn profile(request: &AwsRequest, name: ProfileName) -> Answer {
    let input: ProfileInput = request.json()?;
    let from = time_of_seconds(input.effective_time)?;
    if from > clock::now() {
        return Err(AwsError::validation(
            "`effectiveTime` is in the future: signatures are revoked from a moment in the past on",
        ));
    }
    two_person::guard_profile(&request.front, &name).await?;
    let principal = request.principal().await?;
    let signer = &request.front.signer;
    let profile = signer.profile(principal.clone(), name.clone()).await?;
    if Shown::of(request, &profile).owner != request.caller.number {
        let number = request.caller.number;
        return Err(AwsError::not_found(format!(
            "account number {number} has no signing profile `{name}`"
        )));
    }
    if profile.version != input.profile_version {
        let asked: String = input.profile_version.chars().take(40).collect();
        return Err(AwsError::not_found(format!(
            "signing profile `{name}` is at version `{}`, not `{asked}`",
            profile.version
        )));
    }
    let what = (Some(from), input.reason);
    signer.revoke_profile(principal, name, what).await?;
    Ok(AwsAnswer::done())
}

/// Says what of a signature was revoked. Whoever has an account may ask; a question about things
/// that are not ours, or that do not belong together, is refused and never answered with an empty
/// list, which would mean that all is well.
pub(super) async fn status(request: &AwsRequest, query: &Query) -> Answer {
    let platform = platforms::parse(query.required("platformId")?);
    platform.map_err(|error| AwsError::validation(error.message()))?;
    time_of_query(query.required("signatureTimestamp")?)?;
    let version_arn = query.required("profileVersionArn")?;
    let job_arn = query.required("jobArn")?;
    let question = question(request, (version_arn, job_arn), hashes(query)?)?;
    let parts = request.front.signer.revoked_parts(question).await;
    let parts = parts.map_err(|error| {
        let error = AwsError::from(error);
        // This operation knows no error of what is not there.
        match error.name() {
            "ResourceNotFoundException" => AwsError::validation(error.message()),
            _ => error,
        }
    })?;
    let named = [(parts.profile_version, version_arn), (parts.job, job_arn)];
    let mut revoked: Vec<String> = named
        .into_iter()
        .filter(|(revoked, _)| *revoked)
        .map(|(_, arn)| arn.to_owned())
        .collect();
    revoked.extend(parts.certificate_hashes);
    Ok(AwsAnswer::ok(json!({"revokedEntities": revoked})))
}

fn question(
    request: &AwsRequest,
    (version_arn, job_arn): (&str, &str),
    certificate_hashes: Vec<String>,
) -> Result<StatusQuestion, AwsError> {
    let here = &request.front.aws.installation;
    let parse = |name: &str, arn: &str| {
        let parsed = here
            .parse_arn(arn)
            .filter(|_| ARN_CHARS.contains(&arn.len()));
        parsed.ok_or_else(|| {
            let shown: String = arn.chars().take(200).collect();
            AwsError::validation(format!("`{name}` `{shown}` was not made by this service"))
        })
    };
    let version = parse("profileVersionArn", version_arn)?;
    let job = parse("jobArn", job_arn)?;
    match (version.kind, job.kind) {
        (ArnKind::Version(profile, version_text), ArnKind::Job(id))
            if version.owner == job.owner =>
        {
            Ok(StatusQuestion {
                owner: version.owner,
                profile,
                version: version_text,
                job: id,
                certificate_hashes,
            })
        }
        _ => Err(AwsError::validation(
            "`profileVersionArn` and `jobArn` are not a profile's version and a job of one account",
        )),
    }
}

fn hashes(query: &Query) -> Result<Vec<String>, AwsError> {
    let hashes: Vec<String> = query.all("certificateHashes").map(str::to_owned).collect();
    let is_hash = |text: &String| {
        text.len() == CERTIFICATE_HASH_CHARS && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    match (1..=MAX_CERTIFICATES).contains(&hashes.len()) && hashes.iter().all(is_hash) {
        true => Ok(hashes),
        false => Err(AwsError::validation(format!(
            "`certificateHashes` is not 1 to {MAX_CERTIFICATES} pairs of SHA-384 of the certificates' \
             to-be-signed parts, {CERTIFICATE_HASH_CHARS} hexadecimal digits each"
        ))),
    }
}
