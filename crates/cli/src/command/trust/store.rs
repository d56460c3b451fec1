//! `countersign trust store add|list|remove`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use trust::inspect::CertificateView;
use trust::{Certificate, StoreKind, TrustStore};

use crate::context::{Context, read_file};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render::{self, table::Table};
use crate::trust_config::{certificates, store_files, store_folder, store_names, write_file};

/// What to do with trust stores.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add root certificates, in PEM or DER, to a named store.
    Add {
        #[command(flatten)]
        store: StoreArgs,
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List what is in the stores.
    List,
    /// Remove one certificate, or a whole store.
    Remove {
        #[command(flatten)]
        store: StoreArgs,
        /// The SHA-256 of the certificate, or its beginning, as `list` shows it.
        #[arg(long, value_name = "SHA256", required_unless_present = "all")]
        certificate: Option<String>,
        /// Remove the whole store.
        #[arg(long, conflicts_with = "certificate")]
        all: bool,
    },
}

/// Which store.
#[derive(clap::Args)]
pub(crate) struct StoreArgs {
    /// The kind: `ca`, `signingAuthority` or `tsa`.
    #[arg(long = "type", short = 't', value_name = "KIND")]
    kind: StoreKind,
    /// The name.
    #[arg(long, short = 'n')]
    name: String,
}

#[derive(Serialize)]
struct Entry {
    store: String,
    file: String,
    #[serde(flatten)]
    certificate: CertificateView,
}

/// Does it.
pub(crate) fn run(command: Command, context: &Context) -> Result<ExitCode, CliError> {
    let entries = match command {
        Command::Add { store, files } => add(&store, &files, context)?,
        Command::List => list(context)?,
        Command::Remove {
            store, certificate, ..
        } => remove(&store, certificate.as_deref(), context)?,
    };
    context.print(&entries, |entries| text(entries))?;
    Ok(ExitCode::Done)
}

/// Adds each certificate under a name of its own, so that one can be removed alone. All files are
/// checked before the first is written.
fn add(args: &StoreArgs, files: &[PathBuf], context: &Context) -> Result<Vec<Entry>, CliError> {
    let folder = store_folder(args.kind, &args.name, context)?;
    let mut found = Vec::new();
    for file in files {
        let bytes = read_file(file)?;
        let mut probe = TrustStore::default();
        probe.add(args.kind, &args.name, &bytes).map_err(|error| {
            let message = format!("`{}` cannot be used as a trust anchor", file.display());
            CliError::config(message).because(error)
        })?;
        found.extend(certificates(file)?);
    }
    let mut entries = Vec::new();
    for certificate in found {
        let file = folder.join(format!("{}.crt", certificate.sha256()));
        write_file(&file, certificate.der())?;
        entries.push(entry(args.kind, &args.name, &file, &certificate));
    }
    Ok(entries)
}

fn list(context: &Context) -> Result<Vec<Entry>, CliError> {
    let mut entries = Vec::new();
    for (kind, name) in store_names(context)? {
        for file in store_files(&store_folder(kind, &name, context)?)? {
            let certificates = certificates(&file)?;
            entries.extend(
                certificates
                    .iter()
                    .map(|one| entry(kind, &name, &file, one)),
            );
        }
    }
    Ok(entries)
}

fn remove(
    args: &StoreArgs,
    prefix: Option<&str>,
    context: &Context,
) -> Result<Vec<Entry>, CliError> {
    let folder = store_folder(args.kind, &args.name, context)?;
    let mut removed = Vec::new();
    for file in store_files(&folder)? {
        let certificates = certificates(&file)?;
        let named = |one: &Certificate| match prefix {
            None => true,
            Some(prefix) => !prefix.is_empty() && one.sha256().starts_with(prefix),
        };
        if certificates.iter().any(named) {
            refuse_half(&file, &certificates, prefix)?;
            fs::remove_file(&file).map_err(|error| unwritable(&file, error))?;
            let gone = certificates.iter();
            removed.extend(gone.map(|one| entry(args.kind, &args.name, &file, one)));
        }
    }
    if removed.is_empty() {
        let store = format!("{}:{}", args.kind, args.name);
        return Err(
            CliError::not_found(format!("there is no such certificate in `{store}`"))
                .hint("`countersign trust store list` shows what is there"),
        );
    }
    // The folder stays if something else is in it.
    let _ = fs::remove_dir(&folder);
    Ok(removed)
}

/// A file that somebody put there by hand can hold several certificates.
fn refuse_half(
    file: &Path,
    certificates: &[Certificate],
    prefix: Option<&str>,
) -> Result<(), CliError> {
    match prefix.is_some() && certificates.len() > 1 {
        true => Err(CliError::config(format!(
            "`{}` holds {} certificates, not only this one",
            file.display(),
            certificates.len()
        ))
        .hint("edit the file, or remove the whole store with `--all`")),
        false => Ok(()),
    }
}

fn unwritable(file: &Path, error: std::io::Error) -> CliError {
    CliError::config(format!("`{}` could not be removed", file.display())).because(error)
}

fn entry(kind: StoreKind, name: &str, file: &Path, certificate: &Certificate) -> Entry {
    Entry {
        store: format!("{kind}:{name}"),
        file: file.display().to_string(),
        certificate: CertificateView::of(certificate),
    }
}

fn text(entries: &[Entry]) -> String {
    let mut table = Table::new(["STORE", "SUBJECT", "VALID UNTIL", "SHA-256"]);
    for entry in entries {
        table.row([
            entry.store.clone(),
            render::sanitise(&entry.certificate.subject.to_string()),
            entry.certificate.not_after.date().to_string(),
            entry.certificate.sha256.chars().take(16).collect(),
        ]);
    }
    match table.is_empty() {
        true => "there are no trust stores\n".to_owned(),
        false => table.draw(),
    }
}
