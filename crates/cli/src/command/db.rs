//! `countersign db`: the advisory database.

use std::path::{Path, PathBuf};

use client::control::ControlClient;
use client::download::download;
use pipeline::advisories;
use scan::{Advisories, DatabaseBuilder, DatabaseStatus};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use url::Url;

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render::{self, table::Table};
use crate::scanning;

/// Where osv.dev publishes its advisories.
const OSV: &str = "https://osv-vulnerabilities.storage.googleapis.com/";
/// The archives that have advisories on packages that we find.
const ARCHIVES: [&str; 2] = ["Debian", "PyPI"];

/// Keep the advisories that images are scanned with.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// The folder of the database [default: $COUNTERSIGN_DB, else ~/.local/share/countersign/db].
    #[arg(long, value_name = "DIR", global = true)]
    db: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make the database anew from OSV files: `.json`, `.zip` archives, and folders of both.
    ///
    /// What was in the database before is replaced, at once and as a whole.
    Import {
        /// Files and folders.
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
    },
    /// Make the database anew from the public archives of osv.dev.
    Update {
        /// Where the archives lie, as `URL/ECOSYSTEM/all.zip`.
        #[arg(long, value_name = "URL", default_value = OSV)]
        from: Url,
    },
    /// Say what is in the database, and how old it is.
    Status,
    /// Bring the database to the Countersign server, whose scans use it from then on.
    ///
    /// Only an administrator may. What the server had before is replaced.
    Push,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    folder: PathBuf,
    #[serde(flatten)]
    status: DatabaseStatus,
    age_days: i64,
}

#[derive(Serialize)]
struct Pushed {
    server: String,
    #[serde(flatten)]
    status: DatabaseStatus,
}

/// Does what the action says, and shows what is in the database then.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let folder = context.db_dir(args.db.as_deref())?;
    let status = match args.action {
        Action::Import { paths } => {
            let builder = tokio::task::block_in_place(|| import(&paths))?;
            replace(builder, &folder, context)?
        }
        Action::Update { from } => {
            let builder = update(&from, context).await?;
            replace(builder, &folder, context)?
        }
        Action::Status => {
            let database = tokio::task::block_in_place(|| scanning::load(&folder))?;
            database.status().clone()
        }
        Action::Push => return push(&folder, context).await,
    };
    let shown = Shown {
        age_days: (context.now() - status.built).whole_days(),
        folder,
        status,
    };
    context.print(&shown, text)?;
    Ok(ExitCode::Done)
}

/// Brings the database in `folder` to a server, which checks it and says what it has then. It is
/// opened first: a damaged one is better refused here than there.
pub(super) async fn upload(
    folder: &Path,
    server: &ControlClient,
) -> Result<DatabaseStatus, CliError> {
    tokio::task::block_in_place(|| scanning::load(folder))?;
    let bytes = crate::context::read_file(&folder.join(advisories::FILE_NAME))?;
    Ok(server.put_bytes("api/v1/advisories", bytes).await?)
}

async fn push(folder: &Path, context: &Context) -> Result<ExitCode, CliError> {
    let server = context.control(None).await?;
    let status = upload(folder, &server).await?;
    let pushed = Pushed {
        server: server.base().to_string(),
        status,
    };
    context.print(&pushed, |pushed| {
        let counts = pushed.status.advisories.iter();
        let counts =
            counts.map(|(name, count)| format!("{count} of {}", render::sanitise(name.as_str())));
        let counts: Vec<String> = counts.collect();
        format!(
            "{} scans with {} advisories\n",
            pushed.server,
            counts.join(", ")
        )
    })?;
    Ok(ExitCode::Done)
}

fn import(paths: &[PathBuf]) -> Result<DatabaseBuilder, CliError> {
    let mut builder = DatabaseBuilder::new();
    for path in paths {
        advisories::import(path, &mut builder).map_err(scanning::database_error)?;
        builder.add_source(path.display().to_string());
    }
    Ok(builder)
}

/// All archives are there before the first is read, so a broken connection changes nothing.
async fn update(from: &Url, context: &Context) -> Result<DatabaseBuilder, CliError> {
    let mut archives = Vec::new();
    for name in ARCHIVES {
        let url = archive_url(from, name)?;
        if context.shows_progress() {
            context.note(&format!("fetching {url}"));
        }
        let bytes = download(&url, context.http_options(), advisories::MAX_ARCHIVE_BYTES)
            .await
            .map_err(|error| {
                CliError::from(error).hint(
                    "without a network, bring the archives here and use `countersign db import`",
                )
            })?;
        archives.push((url, bytes));
    }
    let mut builder = DatabaseBuilder::new();
    for (url, bytes) in archives {
        let name = Path::new(url.as_str());
        let read = || advisories::import_archive(name, &bytes, &mut builder);
        tokio::task::block_in_place(read).map_err(scanning::database_error)?;
        builder.add_source(url);
    }
    Ok(builder)
}

fn archive_url(from: &Url, name: &str) -> Result<Url, CliError> {
    let unusable = || CliError::usage(format!("`{from}` cannot be the place of archives"));
    let mut url = from.clone();
    url.path_segments_mut()
        .map_err(|()| unusable())?
        .pop_if_empty()
        .extend([name, "all.zip"]);
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(unusable()),
    }
}

fn replace(
    builder: DatabaseBuilder,
    folder: &Path,
    context: &Context,
) -> Result<DatabaseStatus, CliError> {
    let withdrawn = builder.withdrawn();
    if withdrawn > 0 {
        context.note(&format!("{withdrawn} withdrawn advisories were left out"));
    }
    let (bytes, status) = builder.finish(context.now());
    if status.advisories.is_empty() {
        return Err(
            CliError::new(Kind::Config, "there is no advisory in force among these")
                .hint("the database is as it was; `countersign db status` shows it"),
        );
    }
    tokio::task::block_in_place(|| advisories::replace(folder, &bytes))
        .map_err(scanning::database_error)?;
    Ok(status)
}

fn text(shown: &Shown) -> String {
    let instant = |time: time::OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
    let status = &shown.status;
    let newest = status
        .newest
        .map(instant)
        .unwrap_or_else(|| "none".to_owned());
    let mut table = Table::new(["ECOSYSTEM", "ADVISORIES"]);
    for (ecosystem, count) in &status.advisories {
        table.row([render::sanitise(ecosystem.as_str()), count.to_string()]);
    }
    let sources = status.sources.iter().map(|source| render::sanitise(source));
    format!(
        "database  {}\nbuilt     {} ({} days old)\nnewest    {newest}\nsources   {}\n\n{}",
        render::sanitise(&shown.folder.display().to_string()),
        instant(status.built),
        shown.age_days,
        sources.collect::<Vec<_>>().join(", "),
        table.draw()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_lie_below_the_place() {
        for (from, expected) in [
            ("https://x.example/", "https://x.example/PyPI/all.zip"),
            ("http://x.example/osv", "http://x.example/osv/PyPI/all.zip"),
        ] {
            let url = archive_url(&from.parse().unwrap(), "PyPI").unwrap();
            assert_eq!(url.as_str(), expected);
        }
        assert!(archive_url(&"mailto:a@b".parse().unwrap(), "PyPI").is_err());
        assert!(archive_url(&"file:///tmp".parse().unwrap(), "PyPI").is_err());
    }
}
