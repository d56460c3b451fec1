//! The supervisor: prepares the data folder, starts the three roles, and keeps them running.
//!
//! It listens on nothing and reads nothing from the network. Started as root it gives each role a
//! user id and folder of its own (`docs/design/001-first-run.md`, Process roles); started as
//! anybody else the roles are separate processes of one user, and it says so. Settings, secrets
//! among them, reach a role on its standard input. The roles die with the supervisor.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tokio::sync::watch;

mod child;
mod folders;
mod installation;
mod tls;

pub use child::ChildError;
pub use folders::FolderError;
pub use installation::{InstallationError, InstallationOptions};
pub use tls::OwnTlsError;

use crate::auth::{NewToken, SecretError, hash_token};
use crate::aws::accounts::SEALING_PURPOSE;
use crate::aws::{AwsSettings, SealingKey};
use crate::clock;
use crate::custody::{AwsEnvironment, CustodyChoice, CustodyLoadError, CustodySettings};
use crate::listen::{ListenError, TlsFiles, check_address};
use crate::observe::LogFormat;
use crate::roles::front::FrontSettings;
use crate::roles::signer::{AuthorityOptions, SignerSettings};
use crate::roles::worker::WorkerSettings;
use crate::roles::{ChildSettings, Role, RoleSettings, stop_signal};
use child::Child;
use folders::{Folders, write_secret};

/// What `countersign serve` is asked for.
pub struct ServeOptions {
    /// The data folder.
    pub data: PathBuf,
    /// The address that the front listens on.
    pub listen: SocketAddr,
    /// The URL under which others reach the front.
    pub public_url: Option<String>,
    /// The files of the TLS certificate and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The host name that the server makes a TLS certificate for by itself.
    pub tls_self_signed: Option<String>,
    /// Where the secret that unlocks the signing keys comes from.
    pub unlock: signer::custody::UnlockSource,
    /// Where the signing keys lie.
    pub custody: CustodyChoice,
    /// The access key of AWS KMS, where the keys lie there.
    pub aws: AwsEnvironment,
    /// What was chosen of the certificate authority.
    pub authority: AuthorityOptions,
    /// The witnesses that are asked to cosign the log's checkpoints.
    pub witnesses: Vec<client::witness::WitnessAddress>,
    /// What was chosen of the account number and the region.
    pub installation: InstallationOptions,
    /// How many requests a second each account number may make in AWS's way.
    pub aws_requests_per_second: u32,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: Option<String>,
}

