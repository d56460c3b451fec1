//! The behaviour that every back end must show.
//!
//! Each function takes a fresh, empty back end and panics where it misbehaves; a back end's own
//! tests call all of them. Times are given, nothing sleeps.
#![expect(clippy::unwrap_used, reason = "a panic is how a suite reports")]

mod access_keys;
mod accounts;
mod blobs;
mod deployments;
mod documents;
mod queue;
mod repositories;
mod runs;
mod uploads;
mod used_tokens;

pub use access_keys::access_keys;
pub use accounts::accounts;
pub use blobs::blobs;
pub use deployments::deployments;
pub use documents::documents;
pub use queue::queue;
pub use repositories::repositories;
pub use runs::runs;
pub use uploads::uploads;
pub use used_tokens::used_tokens;

use time::{Duration, OffsetDateTime};

use crate::Store;

/// Runs everything over one fresh store.
pub async fn everything(store: &Store) {
    blobs(&store.blobs).await;
    uploads(&store.blobs, &store.uploads).await;
    repositories(store).await;
    accounts(&*store.accounts).await;
    access_keys(store).await;
    used_tokens(&*store.used_tokens).await;
    queue(&*store.queue).await;
    runs(store).await;
    deployments(&*store.deployments).await;
    documents(&*store.documents).await;
}

/// Returns a fixed moment, `seconds` after the suite's beginning of time.
fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::seconds(seconds)
}
