//! Proofs in a file (C2SP `tlog-proof`), which need nobody to ask: the position of an entry, the
//! way from it to the root, and the checkpoint with its cosignatures.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointError, parse_size};
use super::cosignature;
use super::hash::{Hash, leaf_hash};
use super::note::{NoteError, SignedNote, VerifierKey};
use super::proof::{MAX_PROOF_HASHES, ProofError, verify_inclusion};
use crate::encoding;

/// The longest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 128 * 1024;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Which logs count, and how many witnesses must have seen that they only grew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogPolicy {
    /// The keys of the logs.
    pub logs: Vec<VerifierKey>,
    /// The keys of the witnesses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<VerifierKey>,
    /// How many of the witnesses must have cosigned.
    #[serde(default)]
    pub threshold: usize,
}

/// Says why a proof is not one, or does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogProofError {
    /// The bytes are not a proof.
    #[error("not a log proof: {0}")]
    Shape(&'static str),
    /// The checkpoint is not one of a log that counts.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not in the log.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Too few witnesses saw the log at this size.
    #[error("{found} of the named witnesses cosigned the checkpoint, and {needed} are needed")]
    Witnesses {
        /// How many did.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
}

impl From<NoteError> for LogProofError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(error.into())
    }
}

impl LogPolicy {
    /// Returns what a checkpoint says, if a log that counts signed it and enough witnesses saw it.
    ///
    /// # Errors
    /// When not.
    pub fn accept(&self, note: &SignedNote) -> Result<Checkpoint, LogProofError> {
        let known = self
            .logs
            .iter()
            .find(|key| note.signatures.iter().any(|line| key.is_of(line)));
        let key = known.ok_or_else(|| {
            let names: Vec<_> = self.logs.iter().map(VerifierKey::to_string).collect();
            NoteError::NotSigned(names.join("`, `"))
        })?;
        let checkpoint = Checkpoint::verify(note, key)?;
        let (found, needed) = (cosignature::count(note, &self.witnesses)?, self.threshold);
        match found >= needed {
            true => Ok(checkpoint),
            false => Err(LogProofError::Witnesses { found, needed }),
        }
    }
}

/// A proof that an entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogProof {
    /// Data for whoever knows what to do with it. Nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// The position of the entry.
    pub position: u64,
    /// The hashes beside the way to the root, from the leaf up.
    pub hashes: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: SignedNote,
}

