//! `countersign ca sign`.

use std::path::PathBuf;

use signer::authority::{CertificateRequest, RootAuthority};

use super::root::RootArgs;
use super::{confirm, failed, write_out};
use crate::context::{Context, read_file};
use crate::error::CliError;

/// Certify the intermediate that asks, with the root in a folder.
///
/// The certificate has the attributes of the root's subject and the common name of the request. It
/// and the root's go to the server, for `countersign ca import`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    root: RootArgs,
    /// The request.
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// Where verifiers fetch the root's revocation list: /pki/root.crl of the server, over `http`.
    #[arg(long, value_name = "URL")]
    root_crl_url: Option<String>,
    /// Where the certificates are written [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let text = read_file(&args.request)?;
    let request = CertificateRequest::from_pem(&text).map_err(failed)?;
    let root = RootAuthority::open(&args.root.root_dir, &args.root.keys()?).map_err(failed)?;
    let list = args.root_crl_url.as_deref();
    let summary = format!(
        "intermediate   {}, 20 years\nrequested as   {}\nits list       {}",
        request.common_name,
        request.subject,
        list.unwrap_or("none: say `--root-crl-url`, or it cannot be revoked"),
    );
    confirm(&summary, args.yes, context)?;
    let certified = root.certify(&request, list, context.now());
    write_out(
        certified.map_err(failed)?.as_bytes(),
        args.out.as_deref(),
        context,
    )
}
