//! `countersign witness`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use server::roles::stop_signal;
use signer::custody::{KdfCost, UnlockSource};
use signer::witness::{Witness, WitnessConfig};
use trust::tlog::VerifierKey;

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;

/// Watch other people's transparency logs, and cosign that they only grow.
///
/// A witness remembers the last checkpoint of each log, and cosigns a newer one only if nothing
/// before it changed. It is worth most on a machine that the logs' owners cannot reach.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Serve the witness protocol (C2SP tlog-witness) over plain HTTP.
    Serve {
        #[command(flatten)]
        key: KeyArgs,
        /// The address to listen on.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7380")]
        listen: SocketAddr,
        /// The key of a log to watch. May be given several times.
        #[arg(long = "log", value_name = "VKEY", required = true)]
        logs: Vec<VerifierKey>,
    },
    /// Print the key that verifies the cosignatures, making one if there is none.
    Key {
        #[command(flatten)]
        key: KeyArgs,
    },
}

#[derive(clap::Args)]
struct KeyArgs {
    /// The folder of the key, and of what the witness remembers.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The name of the witness, for a key that is made now.
    #[arg(long, value_name = "NAME", default_value = "witness")]
    name: String,
    /// The file with the secret that unlocks the key; never inside DIR
    /// [default: `witness-unlock` in the folder of our settings; made at the first time].
    #[arg(long, value_name = "FILE")]
    unlock_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Key {
    key: VerifierKey,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Key { key } => {
            let witness = open(key, Vec::new(), context)?;
            let key = witness.verifier().clone();
            context.print(&Key { key }, |shown| format!("{}\n", shown.key))?;
        }
        Action::Serve { key, listen, logs } => {
            serve(open(key, logs, context)?, listen, context).await?
        }
    }
    Ok(ExitCode::Done)
}

async fn serve(witness: Witness, listen: SocketAddr, context: &Context) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::config(format!("cannot listen on `{listen}`")).because(error)
    };
    let stop = stop_signal().map_err(failed)?;
    let key = witness.verifier().clone();
    let ready = |address: SocketAddr| {
        context.note(&format!("witness `{key}` listens on http://{address}"));
    };
    server::witness::serve(witness, listen, (ready, stop))
        .await
        .map_err(failed)
}

fn open(args: KeyArgs, logs: Vec<VerifierKey>, context: &Context) -> Result<Witness, CliError> {
    let unlock = match args.unlock_file {
        Some(path) => UnlockSource::File(path),
        None => UnlockSource::Default(context.config_dir()?.join("witness-unlock")),
    };
    let secret = unlock.load(&args.dir);
    let secret = secret.map_err(|error| CliError::wrapping(Kind::Config, error))?;
    let witness = Witness::open(&WitnessConfig {
        folder: args.dir,
        name: args.name,
        secret,
        kdf_cost: KdfCost::DEFAULT,
        logs,
    });
    witness.map_err(|error| CliError::wrapping(Kind::Config, error))
}