impl LogProof {
    /// Reads a proof of at most [`MAX_FILE_BYTES`].
    ///
    /// # Errors
    /// When the bytes are not one.
    pub fn parse(bytes: &[u8]) -> Result<Self, LogProofError> {
        let shape = LogProofError::Shape;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(shape("longer than 128 KiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| shape("not UTF-8"))?;
        let split = text.split_once("\n\n");
        let (head, note) = split.ok_or(shape("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(shape("it does not begin with `c2sp.org/tlog-proof@v1`"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.map(|line| encoding::from_base64(&line["extra ".len()..]));
        let position = lines.next().and_then(|line| line.strip_prefix("index "));
        let hashes: Result<Vec<Hash>, _> =
            lines.take(MAX_PROOF_HASHES + 1).map(str::parse).collect();
        let hashes = hashes.map_err(|_| shape("a hash is not 32 bytes in base64"))?;
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(shape("more than 63 hashes"));
        }
        Ok(Self {
            extra: match extra {
                Some(None) => return Err(shape("`extra` is not base64")),
                Some(found) => found,
                None => None,
            },
            position: position
                .and_then(parse_size)
                .ok_or(shape("`index` is missing"))?,
            hashes,
            checkpoint: SignedNote::parse(note.as_bytes())?,
        })
    }

    /// Returns the checkpoint that shows `entry` to be in a log that counts.
    ///
    /// # Errors
    /// When it does not.
    pub fn verify(&self, entry: &[u8], policy: &LogPolicy) -> Result<Checkpoint, LogProofError> {
        let checkpoint = policy.accept(&self.checkpoint)?;
        let leaf = (self.position, leaf_hash(entry));
        verify_inclusion(leaf, (checkpoint.size, checkpoint.root), &self.hashes)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", encoding::base64(extra))?;
        }
        writeln!(f, "index {}", self.position)?;
        self.hashes
            .iter()
            .try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::SignatureType;
    use super::super::proof::inclusion;
    use super::super::tree::root_of;
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    struct Signer(Ed25519KeyPair, VerifierKey);

    fn signer(name: &str, kind: SignatureType) -> Signer {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = VerifierKey::new(name, kind, public).unwrap();
        Signer(pair, key)
    }

    /// A log of five entries, the proof of the third, and who signed it.
    struct World {
        log: Signer,
        witness: Signer,
        proof: LogProof,
    }

    const ENTRY: &[u8] = b"entry 2";

    fn world() -> World {
        let log = signer("example.com/log", SignatureType::Ed25519);
        let witness = signer("witness.example/w", SignatureType::CosignatureV1);
        let leaves: Vec<_> = (0..5)
            .map(|n| leaf_hash(format!("entry {n}").as_bytes()))
            .collect();
        let read = |node: super::super::Node| {
            let start = usize::try_from(node.number << node.height).unwrap();
            Ok::<_, ()>(root_of(&leaves[start..start + (1 << node.height)]))
        };
        let checkpoint = Checkpoint {
            origin: "example.com/log".to_owned(),
            size: 5,
            root: root_of(&leaves),
            extensions: Vec::new(),
        };
        let text = checkpoint.to_string();
        let cosigned = witness.0.sign(&cosignature::message(7, &text));
        let lines = vec![
            log.1.line(log.0.sign(text.as_bytes()).as_ref().to_vec()),
            cosignature::line(&witness.1, 7, cosigned.as_ref()),
        ];
        let proof = LogProof {
            extra: None,
            position: 2,
            hashes: inclusion((2, 5), read).unwrap(),
            checkpoint: SignedNote::new(text, lines).unwrap(),
        };
        World {
            log,
            witness,
            proof,
        }
    }

    fn policy(world: &World) -> LogPolicy {
        LogPolicy {
            logs: vec![world.log.1.clone()],
            witnesses: vec![world.witness.1.clone()],
            threshold: 1,
        }
    }

    #[test]
    fn a_proof_is_its_own_text_and_verifies() {
        let world = world();
        let mut proof = world.proof.clone();
        for extra in [None, Some(Vec::new()), Some(b"hello".to_vec())] {
            proof.extra = extra;
            let text = proof.to_string();
            assert_eq!(LogProof::parse(text.as_bytes()).unwrap(), proof);
            assert!(proof.verify(ENTRY, &policy(&world)).is_ok());
        }
    }

    /// One thing is wrong each time.
    #[test]
    fn what_does_not_hold_is_refused() {
        let world = world();
        let good = policy(&world);
        fn refused(proof: &LogProof, entry: &[u8], policy: &LogPolicy) -> LogProofError {
            proof.verify(entry, policy).unwrap_err()
        }
        let error = refused(&world.proof, b"entry 3", &good);
        assert_eq!(error, LogProofError::Proof(ProofError::Root));
        let other = LogPolicy {
            logs: vec![signer("example.com/log", SignatureType::Ed25519).1],
            ..good.clone()
        };
        let error = refused(&world.proof, ENTRY, &other);
        assert!(matches!(
            error,
            LogProofError::Checkpoint(CheckpointError::Note(_))
        ));
        let none = LogPolicy {
            witnesses: Vec::new(),
            ..good.clone()
        };
        let error = refused(&world.proof, ENTRY, &none);
        assert_eq!(
            error,
            LogProofError::Witnesses {
                found: 0,
                needed: 1
            }
        );
        let mut moved = world.proof.clone();
        moved.position = 3;
        assert!(moved.verify(ENTRY, &good).is_err());
        // The log's own key, under another origin.
        let text = world
            .proof
            .checkpoint
            .unverified_text()
            .replace("example.com/log", "b.example/log");
        let line = world
            .log
            .1
            .line(world.log.0.sign(text.as_bytes()).as_ref().to_vec());
        let mut renamed = world.proof.clone();
        renamed.checkpoint = SignedNote::new(text, vec![line]).unwrap();
        let error = refused(
            &renamed,
            ENTRY,
            &LogPolicy {
                threshold: 0,
                ..good
            },
        );
        assert!(matches!(
            error,
            LogProofError::Checkpoint(CheckpointError::Origin { .. })
        ));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let text = world().proof.to_string();
        let many = format!(
            "index 2\n{}",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(64)
        );
        for (from, to) in [
            ("proof@v1", "proof@v2"),
            ("index 2\n", ""),
            ("index 2", "index 02"),
            ("index 2", "index -2"),
            ("index 2", "extra !\nindex 2"),
            ("index 2", "index 2\nAAAA"),
            ("index 2\n", many.as_str()),
            ("\n\n", "\n"),
            ("— witness", "- witness"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(
                LogProof::parse(changed.as_bytes()).is_err(),
                "{from} → {to}"
            );
        }
        assert!(LogProof::parse(b"").is_err());
        assert!(LogProof::parse(&vec![b'x'; MAX_FILE_BYTES + 1]).is_err());
    }
}
