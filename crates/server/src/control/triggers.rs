//! What starts runs: pushes to git, and evidence that is complete.
//!
//! Both are looked for in the store and in the git repositories, not in the events that make us
//! look: an event that was lost in a crash costs a second, not a run. The key of a trigger says
//! which events are the same, so looking twice starts nothing twice.

use std::collections::BTreeSet;

use client::{ArtifactSource, TagOrDigest};
use oci::{Descriptor, Digest, RepositoryName};
use pipeline::project::{EvidenceTrigger, Pipeline, PushTrigger, Trigger};
use pipeline::run::{Event, Input, RunState, Status};
use sha2::{Digest as _, Sha256};
use store::repositories::Page;
use store::runs::{RunFilter, RunId};

use super::judge::{Question, Verdict, judge};
use super::perform::RUN_ACCOUNT;
use super::projects::{self, Stored};
use super::runs::{Start, apply, load, start};
use super::{ControlError, work};
use crate::error::{ApiError, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// How many subjects an artifact is followed through to its image. A signature on a report on an
/// image is two.
const MAX_SUBJECTS: usize = 16;
/// How many of the newest runs are looked at for images when the front starts.
const REMEMBERED_RUNS: usize = 200;

/// An image that may have become ready for something.
pub(super) type Candidate = (RepositoryName, Digest);

/// Starts the runs of branches that have moved.
pub(crate) async fn look_at_branches(front: &Front) -> Result<(), ControlError> {
    for stored in projects::all(front).await? {
        for pipeline in &stored.project.pipelines {
            if let Some(Trigger::Push(trigger)) = &pipeline.trigger {
                look_at_branch(front, &stored, (pipeline, trigger)).await?;
            }
        }
    }
    Ok(())
}

async fn look_at_branch(
    front: &Front,
    stored: &Stored,
    (pipeline, trigger): (&Pipeline, &PushTrigger),
) -> Result<(), ControlError> {
    let PushTrigger { repository, branch } = trigger;
    let Some(commit) = crate::git::head(front, repository, branch).await else {
        return Ok(());
    };
    let project = &stored.project.name;
    let name = &pipeline.name;
    let new = Start {
        project,
        pipeline,
        input: Input::Commit {
            repository: repository.clone(),
            branch: branch.clone(),
            commit: commit.clone(),
        },
        trigger_key: Some(format!(
            "push/{project}/{name}/{repository}/{branch}/{commit}"
        )),
        why: format!("started by a push of {commit} to `{branch}` of `{repository}`"),
    };
    start(front, new).await.map(drop)
}

/// Returns every image that evidence may have become complete for, however long ago.
pub(super) async fn all_candidates(front: &Front) -> Result<BTreeSet<Candidate>, ControlError> {
    let mut found = BTreeSet::new();
    let mut watched = BTreeSet::new();
    for stored in projects::all(front).await? {
        watched.extend(evidence_triggers(&stored).map(|(_, one)| one.repository.clone()));
    }
    for repository in &watched {
        let repositories = &front.store.repositories;
        let tags = repositories.tags(repository, &Page::first()).await?;
        for tag in tags.unwrap_or_default() {
            let digest = repositories.resolve(repository, &tag).await?;
            found.extend(digest.map(|digest| (repository.clone(), digest)));
        }
    }
    let newest = RunFilter {
        limit: REMEMBERED_RUNS,
        ..RunFilter::default()
    };
    for row in front.store.runs.list(&newest).await? {
        if let Ok(state) = serde_json::from_value::<RunState>(row.document)
            && let Some(image) = work::run_image(&state)
            && watched.contains(&image.repository)
        {
            found.insert((image.repository, image.digest));
        }
    }
    Ok(found)
}

fn evidence_triggers(stored: &Stored) -> impl Iterator<Item = (&Pipeline, &EvidenceTrigger)> {
    let pipelines = stored.project.pipelines.iter();
    pipelines.filter_map(|pipeline| match &pipeline.trigger {
        Some(Trigger::Evidence(trigger)) => Some((pipeline, trigger)),
        _ => None,
    })
}

/// Returns the image that an artifact hangs on in the end.
pub(super) async fn image_of(
    front: &Front,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Digest, ControlError> {
    let mut image = digest.clone();
    for _ in 0..MAX_SUBJECTS {
        let repositories = &front.store.repositories;
        let row = repositories.manifest(repository, &image).await?;
        match row.and_then(|row| row.subject.clone()) {
            Some(subject) => image = subject,
            None => break,
        }
    }
    Ok(image)
}

/// Starts the runs that an image has become ready for. Returns whether to look again, because
/// something that is needed does not answer.
pub(super) async fn look_at_image(
    front: &Front,
    (repository, digest): &Candidate,
) -> Result<bool, ControlError> {
    let source = StoreSource::new(front, repository, RUN_ACCOUNT);
    let name = TagOrDigest::Digest(digest.clone());
    let Ok(descriptor) = source.resolve(&name).await else {
        // An artifact may come before its image; the image's push makes us look again.
        return Ok(false);
    };
    let mut again = false;
    for stored in projects::all(front).await? {
        for (pipeline, trigger) in evidence_triggers(&stored) {
            if trigger.repository == *repository {
                let about = (pipeline, trigger, &descriptor);
                again |= look_at_trigger(front, &stored, about).await?;
            }
        }
    }
    Ok(again)
}

async fn look_at_trigger(
    front: &Front,
    stored: &Stored,
    (pipeline, trigger, image): (&Pipeline, &EvidenceTrigger, &Descriptor),
) -> Result<bool, ControlError> {
    let question = Question {
        project: stored.project.name.as_str(),
        policy: trigger.policy.as_str(),
        repository: &trigger.repository,
        digest: &image.digest,
    };
    let verdict = match judge(front, &question).await {
        Ok(verdict) => verdict,
        Err(error) => {
            tracing::warn!(pipeline = %pipeline.name, error = chain(&error), "cannot judge");
            return Ok(error.is_transient());
        }
    };
    if !verdict.allowed {
        return Ok(false);
    }
    let new = Start {
        project: &stored.project.name,
        pipeline,
        input: Input::Image {
            repository: trigger.repository.clone(),
            digest: image.digest.clone(),
            tag: None,
        },
        trigger_key: Some(evidence_key(stored, pipeline, (image, &verdict))),
        why: format!(
            "started because `{}@{}` passes `{}`",
            trigger.repository, image.digest, trigger.policy
        ),
    };
    let (run, is_new) = start(front, new).await?;
    if is_new {
        supersede_older(front, stored, (pipeline, &run, &trigger.repository)).await?;
    }
    Ok(false)
}

/// One run for each pipeline, image and evidence that the verdict rests on. Evidence that the
/// policy does not ask for, such as what the run itself attaches, starts nothing again.
fn evidence_key(stored: &Stored, pipeline: &Pipeline, about: (&Descriptor, &Verdict)) -> String {
    let (image, verdict) = about;
    let mut hash = Sha256::new();
    for digest in &verdict.rests_on {
        hash.update(digest.as_str());
        hash.update("\n");
    }
    let evidence = hex::encode(hash.finalize());
    let project = &stored.project.name;
    let name = &pipeline.name;
    format!("evidence/{project}/{name}/{}/{evidence}", image.digest)
}

/// A run that waits for a person is replaced by a newer one of the same pipeline: what would be
/// approved is not the newest any more.
async fn supersede_older(
    front: &Front,
    stored: &Stored,
    (pipeline, run, repository): (&Pipeline, &RunId, &RepositoryName),
) -> Result<(), ControlError> {
    let filter = RunFilter {
        project: Some(stored.project.name.to_string()),
        pipeline: Some(pipeline.name.to_string()),
        unfinished: true,
        limit: 0,
    };
    for row in front.store.runs.list(&filter).await? {
        if row.id == *run || row.state != Status::WaitingForApproval.as_str() {
            continue;
        }
        let loaded = load(front, &row.id).await?;
        let same =
            work::run_image(&loaded.state).is_some_and(|image| image.repository == *repository);
        if same {
            let by = run.to_string();
            apply(front, &row.id, Event::Superseded { by }.into()).await?;
        }
    }
    Ok(())
}

/// Ends the runs of a project that is removed.
pub(super) async fn stop_runs(front: &Front, project: &str) -> Result<(), ApiError> {
    let filter = RunFilter {
        project: Some(project.to_owned()),
        unfinished: true,
        ..RunFilter::default()
    };
    for row in front.store.runs.list(&filter).await? {
        let by = "nothing: the project was removed".to_owned();
        apply(front, &row.id, Event::Superseded { by }.into()).await?;
    }
    Ok(())
}
