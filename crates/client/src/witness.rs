//! Asking witnesses to cosign checkpoints (C2SP `tlog-witness`, `add-checkpoint`).
//!
//! A witness remembers the largest checkpoint that it saw of a log, and cosigns a larger one only
//! with the proof that nothing before changed. What it answers is verified here: a cosignature
//! that does not verify is an error, not a cosignature.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::StatusCode;
use trust::tlog::{Hash, NoteError, SignatureLine, SignedNote, VerifierKey, cosignature};
use url::Url;

use crate::ClientError;
use crate::http_client::{self, Clients, HttpOptions};

/// How long a witness may take: a checkpoint waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes: a few signature lines.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Where a witness is, and the key by which its cosignatures are verified: `URL=VKEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessAddress {
    /// The submission prefix.
    pub url: Url,
    /// The key.
    pub key: VerifierKey,
}

/// Says why a text is not the address of a witness.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessAddressError {
    /// There is no `=`.
    #[error("expected `URL=VKEY`")]
    Shape,
    /// The first part is not an HTTP URL.
    #[error("`{0}` is not an `http` or `https` URL")]
    Url(String),
    /// The second part is not a verifier key.
    #[error(transparent)]
    Key(#[from] NoteError),
}

impl FromStr for WitnessAddress {
    type Err = WitnessAddressError;

    fn from_str(text: &str) -> Result<Self, WitnessAddressError> {
        // The key's base64 may end in `=`, and a URL may hold one; the name of a key begins the
        // key and holds none that would make `+` come later.
        let plus = text.find('+').ok_or(WitnessAddressError::Shape)?;
        let split = text[..plus].rfind('=').ok_or(WitnessAddressError::Shape)?;
        let mut url = text[..split].to_owned();
        if !url.ends_with('/') {
            url.push('/');
        }
        let parsed: Option<Url> = url.parse().ok();
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
        let parsed = parsed.filter(is_http);
        Ok(Self {
            url: parsed.ok_or_else(|| WitnessAddressError::Url(text[..split].to_owned()))?,
            key: text[split + 1..].parse()?,
        })
    }
}

impl fmt::Display for WitnessAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.url, self.key)
    }
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// It cosigned.
    Cosigned(SignatureLine),
    /// It saw the log at another size last, and needs the proof from there.
    Saw(u64),
}

/// Says why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// It cannot be reached, or broke off.
    #[error("witness `{witness}` is unavailable")]
    Unavailable {
        /// The witness.
        witness: String,
        /// What the layer below reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused: the log is not one that it knows, or not what it was.
    #[error("witness `{witness}` refused with status {status}: {reason}")]
    Refused {
        /// The witness.
        witness: String,
        /// The HTTP status.
        status: u16,
        /// The first line of what it said.
        reason: String,
    },
    /// What it answered is not a cosignature of its key.
    #[error("witness `{witness}` did not answer with a cosignature of its key")]
    NotCosigned {
        /// The witness.
        witness: String,
        /// Why not.
        #[source]
        source: NoteError,
    },
}

/// A connection to one witness.
pub struct WitnessClient {
    address: WitnessAddress,
    clients: Clients,
}

impl WitnessClient {
    /// Returns a client. Nothing is connected before the first request.
    ///
    /// # Errors
    /// When the connection settings are unusable.
    pub fn new(address: WitnessAddress, options: &HttpOptions) -> Result<Self, ClientError> {
        Ok(Self {
            address,
            clients: Clients::new(options, None)?,
        })
    }

    /// Returns which witness it is.
    pub fn address(&self) -> &WitnessAddress {
        &self.address
    }

    /// Asks for a cosignature of `checkpoint`, with the proof that the log of `old` entries is its
    /// beginning.
    ///
    /// # Errors
    /// When the witness cannot be reached, refuses, or answers something else.
    pub async fn add_checkpoint(
        &self,
        (old, proof): (u64, &[Hash]),
        checkpoint: &SignedNote,
    ) -> Result<WitnessAnswer, WitnessError> {
        let lines: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
        let body = format!("old {old}\n{lines}\n{checkpoint}");
        let (status, body) = self.post(body).await?;
        match status {
            StatusCode::OK => self.cosignature(&body, checkpoint),
            StatusCode::CONFLICT => {
                let size = body
                    .strip_suffix('\n')
                    .and_then(trust::tlog::checkpoint::parse_size);
                let size = size.ok_or_else(|| self.refused(status, "no size in a conflict"))?;
                Ok(WitnessAnswer::Saw(size))
            }
            _ => Err(self.refused(status, body.lines().next().unwrap_or_default())),
        }
    }

    async fn post(&self, body: String) -> Result<(StatusCode, String), WitnessError> {
        let url = self.address.url.join("add-checkpoint");
        let url = url.map_err(|error| self.unavailable(error))?;
        let client = self
            .clients
            .of(&url)
            .map_err(|error| self.unavailable(error))?;
        let request = client.post(url).timeout(TIMEOUT).body(body);
        let response = request
            .send()
            .await
            .map_err(|e| self.unavailable(e.without_url()))?;
        let status = response.status();
        let body = http_client::read_body(response, MAX_ANSWER_BYTES).await;
        let body = body.map_err(|e| self.unavailable(e.without_url()))?;
        let text = body.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok((
            status,
            text.ok_or_else(|| self.refused(status, "the answer is no short text"))?,
        ))
    }

    /// Finds the line of the witness's key among those of the answer, and verifies it.
    fn cosignature(
        &self,
        body: &str,
        checkpoint: &SignedNote,
    ) -> Result<WitnessAnswer, WitnessError> {
        let refused = |source| WitnessError::NotCosigned {
            witness: self.address.url.to_string(),
            source,
        };
        let key = &self.address.key;
        let lines = body.lines().filter_map(|line| line.parse().ok());
        let lines: Vec<SignatureLine> = lines.filter(|line| key.is_of(line)).collect();
        let note = SignedNote::new(checkpoint.unverified_text().to_owned(), lines);
        let mut note = note.map_err(refused)?;
        cosignature::verify(&note, key).map_err(refused)?;
        Ok(WitnessAnswer::Cosigned(note.signatures.remove(0)))
    }

    fn unavailable(&self, source: impl std::error::Error + Send + Sync + 'static) -> WitnessError {
        WitnessError::Unavailable {
            witness: self.address.url.to_string(),
            source: Box::new(source),
        }
    }

    fn refused(&self, status: StatusCode, reason: &str) -> WitnessError {
        WitnessError::Refused {
            witness: self.address.url.to_string(),
            status: status.as_u16(),
            reason: reason.chars().take(200).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn an_address_is_a_url_and_a_key() {
        for url in ["http://127.0.0.1:7000/", "https://w.example/a=b/"] {
            let address: WitnessAddress = format!("{url}={KEY}").parse().unwrap();
            assert_eq!(address.url.as_str(), url);
            assert_eq!(address.key.to_string(), KEY);
            assert_eq!(
                address.to_string().parse::<WitnessAddress>().unwrap(),
                address
            );
        }
        let short: WitnessAddress = format!("http://w.example/x={KEY}").parse().unwrap();
        assert_eq!(short.url.as_str(), "http://w.example/x/");
        for bad in [
            "",
            "http://w.example",
            KEY,
            &format!("ftp://x={KEY}"),
            "http://w.example=a+b+c",
        ] {
            assert!(bad.parse::<WitnessAddress>().is_err(), "{bad}");
        }
    }
}
