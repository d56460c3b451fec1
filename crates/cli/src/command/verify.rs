//! `countersign verify`.

mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;

use client::evidence::Trust;
use client::revocation::HttpCrls;
use client::verification::{Verification, VerificationError};
use trust::NoStatement;
use trust::revocation::Pushed;
use trust::tlog::VerifierKey;

use crate::command::revocation::load_bundle;
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::target::Target;
use crate::trust_config;

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
    /// Learn of revocations from this file, without a network (`countersign revocation export`).
    #[arg(long, value_name = "FILE", requires = "revocation_key")]
    revocation_bundle: Option<PathBuf>,
    /// The key that the file must be signed with: that of the server's log.
    #[arg(long, value_name = "VKEY", requires = "revocation_bundle")]
    revocation_key: Option<VerifierKey>,
}

/// Verifies.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let scope = scope(&args)?;
    let required_metadata = metadata(&args.metadata)?;
    let policy = trust_config::load_policy(args.trust_policy.as_deref(), context)?;
    let store = trust_config::load_store(context)?;
    // Asked again below; here, so that nobody is asked over the network in vain.
    policy.statement(&scope).map_err(no_statement)?;
    let source = args.target.open(context)?;
    let root = args.target.resolve(&*source, context, Some("verifying"));
    let root = root.await?;
    let reference = args.target.at(&root.digest).to_string();
    let crls = HttpCrls::new(context.http_options())?;
    let bundle = match (&args.revocation_bundle, &args.revocation_key) {
        (Some(file), Some(key)) => Some(Pushed::Bundle(load_bundle(file, key)?.into())),
        _ => None,
    };
    let pushed: Vec<Pushed> = bundle.into_iter().collect();
    let verification = Verification {
        trust: Trust {
            policy: &policy,
            store: &store,
            crls: &crls,
            pushed: &pushed,
        },
        scope: &scope,
        required_metadata: &required_metadata,
        recursive: args.recursive,
        now: context.now(),
    };
    let verified = client::verification::verify(&*source, (root, reference), &verification);
    let report = verified.await.map_err(failed)?;
    report::finish(&report, context)
}

fn no_statement(error: NoStatement) -> CliError {
    CliError::config(error.to_string())
        .hint("add a statement for it, or one for `*`, and import the policy again")
}

fn failed(error: VerificationError) -> CliError {
    match error {
        VerificationError::NoStatement(error) => no_statement(error),
        VerificationError::Artifact(problem) => {
            CliError::new(Kind::Untrusted, "the artifact could not be read").because(problem)
        }
        error => CliError::wrapping(Kind::Internal, error),
    }
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
