//! Accounts, their grants and their tokens.
//!
//! Everything here is for administrators, except asking who one is and making a token that can do
//! less than the one at hand.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use signer::Principal;
use store::StoreError;
use store::accounts::AccountRow;
use time::{Duration, OffsetDateTime};

use super::extract::Body;
use super::signing;
use crate::auth::{Caller, Grants, MAX_SECRET_BYTES, NewTokenRequest, hash_password};
use crate::clock;
use crate::control::events;
use crate::error::{ApiError, chain};
use crate::state::{Front, FrontState};
use crate::two_person::{self, Operation};

/// The longest name of an account, in bytes: it is shown in tables and certificates' logs.
const MAX_ACCOUNT_NAME_BYTES: usize = 64;
/// The shortest password, in characters (NIST SP 800-63B §5.1.1.1 asks for eight at least).
const MIN_PASSWORD_CHARACTERS: usize = 12;
/// The longest life of a token that has one, in seconds: ten years.
const MAX_TOKEN_SECONDS: u64 = 10 * 366 * 24 * 3600;

/// A request for a new account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewAccount {
    /// The name: lower-case letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What the account may do.
    #[serde(default)]
    pub grants: Grants,
    /// A password, for people who log in by hand. Tokens work without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The project that the account belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Whether it is a person or an automation.
    #[serde(default)]
    pub kind: AccountKind,
    /// The groups that it is in, which rules of signing profiles may name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
}

/// Whether an account is a person's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// A person, who may confirm what takes two.
    #[default]
    Person,
    /// An automation.
    Robot,
}

/// An account as it is shown.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The name.
    pub name: String,
    /// What it may do.
    pub grants: Grants,
    /// The project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Whether it is a person or an automation.
    #[serde(default)]
    pub kind: AccountKind,
    /// The groups that it is in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A request for a new token.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewAccountToken {
    /// What the token is limited to, below the account's grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Grants>,
    /// After how many seconds it is worthless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<u64>,
}

/// A token, shown once.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedToken {
    /// The account that it speaks for.
    pub account: String,
    /// The public part, by which it can be named later.
    pub id: String,
    /// The token.
    pub token: String,
    /// From when on it is worthless.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

/// A new password.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password.
    pub password: String,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/whoami", get(whoami))
        .route("/api/v1/accounts", get(list).post(create))
        .route(
            "/api/v1/accounts/{name}",
            get(show).put(replace).delete(remove),
        )
        .route("/api/v1/accounts/{name}/password", put(set_password))
        .route("/api/v1/accounts/{name}/tokens", post(issue))
        .route("/api/v1/accounts/{name}/tokens/{id}", delete(revoke))
}

async fn whoami(State(front): State<Front>, caller: Caller) -> Result<Json<Account>, ApiError> {
    caller.require_account()?;
    let row = account(&front, &caller.account).await?;
    let grants = caller.limits.unwrap_or(caller.grants);
    Ok(Json(shown(row, grants)))
}

async fn list(State(front): State<Front>, caller: Caller) -> Result<Json<Vec<Account>>, ApiError> {
    caller.require_admin()?;
    let mut accounts = Vec::new();
    for row in front.store.accounts.accounts().await.map_err(failed)? {
        if !row.name.starts_with('@') {
            accounts.push(with_grants(&front, row).await?);
        }
    }
    Ok(Json(accounts))
}

async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Account>, ApiError> {
    caller.require_admin()?;
    let row = account(&front, &name).await?;
    with_grants(&front, row).await.map(Json)
}

async fn create(
    State(front): State<Front>,
    caller: Caller,
    Body(account): Body<NewAccount>,
) -> Result<Response, ApiError> {
    caller.require_admin()?;
    check_new(&front, &account.name).await?;
    let (account, create) = (Box::new(account), true);
    two_person::submit(&front, &caller, Operation::PutAccount { account, create }).await
}

async fn check_new(front: &FrontState, name: &str) -> Result<(), ApiError> {
    match front.store.accounts.account(name).await.map_err(failed)? {
        Some(_) => Err(ApiError::conflict(format!(
            "account `{name}` exists already"
        ))),
        None => Ok(()),
    }
}

/// Makes or replaces an account; with `create`, only if there is none of that name. The log says
/// first what the account may do now.
pub(crate) async fn put_checked(
    front: &FrontState,
    (account, create): (NewAccount, bool),
    by: &Principal,
) -> Result<Account, ApiError> {
    if create {
        check_new(front, &account.name).await?;
    }
    check_name(&account.name)?;
    events::account_changed(front, (&account.name, by), Some(&account.grants)).await?;
    put_account(front, account).await
}

async fn replace(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(account): Body<NewAccount>,
) -> Result<Response, ApiError> {
    caller.require_admin()?;
    if account.name != name {
        return Err(ApiError::usage(
            "the name in the body is not that in the path",
        ));
    }
    if account.password.is_some() {
        two_person::guard_credentials(&front, &caller, &name).await?;
    }
    let (account, create) = (Box::new(account), false);
    two_person::submit(&front, &caller, Operation::PutAccount { account, create }).await
}

async fn remove(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    caller.require_admin()?;
    two_person::submit(&front, &caller, Operation::RemoveAccount { name }).await
}

/// Removes an account that is not that of whoever asks.
pub(crate) async fn remove_checked(
    front: &FrontState,
    name: &str,
    by: &Principal,
) -> Result<(), ApiError> {
    if name == by.account {
        return Err(ApiError::conflict("an account cannot remove itself"));
    }
    account(front, name).await?;
    events::account_changed(front, (name, by), None).await?;
    signing::keep_grants(front, name, &[]).await?;
    match remove_account(front, name).await? {
        true => Ok(()),
        false => Err(no_account(name)),
    }
}

