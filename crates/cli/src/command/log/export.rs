//! `countersign log export`.

use std::path::PathBuf;

use serde::Serialize;
use trust::tlog::{Checkpoint, VerifierKey};

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;

/// Copy the whole log into a folder, where `log verify --dir` checks it without a server.
///
/// The files lie under the paths of C2SP tlog-tiles, so that any static web server makes a readable
/// log of them.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder; made if needed.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The log's key.
    #[arg(long, value_name = "VKEY")]
    key: Option<VerifierKey>,
}

#[derive(Serialize)]
struct Exported {
    origin: String,
    size: u64,
    root: String,
    tiles: u64,
    folder: PathBuf,
}

/// Copies.
pub(super) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let source = super::source(None, context).await?;
    let key = super::key(args.key, &source, context).await?;
    let note = source.checkpoint().await.map_err(super::failed)?;
    let checkpoint = Checkpoint::verify(&note, &key);
    let checkpoint = checkpoint.map_err(|error| CliError::wrapping(Kind::Untrusted, error))?;
    let what = (&note, checkpoint.size, &key);
    let tiles = client::log::export(&source, what, &args.folder).await;
    let exported = Exported {
        origin: checkpoint.origin,
        size: checkpoint.size,
        root: checkpoint.root.to_string(),
        tiles: tiles.map_err(super::failed)?,
        folder: args.folder,
    };
    context.print(&exported, |exported| {
        let Exported {
            origin,
            size,
            tiles,
            folder,
            ..
        } = exported;
        format!(
            "log {origin}: {size} entries in {tiles} tiles, in `{}`\n",
            folder.display()
        )
    })?;
    Ok(ExitCode::Done)
}
