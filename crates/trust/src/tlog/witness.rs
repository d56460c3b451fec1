//! What a witness is asked (C2SP `tlog-witness`, add-checkpoint), and what it must check.

use super::checkpoint::{Checkpoint, CheckpointError, parse_size};
use super::hash::Hash;
use super::note::{NoteError, SignedNote, VerifierKey};
use super::proof::{MAX_PROOF_HASHES, verify_consistency};

/// The longest request, in bytes: a checkpoint, and the longest proof.
pub const MAX_REQUEST_BYTES: usize = 80 * 1024;

/// A request to cosign a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the log that the witness is thought to have seen last.
    pub old: u64,
    /// The proof that that log is the beginning of the checkpoint's.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub note: SignedNote,
}

/// Why a witness does not cosign. The numbers are the HTTP statuses that the specification gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessRefusal {
    /// 400: the request is malformed.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// 404: the log is not one that this witness watches.
    #[error("unknown log")]
    UnknownLog,
    /// 403: the log did not sign the checkpoint.
    #[error("the checkpoint is not signed by the log")]
    NotSigned,
    /// 409: this is not what the witness saw last.
    #[error("the log was seen at size {0} last")]
    Conflict(u64),
    /// 422: what was seen is not the beginning of the checkpoint's log.
    #[error("the checkpoint is not consistent with the one that was seen last")]
    Inconsistent,
}

