//! `countersign attach`.

use oci::MediaType;

use super::push::Pushed;
use crate::artifact::NewArtifact;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::target::Target;

/// Attach files to an artifact: a report, a bill of materials, a licence.
///
/// They become an artifact of their own, which refers to REF. A tag is resolved once, and what is
/// attached refers to the digest.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The type of what is attached, such as `cve/example`.
    #[arg(long, value_name = "TYPE")]
    artifact_type: MediaType,
    /// What to attach to.
    #[arg(value_name = "REF")]
    target: Target,
    /// The files, each with its media type.
    #[arg(value_name = "FILE[:TYPE]")]
    files: Vec<String>,
    /// An annotation; may be repeated.
    #[arg(short, long = "annotation", value_name = "NAME=TEXT")]
    annotations: Vec<String>,
}

/// Attaches.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    if args.files.is_empty() && args.annotations.is_empty() {
        return Err(CliError::usage("there is nothing to attach")
            .hint("name a file, such as `cve.json:application/json`, or add `--annotation`"));
    }
    let artifact =
        NewArtifact::prepare(args.artifact_type, &args.files, &args.annotations, context);
    let artifact = artifact.await?;
    let sink = args.target.open(context)?;
    let subject = args
        .target
        .resolve(&*sink, context, Some("attaching to"))
        .await?;
    let manifest = artifact.push(&*sink, Some(&subject), None).await?;
    let attached = Pushed {
        reference: args.target.at(manifest.digest()).to_string(),
        descriptor: manifest.descriptor(),
        subject: Some(subject.bare()),
    };
    let to = args.target.at(&subject.digest);
    context.print(&attached, |attached| {
        format!("attached {}\nto {to}\n", attached.reference)
    })?;
    Ok(ExitCode::Done)
}
