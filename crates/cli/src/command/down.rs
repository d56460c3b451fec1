//! `countersign down`: removes what a declarative file made.

use std::net::SocketAddr;
use std::path::PathBuf;

use client::control::{ControlClient, ControlError};
use pipeline::project::Project;
use serde::Serialize;
use server::api::projects::RemovedProject;

use super::pending::Answer;
use super::up::absolute;
use crate::background;
use crate::context::{Context, read_file};
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;

/// Remove what a declarative file made: its containers, accounts, repositories and pipelines.
///
/// Images and their signatures stay in the registry. With `--data`, the server on this machine is
/// stopped as well; its data folder stays.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The declarative file.
    #[arg(value_name = "FILE", default_value = "countersign.yaml")]
    file: PathBuf,
    /// The data folder of a server on this machine that `up` has started.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address that this server listens on [default: $COUNTERSIGN_SERVER, else 127.0.0.1:5000].
    #[arg(long, value_name = "ADDRESS:PORT", requires = "data")]
    listen: Option<SocketAddr>,
}

/// What `down` did.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Down {
    project: String,
    removed: bool,
    containers_left: usize,
    stopped: bool,
}

/// Removes the project, and stops the server.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let text = String::from_utf8_lossy(&read_file(&args.file)?).into_owned();
    let project = Project::parse(&text).map_err(|e| {
        CliError::config(format!("`{}` is not a project", args.file.display())).because(e)
    })?;
    let name = project.name.to_string();
    let data = args.data.as_deref().map(absolute).transpose()?;
    let is_down = data
        .as_deref()
        .is_some_and(|data| background::running(data).is_none());
    let removed = match is_down {
        true => None,
        false => remove(&connect(&args, context).await?, &name).await?,
    };
    let stopped = match &data {
        Some(data) => background::stop(data).await?,
        None => false,
    };
    let down = Down {
        project: name,
        removed: removed.is_some(),
        containers_left: removed.map_or(0, |one| one.containers_left),
        stopped,
    };
    context.print(&down, shown)?;
    if down.containers_left > 0 {
        context.warn("no worker took the containers of some environments away in time");
    }
    Ok(ExitCode::Done)
}

async fn connect(args: &Args, context: &Context) -> Result<ControlClient, CliError> {
    let Some(data) = &args.data else {
        return context.control(None).await;
    };
    let token = Some(background::admin_token(data)?);
    let base = match args.listen {
        Some(listen) => format!("http://{listen}/").parse(),
        None => match context.control(None).await {
            Ok(control) => Ok(control.base().clone()),
            Err(_) => "http://127.0.0.1:5000/".parse(),
        },
    };
    let base = base.map_err(|e| CliError::internal("an address").because(e))?;
    Ok(ControlClient::with_options(
        base,
        token,
        context.http_options(),
    )?)
}

/// Returns what was removed; nothing if there was no such project.
async fn remove(control: &ControlClient, name: &str) -> Result<Option<RemovedProject>, CliError> {
    match control.delete(&format!("api/v1/projects/{name}")).await {
        Ok(Answer::Done(removed)) => Ok(Some(removed)),
        Ok(Answer::Pending(answer)) => {
            let id = &answer.pending.id;
            let message = format!("removing project `{name}` waits for a second person");
            Err(CliError::new(Kind::Conflict, message).hint(format!(
                "let another administrator look at `countersign pending show {id}`"
            )))
        }
        Err(ControlError::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn shown(down: &Down) -> String {
    let project = &down.project;
    let mut text = match down.removed {
        true => format!("removed project {project}\n"),
        false => format!("there was no project {project}\n"),
    };
    if down.stopped {
        text += "stopped the server; its data stays\n";
    }
    text
}