impl AddCheckpoint {
    /// Reads a request of at most [`MAX_REQUEST_BYTES`].
    ///
    /// # Errors
    /// When it is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, WitnessRefusal> {
        let malformed = WitnessRefusal::Malformed;
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(malformed("too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let split = text.split_once("\n\n");
        let (head, note) = split.ok_or(malformed("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old
            .and_then(parse_size)
            .ok_or(malformed("the old size is missing"))?;
        let proof: Result<Vec<Hash>, _> =
            lines.take(MAX_PROOF_HASHES + 1).map(str::parse).collect();
        let proof = proof.map_err(|_| malformed("a hash is not 32 bytes in base64"))?;
        if proof.len() > MAX_PROOF_HASHES {
            return Err(malformed("more than 63 hashes"));
        }
        let note = SignedNote::parse(note.as_bytes());
        let note = note.map_err(|_| malformed("the checkpoint is not a signed note"))?;
        Ok(Self { old, proof, note })
    }

    /// Returns the origin that the checkpoint names, before anything of it is verified.
    ///
    /// # Errors
    /// When the note is not a checkpoint.
    pub fn origin(&self) -> Result<String, WitnessRefusal> {
        let checkpoint = Checkpoint::parse(self.note.unverified_text());
        let checkpoint = checkpoint.map_err(|_| WitnessRefusal::Malformed("not a checkpoint"))?;
        Ok(checkpoint.origin)
    }

    /// Returns the checkpoint, if the log of `key` signed it and it continues what was seen last.
    ///
    /// # Errors
    /// When not, in the order of the specification.
    pub fn verify(
        &self,
        key: &VerifierKey,
        seen: Option<(u64, Hash)>,
    ) -> Result<Checkpoint, WitnessRefusal> {
        let checkpoint = match Checkpoint::verify(&self.note, key) {
            Ok(checkpoint) => checkpoint,
            Err(CheckpointError::Note(NoteError::NotSigned(_) | NoteError::Signature(_))) => {
                return Err(WitnessRefusal::NotSigned);
            }
            Err(_) => return Err(WitnessRefusal::Malformed("not a checkpoint")),
        };
        if self.old > checkpoint.size {
            return Err(WitnessRefusal::Malformed("the old size is the larger one"));
        }
        let seen = seen.unwrap_or((0, Hash::of_empty_tree()));
        if self.old != seen.0 {
            return Err(WitnessRefusal::Conflict(seen.0));
        }
        let is_empty = checkpoint.size == 0;
        if is_empty && checkpoint.root != Hash::of_empty_tree() {
            return Err(WitnessRefusal::Inconsistent);
        }
        let new = (checkpoint.size, checkpoint.root);
        match verify_consistency(seen, new, &self.proof) {
            Ok(()) => Ok(checkpoint),
            Err(_) => Err(WitnessRefusal::Inconsistent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::leaf_hash;
    use super::super::note::SignatureType;
    use super::super::proof::consistency;
    use super::super::tree::{Node, root_of};
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    struct Log(Ed25519KeyPair, VerifierKey);

    fn log(name: &str) -> Log {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = VerifierKey::new(name, SignatureType::Ed25519, public).unwrap();
        Log(pair, key)
    }

    fn leaves(face: &str, count: usize) -> Vec<Hash> {
        (0..count)
            .map(|n| leaf_hash(format!("{face} {n}").as_bytes()))
            .collect()
    }

    /// The request of `log`, whose entries are `leaves`, to go on from `old`.
    fn request(log: &Log, leaves: &[Hash], old: u64) -> AddCheckpoint {
        let text = Checkpoint {
            origin: log.1.name().to_owned(),
            size: leaves.len() as u64,
            root: root_of(leaves),
            extensions: Vec::new(),
        }
        .to_string();
        let line = log.1.line(log.0.sign(text.as_bytes()).as_ref().to_vec());
        let read = |node: Node| {
            let start = usize::try_from(node.number << node.height).unwrap();
            Ok::<_, ()>(root_of(&leaves[start..start + (1 << node.height)]))
        };
        AddCheckpoint {
            old,
            proof: consistency((old, leaves.len() as u64), read).unwrap(),
            note: SignedNote::new(text, vec![line]).unwrap(),
        }
    }

    fn seen(leaves: &[Hash]) -> Option<(u64, Hash)> {
        Some((leaves.len() as u64, root_of(leaves)))
    }

    /// One thing is wrong each time.
    #[test]
    fn a_witness_goes_on_only_from_what_it_saw() {
        let own = log("a.example/log");
        let (honest, other) = (leaves("one", 9), leaves("two", 9));
        let ask = |request: AddCheckpoint, seen| request.verify(&own.1, seen).map(|c| c.size);
        assert_eq!(ask(request(&own, &honest, 0), None), Ok(9));
        assert_eq!(ask(request(&own, &honest, 5), seen(&honest[..5])), Ok(9));
        assert_eq!(ask(request(&own, &honest, 9), seen(&honest)), Ok(9));
        let table = [
            (
                request(&own, &honest, 4),
                seen(&honest[..5]),
                WitnessRefusal::Conflict(5),
            ),
            (request(&own, &honest, 5), None, WitnessRefusal::Conflict(0)),
            // A second face: the same size or a larger one, and another history.
            (
                request(&own, &other, 9),
                seen(&honest),
                WitnessRefusal::Inconsistent,
            ),
            (
                request(&own, &other, 5),
                seen(&honest[..5]),
                WitnessRefusal::Inconsistent,
            ),
            // Smaller than what was seen.
            (
                request(&own, &honest[..5], 5),
                seen(&honest),
                WitnessRefusal::Conflict(9),
            ),
            (
                request(&log("a.example/log"), &honest, 0),
                None,
                WitnessRefusal::NotSigned,
            ),
        ];
        for (request, seen, refusal) in table {
            assert_eq!(ask(request, seen), Err(refusal));
        }
        let mut larger = request(&own, &honest[..5], 5);
        larger.old = 6;
        let malformed = WitnessRefusal::Malformed("the old size is the larger one");
        assert_eq!(ask(larger, seen(&honest[..6])), Err(malformed));
        let mut unproven = request(&own, &honest, 5);
        unproven.proof.pop();
        assert_eq!(
            ask(unproven, seen(&honest[..5])),
            Err(WitnessRefusal::Inconsistent)
        );
        let mut needless = request(&own, &honest, 0);
        needless.proof.push(honest[0]);
        assert_eq!(ask(needless, None), Err(WitnessRefusal::Inconsistent));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let own = log("a.example/log");
        let asked = request(&own, &leaves("one", 9), 5);
        let lines: String = asked.proof.iter().map(|hash| format!("{hash}\n")).collect();
        let text = format!("old 5\n{lines}\n{}", asked.note);
        assert_eq!(AddCheckpoint::parse(text.as_bytes()).as_ref(), Ok(&asked));
        assert_eq!(asked.origin().as_deref(), Ok("a.example/log"));
        let many = format!(
            "old 5\n{}",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(64)
        );
        for (from, to) in [
            ("old 5\n", ""),
            ("old 5", "old 05"),
            ("old 5", "old"),
            ("old 5\n", many.as_str()),
            ("old 5", "old 5\nAAAA"),
            ("\n\n", "\n"),
            ("— a.example/log", "- a.example/log"),
        ] {
            let bad = text.replacen(from, to, 1);
            let refused = AddCheckpoint::parse(bad.as_bytes());
            assert!(
                matches!(refused, Err(WitnessRefusal::Malformed(_))),
                "{from} → {to}"
            );
        }
    }
}
