//! Where the advisory database lies: one file in a folder, replaced by a rename.
//!
//! What is in it is `scan`'s business. A reader that has the old file open goes on with it; nobody
//! ever sees half a database.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use scan::database::{DatabaseError, MAX_DATABASE_BYTES};
use scan::osv::archive::ArchiveError;
use scan::osv::{self, MAX_ADVISORY_BYTES, OsvError};
use scan::{Database, DatabaseBuilder};

/// The name of the file in its folder.
pub const FILE_NAME: &str = "advisories.db";
/// The largest archive of advisories, in bytes. The largest of OSV's, of all ecosystems together,
/// has about one gigabyte; those that we use have less than 150 MB.
pub const MAX_ARCHIVE_BYTES: usize = 1024 * 1024 * 1024;
/// The deepest folder that advisories are looked for in.
const MAX_DEPTH: usize = 16;

/// Says why an advisory database cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvisoriesError {
    /// There is none yet.
    #[error("there is no advisory database in `{0}`")]
    Missing(PathBuf),
    /// The file cannot be used.
    #[error("advisory database `{path}` cannot be used")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: DatabaseError,
    },
    /// A file or folder cannot be read or written.
    #[error("`{path}` cannot be {action}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file is larger than anything that we read.
    #[error("`{path}` has more than {limit_bytes} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// A file is not an advisory.
    #[error("`{path}` is not an advisory in OSV form")]
    Advisory {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: OsvError,
    },
    /// A file is not an archive of advisories.
    #[error("`{path}` is not an archive of advisories in OSV form")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ArchiveError,
    },
    /// Nothing was found to import.
    #[error("no advisory was found in `{0}`: neither `.json` files nor `.zip` archives")]
    Nothing(PathBuf),
    /// Folders lie too deep, perhaps in a circle.
    #[error("`{0}` is more than {MAX_DEPTH} folders deep")]
    TooDeep(PathBuf),
}

/// Opens the database in `folder`. Blocks.
///
/// # Errors
/// If there is none, or it is damaged.
pub fn load(folder: &Path) -> Result<Database, AdvisoriesError> {
    let path = folder.join(FILE_NAME);
    let bytes = match read(&path, MAX_DATABASE_BYTES) {
        Err(AdvisoriesError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(AdvisoriesError::Missing(folder.to_owned()));
        }
        other => other?,
    };
    Database::open(bytes).map_err(|source| AdvisoriesError::Database { path, source })
}

/// Puts a database in the place of the one in `folder`, which is made if there is none. Blocks.
///
/// # Errors
/// If the file cannot be written; the old database is then still there.
pub fn replace(folder: &Path, database: &[u8]) -> Result<(), AdvisoriesError> {
    let failed = |path: &Path, action| {
        let path = path.to_owned();
        move |source| AdvisoriesError::File {
            path,
            action,
            source,
        }
    };
    fs::create_dir_all(folder).map_err(failed(folder, "created"))?;
    // Named after the process, so that two of them do not write into one file.
    let temporary = folder.join(format!(".{FILE_NAME}.{}", std::process::id()));
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(database)?;
        file.sync_all()?;
        fs::rename(&temporary, folder.join(FILE_NAME))?;
        fs::File::open(folder)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // Best effort: the error that matters is the first.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed(&folder.join(FILE_NAME), "written"))
}

/// Adds what lies at `path` to a database: an advisory, a zip archive, or a folder of both, with
/// its folders. Returns how many advisories there were. Blocks.
///
/// # Errors
/// If a file cannot be read or is not what its name says; nothing of the database must then be
/// used.
pub fn import(path: &Path, builder: &mut DatabaseBuilder) -> Result<u64, AdvisoriesError> {
    let count = import_at(path, builder, 0)?;
    match count {
        0 => Err(AdvisoriesError::Nothing(path.to_owned())),
        count => Ok(count),
    }
}

