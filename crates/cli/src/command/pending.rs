//! `countersign pending`.

use oci::Digest;
use serde::{Deserialize, Serialize};
use server::api::pending::{
    Confirmation, OperationState, PendingAnswer, PendingOperation, TwoPersonSetting,
};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// Look at what waits for a second person, confirm it, or take it back.
///
/// Revoking, canceling and changing who may sign can be made to take two persons: for the whole
/// server with `countersign pending require on`, or for one profile with `profile create
/// --two-person`. Then the first person's command prints the id of what waits, and another
/// administrator confirms it within a day.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List what waits, and what was settled in the last 90 days.
    List,
    /// Show one operation, word for word as it would be done.
    Show {
        /// The operation.
        id: String,
    },
    /// Confirm an operation that another person asked for, and have it done.
    Confirm {
        /// The operation.
        id: String,
        /// The digest that `pending show` printed: you confirm what you saw, and nothing else.
        #[arg(long, value_name = "DIGEST")]
        digest: Digest,
    },
    /// Take an operation back.
    Withdraw {
        /// The operation.
        id: String,
    },
    /// Ask for two persons everywhere on this server, or no longer, which takes two; or say which.
    Require {
        /// `on` or `off`.
        #[arg(value_parser = parse_switch)]
        switch: Option<bool>,
    },
}

/// An answer that may be a promise.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer<T> {
    /// It waits for a second person.
    Pending(Box<PendingAnswer>),
    /// It was done.
    Done(T),
}

/// Prints what was done, or that it waits and what to do.
pub(crate) fn done_or_pending<T: Serialize>(
    context: &Context,
    answer: Answer<T>,
    text: impl FnOnce(&T) -> String,
) -> Result<ExitCode, CliError> {
    match answer {
        Answer::Done(value) => {
            context.print(&value, text)?;
            Ok(ExitCode::Done)
        }
        Answer::Pending(answer) => {
            context.print(&answer, |answer| waits(&answer.pending))?;
            Ok(ExitCode::Pending)
        }
    }
}

fn waits(pending: &PendingOperation) -> String {
    format!(
        "waits for a second person until {}: {}\nanother administrator looks at it with `countersign pending show {}`\n",
        render::time(pending.expires_at),
        render::sanitise(&pending.summary),
        pending.id,
    )
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    match args.action {
        Action::List => {
            let all: Vec<PendingOperation> = control.get("api/v1/pending").await?;
            context.print(&all, |all| table(all))?;
        }
        Action::Show { id } => {
            let one: PendingOperation = control.get(&path(&id, "")).await?;
            context.print(&one, shown)?;
        }
        Action::Confirm { id, digest } => {
            let request = Confirmation { digest };
            let done: serde_json::Value = control.post(&path(&id, "/confirm"), &request).await?;
            context.print(&done, |_| {
                format!("confirmed and done: {}\n", render::sanitise(&id))
            })?;
        }
        Action::Withdraw { id } => {
            let empty = serde_json::json!({});
            let one: PendingOperation = control.post(&path(&id, "/withdraw"), &empty).await?;
            context.print(&one, |one| {
                format!("withdrawn: {}\n", render::sanitise(&one.summary))
            })?;
        }
        Action::Require { switch: None } => {
            let setting: TwoPersonSetting = control.get("api/v1/settings/two-person").await?;
            context.print(&setting, setting_text)?;
        }
        Action::Require {
            switch: Some(required),
        } => {
            let request = TwoPersonSetting { required };
            let answer = control.put("api/v1/settings/two-person", &request).await?;
            return done_or_pending(context, answer, setting_text);
        }
    }
    Ok(ExitCode::Done)
}

fn setting_text(setting: &TwoPersonSetting) -> String {
    match setting.required {
        true => "two persons are required\n".to_owned(),
        false => "one person is enough, except for profiles that ask for two\n".to_owned(),
    }
}

fn path(id: &str, rest: &str) -> String {
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("api/v1/pending/{id}{rest}")
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected `on` or `off`".to_owned()),
    }
}

fn state(state: &OperationState) -> String {
    let word = serde_json::to_value(state).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

fn table(all: &[PendingOperation]) -> String {
    if all.is_empty() {
        return "nothing waits for a second person\n".to_owned();
    }
    let mut table = Table::new(["ID", "STATE", "REQUESTED BY", "AT", "WHAT"]);
    for one in all {
        table.row([
            one.id.clone(),
            state(&one.state),
            render::sanitise(&one.requested_by),
            render::time(one.requested_at),
            render::sanitise(&one.summary),
        ]);
    }
    table.draw()
}

fn shown(one: &PendingOperation) -> String {
    let operation = serde_json::to_string_pretty(&one.operation).unwrap_or_default();
    let mut lines = vec![
        ("id", one.id.clone()),
        ("state", state(&one.state)),
        ("what", render::sanitise(&one.summary)),
        (
            "requested",
            format!(
                "by {} at {}",
                render::sanitise(&one.requested_by),
                render::time(one.requested_at)
            ),
        ),
        ("until", render::time(one.expires_at)),
    ];
    if let (Some(by), Some(at)) = (&one.settled_by, one.settled_at) {
        lines.push((
            "settled",
            format!("by {} at {}", render::sanitise(by), render::time(at)),
        ));
    }
    if let Some(failure) = &one.failure {
        lines.push(("failed", render::sanitise(failure)));
    }
    lines.push(("digest", one.digest.to_string()));
    let head: String = lines
        .iter()
        .map(|(name, value)| format!("{name:<10} {value}\n"))
        .collect();
    let next = match one.state {
        OperationState::Waiting => format!(
            "confirm it with `countersign pending confirm {} --digest {}`\n",
            one.id, one.digest
        ),
        _ => String::new(),
    };
    format!("{head}\n{}\n{next}", render::sanitise_lines(&operation))
}
