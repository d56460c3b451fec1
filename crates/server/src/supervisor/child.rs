//! One role's process: started, watched, started again.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::folders::Folders;
use crate::roles::{ChildSettings, Role};

/// The pause before the first restart; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A role that lived this long had started well: the next pause is the first one again.
const HEALTHY: Duration = Duration::from_secs(30);
/// A role that ends with an error within this time of the first start will not do better later.
const STARTING: Duration = Duration::from_secs(10);
/// How long a role may take to stop; longer than the front takes to finish requests.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);

/// Says why a role does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The process cannot be made.
    #[error("cannot start the {role}")]
    Spawn {
        /// The role.
        role: Role,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It ended with an error right after the first start; its own message is in the log above.
    #[error("the {role} could not start: {status}")]
    FailedAtStart {
        /// The role.
        role: Role,
        /// How it ended.
        status: ExitStatus,
    },
}

/// A role and how its process is started.
pub(super) struct Child {
    role: Role,
    /// Secrets among them: wiped when the supervisor ends.
    settings: Zeroizing<Vec<u8>>,
    ids: Option<(u32, u32)>,
    home: PathBuf,
    pid_file: PathBuf,
    environment: Vec<(String, String)>,
}

/// How one life of a process ended.
enum Ending {
    /// By itself.
    Died(ExitStatus),
    /// Because it was asked to.
    Stopped,
}

impl Child {
    /// Returns the child of `role`. Nothing is started yet.
    pub(super) fn new(role: Role, settings: &ChildSettings, folders: &Folders) -> Self {
        let (home, ids) = match role {
            Role::Front => (
                &folders.front,
                folders.ids.as_ref().map(|ids| (ids.front, ids.front)),
            ),
            Role::Signer => (
                &folders.signer,
                folders.ids.as_ref().map(|ids| (ids.signer, ids.front)),
            ),
            Role::Worker => (&folders.worker, None),
        };
        Self {
            role,
            settings: Zeroizing::new(serde_json::to_vec(settings).unwrap_or_default()),
            ids,
            home: home.clone(),
            pid_file: folders.data.join(format!("{role}.pid")),
            environment: Vec::new(),
        }
    }

    /// Gives the role variables besides those that every role has.
    pub(super) fn with_environment(self, environment: &[(String, String)]) -> Self {
        let environment = environment.to_vec();
        Self {
            environment,
            ..self
        }
    }

    /// Keeps the role running until `stop` becomes true.
    pub(super) async fn keep(&self, mut stop: watch::Receiver<bool>) -> Result<(), ChildError> {
        let mut pause = FIRST_PAUSE;
        let mut first = true;
        loop {
            let started = Instant::now();
            let status = match self.live(&mut stop).await? {
                Ending::Stopped => return Ok(()),
                Ending::Died(status) => status,
            };
            let lived = started.elapsed();
            let role = self.role;
            if first && lived < STARTING && status.code().is_some_and(|code| code != 0) {
                return Err(ChildError::FailedAtStart { role, status });
            }
            first = false;
            if lived > HEALTHY {
                pause = FIRST_PAUSE;
            }
            tracing::warn!(%role, %status, "the {role} ended: starting it again");
            tokio::select! {
                _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Runs the process once.
    async fn live(&self, stop: &mut watch::Receiver<bool>) -> Result<Ending, ChildError> {
        let failed = |source| ChildError::Spawn {
            role: self.role,
            source,
        };
        let mut process = self.command().spawn().map_err(failed)?;
        if let Some(mut stdin) = process.stdin.take() {
            // A child that died at once is seen below, by its status.
            let _ = stdin.write_all(&self.settings).await;
        }
        let pid = process.id();
        self.write_pid(pid);
        tracing::info!(role = %self.role, pid, "started the {}", self.role);
        tokio::select! {
            status = process.wait() => {
                // The number may soon be another process's.
                let _ = std::fs::remove_file(&self.pid_file);
                return status.map(Ending::Died).map_err(failed);
            }
            _ = stop.wait_for(|stopped| *stopped) => {}
        }
        terminate(pid);
        if tokio::time::timeout(STOP_TIMEOUT, process.wait())
            .await
            .is_err()
        {
            tracing::warn!(role = %self.role, "did not stop in time: killed");
            process.kill().await.map_err(failed)?;
        }
        let _ = std::fs::remove_file(&self.pid_file);
        Ok(Ending::Stopped)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the supervisor is where the roles' processes are started"
    )]
    fn command(&self) -> Command {
        // By this path the program is found even where its folder is closed to the role's user,
        // and after it was replaced on the disk.
        let mut command = std::process::Command::new("/proc/self/exe");
        {
            use std::os::unix::process::CommandExt as _;
            command.arg0("countersign");
            // Ctrl-C at the terminal is for the supervisor, which then stops the roles.
            command.process_group(0);
            if let Some((user, group)) = self.ids {
                command.uid(user).gid(group);
            }
        }
        command.args(["serve", "--role", self.role.name()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        if self.role != Role::Worker {
            // Nothing of an administrator's shell reaches these two; the worker's tools do need
            // its proxies and paths.
            command.env_clear();
            command.env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
            command.env("LANG", "C.UTF-8").env("HOME", &self.home);
            command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        }
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command
    }

    /// Writes the process id to where people and tests look for it.
    fn write_pid(&self, pid: Option<u32>) {
        let text = pid.map_or_else(String::new, |pid| format!("{pid}\n"));
        if let Err(error) = std::fs::write(&self.pid_file, text) {
            tracing::warn!(%error, file = %self.pid_file.display(), "cannot write");
        }
    }
}

fn terminate(pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // Gone already: then `wait` returns at once.
        let _ = kill_process(pid, Signal::TERM);
    }
}
