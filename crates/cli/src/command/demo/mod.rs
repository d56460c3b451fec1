//! `countersign demo`: the reference workflow as a story on the terminal, with real parts, and then
//! the attacks on it.
//!
//! Every step types the commands that a user would type, in processes of their own, each account
//! with its own credentials. A step that does not end as told ends the demo with an error; what
//! was started is taken down either way.

mod attacks;
mod sandbox;
mod story;
mod teller;

use std::path::PathBuf;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;

/// Play the reference workflow on this machine, from a git push to a running container, and attack it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of the sample application and project.
    #[arg(long, value_name = "DIR", default_value = "demo")]
    assets: PathBuf,
    /// Where the base image and downloads are kept between two performances.
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    cache: PathBuf,
    /// Leave everything running at the end, and say where it is.
    #[arg(long)]
    keep: bool,
}

/// Plays the demo.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    if !args.assets.join("countersign.yaml").is_file() {
        let problem = format!("`{}` is not the folder of the demo", args.assets.display());
        return Err(CliError::usage(problem)
            .hint("run it in a checkout of Countersign, or give `--assets DIR`"));
    }
    let asks = context.can_ask();
    let played = tokio::task::spawn_blocking(move || story::play(&args, asks)).await;
    played.map_err(|e| CliError::internal("the story broke off").because(e))??;
    Ok(ExitCode::Done)
}
