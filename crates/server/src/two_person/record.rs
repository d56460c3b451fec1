//! Every step of an operation that takes two persons: an entry of the log, and a line of the
//! server's own.

use serde_json::{Value, json};
use signer::Principal;
use signer::log::EntryKind;

use super::PendingOperation;
use crate::state::Front;

/// Records that an operation was requested, confirmed, done, failed or withdrawn.
///
/// What cannot be recorded is not undone: the operation itself, where the signer does it, has an
/// entry of its own, which names both persons and cannot fail alone.
pub(super) async fn step(front: &Front, operation: &PendingOperation, step: &str, by: &str) {
    tracing::info!(
        operation = operation.id,
        digest = %operation.digest,
        by,
        "{step}: {}",
        operation.summary
    );
    let event = json!({
        "what": "two-person-operation",
        "step": step,
        "operation": operation.id,
        "digest": operation.digest,
        "summary": operation.summary,
        "requestedBy": operation.requested_by,
        "by": by,
    });
    write(front, EntryKind::Policy, event).await;
}

/// Records that somebody may do something now, or no longer.
pub(super) async fn permission(front: &Front, principal: &Principal, what: Value) {
    let event = json!({"change": what, "by": principal});
    write(front, EntryKind::Permission, event).await;
}

async fn write(front: &Front, kind: EntryKind, event: Value) {
    if let Err(error) = front.record_event(kind, event).await {
        tracing::error!("something happened that the log has no entry of: {error:?}");
    }
}
