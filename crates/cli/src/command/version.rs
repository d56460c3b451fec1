//! `countersign version`.

use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;

/// Print the version.
#[derive(clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    os: &'static str,
    architecture: &'static str,
}

/// Prints the version.
pub(crate) async fn run(_: Args, context: &Context) -> Result<ExitCode, CliError> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        os: std::env::consts::OS,
        architecture: std::env::consts::ARCH,
    };
    context.print(&version, |version| {
        format!(
            "countersign {} ({}/{})\n",
            version.version, version.os, version.architecture
        )
    })?;
    Ok(ExitCode::Done)
}
