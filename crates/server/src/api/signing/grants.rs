//! One truth about who may sign: the signer's.
//!
//! An account's grants name profiles, and a profile's grants name accounts. The signer decides by
//! the latter; the former are carried over whenever an account or a profile changes.

use signer::{Grants, Principal, ProfileStatus, SigningProfile};

use crate::error::ApiError;
use crate::state::FrontState;

/// The action of grant rows that name profiles.
const PROFILES: &str = "profiles";

/// The front itself, as it asks the signer to carry grants over.
pub(crate) fn front_principal() -> Principal {
    Principal::account("@front").as_admin()
}

/// Has the signer grant an account exactly those of `profiles` that exist; to be called before
/// the account's rows change. A profile that is made later takes the account over.
///
/// # Errors
/// When the signer or the store fails.
pub async fn keep_grants(
    front: &FrontState,
    account: &str,
    profiles: &[String],
) -> Result<(), ApiError> {
    for profile in profiles_to_regrant(front, account, profiles).await? {
        let wants = profiles.iter().any(|name| name == profile.name.as_str());
        match profile.rules.is_empty() {
            true => set_grant(front, profile, (account, wants)).await?,
            false => refuse_grant(account, wants, &profile)?,
        }
    }
    Ok(())
}

/// Returns the active profiles whose grants change when `account` is granted exactly `profiles`.
pub(crate) async fn profiles_to_regrant(
    front: &FrontState,
    account: &str,
    profiles: &[String],
) -> Result<Vec<SigningProfile>, ApiError> {
    let rows = front.store.accounts.grants(account).await?;
    let had: Vec<&str> = rows
        .iter()
        .filter(|row| row.action == PROFILES)
        .map(|row| row.resource.as_str())
        .collect();
    let wants = |name: &str| profiles.iter().any(|profile| profile == name);
    if had.is_empty() && profiles.is_empty() {
        return Ok(Vec::new());
    }
    let changes = |profile: &SigningProfile| {
        let name = profile.name.as_str();
        profile.status == ProfileStatus::Active
            && (wants(name) || had.contains(&name))
            && wants(name) != profile.grants.accounts.contains(account)
    };
    let mut all = front.signer.profiles(front_principal()).await?;
    all.retain(changes);
    Ok(all)
}

/// A grant of an account is the short form of a rule, and says nothing beside rules.
fn refuse_grant(account: &str, wants: bool, profile: &SigningProfile) -> Result<(), ApiError> {
    if !wants {
        return Ok(());
    }
    let name = &profile.name;
    let message =
        format!("profile `{name}` has rules, which a grant of account `{account}` does not change");
    Err(ApiError::conflict(message).hint(format!(
        "name the account, or a group that it is in, in a rule: `countersign profile rules set {name}`"
    )))
}

async fn set_grant(
    front: &FrontState,
    profile: SigningProfile,
    (account, granted): (&str, bool),
) -> Result<(), ApiError> {
    let mut spec = profile.to_spec();
    match granted {
        true => spec.grants.accounts.insert(account.to_owned()),
        false => spec.grants.accounts.remove(account),
    };
    front
        .signer
        .put_profile(front_principal(), spec, true)
        .await?;
    Ok(())
}

/// Returns `grants` with the accounts added whose own grants name `profile`.
pub(crate) async fn with_accounts(
    front: &FrontState,
    profile: &str,
    mut grants: Grants,
) -> Result<Grants, ApiError> {
    for account in front.store.accounts.accounts().await? {
        let rows = front.store.accounts.grants(&account.name).await?;
        let named =
            |row: &store::accounts::GrantRow| row.action == PROFILES && row.resource == profile;
        if rows.iter().any(named) {
            grants.accounts.insert(account.name);
        }
    }
    Ok(grants)
}
