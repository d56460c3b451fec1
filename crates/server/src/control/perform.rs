//! The actions that need no outside process: the front does them itself.
//!
//! An action that was interrupted is done again from its beginning. That is harmless: a gate only
//! looks, and a second signature says the same as the first.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{ArtifactSource, TagOrDigest};
use oci::{Descriptor, Digest, MediaType};
use pipeline::project::{Gate, Name, Sign, SignWhat, Work};
use pipeline::run::{ActionOutputs, Event, Failure, ProducedVerdict, RunState};
use serde_json::{Value, json};
use signer::Principal;
use store::documents::DocumentKey;
use store::runs::{RunId, RunRow};

use super::handle::UnderWay;
use super::judge::{Question, Verdict, judge};
use super::runs::{Loaded, Step, apply, load};
use super::sign::{NewStatement, SignError, Signatory};
use super::{ControlError, events, log, work};
use crate::api::signing::pipeline_principal;
use crate::error::chain;
use crate::source::StoreSource;
use crate::state::Front;

/// How often an action is tried while the signer does not answer: it may be starting again.
const MAX_TRIES: u32 = 6;
/// The pause between two tries. The supervisor restarts a role within a second or two.
const TRY_PAUSE: Duration = Duration::from_secs(2);
/// The account in whose name the front writes what runs make.
pub(crate) const RUN_ACCOUNT: &str = "@run";
/// The kind of the documents that hold provenance statements until they are signed.
pub(crate) const PROVENANCE: &str = "provenance";

/// How an action of the front ended.
enum Ended {
    Done(ActionOutputs, Option<Value>),
    Failed(Failure, Option<Value>),
    /// Trying again may help.
    NotNow(String),
}

/// Does an action of the front, unless somebody does it already, and reports how it ended.
pub(super) async fn perform(front: Front, run: RunId, action: Name, attempt: u32) {
    let Some(_mark) = UnderWay::begin(&front, &run, &action, attempt) else {
        return;
    };
    match until_ended(&front, &run, &action).await {
        Ok(Some((event, note))) => {
            let step = Step {
                event: event(action.clone(), attempt),
                completes: None,
                notes: note
                    .map(|note| (action.clone(), note))
                    .into_iter()
                    .collect(),
            };
            if let Err(error) = apply(&front, &run, step).await {
                tracing::warn!(%run, %action, error = chain(&error), "an action's end was refused");
            }
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(%run, %action, error = chain(&error), "an action could not be done");
        }
    }
}

type MakeEvent = Box<dyn FnOnce(Name, u32) -> Event + Send>;

async fn until_ended(
    front: &Front,
    run: &RunId,
    action: &Name,
) -> Result<Option<(MakeEvent, Option<Value>)>, ControlError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let loaded = load(front, run).await?;
        let Some(state) = loaded.state.action(action) else {
            return Ok(None);
        };
        let ended = match &state.action.work {
            Work::Sign(wanted) => sign(front, &loaded, action, wanted).await,
            Work::Gate(wanted) => gate(front, &loaded, action, wanted).await,
            _ => return Ok(None),
        };
        match ended {
            Ended::Done(outputs, note) => return Ok(Some((completed(outputs), note))),
            Ended::Failed(failure, note) => return Ok(Some((failed(failure), note))),
            Ended::NotNow(message) if tries >= MAX_TRIES => {
                let code = "signer-unavailable".to_owned();
                return Ok(Some((failed(Failure { code, message }), None)));
            }
            Ended::NotNow(message) => {
                log::write(
                    front,
                    run,
                    action.as_str(),
                    &format!("{message}; trying again"),
                )
                .await;
                tokio::time::sleep(TRY_PAUSE).await;
            }
        }
    }
}

fn completed(outputs: ActionOutputs) -> MakeEvent {
    Box::new(move |action, attempt| Event::Completed {
        action,
        attempt,
        outputs,
    })
}

fn failed(failure: Failure) -> MakeEvent {
    Box::new(move |action, attempt| Event::Failed {
        action,
        attempt,
        failure,
    })
}

