//! The root's half: a folder with the root's certificate and its sealed key.

use std::path::{Path, PathBuf};

use signer::custody::{KdfCost, SealedFolder, UnlockSource};

use super::failed;
use crate::error::{CliError, Kind};

/// The root's folder, and how its key is opened.
#[derive(clap::Args)]
pub(super) struct RootArgs {
    /// The folder of the root: its certificate, its sealed key, its revocation list.
    #[arg(long, value_name = "DIR")]
    pub(super) root_dir: PathBuf,
    /// The file with the passphrase of the root's key; not in DIR, and not the server's.
    #[arg(long, value_name = "FILE", required_unless_present = "root_unlock_fd")]
    root_unlock_file: Option<PathBuf>,
    /// An open file descriptor to read that passphrase from.
    #[arg(long, value_name = "N", conflicts_with = "root_unlock_file")]
    root_unlock_fd: Option<u32>,
}

impl RootArgs {
    /// Returns the arguments of a command in which the root's folder is not always needed.
    pub(super) fn new(
        root_dir: PathBuf,
        root_unlock_file: Option<PathBuf>,
        root_unlock_fd: Option<u32>,
    ) -> Self {
        Self {
            root_dir,
            root_unlock_file,
            root_unlock_fd,
        }
    }

    /// Returns the keys in the root's folder.
    pub(super) fn keys(&self) -> Result<SealedFolder, CliError> {
        let source = match (&self.root_unlock_file, self.root_unlock_fd) {
            (Some(path), _) => UnlockSource::File(path.clone()),
            (None, Some(number)) => UnlockSource::Descriptor(number),
            (None, None) => return Err(CliError::usage("the root's passphrase is missing")),
        };
        let secret = source.load(&self.root_dir);
        let secret = secret.map_err(|error| CliError::wrapping(Kind::Config, error))?;
        let keys = SealedFolder::open(&self.root_dir, secret, KdfCost::DEFAULT);
        keys.map_err(|error| failed(error.into()))
    }

    /// Refuses a folder below the data folder: a copy of the one would be a copy of the other.
    pub(super) fn refuse_below(&self, data: &Path) -> Result<(), CliError> {
        let real = |path: &Path| {
            let known = path.ancestors().find_map(|above| {
                let rest = path.strip_prefix(above).ok()?;
                Some(above.canonicalize().ok()?.join(rest))
            });
            known.unwrap_or_else(|| path.to_owned())
        };
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (root, data) = (real(&absolute(&self.root_dir)), real(&absolute(data)));
        if root.starts_with(&data) {
            let message = format!(
                "the root's folder `{}` is below the data folder `{}`",
                root.display(),
                data.display()
            );
            return Err(
                CliError::usage(message).hint("choose a folder on a medium that can be taken away")
            );
        }
        Ok(())
    }
}
