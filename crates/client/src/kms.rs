//! AWS Key Management Service by its HTTP API: JSON 1.1, target `TrentService`, signed with
//! Signature Version 4.
//!
//! Only hashes are sent to be signed, never messages. Answers are bounded in bytes and time.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use url::Url;
use zeroize::Zeroizing;

use crate::http_client::{self, Clients, HttpOptions};
use crate::sigv4::{self, AccessKey, Scope};

/// How long the service may take for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes: a public key or a signature takes some thousand.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Tells the time, which is part of each signature.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Where the service is, and as whom it is asked.
pub struct KmsOptions {
    /// The service's address, such as `https://kms.eu-central-1.amazonaws.com`.
    pub endpoint: Url,
    /// The region.
    pub region: String,
    /// The access key.
    pub key: AccessKey,
    /// The time.
    pub clock: Clock,
    /// Settings of the connection.
    pub http: HttpOptions,
}

/// Says why the service gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// It could not be reached, was busy, or broke off: it may be there at the next attempt.
    #[error("AWS KMS at `{endpoint}` cannot be reached: {reason}")]
    Unavailable {
        /// Its address.
        endpoint: String,
        /// What failed.
        reason: String,
    },
    /// It does not accept the access key.
    #[error("AWS KMS does not accept the access key: {code}: {message}")]
    Credential {
        /// Its code.
        code: String,
        /// What it says.
        message: String,
    },
    /// It answered, and said no.
    #[error("AWS KMS refused `{operation}`: {code}: {message}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// Its code.
        code: String,
        /// What it says.
        message: String,
    },
    /// Its answer is not one.
    #[error("AWS KMS gave an answer to `{0}` that cannot be read")]
    Malformed(&'static str),
    /// The connection cannot be set up.
    #[error("the connection to AWS KMS cannot be set up")]
    Setup(#[from] crate::ClientError),
}

/// A connection to the service.
pub struct KmsClient {
    clients: Clients,
    options: KmsOptions,
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct KmsSignature<'a> {
    /// The hash.
    pub hash: &'a [u8],
    /// The service's name of the algorithm, such as `ECDSA_SHA_384`.
    pub algorithm: &'static str,
}

impl KmsClient {
    /// Returns a connection; nothing is sent yet.
    pub fn new(options: KmsOptions) -> Result<Self, KmsError> {
        Ok(Self {
            clients: Clients::new(&options.http, Some(TIMEOUT))?,
            options,
        })
    }

    /// Returns the address of the service.
    pub fn endpoint(&self) -> &Url {
        &self.options.endpoint
    }

    /// Returns the SubjectPublicKeyInfo of a key, if there is one; `key` may be an alias.
    pub async fn public_key(&self, key: &str) -> Result<Option<Vec<u8>>, KmsError> {
        const OPERATION: &str = "GetPublicKey";
        let answer = self.call(OPERATION, &json!({ "KeyId": key })).await;
        match answer {
            Ok(answer) => bytes_of(&answer, "PublicKey", OPERATION).map(Some),
            Err(KmsError::Refused { code, .. }) if code == "NotFoundException" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a signing key of a kind such as `ECC_NIST_P384`, and returns its identifier.
    pub async fn create_key(&self, spec: &str, description: &str) -> Result<String, KmsError> {
        const OPERATION: &str = "CreateKey";
        let body = json!({
            "KeySpec": spec,
            "KeyUsage": "SIGN_VERIFY",
            "Description": description,
        });
        let answer = self.call(OPERATION, &body).await?;
        let id = answer["KeyMetadata"]["KeyId"].as_str();
        id.map(str::to_owned).ok_or(KmsError::Malformed(OPERATION))
    }

    /// Gives a key an alias, which must be free: `alias/NAME`.
    pub async fn create_alias(&self, alias: &str, key: &str) -> Result<(), KmsError> {
        let body = json!({ "AliasName": alias, "TargetKeyId": key });
        self.call("CreateAlias", &body).await.map(drop)
    }

    /// Returns the signature of a hash; ECDSA in ASN.1.
    pub async fn sign(&self, key: &str, what: KmsSignature<'_>) -> Result<Vec<u8>, KmsError> {
        const OPERATION: &str = "Sign";
        let body = json!({
            "KeyId": key,
            "Message": BASE64_STANDARD.encode(what.hash),
            "MessageType": "DIGEST",
            "SigningAlgorithm": what.algorithm,
        });
        let answer = self.call(OPERATION, &body).await?;
        bytes_of(&answer, "Signature", OPERATION)
    }

    /// Returns what a symmetric key encrypts; at most 4096 bytes.
    pub async fn encrypt(&self, key: &str, plaintext: &[u8]) -> Result<Vec<u8>, KmsError> {
        const OPERATION: &str = "Encrypt";
        let text = Zeroizing::new(BASE64_STANDARD.encode(plaintext));
        let body = json!({ "KeyId": key, "Plaintext": text.as_str() });
        let answer = self.call(OPERATION, &body).await?;
        bytes_of(&answer, "CiphertextBlob", OPERATION)
    }

    /// Returns what was encrypted; the blob names its key.
    pub async fn decrypt(&self, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        const OPERATION: &str = "Decrypt";
        let body = json!({ "CiphertextBlob": BASE64_STANDARD.encode(blob) });
        let answer = self.call(OPERATION, &body).await?;
        bytes_of(&answer, "Plaintext", OPERATION).map(Zeroizing::new)
    }

    async fn call(&self, operation: &'static str, body: &Value) -> Result<Value, KmsError> {
        let body = Zeroizing::new(body.to_string());
        let response = self.send(operation, &body).await?;
        let status = response.status();
        let read = http_client::read_body(response, MAX_ANSWER_BYTES).await;
        let bytes = read.map_err(|error| self.unavailable(&error))?;
        let bytes = Zeroizing::new(bytes.ok_or(KmsError::Malformed(operation))?);
        // `CreateAlias` answers nothing.
        if status.is_success() && bytes.is_empty() {
            return Ok(Value::Null);
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|_| KmsError::Malformed(operation));
        }
        Err(self.refusal(operation, status, &bytes))
    }

    async fn send(
        &self,
        operation: &'static str,
        body: &str,
    ) -> Result<reqwest::Response, KmsError> {
        let endpoint = &self.options.endpoint;
        let target = format!("TrentService.{operation}");
        let host = host_of(endpoint);
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("host", host.as_str()),
            ("x-amz-target", target.as_str()),
        ];
        let scope = Scope {
            region: &self.options.region,
            service: "kms",
        };
        let now = (self.options.clock)();
        let signed = (headers.as_slice(), body.as_bytes());
        let added = sigv4::sign_post(&self.options.key, scope, now, signed);
        let client = self.clients.of(endpoint)?;
        let mut request = client.post(endpoint.clone()).timeout(TIMEOUT);
        for (name, value) in headers.into_iter().filter(|(name, _)| *name != "host") {
            request = request.header(name, value);
        }
        for (name, value) in added {
            request = request.header(name, value);
        }
        let sent = request.body(body.to_owned()).send().await;
        sent.map_err(|error| self.unavailable(&error))
    }

    fn unavailable(&self, error: &reqwest::Error) -> KmsError {
        KmsError::Unavailable {
            endpoint: self.options.endpoint.to_string(),
            reason: http_client::reason(error),
        }
    }

    fn refusal(
        &self,
        operation: &'static str,
        status: reqwest::StatusCode,
        bytes: &[u8],
    ) -> KmsError {
        let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |name: &str| answer[name].as_str().unwrap_or_default();
        // Some answers prefix the code with a namespace and `#`.
        let code = text("__type");
        let code = code.rsplit('#').next().unwrap_or(code).to_owned();
        let message = Some(text("message")).filter(|text| !text.is_empty());
        let message: String = message
            .unwrap_or(text("Message"))
            .chars()
            .take(300)
            .collect();
        match code.as_str() {
            _ if status.is_server_error() || status.as_u16() == 429 => KmsError::Unavailable {
                endpoint: self.options.endpoint.to_string(),
                reason: format!("status {status} {code}"),
            },
            "ThrottlingException"
            | "LimitExceededException"
            | "KMSInternalException"
            | "DependencyTimeoutException" => KmsError::Unavailable {
                endpoint: self.options.endpoint.to_string(),
                reason: code,
            },
            "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "MissingAuthenticationToken" => KmsError::Credential { code, message },
            _ => KmsError::Refused {
                operation,
                code,
                message,
            },
        }
    }
}

fn bytes_of(answer: &Value, name: &str, operation: &'static str) -> Result<Vec<u8>, KmsError> {
    let text = answer[name].as_str();
    let bytes = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
    bytes.ok_or(KmsError::Malformed(operation))
}

/// Returns the `Host` that is sent for a URL: the port only where it is not the scheme's.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
