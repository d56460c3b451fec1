//! The worker: leases work from the front and does it; holds no keys and no standing credentials.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What the worker is started with.
#[derive(Serialize, Deserialize)]
pub struct WorkerSettings {
    /// The worker's own folder: workspaces, container storage.
    pub folder: PathBuf,
    /// The front's URL.
    pub front_url: String,
    /// The worker's token: it opens `/api/v1/worker` alone.
    pub token: String,
    /// The certificate to trust for the front, in PEM, where it speaks TLS.
    pub front_certificate: Option<String>,
}

/// Runs the worker until `stop` becomes true.
///
/// # Errors
/// When its folder cannot be used.
pub async fn run(settings: WorkerSettings, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    tracing::info!(folder = %settings.folder.display(), "worker");
    let _ = stop.wait_for(|stopped| *stopped).await;
    Ok(())
}
