//! Doing an operation, whether it took one person or two.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use signer::{Principal, ProfileChange, RevocationOutcome, RevocationRequest, RevocationTarget};

use super::{Operation, Stored, decide, record};
use crate::api::{accounts, projects, signing};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::oidc;
use crate::state::Front;

/// In whose name an operation is done.
pub(super) struct Author {
    principal: Principal,
}

impl Author {
    /// Returns the caller, who needs nobody else.
    pub(super) async fn alone(front: &Front, caller: &Caller) -> Result<Self, ApiError> {
        Ok(Self {
            principal: signing::of_caller(front, caller).await?,
        })
    }

    /// Returns the first person, confirmed by the second. Both must still be administrators.
    pub(super) async fn confirmed(front: &Front, stored: &Stored) -> Result<Self, ApiError> {
        let second = stored.settled_by.clone().unwrap_or_default();
        for name in [&stored.requested_by, &second] {
            let row = front.store.accounts.account(name).await?;
            if !row.is_some_and(|row| row.administrator && !row.is_robot) {
                let message = format!("`{name}` is no longer a person who administers this server");
                return Err(ApiError::denied(message));
            }
        }
        Ok(Self {
            principal: Principal {
                confirmed_by: Some(second),
                ..Principal::account(&stored.requested_by).as_admin()
            },
        })
    }
}

fn answer(status: StatusCode, body: impl Serialize) -> Response {
    (status, Json(body)).into_response()
}

/// Revokes, and waits until our own gates know of it.
async fn revoke(
    front: &Front,
    principal: Principal,
    request: RevocationRequest,
) -> Result<RevocationOutcome, ApiError> {
    let outcome = front.signer.revoke(principal, request).await?;
    let sequence = outcome.sequence;
    if !front.revocations.reach(sequence).await {
        tracing::warn!(sequence, "a revocation was made and is not known here yet");
    }
    Ok(outcome)
}

/// Does it.
pub(super) async fn perform(
    front: &Front,
    author: &Author,
    operation: Operation,
) -> Result<Response, ApiError> {
    let principal = author.principal.clone();
    match operation {
        Operation::PutProfile(new) => {
            let put = signing::put_profile(front, principal, *new).await?;
            let status = match put.change {
                ProfileChange::Created => StatusCode::CREATED,
                _ => StatusCode::OK,
            };
            Ok(answer(status, put))
        }
        Operation::PutRules { profile, rules } => {
            let profile = signing::put_rules(front, principal, (profile, rules)).await?;
            Ok(answer(
                StatusCode::OK,
                signing::shown_profile(front, profile).await?,
            ))
        }
        Operation::CancelProfile { profile } => {
            let profile = front.signer.cancel_profile(principal, profile).await?;
            Ok(answer(
                StatusCode::OK,
                signing::shown_profile(front, profile).await?,
            ))
        }
        Operation::RevokeProfile {
            profile,
            revocation,
        } => {
            let request = RevocationRequest {
                target: RevocationTarget::Profile {
                    name: profile.clone(),
                    version: revocation.version,
                },
                from: revocation.from,
                reason: revocation.reason,
            };
            revoke(front, principal.clone(), request).await?;
            let profile = front.signer.profile(principal, profile).await?;
            Ok(answer(
                StatusCode::OK,
                signing::shown_profile(front, profile).await?,
            ))
        }
        Operation::RevokeSignature { job, revocation } => {
            let request = RevocationRequest {
                target: RevocationTarget::Job {
                    id: job,
                    whole_leaf: revocation.whole_leaf,
                },
                from: None,
                reason: revocation.reason,
            };
            revoke(front, principal.clone(), request).await?;
            Ok(answer(
                StatusCode::OK,
                front.signer.job(principal, job).await?,
            ))
        }
        Operation::Revoke { revocation } => {
            let outcome = revoke(front, principal, revocation).await?;
            Ok(answer(StatusCode::OK, outcome))
        }
        Operation::PutAccount { account, create } => {
            let status = if create {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            Ok(answer(
                status,
                accounts::put_checked(front, (*account, create), &author.principal).await?,
            ))
        }
        Operation::RemoveAccount { name } => {
            accounts::remove_checked(front, &name, &author.principal).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Operation::ApplyProject { name, project } => Ok(answer(
            StatusCode::OK,
            projects::apply_checked(front, (name, project), &author.principal).await?,
        )),
        Operation::RemoveProject { name } => Ok(answer(
            StatusCode::OK,
            projects::remove_now(front, name, &author.principal).await?,
        )),
        Operation::PutIssuer { issuer } => Ok(answer(
            StatusCode::OK,
            oidc::put(front, (issuer, None)).await?,
        )),
        Operation::RemoveIssuer { id } => {
            oidc::remove(front, &id).await?;
            record::permission(front, &author.principal, json!({"removedIssuer": id})).await;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Operation::RequireTwo { required } => {
            decide::require(front, required).await?;
            let what = json!({"twoPersonsRequired": required});
            record::permission(front, &author.principal, what).await;
            Ok(answer(
                StatusCode::OK,
                crate::api::pending::TwoPersonSetting { required },
            ))
        }
    }
}
