//! The signer: holds the keys and listens on a unix socket for the front alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use signer::custody::{Custody, KdfCost, UnlockSecret};
use signer::service::DEFAULT_CRL_PERIOD;
use signer::{
    AuthorityConfig, AuthoritySubject, PkiSettings, Records, ServiceConfig, SignerConfig,
    UnlockSource,
};
use store::SigningRecords;
use tokio::sync::watch;

use super::signer_records::StoredRecords;
use crate::clock;
use crate::custody::CustodySettings;

/// The path of the revocation list below the public URL.
pub const CRL_PATH: &str = "/pki/ca.crl";
/// The path of the root's revocation list below it.
pub const ROOT_CRL_PATH: &str = "/pki/root.crl";
/// The path of the OCSP responder below it.
pub const OCSP_PATH: &str = "/pki/ocsp";

/// What the signer is started with.
#[derive(Serialize, Deserialize)]
pub struct SignerSettings {
    /// The signer's own folder: encrypted keys, records.
    pub folder: PathBuf,
    /// The socket to listen on.
    pub socket: PathBuf,
    /// The group that the socket's file is given, where the front runs as another user.
    pub socket_group: Option<u32>,
    /// The user ids that may connect.
    pub allowed_uids: Vec<u32>,
    /// The secret that the keys are encrypted under: the file that holds it can be read by the
    /// supervisor alone.
    pub unlock: String,
    /// The URL under which relying parties reach this server, for revocation lists.
    pub public_url: String,
    /// What was chosen of the authority.
    pub authority: AuthorityOptions,
    /// Where the keys lie, and what opens it.
    #[serde(default)]
    pub custody: CustodySettings,
    /// The account number and region that stand in ARNs.
    pub installation: signer::Installation,
}

/// What can be chosen of the certificate authority.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AuthorityOptions {
    /// The subject attributes of an authority that is made now.
    pub subject: AuthoritySubject,
    /// Where verifiers fetch the revocation lists of the intermediates, where it is not below the
    /// public URL.
    pub crl_url: Option<String>,
    /// Where they ask the OCSP responder.
    pub ocsp_url: Option<String>,
    /// Where they fetch the revocation list of the root.
    pub root_crl_url: Option<String>,
    /// The policy of time-stamps, as an object identifier.
    pub timestamp_policy: Option<String>,
}

impl AuthorityOptions {
    /// Returns what certificates say of the lists and answers of a server at `public_url`.
    ///
    /// # Errors
    /// When the policy is not an object identifier.
    pub fn pki(&self, public_url: &str) -> anyhow::Result<PkiSettings> {
        let base = plain_http(public_url);
        let or_below = |chosen: &Option<String>, path| {
            let below = || format!("{base}{path}");
            Some(chosen.clone().unwrap_or_else(below))
        };
        let policy = self.timestamp_policy.as_deref().map(str::parse);
        Ok(PkiSettings {
            crl_url: or_below(&self.crl_url, CRL_PATH),
            ocsp_url: or_below(&self.ocsp_url, OCSP_PATH),
            root_crl_url: or_below(&self.root_crl_url, ROOT_CRL_PATH),
            timestamp_policy: policy.transpose()?.unwrap_or_default(),
        })
    }
}

/// Returns the URL at which verifiers reach a server at `public_url` without TLS.
///
/// Lists and answers are signed, and verifiers fetch them over plain HTTP only (RFC 5280 §8 warns
/// of lists over TLS). A server that speaks TLS names port 80 of its host; something there must
/// hand on what is below `/pki`.
fn plain_http(public_url: &str) -> String {
    let base = public_url.trim_end_matches('/');
    let Some(rest) = base.strip_prefix("https://") else {
        return base.to_owned();
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_number(port) => host,
        _ => authority,
    };
    format!("http://{host}")
}

