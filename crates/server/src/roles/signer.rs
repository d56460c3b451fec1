//! The signer: holds the keys and listens on a unix socket for the front alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use signer::custody::{KdfCost, UnlockSecret};
use signer::service::DEFAULT_CRL_PERIOD;
use signer::{
    AuthorityConfig, AuthoritySubject, Records, ServiceConfig, SignerConfig, UnlockSource,
};
use store::SigningRecords;
use tokio::sync::watch;

use super::signer_records::StoredRecords;
use crate::clock;

/// The path of the revocation list below the public URL.
pub const CRL_PATH: &str = "/pki/ca.crl";

/// What the signer is started with.
#[derive(Serialize, Deserialize)]
pub struct SignerSettings {
    /// The signer's own folder: encrypted keys, records.
    pub folder: PathBuf,
    /// The socket to listen on.
    pub socket: PathBuf,
    /// The group that the socket's file is given, where the front runs as another user.
    pub socket_group: Option<u32>,
    /// The user ids that may connect.
    pub allowed_uids: Vec<u32>,
    /// The secret that the keys are encrypted under: the file that holds it can be read by the
    /// supervisor alone.
    pub unlock: String,
    /// The URL under which relying parties reach this server, for revocation lists.
    pub public_url: String,
}

/// Gives up what the signer does not need. Called while the process has one thread: the
/// confinement of a thread reaches only those that it starts afterwards.
///
/// # Errors
/// When the folder cannot be made.
pub fn prepare(settings: &SignerSettings) -> anyhow::Result<()> {
    // The front's group may pass through the folder to the socket; the records are not for it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let folder = &settings.folder;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make folder `{}`", folder.display()))?;
    let socket_folder = settings.socket.parent().unwrap_or(folder);
    let report = signer::confine(&[folder, socket_folder]);
    tracing::info!("the signer may use {}", report.describe());
    Ok(())
}

/// Runs the signer until `stop` becomes true.
///
/// # Errors
/// When the keys cannot be opened or the socket cannot be made.
pub async fn run(settings: SignerSettings, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let records = open_records(&settings.folder)?;
    let stopped = async {
        let _ = stop.wait_for(|stopped| *stopped).await;
    };
    signer::serve(config(settings)?, records, stopped).await?;
    tracing::info!("signer stopped");
    Ok(())
}

fn open_records(folder: &Path) -> anyhow::Result<Arc<dyn Records>> {
    let path = folder.join("signer.db");
    let rows = SigningRecords::open(&path)
        .with_context(|| format!("cannot open the records in `{}`", path.display()))?;
    Ok(Arc::new(StoredRecords::new(rows)))
}

fn config(settings: SignerSettings) -> anyhow::Result<SignerConfig> {
    let secret = UnlockSecret::parse(settings.unlock.into_bytes())?;
    let public_url = settings.public_url.trim_end_matches('/');
    let mut allowed_uids = settings.allowed_uids;
    allowed_uids.push(rustix::process::getuid().as_raw());
    Ok(SignerConfig {
        service: ServiceConfig {
            authority: AuthorityConfig {
                folder: settings.folder.join("keys"),
                subject: AuthoritySubject::default(),
                crl_url: Some(format!("{public_url}{CRL_PATH}")),
                kdf_cost: KdfCost::DEFAULT,
            },
            unlock: UnlockSource::Given(secret),
            crl_period: DEFAULT_CRL_PERIOD,
            clock: Arc::new(clock::now),
        },
        socket: settings.socket,
        socket_group: settings.socket_group,
        allowed_uids,
    })
}
