//! `countersign logout`.

use oci::Registry;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;

/// Forget the credentials for a registry or a Countersign server.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The registry, such as `registry.example:5000`.
    registry: Registry,
}

#[derive(Serialize)]
struct LoggedOut {
    registry: Registry,
    #[serde(rename = "wasLoggedIn")]
    was_logged_in: bool,
}

/// Logs out.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let registry = args.registry;
    let was_logged_in = super::login::load(context)?.erase(&registry).await?;
    let done = LoggedOut {
        registry,
        was_logged_in,
    };
    context.print(&done, |done| match done.was_logged_in {
        true => format!("logged out of {}\n", done.registry),
        false => format!("there were no credentials for {}\n", done.registry),
    })?;
    Ok(ExitCode::Done)
}
