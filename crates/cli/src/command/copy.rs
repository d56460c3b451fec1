//! `countersign copy`.

use client::copy::{self, CopyScope, CopySummary};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::progress::Progress;
use crate::render;
use crate::target::Target;

/// Copy an artifact between registries and image layouts.
///
/// With `--recursive` everything that refers to it is copied too: evidence, signatures, approvals.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to copy: `registry/repository:tag`, or `oci:FOLDER:tag` in an image layout.
    #[arg(value_name = "FROM")]
    from: Target,
    /// Where to: `registry/repository[:tag]`, or `oci:FOLDER[:tag]`.
    #[arg(value_name = "TO")]
    to: Target,
    /// Copy what refers to it too.
    #[arg(short, long)]
    recursive: bool,
}

#[derive(Serialize)]
struct Copied {
    from: String,
    to: String,
    digest: oci::Digest,
    manifests: usize,
    blobs: usize,
    skipped: Vec<Skipped>,
}

#[derive(Serialize)]
struct Skipped {
    digest: oci::Digest,
    reason: String,
}

/// Copies.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let source = args.from.open(context)?;
    let root = args.from.resolve(&*source, context, None).await?;
    let tag = args.to.tag();
    if tag.is_none()
        && args
            .to
            .name()
            .is_some_and(|name| name != root.digest.clone().into())
    {
        return Err(
            CliError::usage("a copy has the digest of what it is a copy of")
                .hint("give a tag as destination, or only the repository"),
        );
    }
    let sink = args.to.open_or_create(context)?;
    let scope = match args.recursive {
        true => CopyScope::Graph,
        false => CopyScope::Artifact,
    };
    let progress = Progress::new(context);
    let show = |event: copy::CopyEvent<'_>| progress.show(event);
    let summary = copy::copy((&*source, &root), (&*sink, tag.as_ref()), scope, &show).await?;
    for (digest, reason) in &summary.skipped {
        let reason = render::sanitise(reason);
        context.warn(&format!("`{digest}` was left behind: {reason}"));
    }
    context.print(&copied(&args, summary), |copied| {
        format!(
            "copied {}\nto {}\n{} manifests, {} blobs\n",
            copied.from, copied.to, copied.manifests, copied.blobs
        )
    })?;
    Ok(ExitCode::Done)
}

fn copied(args: &Args, summary: CopySummary) -> Copied {
    let skipped = summary.skipped.into_iter();
    Copied {
        from: args.from.at(&summary.root.digest).to_string(),
        to: args.to.at(&summary.root.digest).to_string(),
        digest: summary.root.digest,
        manifests: summary.manifests,
        blobs: summary.blobs,
        skipped: skipped
            .map(|(digest, reason)| Skipped { digest, reason })
            .collect(),
    }
}
