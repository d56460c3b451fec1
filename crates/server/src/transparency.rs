//! The log as the front publishes it: the checkpoint with the cosignatures of witnesses.
//!
//! The signer signs a checkpoint for each group of changes. Witnesses are asked about the newest
//! one every few seconds, and at once when somebody waits for a proof; what is served then is the
//! newest that they were asked about, so that whoever reads the log sees what they saw. Without
//! witnesses the signer's checkpoint is served as it is.

use std::sync::Arc;
use std::time::Duration;

use client::http_client::HttpOptions;
use client::witness::{WitnessAddress, WitnessAnswer, WitnessClient, WitnessError};
use serde_json::{Map, Value};
use signer::log::EntryKind;
use signer::protocol::log::Which;
use signer::{ProvenEntry, SignerClientError};
use tokio::sync::{Notify, watch};
use trust::tlog::{LogProof, SignatureLine, SignedNote};

use crate::error::{ApiError, chain};
use crate::state::{Front, FrontState};

/// How often witnesses are asked, if the log grew.
const PERIOD: Duration = Duration::from_secs(2);
/// How long somebody who waits for a proof is kept waiting for the witnesses.
const PATIENCE: Duration = Duration::from_secs(5);

/// A checkpoint as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The number of entries.
    pub size: u64,
    /// The note, with all its signatures.
    pub note: SignedNote,
}

/// What handlers and the loop that asks the witnesses share.
pub struct Transparency {
    published: watch::Sender<Option<Published>>,
    ask: Notify,
}

impl Default for Transparency {
    fn default() -> Self {
        Self {
            published: watch::Sender::new(None),
            ask: Notify::new(),
        }
    }
}

impl Transparency {
    /// Returns what is published, and tells of each change of it; `None` before witnesses were
    /// asked for the first time.
    pub fn published(&self) -> watch::Receiver<Option<Published>> {
        self.published.subscribe()
    }
}

impl FrontState {
    /// Has something that happened written into the log. It is durable when this returns.
    ///
    /// # Errors
    /// When the signer refuses or does not answer.
    pub async fn record_event(&self, kind: EntryKind, body: Value) -> Result<(), ApiError> {
        let body = match body {
            Value::Object(body) => body,
            other => Map::from_iter([("what".to_owned(), other)]),
        };
        self.signer.append_event(kind, body).await?;
        Ok(())
    }

    /// Returns the checkpoint to serve.
    ///
    /// # Errors
    /// When the signer does not answer.
    pub async fn checkpoint(&self) -> Result<Published, SignerClientError> {
        let published = self.transparency.published.borrow().clone();
        match published {
            Some(published) => Ok(published),
            None => newest(self).await,
        }
    }

    /// Returns the proof that an entry is in the log, with the entry in its `extra`.
    ///
    /// # Errors
    /// When the signer does not answer, or there is no such entry.
    pub async fn prove(&self, which: Which) -> Result<LogProof, SignerClientError> {
        let position = match which {
            Which::Position(position) => position,
            Which::Job(_) => self.signer.log_entry(which, None).await?.position,
        };
        let published = self.checkpoint_over(position).await?;
        let (which, size) = (Which::Position(position), Some(published.size));
        let ProvenEntry { bytes, hashes, .. } = self.signer.log_entry(which, size).await?;
        Ok(LogProof {
            extra: Some(bytes),
            position,
            hashes,
            checkpoint: published.note,
        })
    }

    /// Returns a checkpoint over the entry at `position`, with cosignatures if witnesses give them
    /// in time.
    ///
    /// # Errors
    /// When the signer does not answer.
    async fn checkpoint_over(&self, position: u64) -> Result<Published, SignerClientError> {
        let covers = |published: &Published| published.size > position;
        let mut receiver = self.transparency.published.subscribe();
        if receiver.borrow().is_some() {
            let covering = |published: &Option<Published>| published.as_ref().is_some_and(covers);
            if !covering(&receiver.borrow()) {
                self.transparency.ask.notify_one();
            }
            let found = tokio::time::timeout(PATIENCE, receiver.wait_for(covering)).await;
            if let Ok(Ok(found)) = found
                && let Some(published) = &*found
            {
                return Ok(published.clone());
            }
        }
        newest(self).await
    }
}

async fn newest(front: &FrontState) -> Result<Published, SignerClientError> {
    let (size, note) = front.signer.log_checkpoint().await?;
    let note = SignedNote::parse(note.as_bytes());
    let note = note.map_err(|_| SignerClientError::Unexpected)?;
    Ok(Published { size, note })
}