/// Says why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address or the TLS files cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The server's own TLS certificate cannot be made.
    #[error(transparent)]
    OwnTls(#[from] OwnTlsError),
    /// The account number and region are not known.
    #[error(transparent)]
    Installation(#[from] InstallationError),
    /// There is no unlocking secret.
    #[error(transparent)]
    Unlock(#[from] signer::custody::UnlockError),
    /// Where the keys lie cannot be used.
    #[error(transparent)]
    Custody(#[from] CustodyLoadError),
    /// No key could be derived from the unlocking secret.
    #[error("cannot derive the key that access keys are sealed under")]
    Derive(#[source] signer::custody::SealError),
    /// The system gave no randomness for a token.
    #[error("no token could be made")]
    Secret(#[from] SecretError),
    /// Signals cannot be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] std::io::Error),
    /// A role cannot be started, or ended at once.
    #[error(transparent)]
    Child(#[from] ChildError),
}

/// Runs the server until SIGTERM or SIGINT.
///
/// Must run on a thread that lives as long as the process: the kernel ties the roles' lives to the
/// thread that started them.
///
/// # Errors
/// [`ServeError`], before anything listens, or when a role cannot start at all.
pub async fn serve(options: ServeOptions) -> Result<(), ServeError> {
    let mut tls = load_tls(&options)?;
    let listen = choose_port(options.listen)?;
    let folders = Folders::prepare(&options.data)?;
    if let Some(host) = &options.tls_self_signed {
        let (files, root) = tls::open(&folders.data, host, clock::now())?;
        tracing::info!(
            "made the TLS certificate for `{}`; clients must trust `{}`",
            signer::tls::host_names(host).join("`, `"),
            root.display()
        );
        tls = Some(files);
    }
    let unlock = load_unlock(&options, &folders)?;
    let custody = options.custody.load(&folders.data, &options.aws)?;
    let aws = aws_settings(&options, &folders, &unlock)?;
    let first_token = first_token(&folders)?;
    let worker_token = secret_in(&folders.worker.join("token"))?;
    let plan = Plan {
        listen,
        tls,
        unlock,
        custody,
        aws,
        first_token,
        worker_token,
        options,
        folders,
    };
    let stop = stop_signal().map_err(ServeError::Signals)?;
    plan.run(stop).await
}

/// Returns whether the server would be started as root, with a user id for each role.
pub fn is_root() -> bool {
    folders::own_uid() == 0
}

fn load_tls(options: &ServeOptions) -> Result<Option<TlsFiles>, ListenError> {
    let has_tls = options.tls.is_some() || options.tls_self_signed.is_some();
    check_address(options.listen, has_tls)?;
    let Some((certificate, key)) = &options.tls else {
        return Ok(None);
    };
    let files = TlsFiles::load(certificate, key)?;
    // Tried here, where the message reaches whoever typed the command.
    files.server_config()?;
    Ok(Some(files))
}

/// Returns the address with a port that is free now: the worker is told it before the front
/// listens.
fn choose_port(address: SocketAddr) -> Result<SocketAddr, ListenError> {
    let socket = TcpListener::bind(address).map_err(|error| ListenError::Bind(address, error))?;
    socket.local_addr().map_err(ListenError::Address)
}

fn load_unlock(options: &ServeOptions, folders: &Folders) -> Result<String, ServeError> {
    if let Some(path) = options.unlock.create_default(&folders.data)? {
        tracing::info!(
            "made the secret that unlocks the signing keys: `{}`",
            path.display()
        );
    }
    tracing::info!("{}", options.unlock.describe());
    let secret = options.unlock.load(&folders.data)?;
    Ok(secret.expose().to_owned())
}

/// Returns what the front's AWS face is started with; the secret itself never reaches the front.
fn aws_settings(
    options: &ServeOptions,
    folders: &Folders,
    unlock: &str,
) -> Result<AwsSettings, ServeError> {
    let installation = installation::open(&folders.data, &options.installation)?;
    let secret = signer::custody::UnlockSecret::parse(unlock.as_bytes().to_vec())?;
    let key = secret.derive(SEALING_PURPOSE, signer::custody::KdfCost::DEFAULT);
    Ok(AwsSettings {
        installation,
        sealing_key: SealingKey::new(&*key.map_err(ServeError::Derive)?),
        requests_per_second: options.aws_requests_per_second,
    })
}

/// Returns the administrator's token at the first start, which is every start until the front was
/// ready once.
fn first_token(folders: &Folders) -> Result<Option<String>, ServeError> {
    if folders.is_initialised() {
        return Ok(None);
    }
    let path = folders.data.join("admin.token");
    let token = secret_in(&path)?;
    tracing::info!("the administrator's token is in `{}`", path.display());
    Ok(Some(token))
}

/// Returns the token in the file at `path`, which is made if it does not exist.
fn secret_in(path: &Path) -> Result<String, ServeError> {
    match std::fs::read_to_string(path) {
        Ok(text) if NewToken::id_of(text.trim()).is_some() => Ok(text.trim().to_owned()),
        _ => {
            let token = NewToken::generate()?;
            write_secret(path, token.text()).map_err(|error| FolderError::File {
                doing: "write",
                path: path.to_owned(),
                source: error,
            })?;
            Ok(token.text().to_owned())
        }
    }
}

/// Everything that the roles are started with.
struct Plan {
    options: ServeOptions,
    folders: Folders,
    listen: SocketAddr,
    tls: Option<TlsFiles>,
    unlock: String,
    custody: CustodySettings,
    aws: AwsSettings,
    first_token: Option<String>,
    worker_token: String,
}

impl Plan {
    async fn run(&self, stop: watch::Receiver<bool>) -> Result<(), ServeError> {
        // One role that cannot start at all ends the others.
        let (give_up, given_up) = watch::channel(false);
        let keep = |role: Role| {
            let child = self.child(role);
            let (give_up, stop, given_up) = (give_up.clone(), stop.clone(), given_up.clone());
            async move {
                let result = child.keep(either(stop, given_up)).await;
                if result.is_err() {
                    give_up.send_replace(true);
                }
                result
            }
        };
        let [signer, front, worker] = Role::ALL.map(keep);
        let mut ended = either(stop, given_up);
        let mark = async {
            tokio::select! {
                () = self.mark_initialised() => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
        };
        let (signer, front, worker, ()) = tokio::join!(signer, front, worker, mark);
        signer.and(front).and(worker).map_err(ServeError::Child)
    }

    /// Notes that the first start succeeded, as soon as the front accepts connections: it listens
    /// only after the administrator's token is in its database.
    async fn mark_initialised(&self) {
        if self.first_token.is_none() {
            return;
        }
        for _ in 0..FIRST_START_TRIES {
            if tokio::net::TcpStream::connect(self.reachable())
                .await
                .is_ok()
            {
                self.folders.mark_initialised();
                return;
            }
            tokio::time::sleep(FIRST_START_PAUSE).await;
        }
    }

    fn child(&self, role: Role) -> Child {
        let settings = ChildSettings {
            supervisor: rustix::process::getpid().as_raw_nonzero().get(),
            log_format: self.options.log_format,
            log_filter: self.options.log_filter.clone(),
            role: match role {
                Role::Front => RoleSettings::Front(self.front()),
                Role::Signer => RoleSettings::Signer(Box::new(self.signer())),
                Role::Worker => RoleSettings::Worker(self.worker()),
            },
        };
        let environment = match role {
            Role::Signer => self.custody.environment(),
            Role::Front | Role::Worker => &[],
        };
        Child::new(role, &settings, &self.folders).with_environment(environment)
    }

    fn front(&self) -> FrontSettings {
        FrontSettings {
            folder: self.folders.front.clone(),
            listen: self.listen,
            tls: self.tls.clone(),
            public_url: Some(self.public_url()),
            signer_socket: self.socket(),
            worker_token_hash: Some(hash_token(&self.worker_token)),
            witnesses: self
                .options
                .witnesses
                .iter()
                .map(ToString::to_string)
                .collect(),
            aws: self.aws.clone(),
            first_token: self.first_token.clone(),
        }
    }

    fn signer(&self) -> SignerSettings {
        let ids = self.folders.ids.as_ref();
        SignerSettings {
            folder: self.folders.signer.clone(),
            socket: self.socket(),
            socket_group: ids.map(|ids| ids.front),
            allowed_uids: vec![ids.map_or_else(folders::own_uid, |ids| ids.front)],
            unlock: self.unlock.clone(),
            public_url: self.public_url(),
            authority: self.options.authority.clone(),
            custody: self.custody.clone(),
            installation: self.aws.installation.clone(),
        }
    }

    fn worker(&self) -> WorkerSettings {
        WorkerSettings {
            folder: self.folders.worker.clone(),
            front_url: match (&self.tls, &self.options.public_url) {
                // The certificate is for the public name.
                (Some(_), Some(url)) => url.clone(),
                (Some(_), None) => format!("https://{}", self.reachable()),
                (None, _) => format!("http://{}", self.reachable()),
            },
            token: self.worker_token.clone(),
            front_certificate: self.tls.as_ref().map(|tls| tls.certificate.clone()),
        }
    }

    fn socket(&self) -> PathBuf {
        self.folders.signer.join("signer.sock")
    }

    fn public_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let port = self.listen.port();
        let own = || match &self.options.tls_self_signed {
            Some(host) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{}", self.reachable()),
        };
        self.options.public_url.clone().unwrap_or_else(own)
    }

    /// Returns the address at which this machine reaches the front.
    fn reachable(&self) -> SocketAddr {
        let mut address = self.listen;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        address
    }
}

/// How often and after which pause the front is asked whether it accepts connections.
const FIRST_START_TRIES: u32 = 600;
const FIRST_START_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Returns a receiver that becomes true when one of the two does.
fn either(mut one: watch::Receiver<bool>, mut two: watch::Receiver<bool>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = one.wait_for(|stopped| *stopped) => {}
            _ = two.wait_for(|stopped| *stopped) => {}
        }
        sender.send_replace(true);
        sender.closed().await;
    });
    receiver
}
