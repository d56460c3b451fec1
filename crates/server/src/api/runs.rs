//! Runs: starting, listing, showing, following, approving, rejecting, retrying.

use axum::body::Body as HttpBody;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use client::{ArtifactSource, TagOrDigest};
use http::{StatusCode, header};
use oci::Digest;
use pipeline::project::{Pipeline, Trigger, Work};
use pipeline::run::{Event, Input, RunState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::runs::{ActionRow, LogLine, MAX_LOG_PAGE_LINES, RunFilter, RunId, RunRow};
use time::OffsetDateTime;

use super::extract::Body;
use crate::auth::{Action, Caller};
use crate::control::approval::{self, Answer};
use crate::control::runs::{Start, apply, load, start};
use crate::control::{projects, work};
use crate::error::{ApiError, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// A request to start a run by hand.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartRun {
    /// The pipeline.
    pub pipeline: String,
    /// The project, where several have a pipeline of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The image, for pipelines that begin with one: a tag is resolved once, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The commit, for pipelines that begin with one; the branch's newest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Its name.
    pub id: String,
    /// The project.
    pub project: String,
    /// The pipeline.
    pub pipeline: String,
    /// Where it stands.
    pub status: String,
    /// Whether nothing happens any more by itself.
    pub finished: bool,
    /// What it was started with.
    pub input: Input,
    /// The action that is under way, waits, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// When it started.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// A run with everything that is known about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The same as in a list.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its actions, in their order.
    pub actions: Vec<RunAction>,
    /// What it produced so far: image, artifacts, verdicts, deployments.
    pub outputs: Value,
    /// The approval that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaiting: Option<Awaiting>,
}

/// An action of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunAction {
    /// The stage.
    pub stage: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: String,
    /// What it does, and details of its state: why it failed, who rejected, a decision.
    pub detail: Value,
    /// When its last attempt began.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub started_at: Option<OffsetDateTime>,
    /// When its last attempt ended.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub finished_at: Option<OffsetDateTime>,
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Awaiting {
    /// The action.
    pub action: String,
    /// Who may approve.
    pub by: Vec<String>,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// The evidence that would be approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_root: Option<Digest>,
    /// The decision that would be approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Value>,
    /// The same as a tree, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
}

/// What a person says about a run that waits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunAnswer {
    /// Why.
    #[serde(default)]
    pub comment: String,
    /// The evidence that the person saw: if there is other evidence now, the answer is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_root: Option<Digest>,
}

/// Which runs to list.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RunQuery {
    /// Only of this project.
    pub project: Option<String>,
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only those that are not finished.
    pub unfinished: bool,
    /// At most so many.
    pub limit: usize,
}

/// Which lines of a log to read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogQuery {
    /// Whether to wait for further lines until the run is finished.
    pub follow: bool,
    /// Only lines after this number.
    pub after: u64,
}

/// Returns the routes of this subject.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/api/v1/runs", get(list).post(create))
        .route("/api/v1/runs/{id}", get(show))
        .route("/api/v1/runs/{id}/logs", get(logs))
        .route("/api/v1/runs/{id}/approve", post(approve))
        .route("/api/v1/runs/{id}/reject", post(reject))
        .route("/api/v1/runs/{id}/retry", post(retry))
}

async fn create(
    State(front): State<Front>,
    caller: Caller,
    Body(new): Body<StartRun>,
) -> Result<(StatusCode, Json<Run>), ApiError> {
    caller.require_account()?;
    let project = new.project.as_deref();
    let (stored, pipeline) = projects::find_pipeline(&front, project, &new.pipeline).await?;
    require_operator(&caller, &pipeline)?;
    let input = input(&front, &caller, (&pipeline, &new)).await?;
    let request = Start {
        project: &stored.project.name,
        pipeline: &pipeline,
        input,
        trigger_key: None,
        why: format!("started by account `{}`", caller.account),
    };
    let (id, _) = start(&front, request).await?;
    Ok((StatusCode::CREATED, Json(shown(&front, &id).await?)))
}

/// Whoever can make the pipeline run otherwise may also start it by hand: those who may push to
/// its git repository, and those who may approve it.
fn require_operator(caller: &Caller, pipeline: &Pipeline) -> Result<(), ApiError> {
    if caller.is_admin() || caller.may(Action::Approve, pipeline.name.as_str()) {
        return Ok(());
    }
    match &pipeline.trigger {
        Some(Trigger::Push(push)) => caller.require(Action::GitPush, push.repository.as_str()),
        _ => caller.require(Action::Approve, pipeline.name.as_str()),
    }
}

