//! A choice with its secrets, as the supervisor hands it to the signer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::http_client::HttpOptions;
use client::sigv4::AccessKey;
use serde::{Deserialize, Serialize};
use signer::Allowed;
use signer::custody::{Custody, CustodyError, RemoteCustody, Token, TokenOptions, UnlockError};
use tokio::runtime::Handle;
use url::Url;
use zeroize::Zeroizing;

use super::choice::{KmsChoice, TokenChoice, VaultChoice};
use super::kms::KmsKeys;
use super::vault::VaultKeys;
use super::{AwsEnvironment, CustodyChoice};

/// The largest file of certificates or credentials, in bytes.
const MAX_FILE_BYTES: usize = 256 * 1024;
/// What name look-up and TLS read of the system.
const NETWORK_FILES: [&str; 6] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/ssl",
    "/usr/share/ca-certificates",
];
/// Where shared libraries lie that a module or name look-up loads.
const LIBRARIES: [&str; 5] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
];

/// Says why a choice cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CustodyLoadError {
    /// A secret cannot be read.
    #[error("the secret of the keys' custody cannot be used")]
    Secret(#[from] UnlockError),
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// There is no access key.
    #[error(
        "custody `kms` needs an access key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
         name a file with `credentials=FILE`"
    )]
    NoAccessKey,
    /// The file of credentials has no key.
    #[error("`{0}` has no access key under `[default]`")]
    Credentials(PathBuf),
}

/// Where the keys lie, with the secrets that open it. Never shown; it travels on the signer's
/// standard input and nowhere else.
#[derive(Clone, Default, Serialize, Deserialize)]
pub enum CustodySettings {
    /// In sealed files.
    #[default]
    File,
    /// In an HSM.
    Token(TokenSettings),
    /// In AWS KMS.
    Kms(KmsSettings),
    /// In Vault.
    Vault(VaultSettings),
}

/// A token and its PIN.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenSettings {
    module: PathBuf,
    token: String,
    prefix: String,
    pin: Zeroizing<String>,
    allow: Vec<PathBuf>,
    allow_tcp: Vec<u16>,
    environment: Vec<(String, String)>,
}

/// A region of AWS KMS and an access key.
#[derive(Clone, Serialize, Deserialize)]
pub struct KmsSettings {
    pub(super) region: String,
    pub(super) endpoint: Url,
    pub(super) prefix: String,
    key_id: String,
    key_secret: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
    ca_pem: Vec<Vec<u8>>,
}

/// A transit engine and a token.
#[derive(Clone, Serialize, Deserialize)]
pub struct VaultSettings {
    pub(super) server: Url,
    pub(super) mount: String,
    pub(super) prefix: String,
    pub(super) token: Zeroizing<String>,
    ca_pem: Vec<Vec<u8>>,
}

impl CustodyChoice {
    /// Reads the secrets of the choice, for a server whose data folder is `data`.
    pub fn load(
        &self,
        data: &Path,
        environment: &AwsEnvironment,
    ) -> Result<CustodySettings, CustodyLoadError> {
        Ok(match self {
            Self::File => CustodySettings::File,
            Self::Token(choice) => CustodySettings::Token(load_token(choice, data)?),
            Self::Kms(choice) => CustodySettings::Kms(load_kms(choice, environment)?),
            Self::Vault(choice) => CustodySettings::Vault(load_vault(choice, data)?),
        })
    }
}

fn load_token(choice: &TokenChoice, data: &Path) -> Result<TokenSettings, CustodyLoadError> {
    Ok(TokenSettings {
        module: choice.module.clone(),
        token: choice.token.clone(),
        prefix: choice.prefix.clone(),
        pin: choice.pin.load(data)?,
        allow: choice.allow.clone(),
        allow_tcp: choice.allow_tcp.clone(),
        environment: choice.environment.clone(),
    })
}

fn load_kms(
    choice: &KmsChoice,
    environment: &AwsEnvironment,
) -> Result<KmsSettings, CustodyLoadError> {
    let key = match &choice.credentials {
        Some(path) => {
            let text = Zeroizing::new(read(path)?);
            let text = std::str::from_utf8(&text).ok();
            let key = text.and_then(default_key);
            key.ok_or_else(|| CustodyLoadError::Credentials(path.clone()))?
        }
        None => environment
            .key
            .clone()
            .ok_or(CustodyLoadError::NoAccessKey)?,
    };
    Ok(KmsSettings {
        region: choice.region.clone(),
        endpoint: choice.endpoint.clone(),
        prefix: choice.prefix.clone(),
        key_id: key.id,
        key_secret: key.secret,
        session_token: key.session_token,
        ca_pem: read_ca(choice.ca.as_deref())?,
    })
}

fn load_vault(choice: &VaultChoice, data: &Path) -> Result<VaultSettings, CustodyLoadError> {
    Ok(VaultSettings {
        server: choice.server.clone(),
        mount: choice.mount.clone(),
        prefix: choice.prefix.clone(),
        token: choice.token.load(data)?,
        ca_pem: read_ca(choice.ca.as_deref())?,
    })
}

fn read_ca(path: Option<&Path>) -> Result<Vec<Vec<u8>>, CustodyLoadError> {
    path.map(read).into_iter().collect()
}

fn read(path: &Path) -> Result<Vec<u8>, CustodyLoadError> {
    let failed = |source| CustodyLoadError::File {
        path: path.to_owned(),
        source,
    };
    let bytes = signer::custody::files::read_bounded(path, MAX_FILE_BYTES).map_err(failed)?;
    bytes.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
}

