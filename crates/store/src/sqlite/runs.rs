//! Runs in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::StoreError;
use crate::documents::MAX_DOCUMENT_BYTES;
use crate::repositories::MAX_PAGE_ROWS;
use crate::runs::{
    ActionRow, LogLine, MAX_LOG_LINE_BYTES, MAX_LOG_PAGE_LINES, NewRun, RunFilter, RunId, RunRow,
    Runs, Started, Transition,
};
use crate::sqlite::SqliteRuns;
use crate::sqlite::columns::{
    collect, first, get_json, get_optional_time, get_parsed, get_time, get_unsigned, json, micros,
    signed,
};
use crate::sqlite::queue;

const COLUMNS: &str =
    "id, project, pipeline, state, finished, document, version, started_at, updated_at";
/// What a line that was cut ends with.
const CUT: &str = " … (cut)";

#[async_trait]
impl Runs for SqliteRuns {
    async fn start(&self, run: &NewRun, actions: &[ActionRow]) -> Result<Started, StoreError> {
        let (run, actions) = (run.clone(), actions.to_vec());
        self.0
            .write(move |connection| start(connection, &run, &actions))
            .await
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        let id = id.clone();
        self.0
            .read(move |connection| {
                let sql = format!("SELECT {COLUMNS} FROM runs WHERE id = ?1");
                let mut statement = connection.prepare_cached(&sql)?;
                first(statement.query([id.as_str()])?, run)
            })
            .await
    }

    async fn list(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let filter = filter.clone();
        self.0
            .read(move |connection| list(connection, &filter))
            .await
    }

    async fn actions(&self, id: &RunId) -> Result<Vec<ActionRow>, StoreError> {
        let id = id.clone();
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT stage, name, position, state, document, started_at, finished_at
                     FROM actions WHERE run = ?1 ORDER BY position",
                )?;
                collect(statement.query([id.as_str()])?, action)
            })
            .await
    }

    async fn apply(&self, transition: &Transition) -> Result<u64, StoreError> {
        let transition = transition.clone();
        self.0
            .write(move |connection| apply(connection, &transition))
            .await
    }

    async fn append_log(&self, id: &RunId, lines: &[LogLine]) -> Result<u64, StoreError> {
        let (id, lines) = (id.clone(), lines.to_vec());
        self.0
            .write(move |connection| append_log(connection, &id, &lines))
            .await
    }

    async fn log(&self, id: &RunId, after: u64, limit: usize) -> Result<Vec<LogLine>, StoreError> {
        let id = id.clone();
        let limit = signed(limit.min(MAX_LOG_PAGE_LINES) as u64);
        self.0
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT seq, action, at, text FROM log_lines
                     WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                )?;
                collect(
                    statement.query(params![id.as_str(), signed(after), limit])?,
                    log_line,
                )
            })
            .await
    }
}

fn start(
    connection: &Connection,
    run: &NewRun,
    actions: &[ActionRow],
) -> Result<Started, StoreError> {
    if let Some(key) = &run.trigger_key {
        let mut statement =
            connection.prepare_cached("SELECT id FROM runs WHERE trigger_key = ?1")?;
        if let Some(id) = first(statement.query([key])?, |row| get_parsed(row, 0))? {
            return Ok(Started::Already(id));
        }
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO runs (id, number, project, pipeline, trigger_key, state, document, version,
         started_at, updated_at)
         VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM runs), ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)",
    )?;
    statement.execute(params![
        run.id.as_str(),
        run.project,
        run.pipeline,
        run.trigger_key,
        run.state,
        json(&run.document, MAX_DOCUMENT_BYTES)?,
        micros(run.at),
    ])?;
    for action in actions {
        put_action(connection, &run.id, action)?;
    }
    Ok(Started::New)
}

