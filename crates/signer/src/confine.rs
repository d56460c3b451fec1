//! Confinement: the signer's process gives up, for good, what it does not need.
//!
//! Landlock (where the kernel has it) leaves it the folders it is given and no TCP but what its
//! keys' custody needs; no core dumps
//! and no tracing by others of the same user, so that keys do not leave through memory; no new
//! privileges. All of it is best effort, and the report says what holds: an old kernel weakens the
//! wall, it does not stop the signer.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

/// What a confined process may still do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Read and write below these folders.
    pub folders: Vec<PathBuf>,
    /// Read, and load as programs, these files and what is below these folders. What does not
    /// exist is passed over.
    pub readable: Vec<PathBuf>,
    /// Open TCP connections to these ports.
    pub connect_tcp: Vec<u16>,
}

impl Allowed {
    /// Returns what leaves the process `folders` and nothing else.
    pub fn only(folders: &[&Path]) -> Self {
        Self {
            folders: folders.iter().map(|folder| (*folder).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// What of the confinement holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "say in the log what holds"]
pub struct Confinement {
    /// How much of the landlock rules the kernel enforces.
    pub landlock: LandlockStatus,
    /// Whether new privileges can no longer be gained.
    pub no_new_privileges: bool,
    /// Whether other processes of the user can no longer read its memory.
    pub not_dumpable: bool,
    /// Whether a crash leaves no core file.
    pub no_core_files: bool,
    /// The TCP ports that may be connected to.
    pub connect_tcp: Vec<u16>,
}

/// How much of the landlock rules the kernel enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LandlockStatus {
    /// All: only the given folders and ports.
    Full,
    /// Some: the kernel is older than the rules.
    Partial,
    /// None, and why.
    None(String),
}

impl Confinement {
    fn tcp(&self) -> String {
        if self.connect_tcp.is_empty() {
            return "no TCP".to_owned();
        }
        let ports: Vec<String> = self.connect_tcp.iter().map(u16::to_string).collect();
        format!("TCP to port {} alone", ports.join(" and "))
    }

    /// Says in words what holds.
    pub fn describe(&self) -> String {
        let landlock = match &self.landlock {
            LandlockStatus::Full => format!("only its own folders and {} (landlock)", self.tcp()),
            LandlockStatus::Partial => "only its own folders (landlock, in part)".to_owned(),
            LandlockStatus::None(why) => format!("NO landlock ({why})"),
        };
        let flags = [
            (self.no_new_privileges, "new privileges"),
            (self.not_dumpable, "tracing"),
            (self.no_core_files, "core files"),
        ];
        let held = |wanted| {
            let names = flags.iter().filter(|(holds, _)| *holds == wanted);
            names.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
        };
        let mut text = format!("{landlock}; forbidden: {}", held(true));
        if flags.iter().any(|(holds, _)| !holds) {
            text += &format!("; NOT forbidden: {}", held(false));
        }
        text
    }
}

/// Confines the process to what is `allowed`.
///
/// Call it before other threads are started: landlock binds the calling thread and those that it
/// starts, and no others.
pub fn confine(allowed: &Allowed) -> Confinement {
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Confinement {
        no_new_privileges: set_no_new_privs(true).is_ok(),
        not_dumpable: set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok(),
        no_core_files: setrlimit(Resource::Core, no_core).is_ok(),
        connect_tcp: allowed.connect_tcp.clone(),
        landlock: match restrict(allowed) {
            Ok(RulesetStatus::FullyEnforced) => LandlockStatus::Full,
            Ok(RulesetStatus::PartiallyEnforced) => LandlockStatus::Partial,
            Ok(RulesetStatus::NotEnforced) => {
                LandlockStatus::None("the kernel does not have it".to_owned())
            }
            Err(error) => LandlockStatus::None(error.to_string()),
        },
    }
}

fn restrict(allowed: &Allowed) -> Result<RulesetStatus, RulesetError> {
    // The newest rules that Linux 6.12 (Debian 13) has; older kernels enforce what they know.
    let abi = ABI::V6;
    let ports = allowed.connect_tcp.iter();
    let ports = ports.map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(
            &allowed.folders,
            AccessFs::from_all(abi),
        ))?
        .add_rules(path_beneath_rules(
            &allowed.readable,
            AccessFs::from_read(abi),
        ))?
        .add_rules(ports)?
        .restrict_self()?;
    Ok(status.ruleset)
}
