//! `countersign log prove`.

use serde::Serialize;
use trust::tlog::{Checkpoint, LogProof};

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;

/// Print the proof that a signature is in the log.
///
/// It is a file of C2SP tlog-proof, which is verified without asking anybody; its `extra` line
/// holds the entry. `countersign sign` attaches such proofs to what it signs.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The position of the entry, or the signing job that it is about.
    #[arg(value_name = "POSITION|JOB")]
    which: String,
}

#[derive(Serialize)]
struct Proven {
    position: u64,
    origin: String,
    size: u64,
    proof: String,
}

/// Prints.
pub(super) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let which = super::which(&args.which)?;
    let control = context.control(None).await?;
    let query = match which.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("position={which}"),
        false => format!("job={which}"),
    };
    let bytes = control.get_bytes(&format!("log/proof?{query}")).await?;
    let proof = LogProof::parse(&bytes);
    let proof = proof.map_err(|error| CliError::wrapping(Kind::Untrusted, error))?;
    let checkpoint = Checkpoint::parse(proof.checkpoint.unverified_text());
    let checkpoint = checkpoint.map_err(|error| CliError::wrapping(Kind::Untrusted, error))?;
    let proven = Proven {
        position: proof.position,
        origin: checkpoint.origin,
        size: checkpoint.size,
        proof: proof.to_string(),
    };
    context.print(&proven, |proven| proven.proof.clone())?;
    Ok(ExitCode::Done)
}
