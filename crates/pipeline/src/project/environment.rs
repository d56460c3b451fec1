//! Environments: where a verified image runs, and with which privileges.

use std::fmt;
use std::str::FromStr;

use super::names::{NameError, as_text};
use super::*;

/// A place that images are deployed to, behind the built-in reverse proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Environment {
    /// The name.
    pub name: Name,
    /// The address that the reverse proxy listens on: loopback, unless `tls` is given.
    pub listen: SocketAddr,
    /// The certificate of the reverse proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The engine that runs the container.
    pub target: Target,
    /// The container and its privileges.
    pub container: Container,
    /// How the container says that it is well.
    #[serde(default)]
    pub health: Health,
}

/// A certificate and its key, as files on the server's machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// The chain, as a path to a PEM file.
    pub certificate: String,
    /// The key, as a path to a PEM file.
    pub key: String,
}

/// The engine that runs the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Which engine.
    pub engine: Engine,
    /// Its socket, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
}

/// A container engine with the Docker API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Engine {
    /// Podman.
    Podman,
    /// Docker.
    Docker,
}

/// A container and its privileges. What is not written is the least.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// The port that the image listens on.
    pub port: u16,
    /// The user id, or user and group id, that it runs as.
    #[serde(default)]
    pub user: User,
    /// Whether the root file system is read-only.
    #[serde(default = "yes")]
    pub read_only: bool,
    /// The most memory.
    #[serde(default)]
    pub memory: Memory,
    /// The most processor time, in processors.
    #[serde(default = "one_processor")]
    pub cpus: f64,
    /// The most processes.
    #[serde(default = "some_processes")]
    pub pids: u32,
    /// The Linux capabilities that are kept; all others are dropped.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

fn yes() -> bool {
    true
}

fn one_processor() -> f64 {
    1.0
}

fn some_processes() -> u32 {
    128
}

/// How a container says that it is well: a GET that answers 200 to 399.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// The path.
    #[serde(default = "slash")]
    pub path: String,
    /// How long a new version may take.
    #[serde(default = "half_a_minute")]
    pub within: Span,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: slash(),
            within: half_a_minute(),
        }
    }
}

fn slash() -> String {
    "/".to_owned()
}

fn half_a_minute() -> Span {
    Span::seconds(30)
}

as_text!(User, Memory);

/// A numeric user id, with a group id if one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub user: u32,
    /// The group id.
    pub group: Option<u32>,
}

impl Default for User {
    /// Returns `nobody`.
    fn default() -> Self {
        Self {
            user: 65_534,
            group: Some(65_534),
        }
    }
}

impl FromStr for User {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError::new(text, "a user", "expected `uid` or `uid:gid`, in digits");
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        Ok(Self {
            user: user.parse().map_err(|_| error())?,
            group: group.map(str::parse).transpose().map_err(|_| error())?,
        })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        match self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

/// An amount of memory, such as `128m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(u64);

impl Memory {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * Self::KIB;
    const GIB: u64 = 1024 * Self::MIB;
    /// The least that the engines accept (Docker refuses less than 6 MiB).
    const LEAST: u64 = 6 * Self::MIB;
    /// The most: one tebibyte.
    const MOST: u64 = 1024 * Self::GIB;

    /// Returns the number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self(256 * Self::MIB)
    }
}

impl FromStr for Memory {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str = "expected a number and `k`, `m` or `g`, from `6m` to `1024g`";
        let error = || NameError::new(text, "an amount of memory", EXPECTED);
        let unit = match text.chars().last() {
            Some('k') => Self::KIB,
            Some('m') => Self::MIB,
            Some('g') => Self::GIB,
            _ => return Err(error()),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| error())?;
        match number.checked_mul(unit) {
            Some(bytes) if (Self::LEAST..=Self::MOST).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % Self::GIB == 0 => write!(f, "{}g", bytes / Self::GIB),
            bytes if bytes % Self::MIB == 0 => write!(f, "{}m", bytes / Self::MIB),
            bytes => write!(f, "{}k", bytes / Self::KIB),
        }
    }
}
