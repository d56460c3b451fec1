//! Deploying, and taking away what was deployed.

use pipeline::deploy::{DeployRequest, HealthCheck, Privileges};
use pipeline::project::Environment;
use pipeline::runner::LogSink;

use super::WorkFailure;
use super::job::Job;
use crate::api::worker::{WorkItem, WorkOutcome};

pub(super) async fn deploy(job: &Job, log: &dyn LogSink) -> Result<WorkOutcome, WorkFailure> {
    let WorkItem::Deploy {
        image,
        environment,
        deployment,
    } = &job.assignment.work
    else {
        return Err(WorkFailure::of_work("front", "not a deployment"));
    };
    let engines = &job.shared.engines;
    let deployer = engines.deployer(&job.registry, &environment.target).await?;
    let health = HealthCheck {
        path: environment.health.path.clone(),
        within: environment.health.within.duration().unsigned_abs(),
    };
    let request = DeployRequest {
        image: &job.reference(&image.repository, &image.digest),
        environment: environment.name.as_str(),
        deployment,
        run: &job.assignment.run,
        privileges: &privileges(environment),
        health: &health,
        login: &job.login(),
    };
    let endpoint = deployer.deploy(&request, log).await?;
    Ok(WorkOutcome::Deployed { endpoint })
}

pub(super) async fn retire(
    job: &Job,
    log: &dyn LogSink,
    (environment, deployments): (&Environment, Option<&[String]>),
) -> Result<WorkOutcome, WorkFailure> {
    let engines = &job.shared.engines;
    let deployer = engines.deployer(&job.registry, &environment.target).await?;
    let name = environment.name.as_str();
    let count = deployer.retire(name, deployments).await?;
    let name = &environment.name;
    log.line(&format!("took {count} containers of `{name}` away"))
        .await;
    Ok(WorkOutcome::Done)
}

fn privileges(environment: &Environment) -> Privileges {
    let container = &environment.container;
    Privileges {
        port: container.port,
        user: container.user.to_string(),
        read_only: container.read_only,
        memory_bytes: container.memory.bytes(),
        cpus: container.cpus,
        pids: container.pids,
        capabilities: container.capabilities.clone(),
    }
}
