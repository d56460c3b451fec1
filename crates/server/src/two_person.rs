//! Two persons for what is dangerous: revoking, canceling, changing who may sign, and this itself.
//!
//! Where it is asked for (for the whole installation, or for one profile), the first
//! administrator's request is not done but kept, word for word, and a second person confirms the
//! digest of exactly those words within a day. Then it is done once: the step from waiting to
//! confirmed is a compare-and-swap in the store, and whatever was confirmed and not yet done when
//! the front stopped is done at its next start. Every operation may be done twice without harm.
//!
//! The front enforces this; the signer takes its word, as it does for who asks (design 002 §7).

mod decide;
mod operation;
mod perform;
mod record;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use oci::Digest;
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::documents::DocumentKey;
use time::{Duration, OffsetDateTime};

pub(crate) use decide::{guard_credentials, guard_profile, is_required};
pub use operation::Operation;

use crate::auth::Caller;
use crate::clock;
use crate::error::{ApiError, ErrorKind, chain};
use crate::state::Front;

/// How long an operation waits for its second person.
pub const CONFIRM_WITHIN: Duration = Duration::DAY;
/// The longest operation, in bytes of JSON: the largest project with its policies.
const MAX_OPERATION_BYTES: usize = 3 * 1024 * 1024;
/// The most operations that wait at once.
const MAX_WAITING: usize = 256;
/// How long an operation is shown after it was settled.
const SHOWN_FOR: Duration = Duration::days(90);
/// The kind of the documents that hold operations.
const PENDING: &str = "pending-operation";

/// How an operation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// It waits for a second person.
    Waiting,
    /// It was confirmed, and is being done.
    Confirmed,
    /// It was done.
    Done,
    /// It was confirmed, and could not be done.
    Failed,
    /// Somebody took it back.
    Withdrawn,
    /// Nobody confirmed it in time.
    Expired,
}

/// An operation that takes two persons.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingOperation {
    /// By which it is named.
    pub id: String,
    /// What it would do, in a sentence.
    pub summary: String,
    /// The operation itself, as it will be done.
    pub operation: serde_json::Value,
    /// The SHA-256 of the operation's bytes, which the second person confirms.
    pub digest: Digest,
    /// How it stands.
    pub state: OperationState,
    /// Who asked for it.
    pub requested_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// Until when it can be confirmed.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Who confirmed it, or took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<String>,
    /// When.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub settled_at: Option<OffsetDateTime>,
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The answer to a request that now waits for a second person.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingAnswer {
    /// What waits.
    pub pending: PendingOperation,
}

/// An operation as it is kept: the bytes that were hashed, and the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    /// The operation as JSON text: these bytes are what is confirmed.
    text: String,
    state: OperationState,
    summary: String,
    requested_by: String,
    #[serde(with = "time::serde::rfc3339")]
    requested_at: OffsetDateTime,
    #[serde(default)]
    settled_by: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    settled_at: Option<OffsetDateTime>,
    #[serde(default)]
    failure: Option<String>,
}

impl Stored {
    fn operation(&self) -> Result<Operation, ApiError> {
        serde_json::from_str(&self.text).map_err(ApiError::internal)
    }

    fn shown(&self, id: &str, now: OffsetDateTime) -> PendingOperation {
        let expires_at = self.requested_at + CONFIRM_WITHIN;
        let is_late = self.state == OperationState::Waiting && now >= expires_at;
        PendingOperation {
            id: id.to_owned(),
            summary: self.summary.clone(),
            operation: serde_json::from_str(&self.text).unwrap_or_default(),
            digest: Digest::sha256(self.text.as_bytes()),
            state: match is_late {
                true => OperationState::Expired,
                false => self.state.clone(),
            },
            requested_by: self.requested_by.clone(),
            requested_at: self.requested_at,
            expires_at,
            settled_by: self.settled_by.clone(),
            settled_at: self.settled_at,
            failure: self.failure.clone(),
        }
    }
}

/// Does an operation, or keeps it until a second person has confirmed it: then the answer is 202
/// with what waits.
///
/// # Errors
/// When the caller may not ask for it, or it cannot be done.
pub(crate) async fn submit(
    front: &Front,
    caller: &Caller,
    operation: Operation,
) -> Result<Response, ApiError> {
    if !decide::takes_two(front, &operation).await? {
        let author = perform::Author::alone(front, caller).await?;
        return perform::perform(front, &author, operation).await;
    }
    require_person(caller, "begin")?;
    operation.check_may_wait()?;
    let pending = keep(front, caller, operation).await?;
    record::step(front, &pending, "requested", &caller.account).await;
    Ok((StatusCode::ACCEPTED, Json(PendingAnswer { pending })).into_response())
}

