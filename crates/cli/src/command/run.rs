//! `countersign run`.

mod follow;
mod show;

use server::api::runs::{Run, RunAnswer, RunSummary, StartRun};
use store::runs::RunId;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;
use crate::render::terminal;

/// Start, watch, approve and retry runs of pipelines.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Start a run by hand.
    Start(Start),
    /// List runs, the newest first.
    List(List),
    /// Show a run: its actions, what it produced, and what it waits for.
    Show {
        /// The run.
        run: RunId,
    },
    /// Print the log of a run.
    Logs {
        /// The run.
        run: RunId,
        /// Go on until the run is finished, and end with its exit code.
        #[arg(long, short)]
        follow: bool,
        /// Only lines after this number.
        #[arg(long, default_value_t = 0, value_name = "LINE")]
        after: u64,
    },
    /// Approve the verdict that a run waits with.
    Approve(Answer),
    /// Reject the verdict that a run waits with, and end the run.
    Reject(Answer),
    /// Try the failed action of a run again, and go on from there.
    Retry {
        /// The run.
        run: RunId,
        /// Follow the log until the run is finished.
        #[arg(long, short)]
        follow: bool,
    },
}

#[derive(clap::Args)]
struct Start {
    /// The pipeline.
    pipeline: String,
    /// The image, for a pipeline that begins with one. A tag is resolved once, now.
    #[arg(long, value_name = "REFERENCE", conflicts_with = "commit")]
    image: Option<String>,
    /// The commit, for a pipeline that begins with one [default: the newest of its branch].
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// The project, where several have a pipeline of that name.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Follow the log until the run is finished.
    #[arg(long, short)]
    follow: bool,
}

#[derive(clap::Args)]
struct List {
    /// Only runs of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Only runs of this project.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Only runs that are not finished.
    #[arg(long)]
    unfinished: bool,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,
}

#[derive(clap::Args)]
struct Answer {
    /// The run.
    run: RunId,
    /// Why.
    #[arg(long, short = 'm', default_value = "", value_name = "TEXT")]
    comment: String,
    /// Do not ask, even on a terminal.
    #[arg(long, short)]
    yes: bool,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Start(new) => start(new, context).await,
        Action::List(filter) => list(filter, context).await,
        Action::Show { run } => {
            let control = context.control(None).await?;
            let shown: Run = control.get(&path(&run, "")).await?;
            context.print(&shown, show::whole)?;
            Ok(ExitCode::Done)
        }
        Action::Logs { run, follow, after } => match follow {
            true => follow::to_the_end(context, &run, after).await,
            false => follow::once(context, &run, after).await,
        },
        Action::Approve(answer) => approve(answer, context).await,
        Action::Reject(answer) => reject(answer, context).await,
        Action::Retry { run, follow } => {
            let control = context.control(None).await?;
            let empty = serde_json::json!({});
            let retried: Run = control.post(&path(&run, "/retry"), &empty).await?;
            begun(context, &retried, follow).await
        }
    }
}

fn path(run: &RunId, rest: &str) -> String {
    format!("api/v1/runs/{run}{rest}")
}

async fn start(new: Start, context: &Context) -> Result<ExitCode, CliError> {
    let request = StartRun {
        pipeline: new.pipeline,
        project: new.project,
        reference: new.image,
        commit: new.commit,
    };
    let control = context.control(None).await?;
    let started: Run = control.post("api/v1/runs", &request).await?;
    begun(context, &started, new.follow).await
}

async fn begun(context: &Context, started: &Run, follow: bool) -> Result<ExitCode, CliError> {
    let RunSummary { id, pipeline, .. } = &started.summary;
    if !follow {
        context.print(started, |run| show::line(&run.summary))?;
        return Ok(ExitCode::Done);
    }
    context.note(&format!("run {id} of {pipeline}"));
    let id: RunId = id
        .parse()
        .map_err(|error| CliError::internal("the server named a run unreadably").because(error))?;
    follow::to_the_end(context, &id, 0).await
}

async fn list(filter: List, context: &Context) -> Result<ExitCode, CliError> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &filter.limit.to_string());
    query.append_pair("unfinished", &filter.unfinished.to_string());
    let names = [("pipeline", filter.pipeline), ("project", filter.project)];
    for (name, value) in names {
        query.extend_pairs(value.map(|value| (name, value)));
    }
    let control = context.control(None).await?;
    let path = format!("api/v1/runs?{}", query.finish());
    let runs: Vec<RunSummary> = control.get(&path).await?;
    context.print(&runs, |runs| {
        if runs.is_empty() {
            return "there is no such run that you may see\n".to_owned();
        }
        let mut table = Table::new(["RUN", "PIPELINE", "STATUS", "AT", "STARTED", "INPUT"]);
        for run in runs {
            table.row([
                run.id.clone(),
                run.pipeline.clone(),
                run.status.clone(),
                run.at.clone().unwrap_or_default(),
                render::time(run.started_at),
                show::input(&run.input),
            ]);
        }
        table.draw()
    })?;
    Ok(ExitCode::Done)
}

/// Shows the verdict, asks on a terminal, and approves exactly what was shown.
async fn approve(answer: Answer, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let seen: Run = control.get(&path(&answer.run, "")).await?;
    if let Some(awaiting) = &seen.awaiting {
        context.note(&show::verdict(awaiting));
    }
    if !answer.yes && context.can_ask() && !ask_whether("approve exactly this? [y/N] ")? {
        context.note("nothing was approved");
        return Ok(ExitCode::Done);
    }
    let request = RunAnswer {
        comment: answer.comment,
        graph_root: seen.awaiting.and_then(|awaiting| awaiting.graph_root),
    };
    let approved: Run = control
        .post(&path(&answer.run, "/approve"), &request)
        .await?;
    context.print(&approved, |run| {
        format!("approved run {}\n", run.summary.id)
    })?;
    Ok(ExitCode::Done)
}

async fn reject(answer: Answer, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let request = RunAnswer {
        comment: answer.comment,
        graph_root: None,
    };
    let rejected: Run = control
        .post(&path(&answer.run, "/reject"), &request)
        .await?;
    context.print(&rejected, |run| {
        format!("rejected run {}\n", run.summary.id)
    })?;
    Ok(ExitCode::Done)
}

fn ask_whether(question: &str) -> Result<bool, CliError> {
    let line = terminal::ask(question)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
