//! Access keys over HTTP: with them the clients of AWS sign their requests.

use axum::extract::{Path, State};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use signer::AccountNumber;
use time::OffsetDateTime;

use crate::api::extract::Body;
use crate::auth::Caller;
use crate::aws::accounts::{AccessKeyError, Directory, MAX_SESSION};
use crate::clock;
use crate::error::{ApiError, chain};
use crate::state::{Front, FrontState};
use crate::two_person;

/// The longest life of an access key of a run or a workload: about that of a workload's token.
const MAX_BORROWED_SECONDS: u64 = 900;
/// What the caller may call its own account.
pub const OWN_ACCOUNT: &str = "@self";

/// A request for an access key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewKey {
    /// After how many seconds it is worthless; then it comes with a session token. Lasting when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<u64>,
}

/// An access key, just made: the only time that its secret is shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedKey {
    /// The account.
    pub account: String,
    /// The account's number.
    pub account_number: AccountNumber,
    /// The region of this installation.
    pub region: String,
    /// The public part.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The session token, of a key that ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// From when on it is worthless.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

/// A lasting access key as it is listed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedKey {
    /// The public part.
    pub access_key_id: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Whether it may do less than its account.
    pub limited: bool,
}

/// The lasting access keys of an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountKeys {
    /// The account.
    pub account: String,
    /// Its number.
    pub account_number: AccountNumber,
    /// Its keys, in the order of their making.
    pub access_keys: Vec<ListedKey>,
}

/// A number for an account, or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewNumber {
    /// The number; that of the installation when absent.
    #[serde(default)]
    pub account_number: Option<AccountNumber>,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route(
            "/api/v1/accounts/{name}/access-keys",
            get(list).post(create),
        )
        .route("/api/v1/accounts/{name}/access-keys/{id}", delete(remove))
        .route("/api/v1/accounts/{name}/number", put(set_number))
}

async fn create(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(new): Body<NewKey>,
) -> Result<(StatusCode, Json<IssuedKey>), ApiError> {
    let name = account(&caller, name)?;
    two_person::guard_credentials(&front, &caller, &name).await?;
    let is_account = caller.run.is_none() && caller.workload.is_none();
    if !is_account
        && new
            .expires_in_secs
            .is_none_or(|secs| secs > MAX_BORROWED_SECONDS)
    {
        return Err(ApiError::usage(format!(
            "an access key of a run or workload ends by itself: give `expiresInSecs`, at most \
             {MAX_BORROWED_SECONDS}"
        )));
    }
    let expires_at = new.expires_in_secs.map(expiry).transpose()?;
    let keys = &front.aws.keys;
    let made = keys.make(directory(&front), (&name, &caller), expires_at);
    let made = made.await?;
    let issued = IssuedKey {
        account_number: keys.number(&*front.store.access_keys, &name).await?,
        region: front.aws.installation.region.clone(),
        account: name,
        access_key_id: made.id,
        secret_access_key: made.secret,
        session_token: made.session_token,
        expires_at: made.expires_at,
    };
    Ok((StatusCode::CREATED, Json(issued)))
}

async fn list(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<AccountKeys>, ApiError> {
    let name = account(&caller, name)?;
    let store = &*front.store.access_keys;
    let rows = store.list(&name).await?.into_iter();
    let listed = rows.map(|row| ListedKey {
        limited: row.scopes.get("limits").is_some(),
        access_key_id: row.id,
        created_at: row.created_at,
    });
    Ok(Json(AccountKeys {
        access_keys: listed.collect(),
        account_number: front.aws.keys.number(store, &name).await?,
        account: name,
    }))
}

async fn remove(
    State(front): State<Front>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let name = account(&caller, name)?;
    let removed = front.store.access_keys.remove(&name, &id).await;
    front.aws.keys.forget();
    match removed? {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let message = format!("account `{name}` has no access key `{}`", shown(&id));
            Err(ApiError::not_found(message))
        }
    }
}

async fn set_number(
    State(front): State<Front>,
    caller: Caller,
    Path(name): Path<String>,
    Body(new): Body<NewNumber>,
) -> Result<StatusCode, ApiError> {
    caller.require_admin()?;
    let number = new.account_number.map(|number| number.to_string());
    let store = &front.store.access_keys;
    let set = store.set_number(&name, number.as_deref()).await;
    front.aws.keys.forget();
    set?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the account that the caller may handle keys of: its own, which may be called
/// [`OWN_ACCOUNT`], or any for administrators. A key made with a limited token is limited likewise,
/// so that nobody makes himself a wider one.
fn account(caller: &Caller, name: String) -> Result<String, ApiError> {
    let own = name == OWN_ACCOUNT || name == caller.account;
    match own && !caller.worker {
        true => Ok(caller.account.clone()),
        false => caller.require_admin().map(|()| name),
    }
}

fn directory(front: &FrontState) -> Directory<'_> {
    Directory {
        keys: &*front.store.access_keys,
        auth: &front.auth,
    }
}

fn expiry(seconds: u64) -> Result<OffsetDateTime, ApiError> {
    let lasting = i64::try_from(seconds).map(time::Duration::seconds);
    match lasting {
        Ok(lasting) if lasting.is_positive() && lasting <= MAX_SESSION => {
            Ok(clock::now() + lasting)
        }
        _ => Err(ApiError::usage(format!(
            "`expiresInSecs` is {seconds}: use 1 to {}",
            MAX_SESSION.whole_seconds()
        ))),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

impl From<AccessKeyError> for ApiError {
    fn from(error: AccessKeyError) -> Self {
        match error {
            AccessKeyError::TooMany(_) => Self::conflict(error.to_string()),
            AccessKeyError::Store(error) => error.into(),
            other => Self::internal(chain(&other)),
        }
    }
}
