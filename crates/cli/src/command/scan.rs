//! `countersign scan`.

use std::path::PathBuf;

use scan::{Advisories, MatchOptions, Report, Severity, match_packages};
use time::Duration;

use crate::context::{Context, Output};
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render;
use crate::scanning::{self, ImageArgs};

/// Match the packages of an image with advisories: a CVE report.
///
/// REF may also be an image layout: `oci:FOLDER:tag`. The JSON has the shape of grype's. What the
/// advisories do not cover is said in the report and on standard error: silence is not health.
/// With `--fail-on` the exit code is 6 if there is a finding as bad as that, or one of unknown
/// severity.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// The folder of the advisory database [default: $COUNTERSIGN_DB, else
    /// ~/.local/share/countersign/db].
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// Exit with code 6 if there is a finding at least as bad as this: `negligible`, `low`,
    /// `medium`, `high` or `critical`.
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<Severity>,
    /// How old the database may be, in days, before the report calls it stale.
    #[arg(long, value_name = "DAYS", default_value_t = 5)]
    max_db_age: u16,
}

/// The values of `--output`.
pub(crate) const FORMATS: &[&str] = &["table", "json", "text"];

/// Scans.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let folder = context.db_dir(args.db.as_deref())?;
    let database = tokio::task::block_in_place(|| scanning::load(&folder))?;
    let (source, catalog) = scanning::scan_image(&args.image, context).await?;
    let now = context.now();
    let options = MatchOptions {
        now,
        stale_after: Duration::days(args.max_db_age.into()),
    };
    let findings = match_packages(&catalog, &database, options)
        .map_err(|error| CliError::wrapping(Kind::Config, error))?;
    let report = Report {
        source,
        distro: catalog.distro,
        findings,
        database: database.status().clone(),
        created: now,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    print(&report, context)?;
    let failed = args
        .fail_on
        .is_some_and(|threshold| report.at_least(threshold).next().is_some());
    Ok(if failed {
        ExitCode::GateDenied
    } else {
        ExitCode::Done
    })
}

/// The table says itself what is missing; beside the JSON it is said on standard error.
fn print(report: &Report, context: &Context) -> Result<(), CliError> {
    if *context.output() != Output::Json {
        return context.print_bytes(report.to_table().as_bytes());
    }
    for gap in &report.findings.coverage.gaps {
        context.warn(&format!("not covered: {}", render::sanitise(&gap.reason)));
    }
    if report.findings.coverage.stale {
        context.warn(&format!(
            "the advisory database is of {}",
            report.database.built.date()
        ));
        context.hint("bring it up to date with `countersign db update`");
    }
    context.print_bytes(&report.to_json())
}
