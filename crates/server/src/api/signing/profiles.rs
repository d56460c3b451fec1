//! Profiles over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use signer::{AuthoritySubject, Principal, ProfileName, SigningProfile};

use super::grants::with_accounts;
use super::{NewProfile, Profile, PutProfile, RevokeProfile, principal};
use crate::api::extract::Body;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::{Front, FrontState};
use crate::two_person::{self, Operation};

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
) -> Result<Response, ApiError> {
    administrator(&caller)?;
    two_person::submit(&front, &caller, Operation::PutProfile(Box::new(new))).await
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
    if spec.rules.is_empty() {
        spec.grants = with_accounts(front, spec.name.as_str(), spec.grants).await?;
    }
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
    shown_profile(&front, profile).await.map(Json)
}

pub(super) async fn cancel(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    administrator(&caller)?;
    let profile = parsed(&name)?;
    two_person::submit(&front, &caller, Operation::CancelProfile { profile }).await
}

pub(super) async fn revoke(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(revocation): Body<RevokeProfile>,
) -> Result<Response, ApiError> {
    administrator(&caller)?;
    let profile = parsed(&name)?;
    let operation = Operation::RevokeProfile {
        profile,
        revocation,
    };
    two_person::submit(&front, &caller, operation).await
}

pub(super) fn administrator(caller: &Caller) -> Result<(), ApiError> {
    caller.require_account()?;
    caller.require_admin()
}

/// Returns a profile as it is shown.
pub(crate) async fn shown_profile(
    front: &FrontState,
    profile: SigningProfile,
) -> Result<Profile, ApiError> {
    let subject = front.signer.authority().await?.subject;
    Ok(shown(profile, &subject))
}

fn shown(profile: SigningProfile, subject: &AuthoritySubject) -> Profile {
    let identity = subject.identity(&profile.name);
    Profile { profile, identity }
}

pub(super) fn parsed(name: &str) -> Result<ProfileName, ApiError> {
    let parsed: Result<ProfileName, _> = name.parse();
    parsed.map_err(|error| ApiError::usage(error.to_string()))
}