/// Gives up what the signer does not need. Called while the process has one thread: the
/// confinement of a thread reaches only those that it starts afterwards.
///
/// # Errors
/// When the folder cannot be made.
pub fn prepare(settings: &SignerSettings) -> anyhow::Result<()> {
    // The front's group may pass through the folder to the socket; the records are not for it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let folder = settings.folder.as_path();
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make folder `{}`", folder.display()))?;
    let socket_folder = settings.socket.parent().unwrap_or(folder);
    let mut allowed = settings.custody.allowed();
    allowed
        .folders
        .extend([folder, socket_folder].map(Path::to_owned));
    let report = signer::confine(&allowed);
    tracing::info!("the signer may use {}", report.describe());
    Ok(())
}

/// Runs the signer until `stop` becomes true.
///
/// # Errors
/// When the keys cannot be opened or the socket cannot be made.
pub async fn run(settings: SignerSettings, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let records = open_records(&settings.folder)?;
    let stopped = async {
        let _ = stop.wait_for(|stopped| *stopped).await;
    };
    let keys = settings.custody.clone();
    let runtime = tokio::runtime::Handle::current();
    // A device or service may keep its opening waiting; its answers need the runtime's threads.
    let custody = tokio::task::spawn_blocking(move || keys.open(runtime)).await??;
    if let Some(custody) = &custody {
        tracing::info!("the signing keys lie in {}", custody.describe());
    }
    signer::serve(config(settings, custody)?, records, stopped).await?;
    tracing::info!("signer stopped");
    Ok(())
}

fn open_records(folder: &Path) -> anyhow::Result<Arc<dyn Records>> {
    let path = folder.join("signer.db");
    let rows = SigningRecords::open(&path)
        .with_context(|| format!("cannot open the records in `{}`", path.display()))?;
    Ok(Arc::new(StoredRecords::new(rows)))
}

/// Returns the name of the log of a server at `public_url`: its host, and its port if it has one.
fn log_origin(public_url: &str) -> String {
    let host = public_url
        .split_once("://")
        .map_or(public_url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    format!("{host}/log")
}

fn config(
    settings: SignerSettings,
    custody: Option<Arc<dyn Custody>>,
) -> anyhow::Result<SignerConfig> {
    let secret = UnlockSecret::parse(settings.unlock.into_bytes())?;
    let pki = settings.authority.pki(&settings.public_url)?;
    let mut allowed_uids = settings.allowed_uids;
    allowed_uids.push(rustix::process::getuid().as_raw());
    Ok(SignerConfig {
        service: ServiceConfig {
            installation: settings.installation.clone(),
            authority: AuthorityConfig {
                folder: settings.folder.join("keys"),
                subject: settings.authority.subject,
                pki,
                kdf_cost: KdfCost::DEFAULT,
            },
            unlock: UnlockSource::Given(secret),
            custody,
            crl_period: DEFAULT_CRL_PERIOD,
            log_origin: log_origin(&settings.public_url),
            clock: Arc::new(clock::now),
        },
        socket: settings.socket,
        socket_group: settings.socket_group,
        allowed_uids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_called_by_the_host_of_its_server() {
        for (url, expected) in [
            ("http://127.0.0.1:5000", "127.0.0.1:5000/log"),
            ("https://sign.example/", "sign.example/log"),
            ("https://[::1]:5443/x", "[::1]:5443/log"),
        ] {
            assert_eq!(log_origin(url), expected);
        }
    }

    #[test]
    fn revocation_lists_are_fetched_over_plain_http() {
        let crl_url = |options: &AuthorityOptions, url| options.pki(url).unwrap().crl_url;
        let chosen = AuthorityOptions {
            crl_url: Some("http://crl.example/ca.crl".to_owned()),
            ..AuthorityOptions::default()
        };
        let expected = Some("http://crl.example/ca.crl".to_owned());
        assert_eq!(crl_url(&chosen, "https://a.example"), expected);
        for (public_url, expected) in [
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/pki/ca.crl"),
            ("http://a.example/", "http://a.example/pki/ca.crl"),
            ("https://a.example", "http://a.example/pki/ca.crl"),
            ("https://a.example:5443/", "http://a.example/pki/ca.crl"),
            ("https://[::1]:5443", "http://[::1]/pki/ca.crl"),
            ("https://[::1]", "http://[::1]/pki/ca.crl"),
        ] {
            let found = crl_url(&AuthorityOptions::default(), public_url);
            assert_eq!(found.as_deref(), Some(expected));
        }
    }
}
