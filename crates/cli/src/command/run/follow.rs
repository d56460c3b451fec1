//! Following a run's log.
//!
//! A server that is restarted is found again: a run goes on, and so does whoever watches it.

use std::time::Duration;

use client::control::{ControlClient, ControlError};
use futures_util::StreamExt;
use server::api::runs::Run;
use store::runs::{LogLine, RunId};

use super::path;
use crate::context::{Context, Output};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;

/// How often a lost connection is made again before giving up, and the pause between.
const MAX_LOSSES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Prints the lines that are there.
pub(super) async fn once(context: &Context, run: &RunId, after: u64) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let mut printer = Printer { context, after };
    printer.read(&control, run, false).await?;
    Ok(ExitCode::Done)
}

/// Prints lines until the run is finished, and returns the exit code that says how it ended.
pub(super) async fn to_the_end(
    context: &Context,
    run: &RunId,
    after: u64,
) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let mut printer = Printer { context, after };
    let mut losses = 0;
    loop {
        let before = printer.after;
        match ended(&mut printer, &control, run).await {
            Ok(Some(code)) => return Ok(code),
            Ok(None) => {}
            Err(error @ ControlError::Unavailable { .. }) => {
                if printer.after > before {
                    losses = 0;
                }
                losses += 1;
                if losses > MAX_LOSSES {
                    return Err(error.into());
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn ended(
    printer: &mut Printer<'_>,
    control: &ControlClient,
    run: &RunId,
) -> Result<Option<ExitCode>, ControlError> {
    printer.read(control, run, true).await?;
    let shown: Run = control.get(&path(run, "")).await?;
    // A server that stopped ends the stream too: then there is more to come.
    Ok(shown.summary.finished.then_some(code(&shown)))
}

fn code(run: &Run) -> ExitCode {
    match run.summary.status.as_str() {
        "succeeded" | "superseded" => ExitCode::Done,
        _ => ExitCode::RunFailed,
    }
}

struct Printer<'a> {
    context: &'a Context,
    /// The number of the last line that was printed.
    after: u64,
}

impl Printer<'_> {
    async fn read(
        &mut self,
        control: &ControlClient,
        run: &RunId,
        follow: bool,
    ) -> Result<(), ControlError> {
        let query = format!("/logs?follow={follow}&after={}", self.after);
        let mut lines = control.stream(&path(run, &query)).await?;
        while let Some(text) = lines.next().await {
            let text = text?;
            let Ok(line) = serde_json::from_str::<LogLine>(&text) else {
                // The connection broke in the middle of a line: it comes again.
                return Ok(());
            };
            self.after = line.seq;
            let shown = match self.context.output() {
                Output::Json => format!("{text}\n"),
                _ => shown(&line),
            };
            // A reader that went away has seen what it wanted to see.
            let _ = self.context.print_bytes(shown.as_bytes());
        }
        Ok(())
    }
}

fn shown(line: &LogLine) -> String {
    let text = render::sanitise_lines(&line.text);
    match line.action.as_str() {
        "" => format!("{text}\n"),
        action => format!("{} | {text}\n", render::sanitise(action)),
    }
}
