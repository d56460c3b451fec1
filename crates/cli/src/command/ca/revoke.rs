//! `countersign ca revoke`.

use std::path::PathBuf;

use signer::authority::{RootAuthority, first_certificate};

use super::root::RootArgs;
use super::{confirm, failed, write_out};
use crate::context::{Context, read_file};
use crate::error::CliError;

/// Revoke an intermediate under the root, or sign a fresh revocation list of the root.
///
/// The list is valid for a year. Bring it in where the server is, with `countersign ca import`, and
/// restart the server: verifiers fetch it from there.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    root: RootArgs,
    /// The intermediate's certificate; without it, the list revokes what it did before.
    #[arg(value_name = "CERTIFICATE")]
    certificate: Option<PathBuf>,
    /// Where the list is written, in DER [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let root = RootAuthority::open(&args.root.root_dir, &args.root.keys()?).map_err(failed)?;
    let now = context.now();
    let list = match &args.certificate {
        None => root.refresh_list(now),
        Some(path) => {
            let certificate = first_certificate(&read_file(path)?).map_err(failed)?;
            let subject = certificate.tbs_certificate().subject().to_string();
            let summary = format!(
                "revoke         {subject}\n\
                 for ever       everything that was signed under it is refused from then on"
            );
            confirm(&summary, args.yes, context)?;
            root.revoke(&certificate, now)
        }
    };
    write_out(&list.map_err(failed)?.der, args.out.as_deref(), context)
}
