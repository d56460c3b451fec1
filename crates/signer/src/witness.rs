//! A witness: cosigns the checkpoints of logs that only grow (C2SP `tlog-witness`).
//!
//! It remembers one checkpoint for each log, in a file of its own that is on the disk before a
//! cosignature is given out. The key lies in the same folder, sealed like all others.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;
use trust::tlog::note::{MAX_NOTE_BYTES, SignatureType};
use trust::tlog::witness::{AddCheckpoint, WitnessRefusal};
use trust::tlog::{Checkpoint, Hash, SignatureLine, SignedNote, VerifierKey, cosignature};

use crate::custody::{KdfCost, UnlockSecret, files};
use crate::log::key::{LogKey, LogKeyError, LogKeyFiles};

/// Says why a witness cannot start, or cannot remember.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// The key cannot be opened or made.
    #[error(transparent)]
    Key(#[from] LogKeyError),
    /// A file cannot be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// What was remembered of a log cannot be read: cosigning from nothing would be lying.
    #[error("`{path}` does not hold a checkpoint of log `{origin}`: restore it from a backup")]
    State {
        /// The file.
        path: PathBuf,
        /// The log.
        origin: String,
    },
    /// The checkpoint is not cosigned.
    #[error(transparent)]
    Refused(#[from] WitnessRefusal),
}

/// How a witness is opened.
pub struct WitnessConfig {
    /// The folder of the key and of what is remembered.
    pub folder: PathBuf,
    /// The name of the key, if this start makes it.
    pub name: String,
    /// The secret that the key is sealed under.
    pub secret: UnlockSecret,
    /// The cost of guessing it.
    pub kdf_cost: KdfCost,
    /// The logs that are watched.
    pub logs: Vec<VerifierKey>,
}

/// A log that is watched, and the note that was cosigned last.
struct Watched {
    key: VerifierKey,
    path: PathBuf,
    seen: Mutex<Option<SignedNote>>,
}

/// A witness.
pub struct Witness {
    key: LogKey,
    logs: HashMap<String, Watched>,
}

impl Witness {
    /// Opens the key and what is remembered of the logs; makes the key when there is none.
    ///
    /// # Errors
    /// When a file cannot be read or written, or does not hold what it should.
    pub fn open(config: &WitnessConfig) -> Result<Self, WitnessError> {
        files::create_private_folder(&config.folder).map_err(|source| WitnessError::File {
            action: "make",
            path: config.folder.clone(),
            source,
        })?;
        let files = LogKeyFiles {
            folder: &config.folder,
            label: "witness",
            secret: &config.secret,
            kdf_cost: config.kdf_cost,
        };
        let name = (config.name.as_str(), SignatureType::CosignatureV1);
        let key = LogKey::open_or_make(&files, name)?;
        let logs = config.logs.iter().map(|log| {
            let watched = Watched::open(&config.folder, log)?;
            Ok((log.name().to_owned(), watched))
        });
        let logs = logs.collect::<Result<_, WitnessError>>()?;
        Ok(Self { key, logs })
    }

    /// Returns the key that verifies cosignatures.
    pub fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// Cosigns a checkpoint at `now`. What was seen is on the disk when this returns.
    ///
    /// # Errors
    /// When the request is refused, or what was seen cannot be written down.
    pub fn add_checkpoint(
        &self,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<SignatureLine, WitnessError> {
        let request = AddCheckpoint::parse(body)?;
        let log = self
            .logs
            .get(&request.origin()?)
            .ok_or(WitnessRefusal::UnknownLog)?;
        // Held from the check to the writing: of two requests at once, one sees the other.
        let mut seen = log.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen.as_ref().and_then(|note| log.state(note));
        request.verify(&log.key, last)?;
        let line = self.cosign(&request.note, now);
        // What is remembered holds the log's own signature and ours, and no stranger's.
        let mut note = request.note;
        note.signatures.retain(|line| log.key.is_of(line));
        note.signatures.push(line.clone());
        log.write(&note)?;
        *seen = Some(note);
        Ok(line)
    }

    fn cosign(&self, note: &SignedNote, now: OffsetDateTime) -> SignatureLine {
        let time = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        let message = cosignature::message(time, note.unverified_text());
        cosignature::line(self.verifier(), time, &self.key.sign(&message))
    }

    /// Returns the note that was cosigned last of the log whose origin has this SHA-256, in
    /// lower-case hexadecimal.
    pub fn checkpoint(&self, origin_sha256: &str) -> Option<SignedNote> {
        let mut logs = self.logs.values();
        let log = logs.find(|log| origin_hash(log.key.name()) == origin_sha256)?;
        log.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Watched {
    fn open(folder: &Path, key: &VerifierKey) -> Result<Self, WitnessError> {
        let path = folder.join(format!("{}.checkpoint", origin_hash(key.name())));
        let bytes = files::read_bounded(&path, MAX_NOTE_BYTES);
        let bytes = bytes.map_err(|source| WitnessError::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let watched = Self {
            key: key.clone(),
            path,
            seen: Mutex::new(None),
        };
        let Some(bytes) = bytes else {
            return Ok(watched);
        };
        let note = SignedNote::parse(&bytes).ok();
        let note = note.filter(|note| watched.state(note).is_some());
        let Some(note) = note else {
            let origin = key.name().to_owned();
            return Err(WitnessError::State {
                path: watched.path,
                origin,
            });
        };
        Ok(Self {
            seen: Mutex::new(Some(note)),
            ..watched
        })
    }

    fn state(&self, note: &SignedNote) -> Option<(u64, Hash)> {
        let checkpoint = Checkpoint::verify(note, &self.key).ok()?;
        Some((checkpoint.size, checkpoint.root))
    }

    fn write(&self, note: &SignedNote) -> Result<(), WitnessError> {
        let written = files::write_replacing(&self.path, note.to_string().as_bytes());
        written.map_err(|source| WitnessError::File {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}

fn origin_hash(origin: &str) -> String {
    oci::Digest::sha256(origin.as_bytes()).hex().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trust::tlog::Frontier;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

    fn secret() -> UnlockSecret {
        UnlockSecret::parse(b"correct horse battery staple".to_vec()).unwrap()
    }

    fn log_key(folder: &Path) -> LogKey {
        let secret = secret();
        let files = LogKeyFiles {
            folder,
            label: "log",
            secret: &secret,
            kdf_cost: KdfCost::TESTS_ONLY,
        };
        LogKey::open_or_make(&files, ("a.example/log", SignatureType::Ed25519)).unwrap()
    }

    fn witness(folder: &Path, logs: Vec<VerifierKey>) -> Result<Witness, WitnessError> {
        Witness::open(&WitnessConfig {
            folder: folder.join("witness"),
            name: "w.example/w".to_owned(),
            secret: secret(),
            kdf_cost: KdfCost::TESTS_ONLY,
            logs,
        })
    }

    /// A request to cosign, from nothing, the log of so many entries of one face.
    fn request(key: &LogKey, face: &str, size: u64) -> Vec<u8> {
        let mut tree = Frontier::empty();
        (0..size).for_each(|n| tree.push(format!("{face} {n}").as_bytes(), |_, _| {}));
        let note = key.sign_checkpoint(&Checkpoint {
            origin: key.origin().to_owned(),
            size,
            root: tree.root(),
            extensions: Vec::new(),
        });
        format!("old 0\n\n{note}").into_bytes()
    }

    #[test]
    fn what_was_seen_is_remembered_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let log = log_key(folder.path());
        let own = witness(folder.path(), vec![log.verifier().clone()]).unwrap();
        let hash = origin_hash("a.example/log");
        assert_eq!(own.checkpoint(&hash), None);
        let line = own.add_checkpoint(&request(&log, "one", 5), NOW).unwrap();
        let note = own.checkpoint(&hash).unwrap();
        assert!(note.signatures.contains(&line));
        let time = u64::try_from(NOW.unix_timestamp()).unwrap();
        assert_eq!(cosignature::verify(&note, own.verifier()), Ok(time));
        drop(own);

        // The second face is refused, also by a witness that was started again.
        let own = witness(folder.path(), vec![log.verifier().clone()]).unwrap();
        assert_eq!(own.checkpoint(&hash), Some(note));
        let refused = own.add_checkpoint(&request(&log, "two", 5), NOW);
        assert!(matches!(
            refused,
            Err(WitnessError::Refused(WitnessRefusal::Conflict(5)))
        ));
        let other = witness(tempfile::tempdir().unwrap().path(), Vec::new()).unwrap();
        let refused = other.add_checkpoint(&request(&log, "one", 5), NOW);
        assert!(matches!(
            refused,
            Err(WitnessError::Refused(WitnessRefusal::UnknownLog))
        ));
        let path = folder.path().join(format!("witness/{hash}.checkpoint"));
        std::fs::write(&path, b"damaged").unwrap();
        let refused = witness(folder.path(), vec![log.verifier().clone()]);
        assert!(matches!(refused, Err(WitnessError::State { .. })));
    }
}
