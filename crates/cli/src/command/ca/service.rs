//! The service's half: the folder of its keys, and where these lie.

use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use server::custody::CustodyChoice;
use server::roles::signer::AuthorityOptions;
use signer::authority::Ceremony;
use signer::custody::unlock::ROOT_DEFAULT_PATH;
use signer::custody::{Custody, KdfCost, SealedFolder, UnlockSource, files};
use signer::{AuthorityConfig, AuthoritySubject};

use super::failed;
use crate::context::Context;
use crate::error::{CliError, Kind};

/// The data folder, and how its keys are opened: as in `countersign serve`.
#[derive(clap::Args)]
pub(super) struct ServiceArgs {
    /// The data folder of the server.
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
    /// The file with the secret that unlocks the server's keys [default: as for `serve`].
    #[arg(long, value_name = "FILE", conflicts_with = "unlock_fd")]
    unlock_file: Option<PathBuf>,
    /// An open file descriptor to read that secret from.
    #[arg(long, value_name = "N")]
    unlock_fd: Option<u32>,
    /// Where the server's keys lie, as in `serve --custody`.
    #[arg(long, value_name = "WHERE", default_value = "file")]
    custody: CustodyChoice,
}

/// The folder of the service's keys, opened.
pub(super) struct Service {
    config: AuthorityConfig,
    pub(super) custody: Arc<dyn Custody>,
}

impl ServiceArgs {
    /// Returns the folder that certificates lie in.
    pub(super) fn folder(&self) -> PathBuf {
        self.data.join("signer/keys")
    }

    /// Opens the keys of the service, whose public URL stands in what is certified now.
    pub(super) async fn open(
        &self,
        subject: AuthoritySubject,
        public_url: Option<&str>,
        context: &Context,
    ) -> Result<Service, CliError> {
        let folder = self.folder();
        files::create_private_folder(&folder).map_err(|error| {
            CliError::config(format!("cannot make `{}`", folder.display())).because(error)
        })?;
        let pki = match public_url {
            None => signer::PkiSettings::default(),
            Some(url) => AuthorityOptions::default()
                .pki(url)
                .map_err(|error| CliError::config(error.to_string()))?,
        };
        Ok(Service {
            custody: self.keys(&folder, context).await?,
            config: AuthorityConfig {
                folder,
                subject,
                pki,
                kdf_cost: KdfCost::DEFAULT,
            },
        })
    }

    async fn keys(&self, folder: &Path, context: &Context) -> Result<Arc<dyn Custody>, CliError> {
        let settings = self.custody.clone().load(&self.data, context.aws());
        let settings = settings.map_err(|error| CliError::wrapping(Kind::Config, error))?;
        let runtime = tokio::runtime::Handle::current();
        // Devices and services are waited for, which must not hold up the runtime.
        let opening = tokio::task::spawn_blocking(move || settings.open(runtime));
        let opened = opening
            .await
            .map_err(|panic| CliError::internal(panic.to_string()))?;
        let opened = opened.map_err(|error| CliError::wrapping(Kind::Unavailable, error))?;
        if let Some(custody) = opened {
            return Ok(custody);
        }
        let secret = self.unlock(context)?.load(&self.data);
        let secret = secret.map_err(|error| CliError::wrapping(Kind::Config, error))?;
        let keys = SealedFolder::open(folder, secret, KdfCost::DEFAULT);
        Ok(Arc::new(keys.map_err(|error| failed(error.into()))?))
    }

    fn unlock(&self, context: &Context) -> Result<UnlockSource, CliError> {
        Ok(match (&self.unlock_file, self.unlock_fd) {
            (Some(path), _) => UnlockSource::File(path.clone()),
            (None, Some(number)) => UnlockSource::Descriptor(number),
            (None, None) if server::supervisor::is_root() => {
                UnlockSource::Default(ROOT_DEFAULT_PATH.into())
            }
            (None, None) => UnlockSource::Default(context.config_dir()?.join("unlock")),
        })
    }
}

impl Service {
    pub(super) fn ceremony(&self) -> Ceremony<'_> {
        Ceremony::new(&self.config, self.custody.as_ref())
    }

    /// Gives what was written to the user whose folder it is: the signer's, after a first start as
    /// root.
    pub(super) fn hand_over(&self) -> Result<(), CliError> {
        let folder = &self.config.folder;
        let failed = |error: std::io::Error| {
            CliError::config(format!(
                "cannot give away what is in `{}`",
                folder.display()
            ))
            .because(error)
        };
        let above = folder.parent().unwrap_or(folder);
        let owner = above.metadata().map_err(failed)?;
        let mut paths = vec![folder.clone()];
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
        for path in paths {
            let now = path.symlink_metadata().map_err(failed)?;
            if (now.uid(), now.gid()) != (owner.uid(), owner.gid()) {
                lchown(&path, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
            }
        }
        Ok(())
    }
}
