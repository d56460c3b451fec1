//! What `sbom`, `scan` and `db` share: reading an image, and finding the advisory database.

use std::path::Path;

use indicatif::ProgressBar;
use oci::descriptor::Platform;
use pipeline::advisories::{self, AdvisoriesError};
use pipeline::image_scan::{self, ImageScanError};
use scan::image::ImageName;
use scan::{Catalog, Database, ImageSource};

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::target::Target;

/// How often the mark of progress turns, in milliseconds.
const TICK_MS: u64 = 120;

/// An image on the command line.
#[derive(clap::Args)]
pub(crate) struct ImageArgs {
    /// The image.
    #[arg(value_name = "REF")]
    target: Target,
    /// Which image of an index to take, as `os/architecture[/variant]` [default: this machine's].
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform)]
    platform: Option<Platform>,
}

fn parse_platform(text: &str) -> Result<Platform, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (os, architecture, variant) = match parts[..] {
        [os, architecture] => (os, architecture, None),
        [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
        _ => return Err("write it like `linux/amd64`".to_owned()),
    };
    Ok(Platform {
        architecture: architecture.to_owned(),
        os: os.to_owned(),
        variant,
    })
}

/// Resolves the image once, and finds its packages.
pub(crate) async fn scan_image(
    args: &ImageArgs,
    context: &Context,
) -> Result<(ImageSource, Catalog), CliError> {
    let source = args.target.open(context)?;
    let root = args.target.resolve(&*source, context, None).await?;
    let reference = args.target.to_string();
    let tag = args.target.tag().map(|tag| tag.to_string());
    let repository = repository(&args.target);
    let name = ImageName {
        reference: &reference,
        repository: &repository,
        tag: tag.as_deref(),
    };
    // Draws on standard error, and only if that is a terminal.
    let mark = ProgressBar::new_spinner().with_message(format!("reading {reference}"));
    mark.enable_steady_tick(std::time::Duration::from_millis(TICK_MS));
    let found = image_scan::scan_image(&*source, &root, name, args.platform.as_ref()).await;
    mark.finish_and_clear();
    found.map_err(classify)
}

/// The name of the image without tag and digest; of a layout, that of its folder.
fn repository(target: &Target) -> String {
    match target {
        Target::Registry(reference) => {
            format!("{}/{}", reference.registry, reference.repository)
        }
        Target::Layout { folder, .. } => {
            let name = folder.file_name().unwrap_or(folder.as_os_str());
            name.to_string_lossy().into_owned()
        }
    }
}

fn classify(error: ImageScanError) -> CliError {
    match error {
        ImageScanError::Fetch(error) => error.into(),
        ImageScanError::Platform { .. } => CliError::wrapping(Kind::NotFound, error)
            .hint("choose one with `--platform`, or give the digest of its manifest"),
        ImageScanError::BrokeOff(_) => CliError::wrapping(Kind::Internal, error),
        // Somebody published an image that cannot be read: nobody should trust it.
        _ => CliError::wrapping(Kind::Untrusted, error),
    }
}

/// Opens the advisory database.
pub(crate) fn load(folder: &Path) -> Result<Database, CliError> {
    advisories::load(folder).map_err(database_error)
}

/// Classifies an error about advisories.
pub(crate) fn database_error(error: AdvisoriesError) -> CliError {
    match error {
        AdvisoriesError::Missing(_) => CliError::wrapping(Kind::NotFound, error)
            .hint("make one with `countersign db update`, or `countersign db import PATH`"),
        other => CliError::wrapping(Kind::Config, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_two_or_three_parts() {
        let platform = parse_platform("linux/arm64/v8").unwrap();
        assert_eq!(platform.variant.as_deref(), Some("v8"));
        assert!(parse_platform("linux").is_err());
        assert!(parse_platform("a/b/c/d").is_err());
    }

    #[test]
    fn an_image_is_named_without_tag() {
        for (text, expected) in [
            ("localhost:5000/apps/shop:1", "localhost:5000/apps/shop"),
            ("oci:/a/layout:1", "layout"),
        ] {
            assert_eq!(repository(&text.parse().unwrap()), expected);
        }
    }
}
