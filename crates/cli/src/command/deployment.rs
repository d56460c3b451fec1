//! `countersign deployment`.

use server::api::deployments::Deployment;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// Show what serves in which environment.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List what serves, in all environments.
    List,
    /// Show the deployments of one environment, the newest first.
    Show {
        /// The environment.
        environment: String,
    },
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let path = match &args.action {
        Action::List => "api/v1/deployments".to_owned(),
        Action::Show { environment } => {
            let name: pipeline::project::Name = environment
                .parse()
                .map_err(|error| CliError::usage("not an environment").because(error))?;
            format!("api/v1/deployments/{name}")
        }
    };
    let control = context.control(None).await?;
    let deployments: Vec<Deployment> = control.get(&path).await?;
    context.print(&deployments, |deployments| shown(deployments))?;
    Ok(ExitCode::Done)
}

fn shown(deployments: &[Deployment]) -> String {
    if deployments.is_empty() {
        return "nothing is deployed that you may see\n".to_owned();
    }
    let mut table = Table::new(["ENVIRONMENT", "STATE", "IMAGE", "RUN", "SINCE", "URL"]);
    for one in deployments {
        let remark = one.url.clone().or_else(|| one.reason.clone());
        table.row([
            one.environment.clone(),
            one.state.as_str().to_owned(),
            format!("{}@{}", one.repository, one.digest.short()),
            one.run.clone(),
            render::time(one.updated_at),
            render::sanitise(&remark.unwrap_or_default()),
        ]);
    }
    table.draw()
}
