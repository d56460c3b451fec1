//! The transit engine of HashiCorp Vault and of OpenBao: keys that sign hashes.
//!
//! A key's first version is the one that is used, for ever: a rotation in the engine must not
//! change the key of a certificate that is already out. Keys that the engine would export are not
//! used. Only hashes are sent.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use crate::http_client::{self, Clients, HttpOptions};

/// How long the server may take for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes; a key with a thousand versions takes less.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Where the engine is, and as whom it is asked.
pub struct VaultOptions {
    /// The server's address.
    pub server: Url,
    /// Where the engine is mounted, such as `transit`.
    pub mount: String,
    /// The token.
    pub token: Zeroizing<String>,
    /// Settings of the connection.
    pub http: HttpOptions,
}

/// Says why the server gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// It could not be reached, is sealed, or broke off: it may be there at the next attempt.
    #[error("Vault at `{server}` cannot be reached: {reason}")]
    Unavailable {
        /// Its address.
        server: String,
        /// What failed.
        reason: String,
    },
    /// It does not accept the token for this.
    #[error("Vault does not accept the token: {0}")]
    Token(String),
    /// It answered, and said no.
    #[error("Vault refused: {0}")]
    Refused(String),
    /// Its answer is not one.
    #[error("Vault gave an answer that cannot be read")]
    Malformed,
    /// The connection cannot be set up.
    #[error("the connection to Vault cannot be set up")]
    Setup(#[from] crate::ClientError),
}

/// A key of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKey {
    /// The public half of its first version, in PEM.
    pub public_key_pem: String,
    /// Whether the engine would hand it out.
    pub exportable: bool,
}

/// What is signed, and how.
#[derive(Clone, Copy, Debug)]
pub struct TransitSignature<'a> {
    /// The hash.
    pub hash: &'a [u8],
    /// The engine's name of the hash, such as `sha2-384`.
    pub hash_algorithm: &'static str,
    /// `pss` or `pkcs1v15`; RSA only.
    pub padding: Option<&'static str>,
}

/// A connection to the engine.
pub struct VaultClient {
    clients: Clients,
    options: VaultOptions,
}

impl VaultClient {
    /// Returns a connection; nothing is sent yet.
    pub fn new(options: VaultOptions) -> Result<Self, VaultError> {
        Ok(Self {
            clients: Clients::new(&options.http, Some(TIMEOUT))?,
            options,
        })
    }

    /// Returns the server's address.
    pub fn server(&self) -> &Url {
        &self.options.server
    }

    /// Returns where the engine is mounted.
    pub fn mount(&self) -> &str {
        &self.options.mount
    }

    /// Returns the key of that name, if there is one.
    pub async fn key(&self, name: &str) -> Result<Option<TransitKey>, VaultError> {
        let Some(answer) = self.call(&["keys", name], None).await? else {
            return Ok(None);
        };
        let key: KeyAnswer = serde_json::from_value(answer).map_err(|_| VaultError::Malformed)?;
        let first = key
            .keys
            .get("1")
            .and_then(|version| version["public_key"].as_str());
        let Some(public_key_pem) = first else {
            return Err(VaultError::Refused(format!(
                "key `{name}` has no public first version"
            )));
        };
        Ok(Some(TransitKey {
            public_key_pem: public_key_pem.to_owned(),
            exportable: key.exportable || key.allow_plaintext_backup,
        }))
    }

    /// Makes a key of a type such as `ecdsa-p384` that the engine does not hand out.
    pub async fn create_key(&self, name: &str, kind: &str) -> Result<(), VaultError> {
        let body = json!({
            "type": kind,
            "exportable": false,
            "allow_plaintext_backup": false,
        });
        self.call(&["keys", name], Some(body)).await.map(drop)
    }

    /// Returns the signature of a hash by the first version of a key; ECDSA in ASN.1.
    pub async fn sign(
        &self,
        name: &str,
        what: TransitSignature<'_>,
    ) -> Result<Vec<u8>, VaultError> {
        let mut body = json!({
            "input": BASE64_STANDARD.encode(what.hash),
            "prehashed": true,
            "key_version": 1,
            "marshaling_algorithm": "asn1",
        });
        if let Some(padding) = what.padding {
            body["signature_algorithm"] = padding.into();
            body["salt_length"] = "hash".into();
        }
        let path = ["sign", name, what.hash_algorithm];
        let answer = self.call(&path, Some(body)).await?;
        let answer = answer.ok_or_else(|| VaultError::Refused(format!("no key `{name}`")))?;
        let text = answer["signature"].as_str().ok_or(VaultError::Malformed)?;
        let value = text
            .strip_prefix("vault:v1:")
            .ok_or(VaultError::Malformed)?;
        BASE64_STANDARD
            .decode(value)
            .map_err(|_| VaultError::Malformed)
    }

    /// Asks; returns the answer's `data`, or `None` where there is nothing.
    async fn call(&self, path: &[&str], body: Option<Value>) -> Result<Option<Value>, VaultError> {
        let url = self.url(path)?;
        let client = self.clients.of(&url)?;
        let request = match &body {
            None => client.get(url),
            Some(body) => client.post(url).json(body),
        };
        let request = request
            .timeout(TIMEOUT)
            .header("x-vault-request", "true")
            .header("x-vault-token", self.options.token.as_str());
        let sent = request.send().await;
        let response = sent.map_err(|error| self.unavailable(http_client::reason(&error)))?;
        let status = response.status();
        let read = http_client::read_body(response, MAX_ANSWER_BYTES).await;
        let bytes = read.map_err(|error| self.unavailable(http_client::reason(&error)))?;
        let bytes = bytes.ok_or(VaultError::Malformed)?;
        self.judge(status.as_u16(), &bytes)
    }

    fn judge(&self, status: u16, bytes: &[u8]) -> Result<Option<Value>, VaultError> {
        let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let errors = answer["errors"].as_array().into_iter().flatten();
        let errors: Vec<&str> = errors.filter_map(Value::as_str).take(3).collect();
        let message: String = errors.join("; ").chars().take(300).collect();
        match status {
            200..300 => Ok(Some(answer["data"].clone())),
            404 if message.is_empty() => Ok(None),
            401 | 403 => Err(VaultError::Token(message)),
            // 503 is a sealed server, 429 and 473 a standby, 412 one that lags behind.
            412 | 429 | 473 | 500.. => Err(self.unavailable(format!("status {status}: {message}"))),
            _ => Err(VaultError::Refused(format!("status {status}: {message}"))),
        }
    }

    fn url(&self, path: &[&str]) -> Result<Url, VaultError> {
        let mut url = self.options.server.clone();
        let mut segments = url
            .path_segments_mut()
            .map_err(|()| VaultError::Refused("its address has no path".to_owned()))?;
        segments.pop_if_empty().push("v1");
        segments.extend(self.options.mount.split('/')).extend(path);
        drop(segments);
        Ok(url)
    }

    fn unavailable(&self, reason: String) -> VaultError {
        VaultError::Unavailable {
            server: self.options.server.to_string(),
            reason,
        }
    }
}

#[derive(Deserialize)]
struct KeyAnswer {
    /// By version; a version of a symmetric key is a number.
    keys: BTreeMap<String, Value>,
    #[serde(default)]
    exportable: bool,
    #[serde(default)]
    allow_plaintext_backup: bool,
}
