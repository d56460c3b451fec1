//! Whether an operation takes two persons.

use signer::{ProfileName, SigningProfile};
use store::documents::DocumentKey;

use super::Operation;
use crate::api::accounts::{AccountKind, NewAccount};
use crate::api::projects::ApplyProject;
use crate::api::signing::{front_principal, profiles_to_regrant};
use crate::auth::Caller;
use crate::clock;
use crate::control::projects;
use crate::error::{ApiError, ErrorKind};
use crate::state::Front;

fn key() -> DocumentKey {
    DocumentKey::new("setting", "two-person")
}

/// Returns whether the whole installation asks for two persons.
pub(crate) async fn is_required(front: &Front) -> Result<bool, ApiError> {
    let row = front.store.documents.get(&key()).await?;
    Ok(row.is_some_and(|row| row.bytes == b"required"))
}

/// Refuses to give out the credentials of another administrator, where two persons are needed:
/// whoever has them is two persons.
///
/// # Errors
/// The denial, or when the store fails.
pub(crate) async fn guard_credentials(
    front: &Front,
    caller: &Caller,
    account: &str,
) -> Result<(), ApiError> {
    if account == caller.account || !is_required(front).await? {
        return Ok(());
    }
    let row = front.store.accounts.account(account).await?;
    if !row.is_some_and(|row| row.administrator) {
        return Ok(());
    }
    let message = format!(
        "`{account}` is an administrator, and this server asks for two persons: with its credentials you would be both"
    );
    Err(ApiError::new(ErrorKind::Denied, "second-person-needed", message)
        .hint("let its owner make the token or password; a new administrator gets the first one while two persons are not required"))
}

/// Refuses a dangerous change of a profile that takes two persons, asked for through an API that
/// knows one only. A profile that does not exist is guarded by nobody.
///
/// # Errors
/// The denial, or when the signer or the store fails.
pub(crate) async fn guard_profile(front: &Front, name: &ProfileName) -> Result<(), ApiError> {
    let everywhere = is_required(front).await?;
    let known = find(front, name).await?;
    if !known.is_some_and(|known| everywhere || known.two_person) {
        return Ok(());
    }
    let message = format!(
        "changing, canceling or revoking profile `{name}` takes two administrators, and this API \
         knows one only"
    );
    Err(
        ApiError::new(ErrorKind::Denied, "second-person-needed", message).hint(
            "use `countersign profile` or `countersign signature`, and let another confirm it",
        ),
    )
}

/// Sets whether the whole installation asks for two persons.
pub(super) async fn require(front: &Front, required: bool) -> Result<(), ApiError> {
    let accounts = front.store.accounts.accounts().await?;
    let persons = accounts
        .iter()
        .filter(|row| row.administrator && !row.is_robot);
    if required && persons.count() < 2 {
        let message =
            "fewer than two persons administer this server: nobody could confirm anything";
        return Err(ApiError::conflict(message)
            .hint("make another administrator first: `countersign account create NAME --admin`"));
    }
    let word: &[u8] = if required {
        b"required"
    } else {
        b"not required"
    };
    front
        .store
        .documents
        .put(&key(), word, clock::now())
        .await?;
    Ok(())
}

/// Returns whether `operation` takes two persons.
pub(super) async fn takes_two(front: &Front, operation: &Operation) -> Result<bool, ApiError> {
    let everywhere = is_required(front).await?;
    match operation {
        // One person may make it stricter.
        Operation::RequireTwo { required } => Ok(everywhere && !required),
        // Whoever chooses the keys is every workload that a rule names.
        Operation::PutIssuer { .. } | Operation::RemoveIssuer { .. } => Ok(everywhere),
        Operation::PutProfile(new) => {
            let known = find(front, &new.name).await?;
            Ok(known.is_some_and(|known| everywhere || known.two_person))
        }
        Operation::PutRules { profile, .. }
        | Operation::CancelProfile { profile }
        | Operation::RevokeProfile { profile, .. } => of_profile(front, everywhere, profile).await,
        Operation::RevokeSignature { job, .. } => {
            let job = front.signer.job(front_principal(), *job).await?;
            of_profile(front, everywhere, &job.profile).await
        }
        Operation::Revoke { revocation } => {
            let what = (revocation.target.clone(), revocation.from);
            let covered = front
                .signer
                .preview_revocation(front_principal(), what, Vec::new());
            let covered = covered.await?.coverage.by_profile;
            let names: Vec<String> = covered.into_keys().collect();
            Ok(everywhere || any_guarded(front, everywhere, &names).await?)
        }
        Operation::PutAccount { account, .. } => put_account(front, everywhere, account).await,
        Operation::RemoveAccount { name } => remove_account(front, everywhere, name).await,
        Operation::ApplyProject { name, project } => {
            apply_project(front, everywhere, (name, project)).await
        }
        Operation::RemoveProject { name } => {
            let names = project_profiles(front, name).await?;
            any_guarded(front, everywhere, &names).await
        }
    }
}

