//! `countersign up`: applies a declarative file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::pending::{Answer, done_or_pending};
use client::control::{ControlClient, ControlError};
use pipeline::project::{Project, RelativePath};
use serde::Serialize;
use server::api::accounts::IssuedToken;
use server::api::projects::{AppliedProject, ApplyProject, ShownProject};

use super::db;
use crate::background::Background;
use crate::context::{Context, read_file};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;

/// Apply a declarative file: accounts, profiles, policies, repositories, environments, pipelines.
///
/// The server is the one that `--server` names, or with `--data` one on this machine, which is
/// started in the background unless it runs. Applying the same file again changes nothing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The declarative file. Paths in it are relative to its folder.
    #[arg(value_name = "FILE", default_value = "countersign.yaml")]
    file: PathBuf,
    /// The data folder of a server on this machine.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address that this server listens on.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:5000",
        requires = "data"
    )]
    listen: SocketAddr,
    /// The file with the secret that unlocks its signing keys [default: as `countersign serve`].
    #[arg(long, value_name = "FILE", requires = "data")]
    unlock_file: Option<PathBuf>,
    /// The folder that the tokens of new accounts are written to, each in a file for its owner
    /// alone [default: `tokens` in the data folder, else `countersign-tokens` here].
    #[arg(long, value_name = "DIR")]
    tokens: Option<PathBuf>,
}

/// What `up` did.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Up {
    project: String,
    /// `new`, `changed` or `unchanged`.
    change: &'static str,
    server: String,
    started: bool,
    git: BTreeMap<String, String>,
    environments: BTreeMap<String, String>,
    /// The files with the tokens of new accounts.
    tokens: BTreeMap<String, PathBuf>,
    /// How many advisories scans are matched with, if some were brought along.
    advisories: Option<u64>,
}

/// Applies the file.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let (name, apply) = load(&args.file)?;
    let (control, started) = connect(&args, context).await?;
    let change = change(&control, &name, &apply).await?;
    let path = format!("api/v1/projects/{name}");
    let applied: AppliedProject = match control.put(&path, &apply).await? {
        Answer::Done(applied) => applied,
        pending => return done_or_pending(context, pending, |_| String::new()),
    };
    let folder = tokens_folder(&args);
    let tokens = write_tokens(&folder, &applied.tokens)?;
    let up = Up {
        project: name,
        change,
        server: control.base().to_string(),
        started,
        git: applied.git,
        environments: applied.environments,
        tokens,
        advisories: bring_advisories(context, &control).await?,
    };
    context.print(&up, text)?;
    Ok(ExitCode::Done)
}

/// Reads the file and the files that it names; mistakes show before anything is started.
fn load(file: &Path) -> Result<(String, ApplyProject), CliError> {
    let text = read_text(file)?;
    let project = Project::parse(&text).map_err(|e| {
        CliError::config(format!("`{}` cannot be applied", file.display())).because(e)
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let read = |path: &RelativePath| {
        let content = read_text(&folder.join(path.as_str()))?;
        Ok((path.to_string(), content))
    };
    let files: Result<BTreeMap<String, String>, CliError> = project.files().map(read).collect();
    let files = files?;
    Ok((project.name.to_string(), ApplyProject { text, files }))
}

fn read_text(path: &Path) -> Result<String, CliError> {
    String::from_utf8(read_file(path)?)
        .map_err(|e| CliError::config(format!("`{}` is not text", path.display())).because(e))
}

async fn connect(args: &Args, context: &Context) -> Result<(ControlClient, bool), CliError> {
    let Some(data) = &args.data else {
        return Ok((context.control(None).await?, false));
    };
    let data = absolute(data)?;
    let background = Background {
        data: &data,
        listen: args.listen,
        unlock_file: args.unlock_file.as_deref(),
    };
    let running = background.ensure().await?;
    let http = context.http_options();
    let control = ControlClient::with_options(running.url, Some(running.token), http)?;
    Ok((control, running.is_new))
}

/// The server is started elsewhere than here, and its folder is compared by its text.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path)
        .map_err(|e| CliError::config(format!("`{}` is not a path", path.display())).because(e))
}

async fn change(
    control: &ControlClient,
    name: &str,
    apply: &ApplyProject,
) -> Result<&'static str, CliError> {
    let path = format!("api/v1/projects/{name}");
    match control.get::<ShownProject>(&path).await {
        Ok(before) if before.text == apply.text && before.files == apply.files => Ok("unchanged"),
        Ok(_) => Ok("changed"),
        Err(ControlError::Refused { status: 404, .. }) => Ok("new"),
        Err(error) => Err(error.into()),
    }
}

