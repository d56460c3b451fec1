//! `countersign gate policy`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use gate::GatePolicy;
use oci::Digest;
use serde::Serialize;

use crate::context::{Context, read_file};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;

/// What to do with policies.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Check that files are gate policies; the first mistake of each is named with its place.
    Check {
        /// The policies.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Say in words what a policy requires.
    Explain {
        /// The policy.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Checked {
    name: String,
    digest: Digest,
    file: String,
}

/// Does it.
pub(super) fn run(command: Command, context: &Context) -> Result<ExitCode, CliError> {
    match command {
        Command::Check { files } => check(&files, context),
        Command::Explain { file } => {
            let policy = load(&file)?;
            context.print(&policy.explain(), |text| render::sanitise_lines(text))?;
            Ok(ExitCode::Done)
        }
    }
}

fn check(files: &[PathBuf], context: &Context) -> Result<ExitCode, CliError> {
    let checked: Result<Vec<Checked>, CliError> = files
        .iter()
        .map(|file| {
            let policy = load(file)?;
            Ok(Checked {
                name: policy.name,
                digest: policy.digest,
                file: file.display().to_string(),
            })
        })
        .collect();
    let line = |one: &Checked| format!("policy `{}` {}\n", one.name, one.digest);
    context.print(&checked?, |all| all.iter().map(line).collect())?;
    Ok(ExitCode::Done)
}

/// Loads a policy; errors name the file, and the place in it.
pub(super) fn load(path: &Path) -> Result<GatePolicy, CliError> {
    let bytes = read_file(path)?;
    let file = render::sanitise(&path.display().to_string());
    let text = String::from_utf8(bytes)
        .map_err(|error| CliError::config(format!("`{file}` is not text")).because(error))?;
    GatePolicy::parse(&text).map_err(|error| {
        let error = error.in_file(&file);
        CliError::config(render::sanitise(&error.to_string()))
    })
}

/// Returns the digests of the policies in the same folder: approvals name the policy whose verdict
/// was approved, and count while its text is the same.
pub(super) fn beside(path: &Path) -> BTreeMap<String, Digest> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("yaml" | "yml"))
    });
    // Other documents may lie there too: what is no policy is not one that an approval names.
    let policies = files.filter_map(|file| load(&file).ok());
    policies
        .map(|policy| (policy.name, policy.digest))
        .collect()
}
