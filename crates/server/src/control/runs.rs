//! Starting runs, and applying one step to a run.

use std::collections::BTreeMap;

use pipeline::project::{Name, Pipeline};
use pipeline::run::{ActionState, Effect, Event, Input, RunState, Status, step};
use serde_json::{Value, json};
use store::StoreError;
use store::queue::{Lease, NewJob};
use store::runs::{ActionRow, NewRun, RunId, RunRow, Started, Transition};
use time::format_description::well_known::Rfc3339;

use super::work::JobPayload;
use super::{ControlError, log};
use crate::clock;
use crate::state::Front;

/// How often a step is computed anew when somebody else was faster. Steps of one run take turns
/// in this process, so even one conflict is rare.
const MAX_TRIES: usize = 5;
/// The kind of the queue jobs that are actions of runs.
pub(crate) const ACTION_JOB: &str = "action";
/// The kind of the queue jobs that take containers away.
pub(crate) const RETIRE_JOB: &str = "retire";

/// A run that is to be started.
pub(crate) struct Start<'a> {
    pub(crate) project: &'a Name,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) input: Input,
    /// What the same event twice has in common; none when a person asks.
    pub(crate) trigger_key: Option<String>,
    /// Why it is started, for its log.
    pub(crate) why: String,
}

/// A step that is to be applied.
pub(crate) struct Step {
    pub(crate) event: Event,
    /// The lease that it completes.
    pub(crate) completes: Option<Lease>,
    /// What is shown of an action besides its state, such as a decision.
    pub(crate) notes: BTreeMap<Name, Value>,
}

impl From<Event> for Step {
    fn from(event: Event) -> Self {
        Self {
            event,
            completes: None,
            notes: BTreeMap::new(),
        }
    }
}

/// A run as it was read.
pub(crate) struct Loaded {
    pub(crate) row: RunRow,
    pub(crate) state: RunState,
}

/// Starts a run, unless the same event has started one before.
pub(crate) async fn start(front: &Front, new: Start<'_>) -> Result<(RunId, bool), ControlError> {
    let state = RunState::new(new.pipeline, new.input);
    let id = RunId::random();
    let run = NewRun {
        id: id.clone(),
        project: new.project.to_string(),
        pipeline: new.pipeline.name.to_string(),
        trigger_key: new.trigger_key,
        state: state.status().as_str().to_owned(),
        document: document(&id, &state)?,
        at: clock::now(),
    };
    let rows = rows(&state, None, &BTreeMap::new(), &[]);
    if let Started::Already(id) = front.store.runs.start(&run, &rows).await? {
        return Ok((id, false));
    }
    log::write(front, &id, "", &new.why).await;
    // A crash before this step leaves a pending run, which the loop begins with.
    apply(front, &id, Event::Started.into()).await?;
    Ok((id, true))
}

/// Reads a run.
pub(crate) async fn load(front: &Front, id: &RunId) -> Result<Loaded, ControlError> {
    let row = front.store.runs.run(id).await?;
    let row = row.ok_or_else(|| ControlError::NoRun(id.clone()))?;
    let state = serde_json::from_value(row.document.clone());
    let state = state.map_err(|source| ControlError::Unreadable {
        run: id.clone(),
        source,
    })?;
    Ok(Loaded { row, state })
}

/// Applies an event to a run, as a whole or not at all, and wakes whoever must go on.
pub(crate) async fn apply(
    front: &Front,
    id: &RunId,
    requested: Step,
) -> Result<RunState, ControlError> {
    let turn = front.control.lock(id).await;
    let mut tries = 0;
    let (state, effects) = loop {
        tries += 1;
        match try_apply(front, id, &requested).await {
            Err(ControlError::Store(StoreError::Conflict(_)))
                if tries < MAX_TRIES && requested.completes.is_none() => {}
            other => break other?,
        }
    };
    drop(turn);
    tell(front, id, &state, &effects).await;
    Ok(state)
}

async fn try_apply(
    front: &Front,
    id: &RunId,
    requested: &Step,
) -> Result<(RunState, Vec<Effect>), ControlError> {
    let loaded = load(front, id).await?;
    let now = clock::now();
    let (state, effects) = step(&loaded.state, requested.event.clone(), now)?;
    let kept = front.store.runs.actions(id).await?;
    let status = state.status();
    let transition = Transition {
        run: id.clone(),
        expected_version: loaded.row.version,
        state: status.as_str().to_owned(),
        finished: status.is_finished(),
        document: document(id, &state)?,
        actions: rows(&state, Some(&loaded.state), &requested.notes, &kept),
        enqueue: jobs(&loaded.row, &effects),
        completes: requested.completes.clone(),
        forget: cancelled(id, &effects),
        at: now,
    };
    front.store.runs.apply(&transition).await?;
    Ok((state, effects))
}

