//! `countersign gate check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use client::evidence::{Collection, Trust};
use client::revocation::HttpCrls;
use gate::{Decision, DecisionResult};
use oci::graph::GraphLimits;
use server::api::gate::GateCheck;

use super::policy;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::target::Target;
use crate::trust_config;

/// Say whether an image satisfies a policy now, and if not, what to do.
///
/// With a policy file everything is fetched and judged here, from whatever registry holds the
/// image, under the trust policy that was imported. With the name of a policy the Countersign
/// server decides, which also remembers the newest reports that it has seen.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The image.
    #[arg(value_name = "REF")]
    target: Target,
    /// The policy: a file, or the name of one that the server has.
    #[arg(long, value_name = "FILE|NAME")]
    policy: String,
    /// The project whose policy is meant, where several have one of that name.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Use this trust policy instead of the one that was imported.
    #[arg(long, value_name = "FILE")]
    trust_policy: Option<PathBuf>,
    /// The repository that the trust policy is asked about [default: that of REF].
    #[arg(long, value_name = "REGISTRY/REPOSITORY")]
    scope: Option<String>,
    /// Show every part of every requirement, also of those that pass.
    #[arg(long)]
    explain: bool,
}

/// Checks.
pub(super) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let file = Path::new(&args.policy);
    let decision = match file.is_file() {
        true => decide_here(&args, file, context).await?,
        false => ask_server(&args, context).await?,
    };
    context.print(&decision, |decision| match args.explain {
        true => decision.render_whole_tree(),
        false => decision.render_tree(),
    })?;
    Ok(match decision.decision {
        DecisionResult::Allow => ExitCode::Done,
        DecisionResult::Deny => ExitCode::GateDenied,
        DecisionResult::Inconclusive => ExitCode::Inconclusive,
    })
}

async fn decide_here(args: &Args, file: &Path, context: &Context) -> Result<Decision, CliError> {
    let gate_policy = policy::load(file)?;
    let trust_policy = trust_config::load_policy(args.trust_policy.as_deref(), context)?;
    let store = trust_config::load_store(context)?;
    let scope = scope(args)?;
    let source = args.target.open(context)?;
    let root = args
        .target
        .resolve(&*source, context, Some("judging"))
        .await?;
    let graph = client::walk(&*source, root, GraphLimits::default()).await;
    let crls = HttpCrls::new(context.http_options())?;
    let collection = Collection {
        trust: Trust {
            policy: &trust_policy,
            store: &store,
            crls: &crls,
            pushed: &[],
        },
        scope: &scope,
        contents: &gate_policy.content_types(),
        required_metadata: &BTreeMap::new(),
        now: context.now(),
    };
    let evidence = client::evidence::collect(&*source, graph, &collection).await;
    let evidence = evidence.map_err(|error| {
        CliError::config(error.to_string())
            .hint("add a statement for it, or one for `*`, and import the policy again")
    })?;
    let mut facts = pipeline::facts::of_evidence(&scope, evidence, context.now());
    facts.policies = policy::beside(file);
    Ok(gate::decide(&gate_policy, &facts))
}

/// The trust policy is asked about where the artifact is, never about what a signature says.
fn scope(args: &Args) -> Result<String, CliError> {
    match (&args.scope, &args.target) {
        (Some(scope), _) => Ok(scope.clone()),
        (None, Target::Registry(reference)) => Ok(reference.scope()),
        (None, Target::Layout { .. }) => Err(CliError::usage("a layout lies in no repository")
            .hint(
                "give `--scope REGISTRY/REPOSITORY`, where its content comes from or will go to",
            )),
    }
}

async fn ask_server(args: &Args, context: &Context) -> Result<Decision, CliError> {
    let named = render::sanitise(&args.policy);
    if args.policy.contains(['/', '.']) {
        return Err(CliError::not_found(format!("there is no file `{named}`")));
    }
    let Target::Registry(reference) = &args.target else {
        return Err(
            CliError::usage("a server does not see a layout on this machine")
                .hint("give a policy file, or push the layout first"),
        );
    };
    let question = GateCheck {
        policy: args.policy.clone(),
        project: args.project.clone(),
        reference: reference.to_string(),
    };
    let control = context.control(Some(&reference.registry)).await?;
    Ok(control.post("api/v1/gate/check", &question).await?)
}
