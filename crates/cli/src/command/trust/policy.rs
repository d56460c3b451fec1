//! `countersign trust policy import|show`.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::context::{Context, read_file};
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render;
use crate::trust_config::{parse_policy, policy_file, write_file};

/// What to do with the trust policy.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check a trust policy (Notary trust policy 1.0, JSON) and use it from now on.
    Import {
        /// The file.
        file: PathBuf,
        /// Replace the policy that is in use.
        #[arg(long)]
        force: bool,
    },
    /// Show the trust policy that is in use.
    Show,
}

#[derive(Serialize)]
struct Imported {
    path: String,
    statements: Vec<String>,
}

/// Does it.
pub(crate) fn run(command: Command, context: &Context) -> Result<ExitCode, CliError> {
    match command {
        Command::Import { file, force } => import(file, force, context)?,
        Command::Show => show(context)?,
    }
    Ok(ExitCode::Done)
}

fn import(file: PathBuf, force: bool, context: &Context) -> Result<(), CliError> {
    let bytes = read_file(&file)?;
    let policy = parse_policy(&file, &bytes)?;
    let path = policy_file(context)?;
    if path.exists() && !force {
        return Err(CliError::new(
            Kind::Conflict,
            format!("there is a trust policy already, `{}`", path.display()),
        )
        .hint("give `--force` to replace it"));
    }
    write_file(&path, &bytes)?;
    let statements = policy.statements().iter();
    let imported = Imported {
        path: path.display().to_string(),
        statements: statements.map(|one| one.name.clone()).collect(),
    };
    context.print(&imported, |imported| {
        let names = imported
            .statements
            .iter()
            .map(|name| render::sanitise(name));
        let names: Vec<_> = names.collect();
        format!(
            "trust policy with {} imported to {}\n",
            names.join(", "),
            imported.path
        )
    })
}

fn show(context: &Context) -> Result<(), CliError> {
    let path = policy_file(context)?;
    if !path.exists() {
        return Err(CliError::not_found("there is no trust policy")
            .hint("import one with `countersign trust policy import FILE`"));
    }
    let bytes = read_file(&path)?;
    parse_policy(&path, &bytes)?;
    let raw: Box<RawValue> = serde_json::from_slice(&bytes)
        .map_err(|error| CliError::internal("the trust policy is not JSON").because(error))?;
    context.print(&raw, |raw| {
        format!("{}\n", render::sanitise_lines(raw.get()))
    })
}