async fn find(front: &Front, name: &ProfileName) -> Result<Option<SigningProfile>, ApiError> {
    let all = front.signer.profiles(front_principal()).await?;
    Ok(all.into_iter().find(|profile| profile.name == *name))
}

async fn of_profile(front: &Front, everywhere: bool, name: &ProfileName) -> Result<bool, ApiError> {
    let known = find(front, name).await?;
    Ok(everywhere || known.is_some_and(|known| known.two_person))
}

/// What an account may sign is changed by its groups and by the profiles that it is granted; and
/// a new administrator could be a second person to whoever made it.
async fn put_account(front: &Front, everywhere: bool, new: &NewAccount) -> Result<bool, ApiError> {
    let regrants = profiles_to_regrant(front, &new.name, &new.grants.profiles).await?;
    if regrants.iter().any(|profile| profile.two_person) {
        return Ok(true);
    }
    if !everywhere {
        return Ok(false);
    }
    let known = front.store.accounts.account(&new.name).await?;
    let is_admin = new.grants.admin || known.as_ref().is_some_and(|row| row.administrator);
    let (groups, robot) = known
        .map(|row| (row.groups, row.is_robot))
        .unwrap_or_default();
    let becomes_person = robot && new.kind == AccountKind::Person;
    Ok(is_admin || groups != new.groups || !regrants.is_empty() || becomes_person)
}

async fn remove_account(front: &Front, everywhere: bool, name: &str) -> Result<bool, ApiError> {
    let known = front.store.accounts.account(name).await?;
    let regrants = profiles_to_regrant(front, name, &[]).await?;
    let is_admin = known.is_some_and(|row| row.administrator);
    Ok((everywhere && (is_admin || !regrants.is_empty()))
        || regrants.iter().any(|profile| profile.two_person))
}

async fn project_profiles(front: &Front, name: &str) -> Result<Vec<String>, ApiError> {
    let stored = projects::load(front, name).await?;
    let profiles = stored.iter().flat_map(|stored| &stored.project.profiles);
    Ok(profiles.map(|profile| profile.name.to_string()).collect())
}

/// A project's profiles are changed by its file, and those that it no longer names are canceled;
/// the groups of its accounts are changed as well.
async fn apply_project(
    front: &Front,
    everywhere: bool,
    (name, new): (&str, &ApplyProject),
) -> Result<bool, ApiError> {
    if everywhere && projects::load(front, name).await?.is_some() {
        return Ok(true);
    }
    let mut names = project_profiles(front, name).await?;
    if let Ok(project) = pipeline::project::Project::parse(&new.text) {
        names.extend(
            project
                .profiles
                .iter()
                .map(|profile| profile.name.to_string()),
        );
        let has_groups = project
            .accounts
            .iter()
            .any(|account| !account.groups.is_empty());
        if everywhere && (has_groups || !project.oidc_issuers.is_empty()) {
            return Ok(true);
        }
    }
    any_guarded(front, everywhere, &names).await
}

async fn any_guarded(front: &Front, everywhere: bool, names: &[String]) -> Result<bool, ApiError> {
    let all = front.signer.profiles(front_principal()).await?;
    let concerned =
        |profile: &SigningProfile| names.iter().any(|name| name == profile.name.as_str());
    let mut concerned = all.iter().filter(|profile| concerned(profile));
    Ok(concerned.any(|profile| everywhere || profile.two_person))
}