/// A witness, and what is known of it.
struct Witness {
    client: WitnessClient,
    /// The size that it saw last.
    saw: u64,
    /// What it gave for the checkpoint that is published now.
    line: Option<SignatureLine>,
}

/// Says why a witness gave nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    /// The witness cannot be reached or refused.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The proof could not be had.
    #[error("no proof for the witness")]
    Proof(#[from] SignerClientError),
    /// The witness saw more than there is: the log was put back to an earlier state.
    #[error(
        "the witness has seen {saw} entries of this log, and there are {there}: it was restored \
         from an older backup, or rewritten"
    )]
    Shrunk {
        /// What the witness saw.
        saw: u64,
        /// What there is.
        there: u64,
    },
    /// The witness contradicts itself.
    #[error("the witness asks for proofs from ever other sizes")]
    Restless,
}

impl RoundError {
    /// Returns whether the witness says that the log is not what it was. 422 is its answer to a
    /// proof that does not hold (`tlog-witness`, add-checkpoint).
    fn is_alarm(&self) -> bool {
        let is_inconsistent = matches!(
            self,
            Self::Witness(WitnessError::Refused { status: 422, .. })
        );
        is_inconsistent || matches!(self, Self::Shrunk { .. })
    }
}

/// Asks witnesses until `stop` becomes true. Returns at once when there are none.
///
/// # Errors
/// When the settings of connections cannot be used.
pub async fn run(
    front: Front,
    witnesses: Vec<WitnessAddress>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let options = HttpOptions::default();
    let mut known = Vec::new();
    for address in witnesses {
        known.push(Witness {
            client: WitnessClient::new(address, &options)?,
            saw: 0,
            line: None,
        });
    }
    if known.is_empty() {
        return Ok(());
    }
    loop {
        if let Err(error) = round(&front, &mut known).await {
            tracing::warn!(error = chain(&error), "witnesses cannot be asked");
        }
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
            () = front.transparency.ask.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Asks all witnesses about the newest checkpoint, and publishes it with what they gave.
async fn round(front: &Front, witnesses: &mut [Witness]) -> Result<(), SignerClientError> {
    let newest = newest(front).await?;
    let grew = {
        let published = front.transparency.published.borrow();
        published
            .as_ref()
            .is_none_or(|published| published.size != newest.size)
    };
    let newest = Arc::new(newest);
    let mut asked = Vec::new();
    for witness in witnesses.iter_mut() {
        if grew {
            witness.line = None;
        }
        if witness.line.is_none() {
            asked.push(ask(front, witness, newest.clone()));
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    futures_util::future::join_all(asked).await;
    let mut note = newest.note.clone();
    note.signatures
        .extend(witnesses.iter().filter_map(|witness| witness.line.clone()));
    let size = newest.size;
    front
        .transparency
        .published
        .send_replace(Some(Published { size, note }));
    Ok(())
}

async fn ask(front: &Front, witness: &mut Witness, newest: Arc<Published>) {
    match try_ask(front, witness, &newest).await {
        Ok(line) => witness.line = Some(line),
        Err(error) => {
            let name = witness.client.address().key.name().to_owned();
            let is_alarm = error.is_alarm();
            let error = chain(&error);
            match is_alarm {
                true => tracing::error!(witness = name, error, "a witness contradicts our log"),
                false => tracing::warn!(witness = name, error, "a witness did not cosign"),
            }
        }
    }
}

async fn try_ask(
    front: &Front,
    witness: &mut Witness,
    newest: &Published,
) -> Result<SignatureLine, RoundError> {
    // It may have seen more than we remember of it: then it says so, once.
    for _ in 0..3 {
        let (saw, there) = (witness.saw, newest.size);
        if saw > there {
            witness.saw = 0;
            return Err(RoundError::Shrunk { saw, there });
        }
        let proof = match saw {
            0 => Vec::new(),
            _ => front.signer.log_consistency(saw, there).await?,
        };
        match witness
            .client
            .add_checkpoint((saw, &proof), &newest.note)
            .await?
        {
            WitnessAnswer::Cosigned(line) => {
                witness.saw = there;
                return Ok(line);
            }
            WitnessAnswer::Saw(size) => witness.saw = size,
        }
    }
    Err(RoundError::Restless)
}