async fn input(
    front: &Front,
    caller: &Caller,
    (pipeline, new): (&Pipeline, &StartRun),
) -> Result<Input, ApiError> {
    let Some(reference) = &new.reference else {
        return commit_input(front, pipeline, new).await;
    };
    if new.commit.is_some() || matches!(pipeline.trigger, Some(Trigger::Push(_))) {
        let text = format!(
            "pipeline `{}` begins with a commit, not an image",
            pipeline.name
        );
        return Err(ApiError::usage(text));
    }
    let (repository, name) = super::gate::parse(front, reference)?;
    caller.require_pull(&repository)?;
    let source = StoreSource::new(front, &repository, &caller.account);
    let image = source.resolve(&name).await;
    let image = image.map_err(|error| ApiError::not_found(chain(&error)))?;
    Ok(Input::Image {
        repository,
        digest: image.digest,
        tag: match name {
            TagOrDigest::Tag(tag) => Some(tag),
            TagOrDigest::Digest(_) => None,
        },
    })
}

async fn commit_input(
    front: &Front,
    pipeline: &Pipeline,
    new: &StartRun,
) -> Result<Input, ApiError> {
    let Some(Trigger::Push(push)) = &pipeline.trigger else {
        let text = format!(
            "pipeline `{}` begins with an image: name one",
            pipeline.name
        );
        return Err(ApiError::usage(text));
    };
    let commit = match &new.commit {
        Some(commit) if is_commit(commit) => commit.clone(),
        Some(commit) => {
            let text = format!("`{commit}` is not a commit: expected 40 hexadecimal digits");
            return Err(ApiError::usage(text));
        }
        None => {
            let head = crate::git::head(front, &push.repository, &push.branch).await;
            let branch = &push.branch;
            head.ok_or_else(|| ApiError::not_found(format!("there is no branch `{branch}`")))?
        }
    };
    Ok(Input::Commit {
        repository: push.repository.clone(),
        branch: push.branch.clone(),
        commit,
    })
}

fn is_commit(text: &str) -> bool {
    let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    matches!(text.len(), 40 | 64) && text.bytes().all(hexadecimal)
}

async fn list(
    State(front): State<Front>,
    caller: Caller,
    Query(query): Query<RunQuery>,
) -> Result<Json<Vec<RunSummary>>, ApiError> {
    let filter = RunFilter {
        project: query.project,
        pipeline: query.pipeline,
        unfinished: query.unfinished,
        limit: query.limit,
    };
    let mut shown = Vec::new();
    for row in front.store.runs.list(&filter).await? {
        let state = state(&row)?;
        if may_see(&caller, &row, &state) {
            shown.push(summary(&row, &state));
        }
    }
    Ok(Json(shown))
}

async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Run>, ApiError> {
    let id = visible(&front, &caller, &id).await?;
    Ok(Json(shown(&front, &id).await?))
}

async fn approve(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
    Body(answer): Body<RunAnswer>,
) -> Result<Json<Run>, ApiError> {
    let id = visible(&front, &caller, &id).await?;
    approval::approve(&front, &caller, &id, answer.into()).await?;
    Ok(Json(shown(&front, &id).await?))
}

async fn reject(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
    Body(answer): Body<RunAnswer>,
) -> Result<Json<Run>, ApiError> {
    let id = visible(&front, &caller, &id).await?;
    approval::reject(&front, &caller, &id, answer.into()).await?;
    Ok(Json(shown(&front, &id).await?))
}

impl From<RunAnswer> for Answer {
    fn from(answer: RunAnswer) -> Self {
        Self {
            comment: answer.comment,
            graph_root: answer.graph_root,
        }
    }
}

async fn retry(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Run>, ApiError> {
    caller.require_account()?;
    let id = visible(&front, &caller, &id).await?;
    let row = load(&front, &id).await?.row;
    let project = Some(row.project.as_str());
    let (_, pipeline) = projects::find_pipeline(&front, project, &row.pipeline).await?;
    require_operator(&caller, &pipeline)?;
    apply(&front, &id, Event::Retried.into()).await?;
    Ok(Json(shown(&front, &id).await?))
}

async fn logs(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, ApiError> {
    let id = visible(&front, &caller, &id).await?;
    let reader = LogReader {
        changes: front.control.changes(),
        front,
        id,
        after: query.after,
        follow: query.follow,
    };
    let lines = futures_util::stream::try_unfold(reader, LogReader::next);
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, HttpBody::from_stream(lines)).into_response())
}

