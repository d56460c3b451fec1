//! SignPayload.

use ::signer::SignRequest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;
use trust::TargetArtifact;
use trust::jws::aws::{JOB, PROFILE_VERSION};
use trust::target::MAX_PAYLOAD_BYTES;

use super::{Answer, account_number, profile_name};
use crate::api::signing;
use crate::aws::error::AwsError;
use crate::aws::invocations::AwsAnswer;
use crate::aws::request::AwsRequest;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    profile_name: String,
    payload: String,
    payload_format: String,
    profile_owner: Option<String>,
}

/// Signs a Notary payload. An SDK that asks again is given the same job.
pub(super) async fn sign(request: &AwsRequest) -> Answer {
    let input: Input = request.json()?;
    let profile = profile_name(&input.profile_name)?;
    let payload = payload(&input)?;
    let owner = match &input.profile_owner {
        Some(owner) => account_number(owner)?,
        None => request.caller.number,
    };
    let caller = &request.caller.caller;
    signing::check_limits(caller, &profile)?;
    let target = TargetArtifact::parse(&payload);
    let target = target.map_err(|error| AwsError::validation(error.to_string()))?;
    signing::check_made_by_run(&request.front, caller, (&target.digest, None)).await?;
    let signed = request.front.signer.sign(SignRequest {
        principal: request.principal().await?,
        profile: profile.clone(),
        owner: Some(owner),
        payload,
        // A payload names no repository and no artifact type.
        artifact: ::signer::Artifact::default(),
    });
    let signed = signed.await?;
    let here = &request.front.aws.installation;
    Ok(AwsAnswer::ok(json!({
        "jobId": signed.job.to_string(),
        "jobOwner": owner,
        // The plugin writes these into the annotations of the signature manifest.
        "metadata": {
            PROFILE_VERSION: here.version_arn(owner, &profile, &signed.profile_version),
            JOB: here.job_arn(owner, signed.job),
        },
        "signature": BASE64_STANDARD.encode(&signed.envelope),
    })))
}

fn payload(input: &Input) -> Result<Vec<u8>, AwsError> {
    let notary = oci::MediaType::NOTARY_PAYLOAD;
    if input.payload_format != notary.as_str() {
        let shown: String = input.payload_format.chars().take(120).collect();
        return Err(AwsError::validation(format!(
            "payload format `{shown}` is not signed here: only `{notary}` is"
        )));
    }
    let payload = BASE64_STANDARD.decode(&input.payload);
    let payload = payload.map_err(|_| AwsError::validation("`payload` is not base64"))?;
    match payload.len() {
        1..=MAX_PAYLOAD_BYTES => Ok(payload),
        length => Err(AwsError::validation(format!(
            "`payload` has {length} bytes: use 1 to {MAX_PAYLOAD_BYTES}"
        ))),
    }
}