async fn keep(
    front: &Front,
    caller: &Caller,
    operation: Operation,
) -> Result<PendingOperation, ApiError> {
    let now = clock::now();
    let waiting = list(front).await?.into_iter();
    let waiting = waiting.filter(|one| one.state == OperationState::Waiting);
    if waiting.count() >= MAX_WAITING {
        let message = format!("{MAX_WAITING} operations wait for a second person already");
        return Err(ApiError::conflict(message).hint("confirm or withdraw some of them"));
    }
    let text = serde_json::to_string(&operation).map_err(ApiError::internal)?;
    if text.len() > MAX_OPERATION_BYTES {
        return Err(ApiError::usage(format!(
            "the request has {} bytes, and what waits for a second person has at most {MAX_OPERATION_BYTES}",
            text.len()
        )));
    }
    let stored = Stored {
        text,
        state: OperationState::Waiting,
        summary: operation.summary(),
        requested_by: caller.account.clone(),
        requested_at: now,
        settled_by: None,
        settled_at: None,
        failure: None,
    };
    let id = uuid::Uuid::new_v4().simple().to_string();
    write(front, &id, (0, &stored)).await?;
    Ok(stored.shown(&id, now))
}

/// Returns all operations that wait, and those that were settled lately.
pub(crate) async fn list(front: &Front) -> Result<Vec<PendingOperation>, ApiError> {
    let now = clock::now();
    let mut shown = Vec::new();
    for row in front.store.documents.list(PENDING, "").await? {
        let stored = parse(&row.bytes)?;
        if stored.requested_at + SHOWN_FOR < now {
            front.store.documents.delete(&row.key).await?;
            continue;
        }
        shown.push(stored.shown(&row.key.name, now));
    }
    shown.sort_by_key(|one| one.requested_at);
    Ok(shown)
}

/// Returns one operation.
pub(crate) async fn show(front: &Front, id: &str) -> Result<PendingOperation, ApiError> {
    let (_, stored) = load(front, id).await?;
    Ok(stored.shown(id, clock::now()))
}

/// Confirms an operation by the digest of its bytes, as a second person, and does it.
///
/// # Errors
/// When the caller is not a second person, the digest is another, or it is settled already; and
/// when it cannot be done.
pub(crate) async fn confirm(
    front: &Front,
    caller: &Caller,
    (id, digest): (&str, &Digest),
) -> Result<Response, ApiError> {
    require_person(caller, "confirm")?;
    let (version, stored) = load(front, id).await?;
    let shown = stored.shown(id, clock::now());
    check_open(&shown)?;
    if shown.requested_by == caller.account {
        let message = format!(
            "`{}` asked for this: the second person must be another",
            caller.account
        );
        return Err(
            ApiError::new(ErrorKind::Denied, "second-person-needed", message)
                .hint("let another administrator confirm it"),
        );
    }
    if shown.digest != *digest {
        let message = format!(
            "operation `{id}` has digest `{}`, not the one that was confirmed",
            shown.digest
        );
        return Err(
            ApiError::new(ErrorKind::Conflict, "pending-digest-differs", message).hint(format!(
                "look at it with `countersign pending show {id}`, and confirm what you saw"
            )),
        );
    }
    let confirmed = settled(stored, OperationState::Confirmed, &caller.account);
    let version = write(front, id, (version, &confirmed)).await?;
    record::step(front, &shown, "confirmed", &caller.account).await;
    carry_out(front, id, (version, confirmed)).await
}

/// Takes an operation back.
///
/// # Errors
/// When it is settled already.
pub(crate) async fn withdraw(
    front: &Front,
    caller: &Caller,
    id: &str,
) -> Result<PendingOperation, ApiError> {
    caller.require_account()?;
    caller.require_admin()?;
    let (version, stored) = load(front, id).await?;
    check_open(&stored.shown(id, clock::now()))?;
    let withdrawn = settled(stored, OperationState::Withdrawn, &caller.account);
    write(front, id, (version, &withdrawn)).await?;
    let shown = withdrawn.shown(id, clock::now());
    record::step(front, &shown, "withdrawn", &caller.account).await;
    Ok(shown)
}

