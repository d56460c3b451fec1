//! Foreign tokens that may be used once: which were.
//!
//! In the database and not in memory, so that neither a restart nor a second front lets one be
//! used again.

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::StoreError;

/// The most tokens that are remembered at once: a day of one each second. Beyond it new ones are
/// refused, because forgetting one would let it be used again.
pub const MAX_USED_TOKENS: u64 = 100_000;

/// Which tokens were used.
#[async_trait]
pub trait UsedTokens: Send + Sync {
    /// Remembers `id` until `until`, and forgets what is over at `now`. Returns whether it is new:
    /// for any id, one caller alone is told so.
    async fn remember(
        &self,
        id: &str,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError>;
}