/// Returns the key of the profile `default` in a credentials file of the AWS tools.
fn default_key(text: &str) -> Option<AccessKey> {
    let lines = text.lines().map(str::trim);
    let section = lines.skip_while(|line| *line != "[default]").skip(1);
    let section: Vec<&str> = section.take_while(|line| !line.starts_with('[')).collect();
    let value = |name: &str| {
        section.iter().find_map(|line| {
            let (found, value) = line.split_once('=')?;
            (found.trim() == name).then(|| Zeroizing::new(value.trim().to_owned()))
        })
    };
    Some(AccessKey {
        id: value("aws_access_key_id")?.to_string(),
        secret: value("aws_secret_access_key")?,
        session_token: value("aws_session_token"),
    })
}

impl CustodySettings {
    /// Returns what the signer must still be allowed besides its own folder.
    pub fn allowed(&self) -> Allowed {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        match self {
            Self::File => Allowed::default(),
            Self::Token(settings) => {
                let mut readable = paths(&LIBRARIES);
                readable.push(settings.module.clone());
                if !settings.allow_tcp.is_empty() {
                    readable.extend(paths(&NETWORK_FILES));
                }
                Allowed {
                    folders: settings.allow.clone(),
                    readable,
                    connect_tcp: settings.allow_tcp.clone(),
                }
            }
            Self::Kms(KmsSettings { endpoint: url, .. })
            | Self::Vault(VaultSettings { server: url, .. }) => Allowed {
                folders: Vec::new(),
                readable: [paths(&LIBRARIES), paths(&NETWORK_FILES)].concat(),
                connect_tcp: url.port_or_known_default().into_iter().collect(),
            },
        }
    }

    /// Returns the variables that the keys' module is given: the signer has no others.
    pub fn environment(&self) -> &[(String, String)] {
        match self {
            Self::Token(settings) => &settings.environment,
            _ => &[],
        }
    }

    /// Opens the custody; `None` where keys lie in sealed files, which the signer opens itself.
    ///
    /// May wait for the device or service. The services' answers are waited for on `runtime`, so
    /// the keys must not be used on its own threads.
    pub fn open(self, runtime: Handle) -> Result<Option<Arc<dyn Custody>>, CustodyError> {
        Ok(Some(match self {
            Self::File => return Ok(None),
            Self::Token(settings) => Arc::new(Token::open(TokenOptions {
                module: settings.module,
                token: settings.token,
                key_prefix: settings.prefix,
                pin: settings.pin,
            })?),
            Self::Kms(settings) => {
                let keys = KmsKeys::connect(settings, runtime)?;
                Arc::new(RemoteCustody::new(Arc::new(keys)))
            }
            Self::Vault(settings) => {
                let keys = VaultKeys::connect(settings, runtime)?;
                Arc::new(RemoteCustody::new(Arc::new(keys)))
            }
        }))
    }
}

impl KmsSettings {
    pub(super) fn key(&self) -> AccessKey {
        AccessKey {
            id: self.key_id.clone(),
            secret: self.key_secret.clone(),
            session_token: self.session_token.clone(),
        }
    }

    pub(super) fn http(&self) -> HttpOptions {
        with_ca(&self.ca_pem)
    }
}

impl VaultSettings {
    pub(super) fn http(&self) -> HttpOptions {
        with_ca(&self.ca_pem)
    }
}

fn with_ca(pem: &[Vec<u8>]) -> HttpOptions {
    HttpOptions {
        extra_ca_pem: pem.to_vec(),
        ..HttpOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_of_a_credentials_file() {
        let text = "[other]\naws_access_key_id = A\naws_secret_access_key = B\n\
                    [default]\n# ours\naws_access_key_id=AKIA1\naws_secret_access_key = s=cret\n\
                    [last]\naws_session_token = x\n";
        let key = default_key(text).unwrap();
        assert_eq!((key.id.as_str(), key.secret.as_str()), ("AKIA1", "s=cret"));
        assert!(key.session_token.is_none());
        assert!(default_key("[default]\naws_access_key_id = A\n").is_none());
        assert!(default_key("").is_none());
    }

    #[test]
    fn the_signer_is_allowed_the_one_port_and_no_folder() {
        let data = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        signer::custody::files::write_new(&token, b"s.token\n").unwrap();
        let text = format!(
            "vault:https://vault.example:8200?token-file={}",
            token.display()
        );
        let choice: CustodyChoice = text.parse().unwrap();
        let settings = choice
            .load(data.path(), &AwsEnvironment::default())
            .unwrap();
        let allowed = settings.allowed();
        assert_eq!(allowed.connect_tcp, [8200]);
        assert!(allowed.folders.is_empty());
        let files = CustodySettings::File.allowed();
        assert_eq!(files, Allowed::default());
    }

    #[test]
    fn a_secret_in_the_data_folder_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let token = data.path().join("token");
        signer::custody::files::write_new(&token, b"s.token\n").unwrap();
        let text = format!("vault:https://vault.example?token-file={}", token.display());
        let choice: CustodyChoice = text.parse().unwrap();
        let refused = choice.load(data.path(), &AwsEnvironment::default()).err();
        assert!(matches!(
            refused.unwrap(),
            CustodyLoadError::Secret(UnlockError::InsideData { .. })
        ));
    }
}