/// Adds an archive that was downloaded, and returns how many advisories there were.
///
/// # Errors
/// If it is damaged, or has a file that is not an advisory.
pub fn import_archive(
    name: &Path,
    bytes: &[u8],
    builder: &mut DatabaseBuilder,
) -> Result<u64, AdvisoriesError> {
    let each = |content: &[u8]| osv::parse(content).map(|advisory| builder.add(advisory));
    osv::archive::read(bytes, each).map_err(|source| AdvisoriesError::Archive {
        path: name.to_owned(),
        source,
    })
}

fn import_at(
    path: &Path,
    builder: &mut DatabaseBuilder,
    depth: usize,
) -> Result<u64, AdvisoriesError> {
    if path.is_dir() {
        return import_folder(path, builder, depth);
    }
    if path.extension().is_some_and(|extension| extension == "zip") {
        let bytes = read(path, MAX_ARCHIVE_BYTES as u64)?;
        return import_archive(path, &bytes, builder);
    }
    let bytes = read(path, MAX_ADVISORY_BYTES as u64)?;
    let advisory = osv::parse(&bytes).map_err(|source| AdvisoriesError::Advisory {
        path: path.to_owned(),
        source,
    })?;
    builder.add(advisory);
    Ok(1)
}

fn import_folder(
    folder: &Path,
    builder: &mut DatabaseBuilder,
    depth: usize,
) -> Result<u64, AdvisoriesError> {
    if depth > MAX_DEPTH {
        return Err(AdvisoriesError::TooDeep(folder.to_owned()));
    }
    let unreadable = |source| AdvisoriesError::File {
        path: folder.to_owned(),
        action: "read",
        source,
    };
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_ours = |extension: &std::ffi::OsStr| extension == "json" || extension == "zip";
        if path.is_dir() || path.extension().is_some_and(is_ours) {
            count += import_at(&path, builder, depth + 1)?;
        }
    }
    Ok(count)
}

/// Reads a file of at most `limit_bytes`.
fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, AdvisoriesError> {
    let unreadable = |source| AdvisoriesError::File {
        path: path.to_owned(),
        action: "read",
        source,
    };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    match size > limit_bytes {
        true => Err(AdvisoriesError::TooLarge {
            path: path.to_owned(),
            limit_bytes,
        }),
        false => fs::read(path).map_err(unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scan::{Advisories, Ecosystem};
    use time::macros::datetime;

    const ADVISORY: &str = r#"{"id":"X-1","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"a"}}]}"#;

    #[test]
    fn a_database_is_imported_replaced_and_loaded() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("in/below")).unwrap();
        fs::write(dir.path().join("in/below/a.json"), ADVISORY).unwrap();
        fs::write(dir.path().join("in/ORIGIN.md"), "not an advisory").unwrap();
        let folder = dir.path().join("db");
        assert!(matches!(load(&folder), Err(AdvisoriesError::Missing(_))));
        let mut builder = DatabaseBuilder::new();
        assert_eq!(import(&dir.path().join("in"), &mut builder).unwrap(), 1);
        let (bytes, _) = builder.finish(datetime!(2026-11-23 08:00 UTC));
        replace(&folder, &bytes).unwrap();
        replace(&folder, &bytes).unwrap();
        let database = load(&folder).unwrap();
        assert_eq!(database.status().advisories[&Ecosystem::pypi()], 1);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_wrong_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = DatabaseBuilder::new();
        let error = import(dir.path(), &mut builder).unwrap_err().to_string();
        assert!(error.starts_with("no advisory was found in"), "{error}");
        for (name, expected) in [
            ("b.json", "b.json` is not an advisory in OSV form"),
            (
                "c.zip",
                "c.zip` is not an archive of advisories in OSV form",
            ),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, "{").unwrap();
            let error = import(&path, &mut builder).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
        let missing = import(&dir.path().join("none"), &mut builder).unwrap_err();
        assert!(
            missing.to_string().ends_with("none` cannot be read"),
            "{missing}"
        );
    }

    #[test]
    fn a_damaged_database_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), "x").unwrap();
        let error = load(dir.path()).err().unwrap().to_string();
        assert!(error.ends_with("advisories.db` cannot be used"), "{error}");
    }
}