async fn set_password(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(new): Body<NewPassword>,
) -> Result<StatusCode, ApiError> {
    if name != caller.account || caller.limits.is_some() {
        caller.require_admin()?;
    }
    two_person::guard_credentials(&front, &caller, &name).await?;
    account(&front, &name).await?;
    store_password(&front, &name, new.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn issue(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(new): Body<NewAccountToken>,
) -> Result<(StatusCode, Json<IssuedToken>), ApiError> {
    // A limited token must not make itself a wider one.
    if name != caller.account || caller.limits.is_some() || caller.require_account().is_err() {
        caller.require_admin()?;
    }
    two_person::guard_credentials(&front, &caller, &name).await?;
    account(&front, &name).await?;
    let expires_at = new.expires_in_secs.map(expiry).transpose()?;
    let request = NewTokenRequest {
        limits: new.limits,
        run: None,
        workload: None,
        expires_at,
    };
    let token = front.auth.issue(&name, request).await;
    let token = token.map_err(|error| ApiError::internal(chain(&error)))?;
    let issued = IssuedToken {
        account: name,
        id: token.id().to_owned(),
        token: token.text().to_owned(),
        expires_at,
    };
    Ok((StatusCode::CREATED, Json(issued)))
}

async fn revoke(
    State(front): State<Front>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    if name != caller.account {
        caller.require_admin()?;
    }
    let count = front.store.accounts.delete_tokens(&name, Some(&id)).await;
    front.auth.forget();
    match count.map_err(failed)? {
        0 => {
            let message = format!("account `{name}` has no token `{id}`");
            Err(ApiError::not_found(message))
        }
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

fn expiry(seconds: u64) -> Result<OffsetDateTime, ApiError> {
    match i64::try_from(seconds) {
        Ok(lasting) if seconds <= MAX_TOKEN_SECONDS => {
            Ok(clock::now() + Duration::seconds(lasting))
        }
        _ => Err(ApiError::usage(format!(
            "`expiresInSecs` is {seconds}, more than the limit of {MAX_TOKEN_SECONDS}"
        ))),
    }
}

/// Makes or replaces an account with its grants. Tokens stay.
///
/// # Errors
/// When the name or the password is not acceptable, or the store fails.
pub async fn put_account(front: &FrontState, new: NewAccount) -> Result<Account, ApiError> {
    check_name(&new.name)?;
    new.password.as_deref().map_or(Ok(()), check_password)?;
    let row = AccountRow {
        administrator: new.grants.admin,
        project: new.project,
        is_robot: new.kind == AccountKind::Robot,
        groups: signing::checked_groups(new.groups)?,
        ..AccountRow::new(new.name.clone(), clock::now())
    };
    let accounts = &front.store.accounts;
    accounts.put_account(&row).await.map_err(failed)?;
    let rows = new.grants.to_rows();
    signing::keep_grants(front, &new.name, &new.grants.profiles).await?;
    let granted = accounts.set_grants(&new.name, &rows).await;
    front.auth.forget();
    granted.map_err(failed)?;
    if let Some(password) = new.password {
        store_password(front, &new.name, password).await?;
    }
    Ok(shown(row, new.grants))
}

/// Removes an account with its tokens, which are worthless at once. Returns whether there was one.
///
/// # Errors
/// When the store fails.
pub async fn remove_account(front: &FrontState, name: &str) -> Result<bool, ApiError> {
    let removed = front.store.accounts.delete_account(name).await;
    front.auth.forget();
    removed.map_err(failed)
}

fn check_password(text: &str) -> Result<(), ApiError> {
    if text.chars().count() < MIN_PASSWORD_CHARACTERS || text.len() > MAX_SECRET_BYTES {
        return Err(ApiError::usage(format!(
            "a password has {MIN_PASSWORD_CHARACTERS} characters at least and {MAX_SECRET_BYTES} bytes at most"
        )));
    }
    Ok(())
}

async fn store_password(front: &FrontState, name: &str, text: String) -> Result<(), ApiError> {
    check_password(&text)?;
    let hash = tokio::task::spawn_blocking(move || hash_password(&text))
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    front.auth.set_password(name, hash).await.map_err(failed)
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if starts_well && name.len() <= MAX_ACCOUNT_NAME_BYTES && name.bytes().all(byte) {
        return Ok(());
    }
    let text: String = name.chars().take(MAX_ACCOUNT_NAME_BYTES).collect();
    Err(ApiError::usage(format!(
        "`{text}` is not an account name: use lower-case letters, digits, `.`, `_` and `-`"
    )))
}

async fn account(front: &FrontState, name: &str) -> Result<AccountRow, ApiError> {
    let row = front.store.accounts.account(name).await.map_err(failed)?;
    row.ok_or_else(|| no_account(name))
}

async fn with_grants(front: &FrontState, row: AccountRow) -> Result<Account, ApiError> {
    let rows = front
        .store
        .accounts
        .grants(&row.name)
        .await
        .map_err(failed)?;
    let grants = Grants {
        admin: row.administrator,
        ..Grants::from_rows(&rows)
    };
    Ok(shown(row, grants))
}

fn shown(row: AccountRow, grants: Grants) -> Account {
    Account {
        name: row.name,
        grants,
        project: row.project,
        kind: match row.is_robot {
            true => AccountKind::Robot,
            false => AccountKind::Person,
        },
        groups: row.groups,
        created_at: row.created_at,
    }
}

fn no_account(name: &str) -> ApiError {
    let text: String = name.chars().take(MAX_ACCOUNT_NAME_BYTES).collect();
    ApiError::not_found(format!("there is no account `{text}`"))
}

fn failed(error: StoreError) -> ApiError {
    ApiError::from(error)
}
