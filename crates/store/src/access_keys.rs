//! Access keys with which clients sign their requests, and the account numbers of accounts.
//!
//! Rows only: the secrets are sealed by the front under a key that is not kept here.

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::StoreError;

/// An access key of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessKeyRow {
    /// The public part, by which the key is found.
    pub id: String,
    /// The account that it speaks for.
    pub account: String,
    /// The sealed secret.
    pub sealed: Vec<u8>,
    /// The hash of the session token that must come with it, for a key that ends by itself.
    pub session_hash: Option<String>,
    /// What the key is limited to; `null` means all that its account may do.
    pub scopes: serde_json::Value,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// From when on it is worthless.
    pub expires_at: Option<OffsetDateTime>,
}

/// Access keys and account numbers.
#[async_trait]
pub trait AccessKeys: Send + Sync {
    /// Adds a key to an existing account.
    async fn add(&self, key: &AccessKeyRow) -> Result<(), StoreError>;

    /// Returns the key with `id`, expired or not: the caller compares the times.
    async fn find(&self, id: &str) -> Result<Option<AccessKeyRow>, StoreError>;

    /// Returns the keys of an account in the order of their making, without those that end by
    /// themselves.
    async fn list(&self, account: &str) -> Result<Vec<AccessKeyRow>, StoreError>;

    /// Removes a key of an account. Returns whether there was one.
    async fn remove(&self, account: &str, id: &str) -> Result<bool, StoreError>;

    /// Removes every key that was worthless at `now`. Returns how many.
    async fn remove_expired(&self, now: OffsetDateTime) -> Result<usize, StoreError>;

    /// Gives an existing account a number of its own, or takes it back.
    async fn set_number(&self, account: &str, number: Option<&str>) -> Result<(), StoreError>;

    /// Returns the number of an account, if it has one of its own.
    async fn number(&self, account: &str) -> Result<Option<String>, StoreError>;
}
