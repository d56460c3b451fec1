//! A backup of the data folder of a server that runs.
//!
//! The front's database is copied first and blobs after it: a blob lies on the disk before the
//! database names it. The signer's records come last, so that whatever the front knows of is in
//! them. The worker's folder is not copied: what it holds can be made again. The secret that
//! unlocks the keys is not in the data folder, and so not in the backup.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use signer::custody::files::create_private_folder;
use store::StoreError;
use store::backup::copy_database;

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Backup {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Says why there is no backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The folder holds no server's data.
    #[error("`{}` is not the data folder of a server", .0.display())]
    NoData(PathBuf),
    /// The target is inside the data folder, or is not empty.
    #[error("`{}` cannot take the backup: it must be outside the data folder, and empty or new", .0.display())]
    Target(PathBuf),
    /// A file cannot be copied.
    #[error("cannot copy `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// A database cannot be copied.
    #[error("cannot copy database `{}`", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: StoreError,
    },
}

/// What is not copied: what a start makes anew, and what lies half written.
const LEFT_OUT: [&str; 4] = ["worker", "staging", "uploads", "signer.sock"];
/// The ends of databases' names, and of what SQLite puts beside them.
const DATABASES: [&str; 2] = [".sqlite", ".db"];
const BESIDE_DATABASES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Copies the data folder of a server, which may run, to `to`.
///
/// # Errors
/// [`BackupError`]; what was copied by then is left for whoever wants to look.
pub fn back_up(data: &Path, to: &Path) -> Result<Backup, BackupError> {
    if !data.join("front").is_dir() || !data.join("signer").is_dir() {
        return Err(BackupError::NoData(data.to_owned()));
    }
    create_private_folder(to).map_err(failed(to))?;
    let is_empty = fs::read_dir(to).map_err(failed(to))?.next().is_none();
    let real = |path: &Path| path.canonicalize().map_err(failed(path));
    if !is_empty || real(to)?.starts_with(real(data)?) {
        return Err(BackupError::Target(to.to_owned()));
    }
    let mut backup = Backup::default();
    backup.copy_files(data, to, false)?;
    let (front, signer) = (Path::new("front"), Path::new("signer"));
    for folder in [front, signer] {
        create_private_folder(&to.join(folder)).map_err(failed(to))?;
    }
    backup.copy_databases(&data.join(front), &to.join(front))?;
    backup.copy_files(&data.join(front), &to.join(front), true)?;
    backup.copy_files(&data.join(signer), &to.join(signer), true)?;
    backup.copy_databases(&data.join(signer), &to.join(signer))?;
    Ok(backup)
}

impl Backup {
    /// Copies the files that are no databases, and with `deep` the folders.
    fn copy_files(&mut self, from: &Path, to: &Path, deep: bool) -> Result<(), BackupError> {
        for entry in fs::read_dir(from).map_err(failed(from))? {
            let entry = entry.map_err(failed(from))?;
            let (path, name) = (entry.path(), entry.file_name());
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path)(error)),
            };
            let target = to.join(&name);
            let name = name.to_string_lossy();
            if LEFT_OUT.contains(&name.as_ref()) || is_transient(&name) {
                continue;
            }
            if kind.is_dir() && deep {
                create_private_folder(&target).map_err(failed(&target))?;
                self.copy_files(&path, &target, true)?;
            } else if kind.is_file() {
                self.copy_file(&path, &target)?;
            }
        }
        Ok(())
    }

    fn copy_file(&mut self, from: &Path, to: &Path) -> Result<(), BackupError> {
        match fs::copy(from, to) {
            Ok(bytes) => self.count(bytes),
            // It was taken away since the folder was listed, as a blob that nobody names any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(from)(error)),
        }
        Ok(())
    }

    fn copy_databases(&mut self, from: &Path, to: &Path) -> Result<(), BackupError> {
        for entry in fs::read_dir(from).map_err(failed(from))? {
            let entry = entry.map_err(failed(from))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_database(&name) {
                continue;
            }
            let (path, target) = (entry.path(), to.join(&name));
            copy_database(&path, &target).map_err(|source| {
                let path = path.clone();
                BackupError::Database { path, source }
            })?;
            self.count(target.metadata().map_err(failed(&target))?.len());
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

fn is_database(name: &str) -> bool {
    DATABASES.iter().any(|end| name.ends_with(end))
}

fn is_transient(name: &str) -> bool {
    let is_beside = BESIDE_DATABASES.iter().any(|end| name.ends_with(end));
    is_database(name) || is_beside || name.ends_with(".pid") || name.ends_with(".tmp")
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "front/blobs/ab",
            "front/staging",
            "signer/keys",
            "worker/jobs",
        ] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        for path in [
            "admin.token",
            "front.pid",
            "front/blobs/ab/cd",
            "front/staging/half",
            "signer/keys/intermediate.key",
            "signer/signer.db-wal",
            "worker/jobs/x",
        ] {
            fs::write(folder.path().join(path), path).unwrap();
        }
        folder
    }

    #[test]
    fn what_can_be_made_again_is_left_out() {
        let (data, to) = (data(), tempfile::tempdir().unwrap());
        let backup = back_up(data.path(), to.path()).unwrap();
        assert_eq!(backup.files, 3);
        for path in [
            "admin.token",
            "front/blobs/ab/cd",
            "signer/keys/intermediate.key",
        ] {
            assert_eq!(fs::read_to_string(to.path().join(path)).unwrap(), path);
        }
        for path in [
            "front.pid",
            "front/staging",
            "signer/signer.db-wal",
            "worker",
        ] {
            assert!(!to.path().join(path).exists(), "{path}");
        }
    }

    #[test]
    fn a_target_that_holds_something_or_lies_inside_is_refused() {
        let data = data();
        let inside = back_up(data.path(), &data.path().join("backup"));
        assert!(matches!(inside, Err(BackupError::Target(_))));
        let full = tempfile::tempdir().unwrap();
        fs::write(full.path().join("x"), "x").unwrap();
        let refused = back_up(data.path(), full.path());
        assert!(matches!(refused, Err(BackupError::Target(_))));
        let none = tempfile::tempdir().unwrap();
        let refused = back_up(none.path(), &none.path().join("to"));
        assert!(matches!(refused, Err(BackupError::NoData(_))));
    }
}
