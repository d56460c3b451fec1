//! TagResource, UntagResource, ListTagsForResource. Their errors have names of their own, which the
//! caller gives them.

use std::collections::BTreeMap;

use ::signer::{ArnKind, ProfileName, ProfileStatus, SigningProfile, TagChange};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::profiles::Shown;
use super::{Answer, unknown};
use crate::aws::error::AwsError;
use crate::aws::invocations::AwsAnswer;
use crate::aws::request::{AwsRequest, Query};

/// The most tags or names of one request.
const MAX_TAGS: usize = 200;

#[derive(Deserialize)]
struct Input {
    tags: BTreeMap<String, String>,
}

/// Answers the three operations.
pub(super) async fn dispatch(
    request: &AwsRequest,
    query: &Query,
    (method, arn): (&Method, &str),
) -> Answer {
    let name = profile(request, arn)?;
    match *method {
        Method::GET => {
            let profile = visible(request, name).await?;
            Ok(AwsAnswer::ok(json!({"tags": profile.tags})))
        }
        Method::POST => {
            let Input { tags } = request.json()?;
            bounded(tags.len())?;
            let remove = Vec::new();
            change(request, name, TagChange { set: tags, remove }).await
        }
        Method::DELETE => {
            let remove: Vec<String> = query.all("tagKeys").map(str::to_owned).collect();
            bounded(remove.len())?;
            let set = BTreeMap::new();
            change(request, name, TagChange { set, remove }).await
        }
        _ => Err(unknown(method, request.parts.uri.path())),
    }
}

fn profile(request: &AwsRequest, arn: &str) -> Result<ProfileName, AwsError> {
    let shown = || arn.chars().take(200).collect::<String>();
    match request.front.aws.installation.parse_arn(arn) {
        Some(parsed) => match parsed.kind {
            ArnKind::Profile(name) if parsed.owner == request.caller.number => Ok(name),
            ArnKind::Profile(_) => Err(AwsError::not_found(format!(
                "`{}` is not of account number {}",
                shown(),
                request.caller.number
            ))),
            _ => Err(AwsError::validation(format!(
                "`{}` cannot be tagged: only signing profiles can",
                shown()
            ))),
        },
        None => Err(AwsError::validation(format!(
            "`{}` is not the ARN of a signing profile in region `{}`",
            shown(),
            request.front.aws.installation.region
        ))),
    }
}

async fn visible(request: &AwsRequest, name: ProfileName) -> Result<SigningProfile, AwsError> {
    let principal = request.principal().await?;
    let profile = request.front.signer.profile(principal, name).await?;
    match Shown::of(request, &profile).owner == request.caller.number {
        true => Ok(profile),
        false => Err(AwsError::not_found(format!(
            "there is no signing profile `{}` of account number {}",
            profile.name, request.caller.number
        ))),
    }
}

async fn change(request: &AwsRequest, name: ProfileName, change: TagChange) -> Answer {
    let profile = visible(request, name.clone()).await?;
    if profile.status != ProfileStatus::Active {
        return Err(AwsError::validation(format!(
            "signing profile `{name}` is not active: only active ones are tagged"
        )));
    }
    let principal = request.principal().await?;
    let signer = &request.front.signer;
    signer.change_tags(principal, name, change).await?;
    Ok(AwsAnswer::done())
}

fn bounded(count: usize) -> Result<(), AwsError> {
    match count {
        1..=MAX_TAGS => Ok(()),
        _ => Err(AwsError::validation(format!(
            "{count} tags: use 1 to {MAX_TAGS}"
        ))),
    }
}
