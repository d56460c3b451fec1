//! `countersign verify`.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use client::evidence::{Collection, Trust};
use client::revocation::HttpCrls;
use oci::graph::GraphLimits;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::target::Target;
use crate::trust_config;

use report::Report;

/// Verify that somebody you trust signed an artifact, and that the signature holds now.
///
/// The trust policy says who that is: import one with `countersign trust policy import`. One
/// trusted signature is enough; what is wrong with the others is said too. A tag is resolved
/// once, and the digest that was verified is printed: use that from then on.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact.
    #[arg(value_name = "REF")]
    target: Target,
    /// Use this trust policy instead of the one that was imported.
    #[arg(long, value_name = "FILE")]
    trust_policy: Option<PathBuf>,
    /// The repository that the trust policy is asked about [default: that of REF].
    #[arg(long, value_name = "REGISTRY/REPOSITORY")]
    scope: Option<String>,
    /// Require this user metadata in the signature; may be given several times.
    #[arg(long, short = 'm', value_name = "NAME=VALUE")]
    metadata: Vec<String>,
    /// Verify everything that hangs on the artifact, too: each piece of evidence must be signed.
    #[arg(long)]
    recursive: bool,
}

/// Verifies.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let scope = scope(&args)?;
    let required_metadata = metadata(&args.metadata)?;
    let policy = trust_config::load_policy(args.trust_policy.as_deref(), context)?;
    let store = trust_config::load_store(context)?;
    let statement = policy.statement(&scope).map_err(|error| {
        CliError::config(error.to_string())
            .hint("add a statement for it, or one for `*`, and import the policy again")
    })?;
    let source = args.target.open(context)?;
    let root = args.target.resolve(&*source, context, Some("verifying"));
    let root = root.await?;
    if statement.level.is_skip() {
        let report = Report::skipped(args.target.at(&root.digest), &statement.name);
        return report.finish(context);
    }
    let graph = match args.recursive {
        true => client::walk(&*source, root, GraphLimits::default()).await,
        false => client::walk_signatures(&*source, root).await,
    };
    let crls = HttpCrls::new(context.http_options())?;
    let collection = Collection {
        trust: Trust {
            policy: &policy,
            store: &store,
            crls: &crls,
        },
        scope: &scope,
        contents: &BTreeSet::new(),
        required_metadata: &required_metadata,
        now: context.now(),
    };
    let evidence = client::evidence::collect(&*source, graph, &collection).await;
    let evidence = evidence.map_err(|error| CliError::config(error.to_string()))?;
    let reference = args.target.at(evidence.graph.root());
    Report::of(reference, statement, &evidence, args.recursive)?.finish(context)
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

fn metadata(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let pairs = given.iter().map(|pair| {
        let parts = pair.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = parts.ok_or_else(|| {
            CliError::usage(format!("`{pair}` is not user metadata"))
                .hint("write it as `name=value`")
        })?;
        Ok((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}
