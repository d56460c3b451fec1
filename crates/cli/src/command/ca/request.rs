//! `countersign ca request`.

use std::path::PathBuf;

use signer::AuthoritySubject;

use super::service::ServiceArgs;
use super::{Purpose, failed, write_out};
use crate::context::Context;
use crate::error::CliError;

/// Make a key for the next intermediate, and the request to certify it.
///
/// The key is made where the server's keys lie. Have the request signed by your own authority, or
/// with `countersign ca sign` where the root is; then bring the certificate in with `countersign ca
/// import`. Asking again gives a request of the same key.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// What the intermediate is for.
    #[arg(long = "for", value_name = "PURPOSE", default_value = "signing")]
    purpose: Purpose,
    /// The subject of a new authority; where there is one, its own is asked for.
    #[arg(
        long,
        value_name = "SUBJECT",
        default_value = "C=US, ST=WA, O=Countersign"
    )]
    authority: AuthoritySubject,
    /// Where the request is written [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let service = args.service.open(args.authority, None, context).await?;
    let ceremony = service.ceremony();
    let subject = ceremony.subject().map_err(failed)?;
    let request = ceremony.request(args.purpose.into(), &subject);
    let request = request.map_err(failed)?;
    service.hand_over()?;
    write_out(request.as_bytes(), args.out.as_deref(), context)
}
