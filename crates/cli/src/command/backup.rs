//! `countersign backup`.

use std::path::PathBuf;

use server::backup::back_up;

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;

/// Copy the data folder of a server, which may run, into a folder that is empty or new.
///
/// Databases are copied as one moment was. The secret that unlocks the keys is not in the data
/// folder, and so not in the backup: keep it apart. To restore, put the copy in the place of the
/// data folder and start the server.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data folder of the server.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where the copy goes.
    #[arg(value_name = "TO")]
    to: PathBuf,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { data, to } = args;
    let copying = tokio::task::spawn_blocking(move || back_up(&data, &to));
    let copied = copying
        .await
        .map_err(|panic| CliError::internal(panic.to_string()))?;
    let backup = copied.map_err(|error| CliError::wrapping(Kind::Config, error))?;
    context.print(&backup, |backup| {
        format!("copied {} files, {} bytes\n", backup.files, backup.bytes)
    })?;
    Ok(ExitCode::Done)
}
