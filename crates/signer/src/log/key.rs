//! The key of the log: Ed25519, sealed on disk as `log.key`, with its public half and its name
//! beside it in `log.vkey`.
//!
//! The name is the origin of the log. It is fixed when the key is made: a server that moves to
//! another address keeps the log that it has.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use trust::tlog::note::SignatureType;
use trust::tlog::{Checkpoint, SignatureLine, SignedNote, VerifierKey};
use zeroize::Zeroizing;

use crate::custody::{KdfCost, SealError, UnlockSecret, files, sealed};

const MAX_VERIFIER_KEY_BYTES: usize = 1024;

/// Says why a key that signs notes cannot be opened or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogKeyError {
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
    /// The sealed key does not open.
    #[error("cannot open `{path}`")]
    Seal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
    /// Only one of the two files is there: a new key would be another log.
    #[error("`{0}` is missing: restore it from a backup, a new key would begin another log")]
    Missing(PathBuf),
    /// The name of the key or a file beside it cannot be used.
    #[error("`{path}` cannot be used: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// The files of a key that signs notes, and what opens them.
pub struct LogKeyFiles<'a> {
    /// The folder that they lie in.
    pub folder: &'a Path,
    /// What the files are called: `log` for `log.key` and `log.vkey`.
    pub label: &'a str,
    /// The secret that the key is sealed under.
    pub secret: &'a UnlockSecret,
    /// The cost of guessing it, for a key that is made now.
    pub kdf_cost: KdfCost,
}

impl LogKeyFiles<'_> {
    fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.label))
    }

    fn read(&self, extension: &str, limit: usize) -> Result<Option<Vec<u8>>, LogKeyError> {
        let path = self.path(extension);
        files::read_bounded(&path, limit).map_err(|source| LogKeyError::File {
            action: "read",
            path,
            source,
        })
    }

    fn write(&self, extension: &str, bytes: &[u8]) -> Result<(), LogKeyError> {
        let path = self.path(extension);
        files::write_replacing(&path, bytes).map_err(|source| LogKeyError::File {
            action: "write",
            path,
            source,
        })
    }

    fn unusable(&self, extension: &str, reason: impl ToString) -> LogKeyError {
        LogKeyError::Unusable {
            path: self.path(extension),
            reason: reason.to_string(),
        }
    }
}

/// A key that signs checkpoints, or cosigns them.
pub struct LogKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl LogKey {
    /// Opens the key, or makes one of that name and type when there is none.
    ///
    /// # Errors
    /// When the files cannot be read or written, do not open, or do not belong together.
    pub fn open_or_make(
        files: &LogKeyFiles<'_>,
        (name, signature_type): (&str, SignatureType),
    ) -> Result<Self, LogKeyError> {
        let sealed_key = files.read("key", sealed::MAX_SEALED_BYTES)?;
        let verifier = files.read("vkey", MAX_VERIFIER_KEY_BYTES)?;
        match (sealed_key, verifier) {
            (Some(key), Some(verifier)) => Self::open(files, &key, &verifier),
            // The public half is written first, so a key without it was not made by us.
            (Some(_), None) => Err(LogKeyError::Missing(files.path("vkey"))),
            // Nothing was signed by a key that was never written: an interrupted first start.
            (None, _) => Self::make(files, (name, signature_type)),
        }
    }

