//! Access keys in SQLite.

use async_trait::async_trait;
use rusqlite::{Row, params};
use time::OffsetDateTime;

use crate::StoreError;
use crate::access_keys::{AccessKeyRow, AccessKeys};
use crate::sqlite::SqliteAccessKeys;
use crate::sqlite::columns::{collect, first, get_json, get_optional_time, get_time, json, micros};

/// The largest scopes of a key, in bytes of JSON.
const MAX_SCOPES_BYTES: usize = 64 * 1024;
const COLUMNS: &str = "id, account, sealed, session_hash, scopes, created_at, expires_at";

#[async_trait]
impl AccessKeys for SqliteAccessKeys {
    async fn add(&self, key: &AccessKeyRow) -> Result<(), StoreError> {
        let key = key.clone();
        let scopes = json(&key.scopes, MAX_SCOPES_BYTES)?;
        self.0
            .write(move |connection| {
                let mut statement = connection.prepare_cached(&format!(
                    "INSERT INTO access_keys ({COLUMNS})
                     SELECT ?1, name, ?3, ?4, ?5, ?6, ?7 FROM accounts WHERE name = ?2"
                ))?;
                let added = statement.execute(params![
                    key.id,
                    key.account,
                    key.sealed,
                    key.session_hash,
                    scopes,
                    micros(key.created_at),
                    key.expires_at.map(micros),
                ])?;
                found(added, &key.account)
            })
            .await
    }

    async fn find(&self, id: &str) -> Result<Option<AccessKeyRow>, StoreError> {
        let id = id.to_owned();
        self.0
            .read(move |connection| {
                let mut statement = connection
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM access_keys WHERE id = ?1"))?;
                first(statement.query([id])?, key)
            })
            .await
    }

    async fn list(&self, account: &str) -> Result<Vec<AccessKeyRow>, StoreError> {
        let account = account.to_owned();
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM access_keys
                     WHERE account = ?1 AND session_hash IS NULL ORDER BY created_at, id"
                ))?;
                collect(statement.query([account])?, key)
            })
            .await
    }

    async fn remove(&self, account: &str, id: &str) -> Result<bool, StoreError> {
        let (account, id) = (account.to_owned(), id.to_owned());
        self.0
            .write(move |connection| {
                let mut statement = connection
                    .prepare_cached("DELETE FROM access_keys WHERE account = ?1 AND id = ?2")?;
                Ok(statement.execute(params![account, id])? > 0)
            })
            .await
    }

    async fn remove_expired(&self, now: OffsetDateTime) -> Result<usize, StoreError> {
        self.0
            .write(move |connection| {
                let mut statement =
                    connection.prepare_cached("DELETE FROM access_keys WHERE expires_at <= ?1")?;
                Ok(statement.execute([micros(now)])?)
            })
            .await
    }

    async fn set_number(&self, account: &str, number: Option<&str>) -> Result<(), StoreError> {
        let (account, number) = (account.to_owned(), number.map(str::to_owned));
        self.0
            .write(move |connection| {
                let Some(number) = number else {
                    let mut statement = connection
                        .prepare_cached("DELETE FROM account_numbers WHERE account = ?1")?;
                    statement.execute([account])?;
                    return Ok(());
                };
                let mut statement = connection.prepare_cached(
                    "INSERT INTO account_numbers (account, number)
                     SELECT name, ?2 FROM accounts WHERE name = ?1
                     ON CONFLICT (account) DO UPDATE SET number = excluded.number",
                )?;
                let set = statement.execute(params![account, number])?;
                found(set, &account)
            })
            .await
    }

    async fn number(&self, account: &str) -> Result<Option<String>, StoreError> {
        let account = account.to_owned();
        self.0
            .read(move |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT number FROM account_numbers WHERE account = ?1")?;
                first(statement.query([account])?, |row| Ok(row.get(0)?))
            })
            .await
    }
}

fn found(rows: usize, account: &str) -> Result<(), StoreError> {
    match rows {
        0 => Err(StoreError::NotFound(format!("account `{account}`"))),
        _ => Ok(()),
    }
}

fn key(row: &Row<'_>) -> Result<AccessKeyRow, StoreError> {
    Ok(AccessKeyRow {
        id: row.get(0)?,
        account: row.get(1)?,
        sealed: row.get(2)?,
        session_hash: row.get(3)?,
        scopes: get_json(row, 4)?,
        created_at: get_time(row, 5)?,
        expires_at: get_optional_time(row, 6)?,
    })
}
