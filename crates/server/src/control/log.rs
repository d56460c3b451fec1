//! Lines that the front itself writes into a run's log.

use store::runs::{LogLine, RunId};

use crate::clock;
use crate::state::Front;

/// Appends the lines of `text` to a run's log. A log that cannot be written stops no run.
pub(crate) async fn write(front: &Front, run: &RunId, action: &str, text: &str) {
    let at = clock::now();
    let line = |text: &str| LogLine {
        seq: 0,
        action: action.to_owned(),
        at,
        text: text.to_owned(),
    };
    let lines: Vec<LogLine> = text.lines().map(line).collect();
    if let Err(error) = front.store.runs.append_log(run, &lines).await {
        tracing::warn!(%run, action, %error, "could not write to the log of a run");
    }
    front.control.changed();
}
