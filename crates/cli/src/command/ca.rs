//! `countersign ca`: the key ceremony of the certificate authority.
//!
//! The service's half works on the data folder of a server of this machine; the root's half works
//! on a folder of its own, on this machine or another.

mod import;
mod init;
mod renew;
mod request;
mod revoke;
mod root;
mod service;
mod show;
mod sign;

use signer::authority::IssuerRole;

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render::terminal;

/// Make, renew and revoke the certificate authority's intermediates, with the root's key elsewhere.
///
/// The commands that take `--data` are for the machine of the server, which takes over what they
/// did at its next start. Those that take `--root-dir` are for wherever the root's key is.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make an authority: a root in a folder of its own, and what the service needs under it.
    Init(init::Args),
    /// Make a key for the next intermediate, and the request to certify it.
    Request(request::Args),
    /// Certify the intermediate that asks, with the root in a folder.
    Sign(sign::Args),
    /// Bring in the certificate of an intermediate, or a revocation list of the root.
    Import(import::Args),
    /// Show the authority's certificates and where the root's key is.
    Show(show::Args),
    /// Make the next intermediate, where the root is at hand. The one before it goes on answering
    /// for what it issued.
    Renew(renew::Args),
    /// Revoke an intermediate under the root, or sign a fresh revocation list of the root.
    Revoke(revoke::Args),
}

/// What an intermediate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Purpose {
    /// It issues the certificates that sign.
    Signing,
    /// It issues the certificate that stamps time.
    TimeStamping,
}

impl From<Purpose> for IssuerRole {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Signing => Self::Signing,
            Purpose::TimeStamping => Self::TimeStamping,
        }
    }
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Init(args) => init::run(args, context).await?,
        Action::Request(args) => request::run(args, context).await?,
        Action::Sign(args) => sign::run(&args, context)?,
        Action::Import(args) => import::run(args, context).await?,
        Action::Show(args) => show::run(&args, context)?,
        Action::Renew(args) => renew::run(args, context).await?,
        Action::Revoke(args) => revoke::run(&args, context)?,
    }
    Ok(ExitCode::Done)
}

/// Shows what will be done, and asks whether to, unless `yes` was said already.
fn confirm(summary: &str, yes: bool, context: &Context) -> Result<(), CliError> {
    context.note(summary);
    if yes {
        return Ok(());
    }
    if !context.can_ask() {
        let message = "there is no terminal to confirm this on";
        return Err(CliError::usage(message).hint("say `--yes` to go on without asking"));
    }
    match terminal::ask("Go on? [y/N] ")?.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::usage("nothing was done")),
    }
}

fn failed(error: signer::AuthorityError) -> CliError {
    CliError::wrapping(Kind::Config, error)
}

/// Writes `text` to the file, or to standard output where there is none.
fn write_out(
    text: &[u8],
    file: Option<&std::path::Path>,
    context: &Context,
) -> Result<(), CliError> {
    let Some(file) = file else {
        return context.print_bytes(text);
    };
    signer::custody::files::write_replacing(file, text).map_err(|error| {
        CliError::config(format!("cannot write `{}`", file.display())).because(error)
    })
}
