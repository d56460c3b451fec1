//! The three process roles and what each is started with.
//!
//! Each role is a process of its own, so that the wall around the keys is the kernel's. A role
//! gets its settings as one JSON document on standard input: nothing secret is ever on a command
//! line or in the environment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

// front follows
pub mod signer;
pub mod worker;

/// A process role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// HTTP, registry, queue, the store.
    Front,
    /// The certificate authority and the signing keys.
    Signer,
    /// Builds, scans, deploys.
    Worker,
}

/// Says that a text is not the name of a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a role: use `front`, `signer` or `worker`")]
pub struct RoleError(String);

impl Role {
    /// All roles, in the order in which they are started: the front asks the signer, the worker
    /// asks the front.
    pub const ALL: [Self; 3] = [Self::Signer, Self::Front, Self::Worker];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Signer => "signer",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| RoleError(text.chars().take(40).collect()))
    }
}

/// Returns a receiver that becomes true on SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be watched.
pub fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        // The receivers ask for the last value: the sender must live as long as they do.
        sender.closed().await;
    });
    Ok(receiver)
}