async fn tell(front: &Front, id: &RunId, state: &RunState, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::AskForApproval { action, until } => {
                let until = until.format(&Rfc3339).unwrap_or_default();
                let text = format!("waiting for an approval until {until}");
                log::write(front, id, action.as_str(), &text).await;
            }
            Effect::Finish(status) => {
                log::write(front, id, "", &last_words(state, *status)).await;
            }
            _ => {}
        }
    }
    front.control.changed();
    front.control.wake();
}

fn last_words(state: &RunState, status: Status) -> String {
    let failure = state.failed().map(|failed| &failed.status);
    match failure {
        Some(pipeline::run::ActionStatus::Failed { failure }) => {
            format!(
                "run {}: {}: {}",
                status.as_str(),
                failure.code,
                failure.message
            )
        }
        _ => format!("run {}", status.as_str()),
    }
}

fn document(id: &RunId, state: &RunState) -> Result<Value, ControlError> {
    serde_json::to_value(state).map_err(|source| ControlError::Unreadable {
        run: id.clone(),
        source,
    })
}

/// Returns the key that the job of an attempt is known by.
fn job_key(run: &RunId, action: &Name, attempt: u32) -> String {
    format!("{run}/{action}/{attempt}")
}

fn jobs(row: &RunRow, effects: &[Effect]) -> Vec<NewJob> {
    let job = |effect: &Effect| {
        let Effect::Enqueue { action, attempt } = effect else {
            return None;
        };
        let payload = JobPayload::Action {
            run: row.id.clone(),
            action: action.clone(),
            attempt: *attempt,
        };
        let job = NewJob::new(ACTION_JOB, payload.to_json(), clock::now());
        Some(job.once(job_key(&row.id, action, *attempt)))
    };
    effects.iter().filter_map(job).collect()
}

fn cancelled(run: &RunId, effects: &[Effect]) -> Vec<String> {
    let key = |effect: &Effect| match effect {
        Effect::Cancel { action, attempt } => Some(job_key(run, action, *attempt)),
        _ => None,
    };
    effects.iter().filter_map(key).collect()
}

/// Returns the rows of the actions that differ from `before`, or that have a new note.
fn rows(
    state: &RunState,
    before: Option<&RunState>,
    notes: &BTreeMap<Name, Value>,
    kept: &[ActionRow],
) -> Vec<ActionRow> {
    let mut rows = Vec::new();
    let mut position = 0;
    for stage in state.stages() {
        for action in &stage.actions {
            let name = &action.action.name;
            let same = before.and_then(|before| before.action(name)) == Some(action);
            if !same || notes.contains_key(name) {
                let old = kept.iter().find(|row| row.name == name.as_str());
                let note = notes
                    .get(name)
                    .or_else(|| old.and_then(|row| row.document.get("note")));
                rows.push(row(stage.name.as_str(), action, position, note));
            }
            position += 1;
        }
    }
    rows
}

fn row(stage: &str, action: &ActionState, position: u32, note: Option<&Value>) -> ActionRow {
    ActionRow {
        stage: stage.to_owned(),
        name: action.action.name.to_string(),
        position,
        state: action.status.kind().as_str().to_owned(),
        document: json!({
            "kind": action.action.work.kind(),
            "attempt": action.attempt,
            "status": action.status,
            "note": note,
        }),
        started_at: action.started,
        finished_at: action.finished,
    }
}

#[cfg(test)]
mod tests {
    use pipeline::project::Project;

    use super::*;

    const PROJECT: &str = "
apiVersion: countersign.dev/v1
kind: Project
name: shop
gitRepositories: [{name: shop}]
pipelines:
  - name: development
    trigger: {push: {repository: shop, branch: main}}
    stages:
      - name: build
        actions:
          - {name: image, image: {repository: apps/shop}}
          - {name: licence, attach: {type: licence/example, files: [\"LICENSE:text/plain\"]}}
";

    fn state() -> RunState {
        let project = Project::parse(PROJECT).unwrap();
        let input = Input::Commit {
            repository: "shop".parse().unwrap(),
            branch: "main".to_owned(),
            commit: "a".repeat(40),
        };
        RunState::new(&project.pipelines[0], input)
    }

    #[test]
    fn only_what_changed_is_written_and_notes_stay() {
        let before = state();
        let all = rows(&before, None, &BTreeMap::new(), &[]);
        let names: Vec<_> = all
            .iter()
            .map(|row| (row.name.as_str(), row.position))
            .collect();
        assert_eq!(names, [("image", 0), ("licence", 1)]);
        let now = clock::now();
        let (after, _) = step(&before, Event::Started, now).unwrap();
        let mut kept = all;
        kept[0].document = json!({"note": {"decision": "allow"}});
        let changed = rows(&after, Some(&before), &BTreeMap::new(), &kept);
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].state, "running");
        assert_eq!(changed[0].document["note"]["decision"], "allow");
        let name: Name = "licence".parse().unwrap();
        let noted = BTreeMap::from([(name, json!("seen"))]);
        let changed = rows(&after, Some(&after), &noted, &kept);
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].document["note"], "seen");
    }
}
