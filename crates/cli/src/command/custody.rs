//! `countersign custody`: where signing keys lie, shown, and tried before they are made there.

use std::path::Path;

use clap::Subcommand;
use serde::Serialize;
use server::api::signing::KeyCustody;
use server::custody::CustodyChoice;
use signer::custody::{KeyAlgorithm, behaviour};

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;

/// Show where signing keys lie, or try where they are to lie.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show where the keys of a server lie; for its administrators.
    Show,
    /// Make a key in a device or service, find it again, sign with it and verify what it signed.
    ///
    /// The key stays: give it a label that says so, and remove it with the device's own tools.
    Check(Box<CheckArgs>),
}

#[derive(clap::Args)]
struct CheckArgs {
    /// Where: as in `countersign serve --custody`, but not `file`.
    #[arg(value_name = "WHERE")]
    custody: CustodyChoice,
    /// The label of the key that is made; it must be free.
    #[arg(long, value_name = "LABEL", default_value = "check")]
    label: String,
    /// The kind of key: `p256`, `p384` or `rsa-3072`.
    #[arg(long, value_name = "KIND", default_value = "p384")]
    algorithm: KeyAlgorithm,
}

#[derive(Serialize)]
struct Checked {
    custody: String,
    label: String,
    algorithm: KeyAlgorithm,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Show => show(context).await,
        Command::Check(args) => check(*args, context).await,
    }
}

async fn show(context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let shown: KeyCustody = control.get("api/v1/custody").await?;
    context.print(&shown, |shown| {
        format!("the signing keys lie in {}\n", shown.custody)
    })?;
    Ok(ExitCode::Done)
}

async fn check(args: CheckArgs, context: &Context) -> Result<ExitCode, CliError> {
    // There is no data folder that the secret could lie in.
    let settings = args.custody.load(Path::new("/nonexistent"), context.aws());
    let settings = settings.map_err(|error| CliError::wrapping(Kind::Config, error))?;
    let runtime = tokio::runtime::Handle::current();
    // Devices and services are waited for, which must not hold up the runtime.
    let checking = tokio::task::spawn_blocking(move || checked(args, settings.open(runtime)));
    let checked = checking
        .await
        .map_err(|panic| CliError::internal(panic.to_string()))??;
    context.print(&checked, |checked| {
        format!(
            "{} makes, finds and uses {} keys (it now has one labelled `{}`)\n",
            checked.custody, checked.algorithm, checked.label
        )
    })?;
    Ok(ExitCode::Done)
}

fn checked(
    args: CheckArgs,
    custody: Result<Option<std::sync::Arc<dyn signer::Custody>>, signer::CustodyError>,
) -> Result<Checked, CliError> {
    let custody = custody.map_err(failed)?;
    let custody = custody
        .ok_or_else(|| CliError::usage("sealed files need no check: name another custody"))?;
    behaviour::check(custody.as_ref(), &args.label, args.algorithm)
        .map_err(|error| CliError::wrapping(Kind::Unavailable, error))?;
    Ok(Checked {
        custody: custody.describe(),
        label: args.label,
        algorithm: args.algorithm,
    })
}

fn failed(error: signer::CustodyError) -> CliError {
    let kind = match error.is_passing() {
        true => Kind::Unavailable,
        false => Kind::Config,
    };
    CliError::wrapping(kind, error)
}
