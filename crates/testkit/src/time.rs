//! The time at which tests happen.

use ::time::macros::datetime;
use ::time::{Duration, OffsetDateTime};

/// Now, for every test.
pub const NOW: OffsetDateTime = datetime!(2026-03-01 12:00:00 UTC);

/// Returns the moment that many days after now.
pub fn after(days: i64) -> OffsetDateTime {
    NOW + Duration::days(days)
}

/// Returns the moment that many days before now.
pub fn before(days: i64) -> OffsetDateTime {
    NOW - Duration::days(days)
}
