//! One truth about who may sign: the signer's.
//!
//! An account's grants name profiles, and a profile's grants name accounts. The signer decides by
//! the latter; the former are carried over whenever an account or a profile changes.

use signer::{Grants, Principal, ProfileSpec, ProfileStatus, SigningProfile};

use crate::error::ApiError;
use crate::state::FrontState;

/// The action of grant rows that name profiles.
const PROFILES: &str = "profiles";

/// The front itself, as it asks the signer to carry grants over.
pub(super) fn front_principal() -> Principal {
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
    let rows = front.store.accounts.grants(account).await?;
    let had: Vec<&str> = rows
        .iter()
        .filter(|row| row.action == PROFILES)
        .map(|row| row.resource.as_str())
        .collect();
    let wants = |name: &str| profiles.iter().any(|profile| profile == name);
    if had.is_empty() && profiles.is_empty() {
        return Ok(());
    }
    for profile in front.signer.profiles(front_principal()).await? {
        let name = profile.name.as_str();
        let concerned = wants(name) || had.contains(&name);
        let changes = wants(name) != profile.grants.accounts.contains(account);
        if profile.status == ProfileStatus::Active && concerned && changes {
            set_grant(front, profile.clone(), (account, wants(name))).await?;
        }
    }
    Ok(())
}

async fn set_grant(
    front: &FrontState,
    profile: SigningProfile,
    (account, granted): (&str, bool),
) -> Result<(), ApiError> {
    let mut grants = profile.grants;
    match granted {
        true => grants.accounts.insert(account.to_owned()),
        false => grants.accounts.remove(account),
    };
    let spec = ProfileSpec {
        name: profile.name,
        platform: profile.platform,
        validity: profile.validity,
        leaf: profile.leaf,
        grants,
    };
    front
        .signer
        .put_profile(front_principal(), spec, true)
        .await?;
    Ok(())
}

/// Returns `grants` with the accounts added whose own grants name `profile`.
pub(super) async fn with_accounts(
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
