//! `countersign ca show`.

use signer::authority::{ShownAuthority, show};

use super::failed;
use crate::context::Context;
use crate::error::CliError;
use crate::render::table::Table;

/// Show the authority's certificates and where the root's key is. No key is opened.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The data folder of the server.
    #[arg(long, value_name = "DIR")]
    data: std::path::PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let shown = show(&args.data.join("signer/keys")).map_err(failed)?;
    if shown.certificates.is_empty() {
        let message = format!("`{}` has no authority yet", args.data.display());
        let hint = "make one with `countersign ca init`; the server's first start makes one too";
        return Err(CliError::not_found(message).hint(hint));
    }
    context.print(&shown, text)
}

pub(super) fn text(shown: &ShownAuthority) -> String {
    let mut table = Table::new(["NAME", "SUBJECT", "KEY", "UNTIL", "STATUS"]);
    for one in &shown.certificates {
        table.row([
            one.name.clone(),
            one.subject.clone(),
            one.key_id.chars().take(16).collect(),
            one.not_after.date().to_string(),
            if one.revoked { "revoked" } else { "" }.to_owned(),
        ]);
    }
    let mut text = table.draw();
    text += match shown.root_key_beside {
        true => {
            "\nThe root's key lies beside the service, where whoever takes the service takes it too.\n"
        }
        false => "\nThe root's key does not lie beside the service.\n",
    };
    if let Some(until) = shown.root_list_until {
        text += &format!(
            "The root's revocation list may be used until {}.\n",
            until.date()
        );
    }
    text
}
