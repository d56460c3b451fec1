//! Accounts, their tokens, and what they were granted.
//!
//! Rows only: password and token hashes are opaque texts here, and what a grant allows is decided
//! by the front.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::StoreError;

/// An account: a person, a team or an automation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// The unique name.
    pub name: String,
    /// Whether it may do everything.
    pub administrator: bool,
    /// The project whose declarative file made it, so that removing the project removes it.
    pub project: Option<String>,
    /// Whether it is an automation and not a person.
    pub is_robot: bool,
    /// The groups that it is in, which rules of signing profiles may name.
    pub groups: BTreeSet<String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

impl AccountRow {
    /// Returns a person's account that may do nothing.
    pub fn new(name: impl Into<String>, created_at: OffsetDateTime) -> Self {
        Self {
            name: name.into(),
            administrator: false,
            project: None,
            is_robot: false,
            groups: BTreeSet::new(),
            created_at,
        }
    }
}

/// A token of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRow {
    /// The public part, by which the token is found.
    pub id: String,
    /// The account that it speaks for.
    pub account: String,
    /// The hash of the secret part.
    pub secret_hash: String,
    /// What the token is limited to; `null` means all that its account may do.
    pub scopes: serde_json::Value,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// From when on it is worthless.
    pub expires_at: Option<OffsetDateTime>,
}

/// Something that an account may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantRow {
    /// The action, in the front's words: `pull`, `push`, `sign`, `approve`, `git-push`, …
    pub action: String,
    /// The resource or a pattern of resources: a repository pattern, a profile, a pipeline.
    pub resource: String,
}

/// Accounts with their tokens and grants.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Makes or replaces an account. Its tokens and grants stay.
    async fn put_account(&self, account: &AccountRow) -> Result<(), StoreError>;

    /// Returns the account called `name`.
    async fn account(&self, name: &str) -> Result<Option<AccountRow>, StoreError>;

    /// Returns all accounts by name.
    async fn accounts(&self) -> Result<Vec<AccountRow>, StoreError>;

    /// Removes an account with its tokens and grants. Returns whether there was one.
    async fn delete_account(&self, name: &str) -> Result<bool, StoreError>;

    /// Adds a token to an existing account.
    async fn add_token(&self, token: &TokenRow) -> Result<(), StoreError>;

    /// Returns the token with `id`, expired or not: the caller compares the times.
    async fn token(&self, id: &str) -> Result<Option<TokenRow>, StoreError>;

    /// Removes one token of an account, or all of them. Returns how many.
    async fn delete_tokens(&self, account: &str, id: Option<&str>) -> Result<usize, StoreError>;

    /// Removes all tokens that are worthless at `now`. Returns how many.
    async fn forget_expired_tokens(&self, now: OffsetDateTime) -> Result<usize, StoreError>;

    /// Replaces all grants of an account.
    async fn set_grants(&self, account: &str, grants: &[GrantRow]) -> Result<(), StoreError>;

    /// Returns the grants of an account, ordered.
    async fn grants(&self, account: &str) -> Result<Vec<GrantRow>, StoreError>;
}
