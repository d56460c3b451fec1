//! The loop: looks at what there is to do when it starts, when it is woken, and now and then.

use std::collections::BTreeSet;
use std::time::Duration;

use pipeline::run::{Event, Status};
use store::runs::RunFilter;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::perform::{perform, waiting_for_front};
use super::runs::{Loaded, apply, load};
use super::triggers::{self, Candidate};
use super::{ControlError, report};
use crate::clock;
use crate::error::chain;
use crate::state::{Change, Front, RegistryEvent};

/// How often the loop looks by itself: for leases and approvals that ran out.
const PERIOD: Duration = Duration::from_secs(5);
/// How long the loop waits after an event for further ones, so that an image that is pushed with
/// five artifacts is judged once and not six times.
const SETTLE: Duration = Duration::from_millis(200);

/// What the loop hears.
enum Heard {
    /// It is time to look, or somebody asked.
    Look,
    /// Something was pushed.
    Pushed(Candidate),
    /// Events were lost.
    Missed,
    /// The process stops.
    Stop,
}

/// Runs the control loop until `stop` becomes true.
pub async fn run(front: Front, mut stop: watch::Receiver<bool>) {
    let mut events = front.events.subscribe();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut candidates = first_candidates(&front).await;
    loop {
        let settled = !candidates.is_empty();
        let heard = tokio::select! {
            () = stopped(&mut stop) => Heard::Stop,
            event = events.recv() => match event {
                Ok(event) => pushed(event).map_or(Heard::Look, Heard::Pushed),
                Err(RecvError::Lagged(_)) => Heard::Missed,
                Err(RecvError::Closed) => Heard::Stop,
            },
            () = front.control.woken() => Heard::Look,
            _ = ticks.tick() => Heard::Look,
            () = tokio::time::sleep(SETTLE), if settled => {
                candidates = look_at_images(&front, std::mem::take(&mut candidates)).await;
                Heard::Look
            }
        };
        match heard {
            Heard::Stop => return,
            Heard::Pushed((repository, digest)) => {
                let image = triggers::image_of(&front, &repository, &digest).await;
                if let Ok(image) = image {
                    candidates.insert((repository, image));
                }
            }
            Heard::Missed => candidates.extend(first_candidates(&front).await),
            Heard::Look => look(&front).await,
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}

fn pushed(event: RegistryEvent) -> Option<Candidate> {
    match event.change {
        Change::Pushed { digest, .. } => Some((event.repository, digest)),
        _ => None,
    }
}

async fn first_candidates(front: &Front) -> BTreeSet<Candidate> {
    let found = triggers::all_candidates(front).await;
    found.unwrap_or_else(|error| {
        tracing::error!(error = chain(&error), "cannot look for images");
        BTreeSet::new()
    })
}

/// Returns the images that must be looked at again.
async fn look_at_images(front: &Front, candidates: BTreeSet<Candidate>) -> BTreeSet<Candidate> {
    let mut again = BTreeSet::new();
    for candidate in candidates {
        match triggers::look_at_image(front, &candidate).await {
            Ok(false) => {}
            Ok(true) => drop(again.insert(candidate)),
            Err(error) => {
                let image = &candidate.1;
                tracing::error!(%image, error = chain(&error), "cannot look at an image");
            }
        }
    }
    again
}

/// Looks at branches, dead jobs and unfinished runs. What fails is looked at again.
async fn look(front: &Front) {
    if let Err(error) = triggers::look_at_branches(front).await {
        tracing::error!(error = chain(&error), "cannot look at branches");
    }
    if let Err(error) = bury_the_dead(front).await {
        tracing::error!(error = chain(&error), "cannot look at dead jobs");
    }
    if let Err(error) = move_runs(front).await {
        tracing::error!(error = chain(&error), "cannot look at runs");
    }
}

async fn bury_the_dead(front: &Front) -> Result<(), ControlError> {
    for job in front.store.queue.dead(clock::now()).await? {
        let reason = job.reason.clone().unwrap_or_default();
        if let Err(error) = report::bury(front, &job, &reason).await {
            tracing::error!(job = job.id.0, ?error, "cannot bury a dead job");
        }
    }
    Ok(())
}

async fn move_runs(front: &Front) -> Result<(), ControlError> {
    let unfinished = RunFilter {
        unfinished: true,
        ..RunFilter::default()
    };
    for row in front.store.runs.list(&unfinished).await? {
        match load(front, &row.id).await {
            Ok(loaded) => move_run(front, &loaded).await,
            // One unreadable run must not hold up the others.
            Err(error) => tracing::error!(run = %row.id, error = chain(&error), "unreadable run"),
        }
    }
    Ok(())
}

async fn move_run(front: &Front, loaded: &Loaded) {
    let run = &loaded.row.id;
    let event = match loaded.state.awaited_approval() {
        Some((action, until)) if until <= clock::now() => {
            let attempt = loaded.state.action(action).map_or(0, |state| state.attempt);
            let action = action.clone();
            Some(Event::TimedOut { action, attempt })
        }
        _ if loaded.state.status() == Status::Pending => Some(Event::Started),
        _ => None,
    };
    if let Some(event) = event
        && let Err(error) = apply(front, run, event.into()).await
    {
        tracing::warn!(%run, error = chain(&error), "a run did not go on");
    }
    if let Some((action, attempt)) = waiting_for_front(&loaded.state) {
        // Marked as under way while it is being done, so that nobody does it twice.
        tokio::spawn(perform(front.clone(), run.clone(), action, attempt));
    }
}