/// Reads a log page by page, and waits for further lines where that is wanted.
struct LogReader {
    front: Front,
    id: RunId,
    changes: tokio::sync::watch::Receiver<u64>,
    after: u64,
    follow: bool,
}

impl LogReader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, std::io::Error> {
        loop {
            self.changes.mark_unchanged();
            // Whether it is finished is read first: its last line is written before that.
            let row = self.front.store.runs.run(&self.id).await;
            let finished = row
                .map_err(std::io::Error::other)?
                .is_none_or(|row| row.finished);
            let runs = &self.front.store.runs;
            let lines = runs.log(&self.id, self.after, MAX_LOG_PAGE_LINES).await;
            let lines = lines.map_err(std::io::Error::other)?;
            if let Some(last) = lines.last() {
                self.after = last.seq;
                return Ok(Some((written(&lines)?, self)));
            }
            if finished || !self.follow {
                return Ok(None);
            }
            // Closed when the front stops: then the stream ends too.
            if self.changes.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

fn written(lines: &[LogLine]) -> Result<Bytes, std::io::Error> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    Ok(text.into())
}

/// Returns the run's name if the caller may see it; a run that may not be seen does not exist.
async fn visible(front: &Front, caller: &Caller, id: &str) -> Result<RunId, ApiError> {
    let missing = || ApiError::not_found(format!("there is no run `{id}`"));
    let parsed: RunId = id.parse().map_err(|_| missing())?;
    let row = front.store.runs.run(&parsed).await?.ok_or_else(missing)?;
    match may_see(caller, &row, &state(&row)?) {
        true => Ok(parsed),
        false => Err(missing()),
    }
}

/// A run is seen by administrators, by those who may approve its pipeline, by those who may read
/// its source, and by those who may pull its image.
fn may_see(caller: &Caller, row: &RunRow, state: &RunState) -> bool {
    if caller.worker {
        return false;
    }
    let own = caller.run.as_ref();
    let of_source = match state.input() {
        Input::Commit { repository, .. } => caller.may(Action::GitPull, repository.as_str()),
        Input::Image { .. } => false,
    };
    let of_image = work::run_image(state)
        .is_some_and(|image| caller.may(Action::Pull, image.repository.as_str()));
    caller.is_admin()
        || own.is_some_and(|scope| scope.run == row.id.as_str())
        || caller.may(Action::Approve, &row.pipeline)
        || of_source
        || of_image
}

fn state(row: &RunRow) -> Result<RunState, ApiError> {
    serde_json::from_value(row.document.clone())
        .map_err(|error| ApiError::internal(format!("run `{}`: {error}", row.id)))
}

fn summary(row: &RunRow, state: &RunState) -> RunSummary {
    let at = state.current().or_else(|| state.failed());
    RunSummary {
        id: row.id.to_string(),
        project: row.project.clone(),
        pipeline: row.pipeline.clone(),
        status: row.state.clone(),
        finished: row.finished,
        input: state.input().clone(),
        at: at.map(|action| action.action.name.to_string()),
        started_at: row.started_at,
        updated_at: row.updated_at,
    }
}

async fn shown(front: &Front, id: &RunId) -> Result<Run, ApiError> {
    let loaded = load(front, id).await?;
    let rows = front.store.runs.actions(id).await?;
    Ok(Run {
        summary: summary(&loaded.row, &loaded.state),
        awaiting: awaiting(&loaded.state, &rows),
        outputs: serde_json::to_value(loaded.state.outputs()).map_err(ApiError::internal)?,
        actions: rows.into_iter().map(action).collect(),
    })
}

fn awaiting(state: &RunState, rows: &[ActionRow]) -> Option<Awaiting> {
    let (action, until) = state.awaited_approval()?;
    let Work::Approval(approval) = &state.action(action)?.action.work else {
        return None;
    };
    let verdict = state.verdict_before(action);
    let gate = verdict.and_then(|verdict| {
        let name = verdict.action.as_str();
        rows.iter().find(|row| row.name == name)
    });
    Some(Awaiting {
        action: action.to_string(),
        by: approval.by.iter().map(ToString::to_string).collect(),
        until,
        graph_root: verdict.map(|verdict| verdict.graph_root.clone()),
        decision: gate.and_then(|row| row.document.pointer("/note/decision").cloned()),
        tree: gate
            .and_then(|row| row.document.pointer("/note/tree")?.as_str())
            .map(str::to_owned),
    })
}

fn action(row: ActionRow) -> RunAction {
    RunAction {
        stage: row.stage,
        name: row.name,
        status: row.state,
        detail: row.document,
        started_at: row.started_at,
        finished_at: row.finished_at,
    }
}
