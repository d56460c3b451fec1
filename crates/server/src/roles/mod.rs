//! The three process roles and what each is started with.
//!
//! Each role is a process of its own, so that the wall around the keys is the kernel's. A role
//! gets its settings as one JSON document on standard input: nothing secret is ever on a command
//! line or in the environment.

use std::fmt;
use std::io::Read as _;
use std::str::FromStr;

use anyhow::Context as _;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::observe::{LogFormat, init_log};
use front::FrontSettings;
use signer::SignerSettings;
use worker::WorkerSettings;

pub mod front;
pub mod signer;
pub mod signer_records;
pub mod worker;

/// The most bytes of settings: two PEM files and a few paths.
const MAX_SETTINGS_BYTES: u64 = 1024 * 1024;

/// What a role's process reads from its standard input.
#[derive(Serialize, Deserialize)]
pub struct ChildSettings {
    /// The supervisor's process id: the role dies with it.
    pub supervisor: i32,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: Option<String>,
    /// The settings of the role itself.
    pub role: RoleSettings,
}

/// The settings of one role.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleSettings {
    /// Of the front.
    Front(FrontSettings),
    /// Of the signer.
    Signer(Box<SignerSettings>),
    /// Of the worker.
    Worker(WorkerSettings),
}

/// Runs one role to its end, in a process that has only one thread so far.
///
/// The runtime is made here and not in `cli::main`, because a role gives up privileges first, and
/// a thread can do that only for itself and the threads that it starts.
///
/// # Errors
/// When the settings cannot be read, or the role cannot start.
pub fn run(role: Role) -> anyhow::Result<()> {
    let settings = read_settings()?;
    init_log(settings.log_format, settings.log_filter.as_deref());
    die_with(settings.supervisor)?;
    if role != Role::Worker {
        // The worker's tools may need set-uid helpers (newuidmap); the others start none.
        rustix::thread::set_no_new_privs(true).context("cannot give up new privileges")?;
    }
    if let RoleSettings::Signer(settings) = &settings.role {
        signer::prepare(settings)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(role.name())
        .build()
        .context("cannot start the asynchronous runtime")?;
    let result = runtime.block_on(async move {
        let stop = stop_signal().context("cannot watch for signals")?;
        match settings.role {
            RoleSettings::Front(settings) => front::run(settings, stop).await,
            RoleSettings::Signer(settings) => signer::run(*settings, stop).await,
            RoleSettings::Worker(settings) => worker::run(settings, stop).await,
        }
    });
    // A blocking task that hangs on a disk must not hold the process back.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

fn read_settings() -> anyhow::Result<ChildSettings> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(MAX_SETTINGS_BYTES)
        .read_to_string(&mut text)
        .context("cannot read the role's settings from standard input")?;
    serde_json::from_str(&text).context("the role's settings are malformed")
}

/// Asks the kernel to kill this process when the supervisor dies, however it dies. The store is
/// made to survive that, and a role without a supervisor would be in the way of the next one.
fn die_with(supervisor: i32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot ask for a signal at the supervisor's death")?;
    // It may have died before we asked.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    anyhow::ensure!(parent == Some(supervisor), "the supervisor is gone");
    Ok(())
}

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
