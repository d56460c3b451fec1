//! `countersign trust`: whom we trust.

mod policy;
mod store;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;

/// Say whom to trust: the trust policy, and the certificates that trust starts from.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The trust policy: which signers count for which repositories, and how strictly.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Trust stores: named sets of root certificates.
    #[command(subcommand)]
    Store(store::Command),
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Policy(command) => policy::run(command, context),
        Command::Store(command) => store::run(command, context),
    }
}
