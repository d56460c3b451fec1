//! Profiles over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use signer::{AuthoritySubject, Principal, ProfileChange, ProfileName, SigningProfile};

use super::grants::with_accounts;
use super::{NewProfile, Profile, PutProfile, RevokeProfile, principal};
use crate::api::extract::Body;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::{Front, FrontState};

pub(super) async fn list(
    State(front): State<Front>,
    caller: Caller,
) -> Result<Json<Vec<Profile>>, ApiError> {
    let principal = principal::of_caller(&front, &caller).await?;
    let subject = front.signer.authority().await?.subject;
    let profiles = front.signer.profiles(principal).await?.into_iter();
    Ok(Json(profiles.map(|one| shown(one, &subject)).collect()))
}

pub(super) async fn create(
    State(front): State<Front>,
    caller: Caller,
    Body(new): Body<NewProfile>,
) -> Result<(StatusCode, Json<PutProfile>), ApiError> {
    let principal = administrator(&caller)?;
    let put = put_profile(&front, principal, new).await?;
    let status = match put.change {
        ProfileChange::Created => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    Ok((status, Json(put)))
}

/// Makes a profile, or a new version of it. Accounts whose grants name it may use it at once.
///
/// # Errors
/// When the signer refuses or does not answer, or the store fails.
pub async fn put_profile(
    front: &FrontState,
    principal: Principal,
    new: NewProfile,
) -> Result<PutProfile, ApiError> {
    let replace = new.replace;
    let mut spec = new.spec();
    spec.grants = with_accounts(front, spec.name.as_str(), spec.grants).await?;
    let subject = front.signer.authority().await?.subject;
    let (change, profile) = front.signer.put_profile(principal, spec, replace).await?;
    let profile = shown(profile, &subject);
    Ok(PutProfile { change, profile })
}

pub(super) async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Profile>, ApiError> {
    let principal = principal::of_caller(&front, &caller).await?;
    let profile = front.signer.profile(principal, parsed(&name)?).await?;
    answer(&front, profile).await
}

pub(super) async fn cancel(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Profile>, ApiError> {
    let principal = administrator(&caller)?;
    let canceled = front
        .signer
        .cancel_profile(principal, parsed(&name)?)
        .await?;
    answer(&front, canceled).await
}

pub(super) async fn revoke(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(request): Body<RevokeProfile>,
) -> Result<Json<Profile>, ApiError> {
    let principal = administrator(&caller)?;
    let what = (request.from, request.reason);
    let revoked = front
        .signer
        .revoke_profile(principal, parsed(&name)?, what)
        .await?;
    answer(&front, revoked).await
}

fn administrator(caller: &Caller) -> Result<Principal, ApiError> {
    caller.require_account()?;
    caller.require_admin()?;
    Ok(Principal::account(&caller.account).as_admin())
}

async fn answer(front: &FrontState, profile: SigningProfile) -> Result<Json<Profile>, ApiError> {
    let subject = front.signer.authority().await?.subject;
    Ok(Json(shown(profile, &subject)))
}

fn shown(profile: SigningProfile, subject: &AuthoritySubject) -> Profile {
    let identity = subject.identity(&profile.name);
    Profile { profile, identity }
}

fn parsed(name: &str) -> Result<ProfileName, ApiError> {
    let parsed: Result<ProfileName, _> = name.parse();
    parsed.map_err(|error| ApiError::usage(error.to_string()))
}
