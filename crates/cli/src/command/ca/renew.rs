//! `countersign ca renew`.

use std::path::PathBuf;

use signer::AuthoritySubject;
use signer::authority::{IssuerRole, RootAuthority};

use super::root::RootArgs;
use super::service::ServiceArgs;
use super::{Purpose, confirm, failed};
use crate::context::Context;
use crate::error::CliError;

/// Make the next intermediate, where the root is at hand. The one before it goes on answering for
/// what it issued.
///
/// Without `--root-dir`, the root must lie beside the service. Where the root is on another machine,
/// use `countersign ca request`, `sign` and `import`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// The folder of the root, where it does not lie beside the service.
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
    /// The file with the passphrase of the root's key.
    #[arg(long, value_name = "FILE", requires = "root_dir")]
    root_unlock_file: Option<PathBuf>,
    /// An open file descriptor to read that passphrase from.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "root_unlock_file",
        requires = "root_dir"
    )]
    root_unlock_fd: Option<u32>,
    /// The URL under which others reach the server, as for `serve`: certificates name it.
    #[arg(long, value_name = "URL")]
    public_url: String,
    /// What the intermediate is for.
    #[arg(long = "for", value_name = "PURPOSE", default_value = "signing")]
    purpose: Purpose,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let subject = AuthoritySubject::default();
    let opened = args.service.open(subject, Some(&args.public_url), context);
    let service = opened.await?;
    let ceremony = service.ceremony();
    let role = IssuerRole::from(args.purpose);
    let next = ceremony.count(role).map_err(failed)? + 1;
    let summary = format!(
        "next           {}, 20 years; its key in {}\n\
         before it      go on answering for what they issued",
        role.common_name(next),
        service.custody.describe(),
    );
    confirm(&summary, args.yes, context)?;
    let root = match args.root_dir {
        None => ceremony.root_beside().map_err(failed)?,
        Some(root_dir) => {
            let root = RootArgs::new(root_dir, args.root_unlock_file, args.root_unlock_fd);
            root.refuse_below(&args.service.data)?;
            RootAuthority::open(&root.root_dir, &root.keys()?).map_err(failed)?
        }
    };
    ceremony.renew(&root, role, context.now()).map_err(failed)?;
    service.hand_over()?;
    context.print(&ceremony.show().map_err(failed)?, super::show::text)?;
    context.hint("restart the server: it signs with the new intermediate from its next start on");
    Ok(())
}
