//! The data folder: one folder for each role, each for its owner alone.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The user and group id of the front, when started as root.
const FRONT_ID: u32 = 64001;
/// The user id of the signer, when started as root. Its group is the front's, so that the front
/// can reach the socket and nothing else.
const SIGNER_ID: u32 = 64002;

/// Says why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file or folder cannot be made, read or given away.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// What was being done, as a verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A folder above cannot be entered by the roles' users.
    #[error(
        "user id {FRONT_ID}, which the front runs as, cannot enter `{}`: \
         choose a data folder elsewhere, such as /var/lib/countersign, or `chmod o+x` that folder",
        .0.display()
    )]
    Unreachable(PathBuf),
}

/// User ids of the roles.
pub(super) struct Ids {
    /// Of the front, also its group.
    pub(super) front: u32,
    /// Of the signer.
    pub(super) signer: u32,
}

/// The folders of an installation.
pub(super) struct Folders {
    /// The data folder itself.
    pub(super) data: PathBuf,
    /// The front's.
    pub(super) front: PathBuf,
    /// The signer's.
    pub(super) signer: PathBuf,
    /// The worker's.
    pub(super) worker: PathBuf,
    /// The roles' user ids, when started as root.
    pub(super) ids: Option<Ids>,
}

impl Folders {
    /// Makes what is missing and gives each folder to its role.
    pub(super) fn prepare(data: &Path) -> Result<Self, FolderError> {
        std::fs::create_dir_all(data).map_err(failed("make", data))?;
        let data = data.canonicalize().map_err(failed("find", data))?;
        let ids = (own_uid() == 0).then_some(Ids {
            front: FRONT_ID,
            signer: SIGNER_ID,
        });
        let folders = Self {
            front: data.join("front"),
            signer: data.join("signer"),
            worker: data.join("worker"),
            data,
            ids,
        };
        folders.hand_out()?;
        Ok(folders)
    }

    fn hand_out(&self) -> Result<(), FolderError> {
        let Some(ids) = &self.ids else {
            tracing::warn!(
                "not started as root: the three roles are separate processes of one user, and \
                 only a start as root puts the kernel's wall of user ids between them"
            );
            for folder in [&self.data, &self.front, &self.signer, &self.worker] {
                make(folder, 0o700)?;
            }
            return Ok(());
        };
        check_reachable(&self.data)?;
        // Others may pass through to what is theirs, and see nothing on the way.
        make(&self.data, 0o711)?;
        make(&self.front, 0o700)?;
        own(&self.front, ids.front, ids.front)?;
        make(&self.signer, 0o710)?;
        own(&self.signer, ids.signer, ids.front)?;
        make(&self.worker, 0o700)?;
        tracing::info!(
            "the worker runs as root, because image builds need it; what it builds runs in containers"
        );
        Ok(())
    }

    /// Returns whether a start has succeeded before.
    pub(super) fn is_initialised(&self) -> bool {
        self.marker().exists()
    }

    /// Notes that a start has succeeded.
    pub(super) fn mark_initialised(&self) {
        if let Err(error) = std::fs::write(self.marker(), "1\n") {
            tracing::warn!(%error, "the first start cannot be noted: it will be repeated");
        }
    }

    fn marker(&self) -> PathBuf {
        self.data.join("initialised")
    }
}

/// Returns this process's user id.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FolderError + use<> {
    let path = path.to_owned();
    move |source| FolderError::File {
        doing,
        path,
        source,
    }
}

fn make(folder: &Path, mode: u32) -> Result<(), FolderError> {
    std::fs::create_dir_all(folder).map_err(failed("make", folder))?;
    std::fs::set_permissions(folder, Permissions::from_mode(mode))
        .map_err(failed("set the mode of", folder))
}

/// Gives a folder away; all that is in it too, when it was somebody else's, as after a first start
/// by another user.
fn own(folder: &Path, user: u32, group: u32) -> Result<(), FolderError> {
    let metadata = folder
        .symlink_metadata()
        .map_err(failed("look at", folder))?;
    if metadata.uid() == user && metadata.gid() == group {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(folder).map_err(failed("read", folder))? {
            own(&entry.map_err(failed("read", folder))?.path(), user, group)?;
        }
    }
    // Last, so that a start that was killed half-way does it again. Links are not followed.
    std::os::unix::fs::lchown(folder, Some(user), Some(group)).map_err(failed("give away", folder))
}

/// Checks that every folder above can be passed by other users.
fn check_reachable(data: &Path) -> Result<(), FolderError> {
    for folder in data.ancestors().skip(1) {
        let metadata = folder.metadata().map_err(failed("look at", folder))?;
        if metadata.mode() & 0o001 == 0 {
            return Err(FolderError::Unreachable(folder.to_owned()));
        }
    }
    Ok(())
}

/// Writes a file that only its owner can read, whole or not at all.
pub(super) fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_below_a_closed_one_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let closed = root.path().join("closed");
        make(&closed.join("data"), 0o711).unwrap();
        for (mode, reachable) in [(0o711, true), (0o700, false)] {
            std::fs::set_permissions(root.path(), Permissions::from_mode(0o711)).unwrap();
            std::fs::set_permissions(&closed, Permissions::from_mode(mode)).unwrap();
            let checked = check_reachable(&closed.join("data"));
            assert_eq!(checked.is_ok(), reachable, "{mode:o}: {checked:?}");
        }
    }

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("admin.token");
        write_secret(&path, "one").unwrap();
        write_secret(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }
}
