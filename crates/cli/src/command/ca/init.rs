//! `countersign ca init`.

use signer::AuthoritySubject;
use signer::authority::{IssuerRole, RootAuthority};

use super::root::RootArgs;
use super::service::ServiceArgs;
use super::{confirm, failed};
use crate::context::Context;
use crate::error::{CliError, Kind};

/// Make an authority: a root in a folder of its own, and what the service needs under it.
///
/// Doing it again after an interruption goes on where it stopped.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    root: RootArgs,
    /// The URL under which others reach the server, as for `serve`: certificates name it.
    #[arg(long, value_name = "URL")]
    public_url: String,
    /// The subject of the authority; trust policies name it, and it cannot be changed later.
    #[arg(
        long,
        value_name = "SUBJECT",
        default_value = "C=US, ST=WA, O=Countersign"
    )]
    authority: AuthoritySubject,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    args.root.refuse_below(&args.service.data)?;
    let subject = args.authority.clone();
    let opened = args.service.open(subject, Some(&args.public_url), context);
    let service = opened.await?;
    let ceremony = service.ceremony();
    if ceremony.is_complete().map_err(failed)? {
        let message = format!("`{}` has an authority already", args.service.data.display());
        let hint = "see it with `countersign ca show`, renew it with `countersign ca renew`";
        return Err(CliError::new(Kind::Conflict, message).hint(hint));
    }
    confirm(
        &summary(&args, &service.custody.describe()),
        args.yes,
        context,
    )?;
    let now = context.now();
    let keys = args.root.keys()?;
    let root = RootAuthority::make(&args.root.root_dir, &args.authority, &keys, now);
    let root = root.map_err(failed)?;
    ceremony.keep_root(&root).map_err(failed)?;
    let list = root.refresh_list(now).map_err(failed)?;
    ceremony.import_list(&list.der).map_err(failed)?;
    if ceremony.count(IssuerRole::TimeStamping).map_err(failed)? == 0 {
        let made = ceremony.renew(&root, IssuerRole::TimeStamping, now);
        made.map_err(failed)?;
    }
    // Last: with it, the ceremony is complete.
    let made = ceremony.renew(&root, IssuerRole::Signing, now);
    made.map_err(failed)?;
    service.hand_over()?;
    context.note(&format!(
        "made the authority. The key of its root is in `{}`: take that folder away, keep two copies \
         of it apart, and the passphrase apart from both",
        args.root.root_dir.display()
    ));
    let shown = ceremony.show().map_err(failed)?;
    context.print(&shown, super::show::text)
}

fn summary(args: &Args, custody: &str) -> String {
    let AuthoritySubject {
        country,
        state,
        organization,
    } = &args.authority;
    format!(
        "subject        C={country}, ST={state}, O={organization} (cannot be changed later)\n\
         root           P-384, 40 years; its key sealed in `{}`\n\
         intermediates  P-384, 20 years, for signing and for time-stamping; their keys in {custody}\n\
         server         {} (certificates say that lists and answers are below /pki there)",
        args.root.root_dir.display(),
        args.public_url,
    )
}
