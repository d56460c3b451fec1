//! `countersign log`.

mod export;
mod prove;
mod show;
mod verify;

use std::path::PathBuf;

use client::log::{LogError, LogSource};
use trust::tlog::VerifierKey;

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render;

/// Check, copy and read the transparency log.
///
/// The log holds every signature, revocation, approval and deployment of a server, and changes of
/// who may do what. Nothing in it can be changed or taken out without being noticed.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    Verify(verify::Args),
    Export(export::Args),
    Show(show::Args),
    Prove(prove::Args),
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Verify(args) => verify::run(args, context).await,
        Action::Export(args) => export::run(args, context).await,
        Action::Show(args) => show::run(args, context).await,
        Action::Prove(args) => prove::run(args, context).await,
    }
}

/// Returns where the log is read from: a folder, or the server.
async fn source(dir: Option<PathBuf>, context: &Context) -> Result<LogSource, CliError> {
    Ok(match dir {
        Some(folder) => LogSource::Folder(folder),
        None => LogSource::Server(context.control(None).await?),
    })
}

/// Returns the key that was given; else the one that the log says is its own, with a warning.
async fn key(
    given: Option<VerifierKey>,
    source: &LogSource,
    context: &Context,
) -> Result<VerifierKey, CliError> {
    if let Some(key) = given {
        return Ok(key);
    }
    let key = source.key().await.map_err(failed)?;
    context.warn(&format!("the key is taken from the log itself: `{key}`"));
    context.hint("give it with `--key`, from somewhere that the log's owner cannot change later");
    Ok(key)
}

/// Reads the name of an entry: a position, or a signing job.
fn which(text: &str) -> Result<String, CliError> {
    let is_position = text.parse::<u64>().is_ok();
    if is_position || text.parse::<signer::JobId>().is_ok() {
        return Ok(text.to_owned());
    }
    let text = render::sanitise(text);
    Err(CliError::usage(format!(
        "`{text}` is not the position of an entry or a signing job"
    )))
}

fn failed(error: LogError) -> CliError {
    match error {
        LogError::Server(error) => error.into(),
        LogError::File { .. } => CliError::wrapping(Kind::NotFound, error),
        error => CliError::wrapping(Kind::Untrusted, error),
    }
}