    fn make(
        files: &LogKeyFiles<'_>,
        (name, signature_type): (&str, SignatureType),
    ) -> Result<Self, LogKeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| LogKeyError::Library)?;
        let document = pair.to_pkcs8().map_err(|_| LogKeyError::Library)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        let verifier = VerifierKey::new(name, signature_type, public_half(&pair)?);
        let verifier = verifier.map_err(|error| files.unusable("vkey", error))?;
        let sealed_key = sealed::seal(files.label, &pkcs8, files.secret, files.kdf_cost);
        let sealed_key = sealed_key.map_err(|source| seal_error(files, source))?;
        files.write("vkey", format!("{verifier}\n").as_bytes())?;
        files.write("key", &sealed_key)?;
        Ok(Self { pair, verifier })
    }

    fn open(
        files: &LogKeyFiles<'_>,
        sealed_key: &[u8],
        verifier: &[u8],
    ) -> Result<Self, LogKeyError> {
        let pkcs8 = sealed::open(files.label, sealed_key, files.secret);
        let pkcs8 = pkcs8.map_err(|source| seal_error(files, source))?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| LogKeyError::Library)?;
        let verifier = String::from_utf8_lossy(verifier);
        let verifier: VerifierKey = verifier
            .trim_end()
            .parse()
            .map_err(|error| files.unusable("vkey", error))?;
        let expected = VerifierKey::new(
            verifier.name(),
            verifier.signature_type(),
            public_half(&pair)?,
        );
        if expected.as_ref() != Ok(&verifier) {
            return Err(files.unusable("vkey", "it is not the public half of the key beside it"));
        }
        Ok(Self { pair, verifier })
    }

    /// Returns the public half, by which others verify what this key signs.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Returns the origin of the log: the key's name.
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// Returns the signature of `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// Returns a text, signed as a note.
    ///
    /// # Errors
    /// When it does not end in a line break or holds a control character.
    pub fn sign_note(&self, text: String) -> Result<SignedNote, trust::tlog::NoteError> {
        let line = self.line_over(&text);
        SignedNote::new(text, vec![line])
    }

    fn line_over(&self, text: &str) -> SignatureLine {
        self.verifier.line(self.sign(text.as_bytes()))
    }

    /// Returns a checkpoint, signed.
    pub fn sign_checkpoint(&self, checkpoint: &Checkpoint) -> SignedNote {
        self.sign_note(checkpoint.to_string())
            .expect("the text of a checkpoint ends in a line break, and an origin has no control")
    }
}

fn public_half(pair: &Ed25519KeyPair) -> Result<[u8; 32], LogKeyError> {
    let bytes = pair.public_key().as_ref();
    bytes.try_into().map_err(|_| LogKeyError::Library)
}

fn seal_error(files: &LogKeyFiles<'_>, source: SealError) -> LogKeyError {
    LogKeyError::Seal {
        path: files.path("key"),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: (&str, SignatureType) = ("example.com/log", SignatureType::Ed25519);

    fn open(folder: &Path, name: (&str, SignatureType)) -> Result<LogKey, LogKeyError> {
        let secret = UnlockSecret::parse(b"correct horse battery staple".to_vec()).unwrap();
        let files = LogKeyFiles {
            folder,
            label: "log",
            secret: &secret,
            kdf_cost: KdfCost::TESTS_ONLY,
        };
        LogKey::open_or_make(&files, name)
    }

    #[test]
    fn a_key_and_its_name_stay_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let made = open(folder.path(), NAME).unwrap();
        let again = open(folder.path(), ("other.example/log", NAME.1)).unwrap();
        assert_eq!(again.verifier(), made.verifier());
        assert_eq!(again.origin(), "example.com/log");
        let note = again.sign_note("hello\n".to_owned()).unwrap();
        assert_eq!(note.verify(made.verifier()), Ok("hello\n"));
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (key, vkey) = (
            folder.path().join("log.key"),
            folder.path().join("log.vkey"),
        );
        let first = open(folder.path(), NAME).unwrap();
        std::fs::remove_file(&vkey).unwrap();
        let missing = open(folder.path(), NAME);
        assert!(matches!(missing, Err(LogKeyError::Missing(path)) if path == vkey));
        std::fs::write(&vkey, first.verifier().to_string()).unwrap();
        assert!(open(folder.path(), NAME).is_ok());
        // A first start that was interrupted between the two files is done again.
        std::fs::remove_file(&key).unwrap();
        let second = open(folder.path(), NAME).unwrap();
        assert_ne!(second.verifier(), first.verifier());
        std::fs::write(&vkey, first.verifier().to_string()).unwrap();
        let other = open(folder.path(), NAME);
        assert!(matches!(other, Err(LogKeyError::Unusable { .. })));
        let bad_name = open(tempfile::tempdir().unwrap().path(), ("a b", NAME.1));
        assert!(matches!(bad_name, Err(LogKeyError::Unusable { .. })));
    }
}