async fn sign(front: &Front, loaded: &Loaded, action: &Name, wanted: &Sign) -> Ended {
    let Some(image) = work::run_image(&loaded.state) else {
        return Ended::Failed(failure("no-image", "the run has no image to sign"), None);
    };
    let source = StoreSource::new(front, &image.repository, RUN_ACCOUNT);
    let signatory = Signatory {
        front,
        source: &source,
        principal: pipeline_principal(&loaded.row, RUN_ACCOUNT),
        profile: &wanted.profile,
    };
    let mut outputs = ActionOutputs::default();
    for what in &wanted.what {
        match sign_one(&signatory, loaded, what, &image.digest).await {
            Ok(lines) => {
                for (line, made) in lines {
                    log::write(front, &loaded.row.id, action.as_str(), &line).await;
                    outputs.artifacts.extend(made);
                }
            }
            Err(SignOneError::Nothing(text)) => {
                return Ended::Failed(failure("nothing-to-sign", &text), None);
            }
            Err(SignOneError::Sign(error)) => return refused(&error),
        }
    }
    Ended::Done(outputs, None)
}

fn refused(error: &SignError) -> Ended {
    let message = chain(error);
    if error.is_transient() {
        return Ended::NotNow(message);
    }
    let code = error.code();
    Ended::Failed(Failure { code, message }, None)
}

enum SignOneError {
    /// The run did not produce what is to be signed.
    Nothing(String),
    Sign(SignError),
}

impl From<SignError> for SignOneError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

/// What was signed, in words, and the artifact that was made on the way.
type Signed = Vec<(String, Option<(MediaType, Digest)>)>;

async fn sign_one(
    signatory: &Signatory<'_>,
    loaded: &Loaded,
    what: &SignWhat,
    image: &Digest,
) -> Result<Signed, SignOneError> {
    let state = &loaded.state;
    let digests: Vec<Digest> = match what {
        SignWhat::Image => vec![image.clone()],
        SignWhat::Provenance => {
            let made = attest_provenance(signatory, &loaded.row, image).await?;
            signatory.sign(&made.digest).await?;
            let line = format!("provenance {} signed by {}", made.digest, signatory.profile);
            return Ok(vec![(line, Some((MediaType::PROVENANCE, made.digest)))]);
        }
        SignWhat::Artifacts(kind) => state.outputs().artifacts_of(kind).cloned().collect(),
    };
    if digests.is_empty() {
        return Err(SignOneError::Nothing(format!(
            "the run attached no `{what}`"
        )));
    }
    let mut lines = Vec::new();
    for digest in digests {
        // The control plane signs what a run produced, and nothing else.
        if !work::produced(state, &digest) {
            let text = format!("the run did not produce `{digest}`");
            return Err(SignOneError::Nothing(text));
        }
        signatory.sign(&digest).await?;
        lines.push((
            format!("{what} {digest} signed by {}", signatory.profile),
            None,
        ));
    }
    Ok(lines)
}

async fn attest_provenance(
    signatory: &Signatory<'_>,
    row: &RunRow,
    image: &Digest,
) -> Result<Descriptor, SignOneError> {
    let key = DocumentKey::new(PROVENANCE, row.id.as_str());
    let kept = signatory.front.store.documents.get(&key).await;
    let kept = kept.ok().flatten().ok_or_else(|| {
        SignOneError::Nothing("the run has no provenance: it built no image".to_owned())
    })?;
    let resolved = signatory
        .source
        .resolve(&TagOrDigest::Digest(image.clone()))
        .await;
    let subject = resolved.map_err(SignError::from)?;
    let new = NewStatement {
        subject: &subject,
        artifact_type: MediaType::PROVENANCE,
        payload: kept.bytes,
    };
    Ok(signatory.attest(new).await?)
}

