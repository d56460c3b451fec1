//! The environment variables that Countersign knows, read once.
//!
//! Libraries never look at the environment; they are given values.

use std::path::PathBuf;

use client::sigv4::AccessKey;
use server::custody::AwsEnvironment;

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

/// Where the signing keys lie, for `countersign serve`; see `--custody`.
pub(crate) const COUNTERSIGN_CUSTODY: &str = "COUNTERSIGN_CUSTODY";
/// The identifier of an AWS access key, for keys in AWS KMS.
pub(crate) const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The secret of that access key.
pub(crate) const AWS_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// The session token of a temporary access key.
pub(crate) const AWS_SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
/// The region of AWS KMS, for `--unlock-kms`.
pub(crate) const AWS_REGION: &str = "AWS_REGION";
/// The address of AWS KMS, where it is not that of the region.
pub(crate) const AWS_ENDPOINT_URL_KMS: &str = "AWS_ENDPOINT_URL_KMS";

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
    /// The access key and region of AWS KMS.
    pub(crate) aws: AwsEnvironment,
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
            aws: aws(),
        }
    }
}

fn aws() -> AwsEnvironment {
    let id_and_secret = read(AWS_ACCESS_KEY_ID).zip(read(AWS_SECRET_ACCESS_KEY));
    AwsEnvironment {
        key: id_and_secret.map(|(id, secret)| AccessKey {
            id,
            secret: secret.into(),
            session_token: read(AWS_SESSION_TOKEN).map(Into::into),
        }),
        region: read(AWS_REGION),
        kms_endpoint: read(AWS_ENDPOINT_URL_KMS),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place where the environment is read"
)]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