/// Does what was confirmed and not done when the front stopped.
///
/// # Errors
/// When the store fails.
pub async fn resume(front: &Front) -> Result<(), ApiError> {
    for shown in list(front).await? {
        if shown.state == OperationState::Confirmed {
            let (version, stored) = load(front, &shown.id).await?;
            if let Err(error) = carry_out(front, &shown.id, (version, stored)).await {
                tracing::warn!(
                    operation = shown.id,
                    "a confirmed operation was not done: {error:?}"
                );
            }
        }
    }
    Ok(())
}

async fn carry_out(
    front: &Front,
    id: &str,
    (version, stored): (u64, Stored),
) -> Result<Response, ApiError> {
    let author = perform::Author::confirmed(front, &stored).await;
    let done = match author {
        Ok(author) => perform::perform(front, &author, stored.operation()?).await,
        Err(error) => Err(error),
    };
    let mut after = stored;
    let step = match &done {
        Ok(_) => {
            after.state = OperationState::Done;
            "done"
        }
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            // The confirmation is taken back with it: whoever confirms again sees it succeed.
            after.state = OperationState::Waiting;
            (after.settled_by, after.settled_at) = (None, None);
            "postponed"
        }
        Err(error) => {
            after.state = OperationState::Failed;
            after.failure = Some(error.message().to_owned());
            "failed"
        }
    };
    write(front, id, (version, &after)).await?;
    let shown = after.shown(id, clock::now());
    let by = after.settled_by.clone().unwrap_or_default();
    record::step(front, &shown, step, &by).await;
    done
}

fn settled(mut stored: Stored, state: OperationState, by: &str) -> Stored {
    stored.state = state;
    stored.settled_by = Some(by.to_owned());
    stored.settled_at = Some(clock::now());
    stored
}

fn check_open(shown: &PendingOperation) -> Result<(), ApiError> {
    let by = shown.settled_by.as_deref().unwrap_or("nobody");
    let (code, message) = match shown.state {
        OperationState::Waiting => return Ok(()),
        OperationState::Expired => (
            "pending-expired",
            format!("operation `{}` was not confirmed within a day", shown.id),
        ),
        OperationState::Withdrawn => (
            "pending-settled",
            format!("operation `{}` was withdrawn by `{by}`", shown.id),
        ),
        _ => (
            "pending-settled",
            format!("operation `{}` was confirmed by `{by}` already", shown.id),
        ),
    };
    Err(ApiError::new(ErrorKind::Conflict, code, message))
}

/// Only a person with an account of an administrator counts.
fn require_person(caller: &Caller, verb: &str) -> Result<(), ApiError> {
    caller.require_account()?;
    caller.require_admin()?;
    if caller.is_robot {
        let message = format!(
            "account `{}` is a robot: only a person may {verb} what takes two persons",
            caller.account
        );
        return Err(ApiError::new(ErrorKind::Denied, "person-needed", message));
    }
    Ok(())
}

async fn load(front: &Front, id: &str) -> Result<(u64, Stored), ApiError> {
    let key = DocumentKey::new(PENDING, id);
    let row = front.store.documents.get(&key).await?;
    let missing = || {
        let id: String = id.chars().take(64).collect();
        ApiError::not_found(format!("there is no pending operation `{id}`"))
    };
    let row = row.ok_or_else(missing)?;
    Ok((row.version, parse(&row.bytes)?))
}

fn parse(bytes: &[u8]) -> Result<Stored, ApiError> {
    serde_json::from_slice(bytes).map_err(ApiError::internal)
}

async fn write(
    front: &Front,
    id: &str,
    (version, stored): (u64, &Stored),
) -> Result<u64, ApiError> {
    let bytes = serde_json::to_vec(stored).map_err(ApiError::internal)?;
    let key = DocumentKey::new(PENDING, id);
    let written = front
        .store
        .documents
        .put_if_version(&key, version, &bytes, clock::now())
        .await;
    written.map_err(|error| match error {
        StoreError::Conflict(_) => {
            let message = format!("operation `{id}` was settled by somebody else just now");
            ApiError::new(ErrorKind::Conflict, "pending-settled", message)
        }
        other => ApiError::internal(chain(&other)),
    })
}