async fn gate(front: &Front, loaded: &Loaded, action: &Name, wanted: &Gate) -> Ended {
    let Some(image) = work::run_image(&loaded.state) else {
        return Ended::Failed(failure("no-image", "the run has no image to judge"), None);
    };
    let question = Question {
        project: &loaded.row.project,
        policy: wanted.policy.as_str(),
        repository: &image.repository,
        digest: &image.digest,
    };
    let verdict = match judge(front, &question).await {
        Ok(verdict) => verdict,
        Err(error) if error.is_transient() => return Ended::NotNow(chain(&error)),
        Err(error) => return Ended::Failed(failure("cannot-judge", &chain(&error)), None),
    };
    log::write(front, &loaded.row.id, action.as_str(), &verdict.tree).await;
    attach_summary(front, loaded, action, (&question, &verdict)).await;
    let note = Some(json!({"decision": verdict.json, "tree": verdict.tree}));
    match (&verdict.graph_root, verdict.allowed) {
        (Some(graph_root), true) => {
            let produced = ProducedVerdict {
                action: action.clone(),
                policy: wanted.policy.clone(),
                policy_digest: verdict.policy_digest.clone(),
                graph_root: graph_root.clone(),
                digest: verdict.digest.clone(),
            };
            let outputs = ActionOutputs {
                verdict: Some(produced),
                ..ActionOutputs::default()
            };
            Ended::Done(outputs, note)
        }
        _ => {
            events::gate_denied(front, (&loaded.row, &question), &verdict).await;
            Ended::Failed(failure(&verdict.code, &verdict.message), note)
        }
    }
}

/// Attaches the verdict as a signed verification summary. It tells others what was decided;
/// nothing here relies on it, so a failure is noted and stops no run.
async fn attach_summary(
    front: &Front,
    loaded: &Loaded,
    action: &Name,
    (question, verdict): (&Question<'_>, &Verdict),
) {
    let Some(profile) = gate_profile(question.project) else {
        return;
    };
    let source = StoreSource::new(front, question.repository, RUN_ACCOUNT);
    let signatory = Signatory {
        front,
        source: &source,
        principal: pipeline_principal(&loaded.row, RUN_ACCOUNT),
        profile: &profile,
    };
    if let Err(error) = summarize(&signatory, question, verdict).await {
        let text = format!("the verdict was not attached: {}", chain(&error));
        log::write(front, &loaded.row.id, action.as_str(), &text).await;
    }
}

async fn summarize(
    signatory: &Signatory<'_>,
    question: &Question<'_>,
    verdict: &Verdict,
) -> Result<Descriptor, SignError> {
    let name = TagOrDigest::Digest(question.digest.clone());
    let subject = signatory.source.resolve(&name).await?;
    let new = NewStatement {
        subject: &subject,
        artifact_type: MediaType::VERDICT,
        payload: verdict.summary.clone(),
    };
    signatory.attest(new).await
}

/// Returns the profile under which the verdicts of a project's gates are signed, made when the
/// project is applied.
pub(crate) fn gate_profile(project: &str) -> Option<Name> {
    format!("{project}-gate").parse().ok()
}

fn failure(code: &str, message: &str) -> Failure {
    Failure {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// Signs what a hook attached, under the hook's own profile.
pub(crate) async fn sign_artifacts(
    front: &Front,
    loaded: &Loaded,
    profile: &Name,
    digests: &[Digest],
) -> Result<(), SignError> {
    let Some(image) = work::run_image(&loaded.state) else {
        return Ok(());
    };
    let source = StoreSource::new(front, &image.repository, RUN_ACCOUNT);
    let principal: Principal = pipeline_principal(&loaded.row, RUN_ACCOUNT);
    let signatory = Signatory {
        front,
        source: &source,
        principal,
        profile,
    };
    for digest in digests {
        signatory.sign(digest).await?;
    }
    Ok(())
}

/// Returns the front's action that a run waits for, if it waits for one.
pub(super) fn waiting_for_front(state: &RunState) -> Option<(Name, u32)> {
    let current = state.current()?;
    let by_front = matches!(current.action.work, Work::Sign(_) | Work::Gate(_));
    by_front.then(|| (current.action.name.clone(), current.attempt))
}

/// Nothing is noted of an action.
pub(crate) fn no_notes() -> BTreeMap<Name, Value> {
    BTreeMap::new()
}
