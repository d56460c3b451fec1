//! Credentials for registries, where Docker's clients keep them.
//!
//! `config.json` has plain entries (`auths`), names of helper programs per registry
//! (`credHelpers`) and one for all (`credsStore`); the nearest wins. Helpers speak the
//! docker-credential-helpers protocol: the host on standard input, JSON on standard output.
//! Other members of the file belong to others and are kept as they are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oci::Registry;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::ClientError;

mod helper;

/// The largest `config.json`, in bytes. Real ones have a few thousand.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;
/// The user name under which helpers keep an identity token.
const TOKEN_USERNAME: &str = "<token>";

/// A text that must not appear in logs and messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the text, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What one registry is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password or token.
    Basic {
        /// The user name.
        username: String,
        /// The password or token.
        password: Secret,
    },
    /// An OAuth 2 refresh token, which buys access tokens.
    IdentityToken(Secret),
}

impl Credential {
    /// Returns the secret part: for a Countersign server, the account's token.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Basic { password, .. } => password,
            Self::IdentityToken(token) => token,
        }
    }
}

/// Where credentials come from.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// There are none.
    #[default]
    Anonymous,
    /// Exactly these: what a run of a pipeline is given.
    Fixed(BTreeMap<Registry, Credential>),
    /// Docker's `config.json` at this path; it need not exist.
    Docker(PathBuf),
}

impl Credentials {
    /// Returns the credential for `registry`.
    ///
    /// # Errors
    /// If the file is unreadable, or a helper fails otherwise than by not knowing the registry.
    pub async fn find(&self, registry: &Registry) -> Result<Option<Credential>, ClientError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Fixed(map) => Ok(map.get(registry).cloned()),
            Self::Docker(path) => DockerConfig::load(path)?.find(registry).await,
        }
    }
}

/// Docker's `config.json`.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    path: PathBuf,
    document: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

impl DockerConfig {
    /// Loads the file; one that does not exist is an empty one.
    ///
    /// # Errors
    /// If it cannot be read, or is not a JSON object.
    pub fn load(path: &Path) -> Result<Self, ClientError> {
        let document = match read_bounded(path)? {
            None => Map::new(),
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|e| ClientError::Configuration {
                    what: format!("`{}` is not a JSON object", path.display()),
                    source: Some(Box::new(e)),
                })?
            }
        };
        Ok(Self {
            path: path.to_owned(),
            document,
        })
    }

    /// Returns the credential for `registry`.
    ///
    /// # Errors
    /// If the entry is malformed, or a helper fails otherwise than by not knowing the registry.
    pub async fn find(&self, registry: &Registry) -> Result<Option<Credential>, ClientError> {
        if let Some(program) = self.helper(registry) {
            return helper::get(&program, server_key(registry)).await;
        }
        let entry = self.document.get("auths").and_then(|auths| {
            keys(registry)
                .into_iter()
                .find_map(|key| auths.get(key).cloned())
        });
        match entry {
            Some(entry) => self.read_entry(registry, entry),
            None => Ok(None),
        }
    }

    /// Keeps `credential` for `registry`: in the helper if one is configured, else in the file,
    /// readable by its owner only.
    ///
    /// # Errors
    /// If the helper fails, or the file cannot be written.
    pub async fn store(
        &mut self,
        registry: &Registry,
        credential: &Credential,
    ) -> Result<(), ClientError> {
        if let Some(program) = self.helper(registry) {
            return helper::store(&program, server_key(registry), credential).await;
        }
        let entry = match credential {
            Credential::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose());
                serde_json::json!({ "auth": BASE64_STANDARD.encode(pair) })
            }
            Credential::IdentityToken(token) => {
                serde_json::json!({ "identitytoken": token.expose() })
            }
        };
        self.auths()?.insert(server_key(registry).to_owned(), entry);
        self.write()
    }

    /// Forgets the credential for `registry`. Returns whether there was one.
    ///
    /// # Errors
    /// If the helper fails, or the file cannot be written.
    pub async fn erase(&mut self, registry: &Registry) -> Result<bool, ClientError> {
        let known = self.find(registry).await?.is_some();
        if let Some(program) = self.helper(registry) {
            helper::erase(&program, server_key(registry)).await?;
        }
        let mut removed = false;
        for key in keys(registry) {
            removed |= self.auths()?.remove(&key).is_some();
        }
        if removed {
            self.write()?;
        }
        Ok(known || removed)
    }

    fn helper(&self, registry: &Registry) -> Option<String> {
        let per_registry = self.document.get("credHelpers");
        let named = per_registry.and_then(|helpers| {
            keys(registry)
                .into_iter()
                .find_map(|key| helpers.get(key).cloned())
        });
        let name = named.or_else(|| self.document.get("credsStore").cloned())?;
        name.as_str()
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
    }

    fn auths(&mut self) -> Result<&mut Map<String, Value>, ClientError> {
        let path = self.path.display().to_string();
        let auths = self
            .document
            .entry("auths")
            .or_insert_with(|| Value::Object(Map::new()));
        auths
            .as_object_mut()
            .ok_or_else(|| ClientError::Configuration {
                what: format!("`auths` of `{path}` is not an object"),
                source: None,
            })
    }

    fn read_entry(
        &self,
        registry: &Registry,
        entry: Value,
    ) -> Result<Option<Credential>, ClientError> {
        // The words of a parser could quote the secret, so they are left out.
        let malformed = || ClientError::Configuration {
            what: format!(
                "the entry for `{registry}` in `{}` is malformed",
                self.path.display()
            ),
            source: None,
        };
        let entry: Entry = serde_json::from_value(entry).map_err(|_| malformed())?;
        if let Some(token) = entry.identitytoken.filter(|token| !token.is_empty()) {
            return Ok(Some(Credential::IdentityToken(token.into())));
        }
        if let Some(auth) = entry.auth.filter(|auth| !auth.is_empty()) {
            return decode_pair(&auth).map(Some).ok_or_else(malformed);
        }
        Ok(match (entry.username, entry.password) {
            (Some(username), Some(password)) => Some(basic(username, password)),
            _ => None,
        })
    }

    fn write(&self) -> Result<(), ClientError> {
        let io = |source| ClientError::Io {
            action: "written",
            path: self.path.clone(),
            source,
        };
        let mut bytes = serde_json::to_vec_pretty(&self.document).map_err(|e| io(e.into()))?;
        bytes.push(b'\n');
        crate::file::write_private(&self.path, &bytes).map_err(io)
    }
}

fn decode_pair(auth: &str) -> Option<Credential> {
    let pair = BASE64_STANDARD.decode(auth).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (username, password) = pair.split_once(':')?;
    // Docker pads the password with NUL when the pair came from its legacy form.
    let password = password.trim_end_matches('\0');
    Some(basic(username.to_owned(), password.to_owned()))
}

fn basic(username: String, password: String) -> Credential {
    if username == TOKEN_USERNAME {
        return Credential::IdentityToken(password.into());
    }
    Credential::Basic {
        username,
        password: password.into(),
    }
}

/// Docker Hub's entry has the name of an API that is long gone.
fn server_key(registry: &Registry) -> &str {
    match registry.as_str() {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

/// The names under which clients have kept the entry of a registry.
fn keys(registry: &Registry) -> Vec<String> {
    let key = server_key(registry);
    [
        key.to_owned(),
        format!("https://{key}"),
        format!("http://{key}"),
    ]
    .into()
}

fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, ClientError> {
    use std::io::Read;
    let io = |source| ClientError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
