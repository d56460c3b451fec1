//! The environment variables that Countersign knows, read once.
//!
//! Libraries never look at the environment; they are given values.

use std::path::PathBuf;

/// The folder of `config.json` of Docker's clients, where credentials for registries are.
pub(crate) const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// The address of the Countersign server, such as `https://countersign.example`.
pub(crate) const COUNTERSIGN_SERVER: &str = "COUNTERSIGN_SERVER";
/// A token for the control API of that server.
pub(crate) const COUNTERSIGN_TOKEN: &str = "COUNTERSIGN_TOKEN";
/// The folder of our own settings: trust policy and trust stores.
pub(crate) const COUNTERSIGN_CONFIG: &str = "COUNTERSIGN_CONFIG";
/// The folder of the advisory database.
pub(crate) const COUNTERSIGN_DB: &str = "COUNTERSIGN_DB";
/// What to log to standard error, such as `debug` or `client=trace`.
pub(crate) const COUNTERSIGN_LOG: &str = "COUNTERSIGN_LOG";

/// What the environment says.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    /// [`DOCKER_CONFIG`], or `.docker` at home.
    pub(crate) docker_config: Option<PathBuf>,
    /// [`COUNTERSIGN_SERVER`].
    pub(crate) server: Option<String>,
    /// [`COUNTERSIGN_TOKEN`].
    pub(crate) token: Option<String>,
    /// [`COUNTERSIGN_CONFIG`], or `countersign` in the user's folder for settings.
    pub(crate) config_dir: Option<PathBuf>,
    /// The user's folder for data that can be made again, for `countersign`.
    pub(crate) cache_dir: Option<PathBuf>,
    /// [`COUNTERSIGN_DB`], or `countersign/db` in the user's folder for data.
    pub(crate) db_dir: Option<PathBuf>,
    /// [`COUNTERSIGN_LOG`].
    pub(crate) log: Option<String>,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Self {
        let home = read("HOME").map(PathBuf::from);
        let at_home = |below: &str| home.as_ref().map(|home| home.join(below));
        let user_folder = |variable: &str, below: &str| {
            read(variable)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| at_home(below))
                .map(|path| path.join("countersign"))
        };
        Self {
            docker_config: read(DOCKER_CONFIG)
                .map(PathBuf::from)
                .or_else(|| at_home(".docker")),
            server: read(COUNTERSIGN_SERVER),
            token: read(COUNTERSIGN_TOKEN),
            config_dir: read(COUNTERSIGN_CONFIG)
                .map(PathBuf::from)
                .or_else(|| user_folder("XDG_CONFIG_HOME", ".config")),
            cache_dir: user_folder("XDG_CACHE_HOME", ".cache"),
            db_dir: read(COUNTERSIGN_DB)
                .map(PathBuf::from)
                .or_else(|| user_folder("XDG_DATA_HOME", ".local/share").map(|dir| dir.join("db"))),
            log: read(COUNTERSIGN_LOG),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place where the environment is read"
)]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
