//! Workloads of CI systems: a token of an issuer that administrators trust is exchanged for a
//! short-lived one of ours, which signs where rules name the workload.
//!
//! `trust::jwt` verifies; here are the issuers, their keys as they were fetched last, and the
//! memory of tokens that were used. Keys are fetched when they are an hour old, or when a token
//! names one that is not known, and then at most once a minute for each issuer: whoever makes up
//! names of keys must not make us a nuisance to the issuer.

mod issuers;
mod keys;

use serde::{Deserialize, Serialize};
use signer::Workload;
use time::{Duration, OffsetDateTime};
use trust::jwt::{Expected, TokenRefused, UnverifiedToken, VerifiedToken};

pub use issuers::{Access, Issuer, NewIssuer};
pub(crate) use issuers::{find, list, put, remove};
pub use keys::KeyCache;

use crate::auth::Grants;
use crate::clock;
use crate::error::{ApiError, ErrorKind, chain};
use crate::state::Front;

/// How long a token of ours lives: a signing step of a CI job.
pub const TOKEN_LIFE: Duration = Duration::minutes(15);

/// A token of ours for a workload.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadToken {
    /// The account's name, where a client asks for one beside the token.
    pub account: String,
    /// The token.
    pub token: String,
    /// From when on it is worthless.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// What it was made for.
    pub workload: Workload,
}

/// Exchanges a token of an issuer for one of ours.
///
/// # Errors
/// When the token is not accepted; the code says which check failed.
pub(crate) async fn exchange(front: &Front, token: &str) -> Result<WorkloadToken, ApiError> {
    let token = UnverifiedToken::parse(token).map_err(|error| refused(&error))?;
    let issuer = known_issuer(front, token.claimed_issuer()).await?;
    let keys = front.issuer_keys.of(&issuer, token.key_id()).await?;
    let expected = Expected {
        issuer: &issuer.issuer,
        audience: &issuer.audience,
        now: clock::now(),
    };
    let verified = token
        .verify(&keys, expected)
        .map_err(|error| refused(&error))?;
    use_once(front, &verified).await?;
    issue(front, &issuer, &verified).await
}

async fn known_issuer(front: &Front, name: &str) -> Result<Issuer, ApiError> {
    let unknown = || {
        let name: String = name.chars().take(200).collect();
        let message = format!("issuer `{name}` is not one that this server trusts");
        ApiError::new(ErrorKind::Unauthenticated, "token-issuer-unknown", message)
            .hint("an administrator adds it with `countersign oidc add`")
    };
    find(front, name).await?.ok_or_else(unknown)
}

async fn use_once(front: &Front, token: &VerifiedToken) -> Result<(), ApiError> {
    let (id, until) = (token.replay_id(), token.remember_until());
    let is_new = front
        .store
        .used_tokens
        .remember(id, until, clock::now())
        .await;
    let full = |error: store::StoreError| {
        ApiError::unavailable("too many tokens are being exchanged", chain(&error))
    };
    match is_new.map_err(full)? {
        true => Ok(()),
        false => {
            let message = "this token was used already: each is good for one exchange";
            Err(
                ApiError::new(ErrorKind::Unauthenticated, "token-replayed", message)
                    .hint("ask the CI system for a new token in each step that needs one"),
            )
        }
    }
}

async fn issue(
    front: &Front,
    issuer: &Issuer,
    token: &VerifiedToken,
) -> Result<WorkloadToken, ApiError> {
    let claims = token.claims();
    let workload = Workload {
        issuer: claims.issuer.clone(),
        subject: claims.subject.clone(),
        claims: claims.selected(issuer.claims.iter().map(String::as_str)),
    };
    let expires_at = clock::now() + TOKEN_LIFE;
    let grants: Grants = issuer.grants_of(&workload);
    let made = front
        .auth
        .issue_for_workload(workload.clone(), grants, expires_at)
        .await;
    let made = made.map_err(|error| ApiError::internal(chain(&error)))?;
    tracing::info!(
        issuer = workload.issuer,
        subject = workload.subject,
        "a workload was given a token"
    );
    Ok(WorkloadToken {
        account: crate::auth::WORKLOAD_ACCOUNT.to_owned(),
        token: made.text().to_owned(),
        expires_at,
        workload,
    })
}

fn refused(error: &TokenRefused) -> ApiError {
    let kind = ErrorKind::Unauthenticated;
    let answer = ApiError::new(kind, error.code(), error.to_string());
    match error {
        TokenRefused::Audience { expected, .. } => answer.hint(format!(
            "ask the CI system for a token with audience `{expected}`"
        )),
        TokenRefused::Expired(_) => answer.hint("ask the CI system for a new token"),
        TokenRefused::NotYet(_) => answer.hint("compare the clocks of both machines"),
        _ => answer,
    }
}
