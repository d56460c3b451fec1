//! DescribeSigningJob, ListSigningJobs.

use std::collections::BTreeMap;

use ::signer::{
    AccountNumber, JobFilter, JobId, Principal, ProfileName, SigningJob, SigningPlatform,
};
use serde_json::{Value, json};

use super::paging::{Paging, token};
use super::platforms;
use super::profiles::without_nulls;
use super::{Answer, account_number, seconds, start, time_of_query};
use crate::aws::error::AwsError;
use crate::aws::invocations::AwsAnswer;
use crate::aws::request::{AwsRequest, Query};

const OPERATION: &str = "ListSigningJobs";

/// Shows a job to whoever asked for it, and to administrators.
pub(super) async fn describe(request: &AwsRequest, id: &str) -> Answer {
    let principal = request.principal().await?;
    let job = request.front.signer.job(principal, job_id(id)?).await?;
    let objects = start::objects(&request.front, job.id).await?;
    let platforms = Platforms::of(request, std::slice::from_ref(&job)).await;
    let mut answer = platforms.fields(&job);
    answer["completedAt"] = seconds(job.signed_at);
    answer["requestedBy"] = requested_by(request, &job).into();
    answer["source"] = objects.source;
    answer["signedObject"] = objects.signed_object;
    answer["revocationRecord"] = job.revocation.as_ref().map_or(Value::Null, |record| {
        json!({
            "reason": record.reason,
            "revokedAt": seconds(record.at),
            "revokedBy": record.by,
        })
    });
    Ok(AwsAnswer::ok(without_nulls(answer)))
}

/// Lists jobs, the newest first.
pub(super) async fn list(request: &AwsRequest, query: &Query) -> Answer {
    let paging = Paging::read(query, OPERATION)?;
    let Some(filter) = filter(request, query, &paging)? else {
        return Ok(AwsAnswer::ok(json!({"jobs": []})));
    };
    let principal = request.principal().await?;
    let listing = request.front.signer.list_jobs(principal, filter).await?;
    let platforms = Platforms::of(request, &listing.jobs).await;
    let wanted = query.get("platformId");
    let jobs = listing
        .jobs
        .iter()
        .map(|job| without_nulls(platforms.fields(job)));
    let jobs: Vec<Value> = jobs
        .filter(|job| wanted.is_none_or(|wanted| job["platformId"] == wanted))
        .collect();
    let next = listing
        .next
        .map(|position| token(&position.to_string(), OPERATION));
    Ok(AwsAnswer::ok(without_nulls(
        json!({"jobs": jobs, "nextToken": next}),
    )))
}

/// Returns which jobs are asked for; `None` when there can be none.
fn filter(
    request: &AwsRequest,
    query: &Query,
    paging: &Paging,
) -> Result<Option<JobFilter>, AwsError> {
    let time = |name| query.get(name).map(time_of_query).transpose();
    let filter = JobFilter {
        owner: Some(request.caller.number),
        caller: query.get("requestedBy").map(account),
        invoker: query.get("jobInvoker").map(account_number).transpose()?,
        revoked: query.get("isRevoked").map(flag).transpose()?,
        expires_from: time("signatureExpiresAfter")?,
        expires_before: time("signatureExpiresBefore")?,
        before: match &paging.after {
            None => None,
            Some(place) => Some(place.parse().map_err(|_| {
                AwsError::validation("`nextToken` is not one that this operation gave out")
            })?),
        },
        limit: paging.limit,
    };
    let possible = match query.get("status") {
        None | Some("Succeeded") => true,
        // A refused request leaves no job, and signing takes a moment.
        Some("InProgress" | "Failed") => false,
        Some(_) => {
            return Err(AwsError::validation(
                "`status` is not `InProgress`, `Failed` or `Succeeded`",
            ));
        }
    };
    Ok(possible.then_some(filter))
}

fn flag(text: &str) -> Result<bool, AwsError> {
    text.parse()
        .map_err(|_| AwsError::validation("`isRevoked` is neither `true` nor `false`"))
}

/// Returns the account in what `requestedBy` holds: an ARN as we write them, or the plain name.
fn account(requested_by: &str) -> String {
    let name = requested_by.rsplit('/').next().unwrap_or(requested_by);
    name.to_owned()
}

/// The platforms of the profiles that some jobs were made under.
struct Platforms<'a> {
    request: &'a AwsRequest,
    found: BTreeMap<ProfileName, SigningPlatform>,
}

impl<'a> Platforms<'a> {
    async fn of(request: &'a AwsRequest, jobs: &[SigningJob]) -> Self {
        let mut found = BTreeMap::new();
        for job in jobs {
            if found.contains_key(&job.profile) {
                continue;
            }
            // Whoever may see a job may see what it was made with.
            let front = Principal::account("@front").as_admin();
            let profile = request
                .front
                .signer
                .profile(front, job.profile.clone())
                .await;
            let platform = profile.map_or(SigningPlatform::default(), |one| one.platform);
            found.insert(job.profile.clone(), platform);
        }
        Self { request, found }
    }

    fn fields(&self, job: &SigningJob) -> Value {
        let platform = self.found.get(&job.profile).copied().unwrap_or_default();
        fields(self.request, (job, platform))
    }
}

fn fields(request: &AwsRequest, (job, platform): (&SigningJob, SigningPlatform)) -> Value {
    let installation = &request.front.aws.installation;
    let owner: AccountNumber = job.owner.parse().unwrap_or(installation.number);
    let invoker = job.caller.number.unwrap_or(installation.number);
    json!({
        "jobId": job.id.to_string(),
        "jobOwner": owner,
        "jobInvoker": invoker,
        "createdAt": seconds(job.signed_at),
        "status": "Succeeded",
        "isRevoked": job.revocation.is_some(),
        "profileName": job.profile,
        "profileVersion": job.profile_version,
        "platformId": platform.name(),
        "platformDisplayName": platforms::display_name(platform),
        "signatureExpiresAt": seconds(job.expires),
    })
}

fn requested_by(request: &AwsRequest, job: &SigningJob) -> String {
    let default = request.front.aws.installation.number;
    let number = job.caller.number.unwrap_or(default);
    format!("arn:aws:iam::{number}:user/{}", job.caller.account)
}

/// Parses the identifier of a job.
pub(super) fn job_id(text: &str) -> Result<JobId, AwsError> {
    let parsed: Result<JobId, _> = text.parse();
    parsed.map_err(|error| AwsError::not_found(error.to_string()))
}
