//! Accounts in SQLite.

use async_trait::async_trait;
use rusqlite::{Row, params};
use time::OffsetDateTime;

use crate::StoreError;
use crate::accounts::{AccountRow, Accounts, GrantRow, TokenRow};
use crate::sqlite::SqliteAccounts;
use crate::sqlite::columns::{collect, first, get_json, get_optional_time, get_time, json, micros};

/// The largest scopes of a token, in bytes of JSON.
const MAX_SCOPES_BYTES: usize = 64 * 1024;

/// The longest list of an account's groups, in bytes of JSON.
const MAX_GROUPS_BYTES: usize = 4096;

#[async_trait]
impl Accounts for SqliteAccounts {
    async fn put_account(&self, account: &AccountRow) -> Result<(), StoreError> {
        let account = account.clone();
        let groups = json(&serde_json::json!(account.groups), MAX_GROUPS_BYTES)?;
        self.0
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "INSERT INTO accounts (name, administrator, project, created_at, robot, groups)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO UPDATE
                     SET administrator = excluded.administrator, project = excluded.project,
                     robot = excluded.robot, groups = excluded.groups",
                )?;
                let at = micros(account.created_at);
                statement.execute(params![
                    account.name,
                    account.administrator,
                    account.project,
                    at,
                    account.is_robot,
                    groups,
                ])?;
                Ok(())
            })
            .await
    }

    async fn account(&self, name: &str) -> Result<Option<AccountRow>, StoreError> {
        let name = name.to_owned();
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT name, administrator, project, created_at, robot, groups
                     FROM accounts WHERE name = ?1",
                )?;
                first(statement.query([name])?, account)
            })
            .await
    }

    async fn accounts(&self) -> Result<Vec<AccountRow>, StoreError> {
        self.0
            .read(|connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT name, administrator, project, created_at, robot, groups
                     FROM accounts ORDER BY name",
                )?;
                collect(statement.query([])?, account)
            })
            .await
    }

    async fn delete_account(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.0
            .write(move |connection| {
                let mut statement =
                    connection.prepare_cached("DELETE FROM accounts WHERE name = ?1")?;
                Ok(statement.execute([name])? > 0)
            })
            .await
    }

    async fn add_token(&self, token: &TokenRow) -> Result<(), StoreError> {
        let token = token.clone();
        let scopes = json(&token.scopes, MAX_SCOPES_BYTES)?;
        self.0
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "INSERT INTO tokens (id, account, secret_hash, scopes, created_at, expires_at)
                     SELECT ?1, name, ?3, ?4, ?5, ?6 FROM accounts WHERE name = ?2",
                )?;
                let added = statement.execute(params![
                    token.id,
                    token.account,
                    token.secret_hash,
                    scopes,
                    micros(token.created_at),
                    token.expires_at.map(micros),
                ])?;
                match added {
                    0 => Err(StoreError::NotFound(format!("account `{}`", token.account))),
                    _ => Ok(()),
                }
            })
            .await
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRow>, StoreError> {
        let id = id.to_owned();
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT id, account, secret_hash, scopes, created_at, expires_at
                     FROM tokens WHERE id = ?1",
                )?;
                first(statement.query([id])?, token)
            })
            .await
    }

    async fn delete_tokens(&self, account: &str, id: Option<&str>) -> Result<usize, StoreError> {
        let (account, id) = (account.to_owned(), id.map(str::to_owned));
        self.0
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "DELETE FROM tokens WHERE account = ?1 AND (?2 IS NULL OR id = ?2)",
                )?;
                Ok(statement.execute(params![account, id])?)
            })
            .await
    }

    async fn forget_expired_tokens(&self, now: OffsetDateTime) -> Result<usize, StoreError> {
        let now = micros(now);
        self.0
            .write(move |connection| {
                let mut statement =
                    connection.prepare_cached("DELETE FROM tokens WHERE expires_at <= ?1")?;
                Ok(statement.execute([now])?)
            })
            .await
    }

    async fn set_grants(&self, account: &str, grants: &[GrantRow]) -> Result<(), StoreError> {
        let (account, grants) = (account.to_owned(), grants.to_vec());
        self.0
            .write(move |connection| {
                let mut statement =
                    connection.prepare_cached("DELETE FROM grants WHERE account = ?1")?;
                statement.execute([&account])?;
                let mut statement = connection.prepare_cached(
                    "INSERT INTO grants (account, action, resource) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO NOTHING",
                )?;
                for grant in grants {
                    statement.execute(params![account, grant.action, grant.resource])?;
                }
                Ok(())
            })
            .await
    }

    async fn grants(&self, account: &str) -> Result<Vec<GrantRow>, StoreError> {
        let account = account.to_owned();
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT action, resource FROM grants WHERE account = ?1
                     ORDER BY action, resource",
                )?;
                collect(statement.query([account])?, |row| {
                    Ok(GrantRow {
                        action: row.get(0)?,
                        resource: row.get(1)?,
                    })
                })
            })
            .await
    }
}

fn account(row: &Row<'_>) -> Result<AccountRow, StoreError> {
    Ok(AccountRow {
        name: row.get(0)?,
        administrator: row.get(1)?,
        project: row.get(2)?,
        created_at: get_time(row, 3)?,
        is_robot: row.get(4)?,
        groups: get_json(row, 5)?,
    })
}

fn token(row: &Row<'_>) -> Result<TokenRow, StoreError> {
    Ok(TokenRow {
        id: row.get(0)?,
        account: row.get(1)?,
        secret_hash: row.get(2)?,
        scopes: get_json(row, 3)?,
        created_at: get_time(row, 4)?,
        expires_at: get_optional_time(row, 5)?,
    })
}