fn apply(connection: &Connection, transition: &Transition) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(
        "UPDATE runs SET state = ?3, finished = ?4, document = ?5, version = version + 1,
         updated_at = ?6 WHERE id = ?1 AND version = ?2",
    )?;
    let changed = statement.execute(params![
        transition.run.as_str(),
        signed(transition.expected_version),
        transition.state,
        transition.finished,
        json(&transition.document, MAX_DOCUMENT_BYTES)?,
        micros(transition.at),
    ])?;
    if changed == 0 {
        return Err(StoreError::Conflict(format!("run `{}`", transition.run)));
    }
    if let Some(lease) = &transition.completes {
        queue::complete(connection, lease)?;
    }
    for action in &transition.actions {
        put_action(connection, &transition.run, action)?;
    }
    for key in &transition.forget {
        queue::forget_key(connection, key)?;
    }
    for job in &transition.enqueue {
        queue::enqueue(connection, job)?;
    }
    Ok(transition.expected_version + 1)
}

fn put_action(connection: &Connection, run: &RunId, action: &ActionRow) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO actions (run, name, stage, position, state, document, started_at, finished_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (run, stage, name) DO UPDATE
         SET position = excluded.position, state = excluded.state, document = excluded.document,
         started_at = excluded.started_at, finished_at = excluded.finished_at",
    )?;
    statement.execute(params![
        run.as_str(),
        action.name,
        action.stage,
        action.position,
        action.state,
        json(&action.document, MAX_DOCUMENT_BYTES)?,
        action.started_at.map(micros),
        action.finished_at.map(micros),
    ])?;
    Ok(())
}

fn list(connection: &Connection, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM runs
         WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR pipeline = ?2)
         AND (?3 = 0 OR finished = 0) ORDER BY number DESC LIMIT ?4"
    );
    let limit = match filter.limit {
        0 => MAX_PAGE_ROWS,
        wanted => wanted.min(MAX_PAGE_ROWS),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query(params![
        filter.project,
        filter.pipeline,
        filter.unfinished,
        signed(limit as u64),
    ])?;
    collect(rows, run)
}

fn append_log(connection: &Connection, id: &RunId, lines: &[LogLine]) -> Result<u64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM log_lines WHERE run = ?1")?;
    let last: Option<i64> = statement
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    let mut seq = last.unwrap_or(0);
    let mut statement = connection.prepare_cached(
        "INSERT INTO log_lines (run, seq, action, at, text) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for line in lines {
        seq += 1;
        let text = cut(&line.text);
        statement.execute(params![
            id.as_str(),
            seq,
            line.action,
            micros(line.at),
            text
        ])?;
    }
    u64::try_from(seq).map_err(|error| StoreError::corrupt("log line", error))
}

fn cut(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= MAX_LOG_LINE_BYTES {
        return text.into();
    }
    let end = text.floor_char_boundary(MAX_LOG_LINE_BYTES);
    format!("{}{CUT}", &text[..end]).into()
}

fn run(row: &Row<'_>) -> Result<RunRow, StoreError> {
    Ok(RunRow {
        id: get_parsed(row, 0)?,
        project: row.get(1)?,
        pipeline: row.get(2)?,
        state: row.get(3)?,
        finished: row.get(4)?,
        document: get_json(row, 5)?,
        version: get_unsigned(row, 6)?,
        started_at: get_time(row, 7)?,
        updated_at: get_time(row, 8)?,
    })
}

fn action(row: &Row<'_>) -> Result<ActionRow, StoreError> {
    Ok(ActionRow {
        stage: row.get(0)?,
        name: row.get(1)?,
        position: row.get(2)?,
        state: row.get(3)?,
        document: get_json(row, 4)?,
        started_at: get_optional_time(row, 5)?,
        finished_at: get_optional_time(row, 6)?,
    })
}

fn log_line(row: &Row<'_>) -> Result<LogLine, StoreError> {
    Ok(LogLine {
        seq: get_unsigned(row, 0)?,
        action: row.get(1)?,
        at: get_time(row, 2)?,
        text: row.get(3)?,
    })
}
