//! The clock: the one place in this crate that reads the time of day.

use time::OffsetDateTime;

/// Returns the time of day, in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the server is an edge: rooms below it are given the time"
)]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
