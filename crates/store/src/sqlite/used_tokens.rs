//! Used tokens in SQLite.

use async_trait::async_trait;
use rusqlite::params;
use time::OffsetDateTime;

use crate::StoreError;
use crate::sqlite::SqliteUsedTokens;
use crate::sqlite::columns::{first, get_unsigned, micros};
use crate::used_tokens::{MAX_USED_TOKENS, UsedTokens};

#[async_trait]
impl UsedTokens for SqliteUsedTokens {
    async fn remember(
        &self,
        id: &str,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let (id, until, now) = (id.to_owned(), micros(until), micros(now));
        self.0
            .write(move |connection| {
                let mut forget =
                    connection.prepare_cached("DELETE FROM used_tokens WHERE until <= ?1")?;
                forget.execute([now])?;
                let mut count = connection.prepare_cached("SELECT count(*) FROM used_tokens")?;
                let count = first(count.query([])?, |row| get_unsigned(row, 0))?;
                if count.unwrap_or(0) >= MAX_USED_TOKENS {
                    return Err(StoreError::TooLarge {
                        what: "list of used tokens",
                        limit: MAX_USED_TOKENS,
                    });
                }
                let mut insert = connection.prepare_cached(
                    "INSERT INTO used_tokens (id, until) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                )?;
                Ok(insert.execute(params![id, until])? == 1)
            })
            .await
    }
}