fn tokens_folder(args: &Args) -> PathBuf {
    match (&args.tokens, &args.data) {
        (Some(folder), _) => folder.clone(),
        (None, Some(data)) => data.join("tokens"),
        (None, None) => PathBuf::from("countersign-tokens"),
    }
}

/// Tokens are shown once: each goes to a file that only its owner can read.
fn write_tokens(
    folder: &Path,
    tokens: &[IssuedToken],
) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let failed = |path: &Path, e: std::io::Error| {
        CliError::config(format!("`{}` could not be written", path.display())).because(e)
    };
    if !tokens.is_empty() {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.map_err(|e| failed(folder, e))?;
    }
    let mut files = BTreeMap::new();
    for token in tokens {
        let path = folder.join(format!("{}.token", token.account));
        let _ = fs::remove_file(&path);
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{}", token.token));
        written.map_err(|e| failed(&path, e))?;
        files.insert(token.account.clone(), path);
    }
    Ok(files)
}

/// Scans on the server need advisories; those of this machine are brought along.
async fn bring_advisories(
    context: &Context,
    control: &ControlClient,
) -> Result<Option<u64>, CliError> {
    let Ok(folder) = context.db_dir(None) else {
        return Ok(None);
    };
    if !folder.join(pipeline::advisories::FILE_NAME).is_file() {
        return Ok(None);
    }
    let status = db::upload(&folder, control).await?;
    Ok(Some(status.advisories.values().sum()))
}

fn text(up: &Up) -> String {
    let mut lines = Vec::new();
    if up.started {
        lines.push(format!("started the server at {}", up.server));
    }
    lines.push(format!("project {} ({})", up.project, up.change));
    lines.extend(
        up.git
            .iter()
            .map(|(name, url)| format!("git {name}: {url}")),
    );
    let environments = up.environments.iter();
    lines.extend(environments.map(|(name, url)| format!("environment {name}: {url}")));
    let tokens = up.tokens.iter();
    lines.extend(tokens.map(|(name, path)| format!("token of {name}: {}", path.display())));
    if let Some(count) = up.advisories {
        lines.push(format!("advisories: {count}"));
    }
    let lines: Vec<String> = lines.iter().map(|line| render::sanitise(line)).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn tokens_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("tokens");
        let token = IssuedToken {
            account: "dev".to_owned(),
            id: "id".to_owned(),
            token: "secret".to_owned(),
            expires_at: None,
        };
        let files = write_tokens(&folder, &[token]).unwrap();
        let mode = fs::metadata(&files["dev"]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(fs::read_to_string(&files["dev"]).unwrap(), "secret\n");
    }

    #[test]
    fn a_mistake_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("countersign.yaml");
        fs::write(
            &file,
            "apiVersion: countersign.dev/v1\nkind: Project\nname: shop\nextra: 1\n",
        )
        .unwrap();
        let error = load(&file).unwrap_err();
        assert!(error.to_string().contains("countersign.yaml"), "{error}");
        fs::write(
            &file,
            "apiVersion: countersign.dev/v1\nkind: Project\nname: shop\ngatePolicies: [none.yaml]\n",
        )
        .unwrap();
        let error = load(&file).unwrap_err();
        assert!(error.to_string().contains("none.yaml"), "{error}");
    }
}
