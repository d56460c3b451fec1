//! The trust policy and the trust stores in the folder of our settings.
//!
//! `trust-policy.json`, and `trust-store/x509/KIND/NAME/*.pem` (`.crt`, `.cer`), the layout that
//! the specification gives (trust-store-trust-policy.md, Trust Store). A symbolic link among them
//! is an error and a folder inside a store is ignored (R054, R055).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use trust::{Certificate, StoreKind, TrustPolicy, TrustStore};

use crate::context::{Context, read_file};
use crate::error::{CliError, Kind};

/// The largest file in a trust store, in bytes: a whole web root program has about 250,000.
const MAX_STORE_FILE_BYTES: u64 = 1 << 20;
/// Names of files that hold certificates (R053).
const EXTENSIONS: [&str; 3] = ["pem", "crt", "cer"];

/// Returns the file of the trust policy.
pub(crate) fn policy_file(context: &Context) -> Result<PathBuf, CliError> {
    Ok(context.config_dir()?.join("trust-policy.json"))
}

/// Loads the trust policy: the file given, else the one that was imported.
pub(crate) fn load_policy(
    given: Option<&Path>,
    context: &Context,
) -> Result<TrustPolicy, CliError> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => policy_file(context)?,
    };
    if given.is_none() && !path.exists() {
        return Err(CliError::config("there is no trust policy yet")
            .hint("import one with `countersign trust policy import FILE`"));
    }
    refuse_link(&path)?;
    parse_policy(&path, &read_file(&path)?)
}

/// Parses a trust policy; errors name the file.
pub(crate) fn parse_policy(path: &Path, bytes: &[u8]) -> Result<TrustPolicy, CliError> {
    TrustPolicy::parse(bytes).map_err(|error| {
        let message = format!("`{}` is not a trust policy", path.display());
        CliError::config(message).because(error)
    })
}

/// Returns the folder of a named store.
pub(crate) fn store_folder(
    kind: StoreKind,
    name: &str,
    context: &Context,
) -> Result<PathBuf, CliError> {
    if !trust::trust_store::is_store_name(name) {
        return Err(
            CliError::usage(format!("`{name}` is not a trust store name"))
                .hint("use letters, digits, `_`, `.` and `-`"),
        );
    }
    Ok(stores_folder(context)?.join(kind.name()).join(name))
}

fn stores_folder(context: &Context) -> Result<PathBuf, CliError> {
    Ok(context.config_dir()?.join("trust-store").join("x509"))
}

/// Loads every trust store.
pub(crate) fn load_store(context: &Context) -> Result<TrustStore, CliError> {
    let mut store = TrustStore::default();
    for (kind, name) in store_names(context)? {
        for path in store_files(&store_folder(kind, &name, context)?)? {
            let bytes = read_store_file(&path)?;
            store.add(kind, &name, &bytes).map_err(|error| {
                let message = format!("`{}` cannot be used as a trust anchor", path.display());
                CliError::config(message).because(error)
            })?;
        }
    }
    Ok(store)
}

/// Returns the kind and name of every store, in order.
pub(crate) fn store_names(context: &Context) -> Result<Vec<(StoreKind, String)>, CliError> {
    let mut names = Vec::new();
    for kind in StoreKind::ALL {
        for folder in entries(&stores_folder(context)?.join(kind.name()))? {
            refuse_link(&folder)?;
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            if folder.is_dir() && trust::trust_store::is_store_name(&name) {
                names.push((kind, name.into_owned()));
            }
        }
    }
    Ok(names)
}

/// Returns the files with certificates of one store, in order.
pub(crate) fn store_files(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        refuse_link(&path)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_file() && extension.is_some_and(|one| EXTENSIONS.contains(&one)) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Reads the certificates of one file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<Certificate>, CliError> {
    let bytes = read_store_file(path)?;
    trust::trust_store::certificates_in(&bytes).map_err(|error| {
        let message = format!("`{}` holds no usable certificate", path.display());
        CliError::config(message).because(error)
    })
}

fn read_store_file(path: &Path) -> Result<Vec<u8>, CliError> {
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size > MAX_STORE_FILE_BYTES {
        let path = path.display();
        return Err(CliError::config(format!(
            "`{path}` has more than {MAX_STORE_FILE_BYTES} bytes"
        )));
    }
    read_file(path)
}

/// Replaces a file, so that a reader sees the old content or the new.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::config(format!("`{}` could not be written", path.display())).because(error)
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error that matters is the first.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// Returns what is in a folder, in order; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |error: std::io::Error| {
        CliError::config(format!("`{}` could not be read", folder.display())).because(error)
    };
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let paths = listing.map(|entry| Ok(entry.map_err(failed)?.path()));
    let mut paths: Vec<_> = paths.collect::<Result<_, CliError>>()?;
    paths.sort();
    Ok(paths)
}

fn refuse_link(path: &Path) -> Result<(), CliError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(CliError::new(
            Kind::Config,
            format!("`{}` is a symbolic link", path.display()),
        )
        .hint("put the file itself there: a link can be turned to something else")),
        _ => Ok(()),
    }
}
