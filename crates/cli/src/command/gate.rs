//! `countersign gate`: does an image satisfy a policy, and what does a policy ask for?

mod check;
mod policy;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;

/// Ask whether an image satisfies a gate policy now, and read gate policies.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Args),
    /// Gate policies: what an image must bring.
    #[command(subcommand)]
    Policy(policy::Command),
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Check(args) => check::run(args, context).await,
        Command::Policy(command) => policy::run(command, context),
    }
}
