//! `countersign push`.

use oci::{Descriptor, MediaType};
use serde::Serialize;

use crate::artifact::NewArtifact;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::target::Target;

/// The type of artifacts that were given none, the one that other clients write.
const UNKNOWN_TYPE: &str = "application/vnd.unknown.artifact.v1";

/// Push files as an artifact.
///
/// Each file becomes a layer, under its own media type and with its name as title.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to: `registry/repository[:tag]`, or `oci:FOLDER[:tag]` for an image layout.
    #[arg(value_name = "NAME[:TAG]")]
    target: Target,
    /// The files, each with its media type.
    #[arg(value_name = "FILE[:TYPE]", required = true)]
    files: Vec<String>,
    /// The type of the artifact.
    #[arg(long, value_name = "TYPE", default_value = UNKNOWN_TYPE)]
    artifact_type: MediaType,
    /// An annotation of the artifact; may be repeated.
    #[arg(short, long = "annotation", value_name = "NAME=TEXT")]
    annotations: Vec<String>,
}

/// What was pushed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pushed {
    pub(super) reference: String,
    #[serde(flatten)]
    pub(super) descriptor: Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Descriptor>,
}

/// Pushes.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let tag = args.target.tag();
    if tag.is_none() && args.target.name().is_some() {
        return Err(
            CliError::usage("a push cannot choose the digest of what it pushes")
                .hint("give a tag, or neither"),
        );
    }
    let artifact =
        NewArtifact::prepare(args.artifact_type, &args.files, &args.annotations, context);
    let artifact = artifact.await?;
    let sink = args.target.open_or_create(context)?;
    let manifest = artifact.push(&*sink, None, tag.as_ref()).await?;
    let pushed = Pushed {
        reference: args.target.at(manifest.digest()).to_string(),
        descriptor: manifest.descriptor(),
        subject: None,
    };
    context.print(&pushed, |pushed| match &tag {
        Some(tag) => format!("pushed {}\ntagged {tag}\n", pushed.reference),
        None => format!("pushed {}\n", pushed.reference),
    })?;
    Ok(ExitCode::Done)
}
