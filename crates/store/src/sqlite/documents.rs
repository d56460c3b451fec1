//! Documents in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use time::OffsetDateTime;

use crate::StoreError;
use crate::documents::{DocumentKey, DocumentRow, Documents, MAX_DOCUMENT_BYTES};
use crate::sqlite::SqliteDocuments;
use crate::sqlite::columns::{collect, first, get_time, get_unsigned, micros, signed};

#[async_trait]
impl Documents for SqliteDocuments {
    async fn get(&self, key: &DocumentKey) -> Result<Option<DocumentRow>, StoreError> {
        let key = key.clone();
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT kind, name, version, bytes, updated_at FROM documents
                     WHERE kind = ?1 AND name = ?2",
                )?;
                first(statement.query(params![key.kind, key.name])?, document)
            })
            .await
    }

    async fn list(&self, kind: &str, prefix: &str) -> Result<Vec<DocumentRow>, StoreError> {
        let (kind, prefix) = (kind.to_owned(), prefix.to_owned());
        self.0
            .read(move |connection| {
                // Not LIKE: a name may hold `%` and `_`.
                let mut statement = connection.prepare_cached(
                    "SELECT kind, name, version, bytes, updated_at FROM documents
                     WHERE kind = ?1 AND substr(name, 1, length(?2)) = ?2 ORDER BY name",
                )?;
                collect(statement.query(params![kind, prefix])?, document)
            })
            .await
    }

    async fn put(
        &self,
        key: &DocumentKey,
        bytes: &[u8],
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        let change = Change::new(key, bytes, now)?;
        self.0
            .write(move |connection| {
                let version = version(connection, &change.key)?;
                change.write(connection, version + 1)
            })
            .await
    }

    async fn put_if_version(
        &self,
        key: &DocumentKey,
        expected: u64,
        bytes: &[u8],
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        let change = Change::new(key, bytes, now)?;
        self.0
            .write(move |connection| {
                if version(connection, &change.key)? != signed(expected) {
                    let DocumentKey { kind, name } = change.key;
                    return Err(StoreError::Conflict(format!("{kind} `{name}`")));
                }
                change.write(connection, signed(expected) + 1)
            })
            .await
    }

    async fn delete(&self, key: &DocumentKey) -> Result<bool, StoreError> {
        let key = key.clone();
        self.0
            .write(move |connection| {
                let mut statement = connection
                    .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND name = ?2")?;
                Ok(statement.execute(params![key.kind, key.name])? > 0)
            })
            .await
    }
}

struct Change {
    key: DocumentKey,
    bytes: Vec<u8>,
    at: i64,
}

impl Change {
    fn new(key: &DocumentKey, bytes: &[u8], now: OffsetDateTime) -> Result<Self, StoreError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(StoreError::TooLarge {
                what: "document (bytes)",
                limit: MAX_DOCUMENT_BYTES as u64,
            });
        }
        Ok(Self {
            key: key.clone(),
            bytes: bytes.to_vec(),
            at: micros(now),
        })
    }

    fn write(&self, connection: &Connection, version: i64) -> Result<u64, StoreError> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO documents (kind, name, version, bytes, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (kind, name) DO UPDATE
             SET version = excluded.version, bytes = excluded.bytes,
             updated_at = excluded.updated_at",
        )?;
        let DocumentKey { kind, name } = &self.key;
        statement.execute(params![kind, name, version, self.bytes, self.at])?;
        u64::try_from(version).map_err(|error| StoreError::corrupt("version", error))
    }
}

/// Returns the version of a document; 0 when there is none.
fn version(connection: &Connection, key: &DocumentKey) -> Result<i64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT version FROM documents WHERE kind = ?1 AND name = ?2")?;
    let version = statement.query_row(params![key.kind, key.name], |row| row.get(0));
    Ok(version.optional()?.unwrap_or(0))
}

fn document(row: &Row<'_>) -> Result<DocumentRow, StoreError> {
    Ok(DocumentRow {
        key: DocumentKey::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?),
        version: get_unsigned(row, 2)?,
        bytes: row.get(3)?,
        updated_at: get_time(row, 4)?,
    })
}
