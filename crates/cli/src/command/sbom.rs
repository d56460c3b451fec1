//! `countersign sbom`.

use scan::Sbom;
use scan::sbom::SbomFormat;

use crate::context::{Context, Output};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::scanning::{self, ImageArgs};

/// List the packages of an image: an SBOM in SPDX 2.3 or CycloneDX 1.6, or a table.
///
/// REF may also be an image layout: `oci:FOLDER:tag`. Debian packages and installed Python
/// distributions are found. The output format is `table`, `spdx-json` or `cyclonedx-json`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
}

/// The values of `--output`.
pub(crate) const FORMATS: &[&str] = &["table", "spdx-json", "cyclonedx-json", "text"];

/// Lists.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let (source, catalog) = scanning::scan_image(&args.image, context).await?;
    for problem in &catalog.problems {
        let reason = crate::render::sanitise(&format!("`{}` {}", problem.path, problem.reason));
        context.warn(&format!("not in the SBOM: {reason}"));
    }
    let sbom = Sbom {
        source: &source,
        catalog: &catalog,
        created: context.now(),
        tool_version: env!("CARGO_PKG_VERSION"),
    };
    let formats = [SbomFormat::SpdxJson, SbomFormat::CycloneDxJson];
    let named =
        |format: &SbomFormat| *context.output() == Output::Named(format.as_str().to_owned());
    match formats.into_iter().find(named) {
        Some(format) => context.print_bytes(&sbom.write(format))?,
        None => context.print_bytes(sbom.to_table().as_bytes())?,
    }
    Ok(ExitCode::Done)
}
