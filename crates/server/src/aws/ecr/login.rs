//! GetAuthorizationToken: a password for docker, for twelve hours.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use time::Duration;

use super::{Answer, Call, EcrError, epoch};
use crate::auth::NewTokenRequest;
use crate::clock;

/// The life of the password, as ECR's.
const LIFE: Duration = Duration::hours(12);

/// Gives a token of the caller's account, limited like the caller. Clients split `AWS:PASSWORD` at
/// colons, and our tokens have none; the registry takes the token under any user name.
pub(super) async fn get_authorization_token(call: &Call<'_>) -> Answer {
    call.caller.require_account()?;
    if call.caller.run.is_some() {
        let message =
            "a run is given no password that outlives it: log in with the run's own token";
        return Err(EcrError::new("AccessDeniedException", message));
    }
    let expires_at = clock::now() + LIFE;
    let request = NewTokenRequest {
        limits: call.caller.limits.clone(),
        expires_at: Some(expires_at),
        ..NewTokenRequest::default()
    };
    let issued = call.front.auth.issue(&call.caller.account, request).await;
    let token = issued.map_err(|error| {
        tracing::error!(
            error = crate::error::chain(&error),
            "no token could be made"
        );
        EcrError {
            status: http::StatusCode::INTERNAL_SERVER_ERROR,
            ..EcrError::new("ServerException", "no token could be made")
        }
    })?;
    let text = BASE64_STANDARD.encode(format!("AWS:{}", token.text()));
    Ok(json!({ "authorizationData": [{
        "authorizationToken": text,
        "expiresAt": epoch(expires_at),
        "proxyEndpoint": call.front.public_url,
    }] }))
}
