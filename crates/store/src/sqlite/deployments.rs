//! Deployments in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use time::OffsetDateTime;

use crate::StoreError;
use crate::deployments::{DeploymentRow, DeploymentState, Deployments};
use crate::repositories::MAX_PAGE_ROWS;
use crate::sqlite::SqliteDeployments;
use crate::sqlite::columns::{collect, first, get_parsed, get_time, micros, signed};

const COLUMNS: &str = "id, environment, run, repository, digest, state, endpoint, reason, \
                       started_at, updated_at";

#[async_trait]
impl Deployments for SqliteDeployments {
    async fn begin(&self, deployment: &DeploymentRow) -> Result<(), StoreError> {
        let deployment = deployment.clone();
        self.0
            .write(move |connection| begin(connection, &deployment))
            .await
    }

    async fn switch(
        &self,
        id: &str,
        endpoint: &str,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let (id, endpoint, now) = (id.to_owned(), endpoint.to_owned(), micros(now));
        self.0
            .write(move |connection| switch(connection, &id, &endpoint, now))
            .await
    }

    async fn end(
        &self,
        id: &str,
        state: DeploymentState,
        reason: &str,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let (id, reason, now) = (id.to_owned(), reason.to_owned(), micros(now));
        self.0
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "UPDATE deployments SET state = ?2, reason = ?3, updated_at = ?4 WHERE id = ?1",
                )?;
                match statement.execute(params![id, state.as_str(), reason, now])? {
                    0 => Err(StoreError::NotFound(format!("deployment `{id}`"))),
                    _ => Ok(()),
                }
            })
            .await
    }

    async fn deployment(&self, id: &str) -> Result<Option<DeploymentRow>, StoreError> {
        let id = id.to_owned();
        self.0
            .read(move |connection| {
                let sql = format!("SELECT {COLUMNS} FROM deployments WHERE id = ?1");
                let mut statement = connection.prepare_cached(&sql)?;
                first(statement.query([id])?, deployment)
            })
            .await
    }

    async fn current(&self, environment: &str) -> Result<Option<DeploymentRow>, StoreError> {
        let environment = environment.to_owned();
        self.0
            .read(move |connection| {
                let sql = format!(
                    "SELECT {COLUMNS} FROM deployments
                     WHERE environment = ?1 AND state = 'current'"
                );
                let mut statement = connection.prepare_cached(&sql)?;
                first(statement.query([environment])?, deployment)
            })
            .await
    }

    async fn history(
        &self,
        environment: &str,
        limit: usize,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        let environment = environment.to_owned();
        let limit = signed(limit.min(MAX_PAGE_ROWS) as u64);
        self.0
            .read(move |connection| {
                let sql = format!(
                    "SELECT {COLUMNS} FROM deployments WHERE environment = ?1
                     ORDER BY number DESC LIMIT ?2"
                );
                let mut statement = connection.prepare_cached(&sql)?;
                collect(statement.query(params![environment, limit])?, deployment)
            })
            .await
    }

    async fn routes(&self) -> Result<Vec<DeploymentRow>, StoreError> {
        self.0
            .read(|connection| {
                let sql = format!(
                    "SELECT {COLUMNS} FROM deployments WHERE state = 'current'
                     ORDER BY environment"
                );
                let mut statement = connection.prepare_cached(&sql)?;
                collect(statement.query([])?, deployment)
            })
            .await
    }

    async fn remove(&self, environment: &str) -> Result<(), StoreError> {
        let environment = environment.to_owned();
        self.0
            .write(move |connection| {
                let mut statement =
                    connection.prepare_cached("DELETE FROM deployments WHERE environment = ?1")?;
                statement.execute([environment])?;
                Ok(())
            })
            .await
    }
}

fn begin(connection: &Connection, new: &DeploymentRow) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO deployments
         (id, number, environment, run, repository, digest, state, started_at, updated_at)
         VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM deployments),
                 ?2, ?3, ?4, ?5, 'starting', ?6, ?6)
         ON CONFLICT (id) DO UPDATE SET state = 'starting', endpoint = NULL, reason = NULL,
         updated_at = excluded.updated_at WHERE state != 'current'",
    )?;
    statement.execute(params![
        new.id,
        new.environment,
        new.run,
        new.repository.as_str(),
        new.digest.as_str(),
        micros(new.started_at),
    ])?;
    Ok(())
}

fn switch(connection: &Connection, id: &str, endpoint: &str, now: i64) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT environment FROM deployments WHERE id = ?1")?;
    let environment: Option<String> = statement.query_row([id], |row| row.get(0)).optional()?;
    let environment =
        environment.ok_or_else(|| StoreError::NotFound(format!("deployment `{id}`")))?;
    // There is one previous deployment: the one that a rollback goes to.
    let mut statement = connection.prepare_cached(
        "UPDATE deployments SET state = 'retired', reason = 'replaced', updated_at = ?3
         WHERE environment = ?1 AND state = 'previous' AND id != ?2
         AND EXISTS (SELECT 1 FROM deployments
                     WHERE environment = ?1 AND state = 'current' AND id != ?2)",
    )?;
    statement.execute(params![environment, id, now])?;
    let mut statement = connection.prepare_cached(
        "UPDATE deployments SET state = 'previous', updated_at = ?3
         WHERE environment = ?1 AND state = 'current' AND id != ?2",
    )?;
    statement.execute(params![environment, id, now])?;
    let mut statement = connection.prepare_cached(
        "UPDATE deployments SET state = 'current', endpoint = ?2, reason = NULL, updated_at = ?3
         WHERE id = ?1",
    )?;
    statement.execute(params![id, endpoint, now])?;
    Ok(())
}

fn deployment(row: &Row<'_>) -> Result<DeploymentRow, StoreError> {
    Ok(DeploymentRow {
        id: row.get(0)?,
        environment: row.get(1)?,
        run: row.get(2)?,
        repository: get_parsed(row, 3)?,
        digest: get_parsed(row, 4)?,
        state: DeploymentState::parse(&row.get::<_, String>(5)?)?,
        endpoint: row.get(6)?,
        reason: row.get(7)?,
        started_at: get_time(row, 8)?,
        updated_at: get_time(row, 9)?,
    })
}
