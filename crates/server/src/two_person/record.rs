//! Every step of an operation that takes two persons, in the server's log.

use super::PendingOperation;
use crate::state::Front;

/// Records that an operation was requested, confirmed, done, failed or withdrawn.
pub(super) async fn step(_front: &Front, operation: &PendingOperation, step: &str, by: &str) {
    tracing::info!(
        operation = operation.id,
        digest = %operation.digest,
        by,
        "{step}: {}",
        operation.summary
    );
}
