//! `countersign tag`.

use oci::{Digest, Tag};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::target::Target;

/// Let further tags name an artifact.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact.
    #[arg(value_name = "REF")]
    target: Target,
    /// The tags.
    #[arg(value_name = "TAG", required = true)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
struct Tagged {
    reference: String,
    digest: Digest,
    tags: Vec<Tag>,
}

/// Tags.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let sink = args.target.open(context)?;
    let root = args.target.resolve(&*sink, context, None).await?;
    for tag in &args.tags {
        sink.tag(&root.digest, tag).await?;
    }
    let tagged = Tagged {
        reference: args.target.at(&root.digest).to_string(),
        digest: root.digest,
        tags: args.tags,
    };
    context.print(&tagged, |tagged| {
        let names: Vec<&str> = tagged.tags.iter().map(Tag::as_str).collect();
        format!("{} is now {}\n", tagged.reference, names.join(", "))
    })?;
    Ok(ExitCode::Done)
}
