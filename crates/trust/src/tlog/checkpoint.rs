//! Checkpoints (C2SP `tlog-checkpoint`): which log, how many entries, and the root over them.

use std::fmt;

use super::MAX_SIZE;
use super::hash::Hash;
use super::note::{NoteError, SignedNote, VerifierKey};

/// Says why a note is not a checkpoint that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is no note, or not signed by the log.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not that of a checkpoint.
    #[error("not a checkpoint: {0}")]
    Shape(&'static str),
    /// It is one of another log.
    #[error("the checkpoint is of log `{found}`, not `{expected}`")]
    Origin {
        /// The log that it names.
        found: String,
        /// The log that was expected.
        expected: String,
    },
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's unique name.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The hash of the tree over them.
    pub root: Hash,
    /// Lines that mean something to the log's owner alone.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// Reads a checkpoint that the log of `key` signed.
    ///
    /// # Errors
    /// When it is not one, or not signed by that log, or of another origin than the key's name.
    pub fn verify(note: &SignedNote, key: &VerifierKey) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse(note.verify(key)?)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin {
                found: checkpoint.origin.chars().take(80).collect(),
                expected: key.name().to_owned(),
            });
        }
        Ok(checkpoint)
    }

    /// Reads the text of a checkpoint. Whether anybody signed it is for [`Checkpoint::verify`].
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let shape = CheckpointError::Shape;
        let body = text.strip_suffix('\n');
        let body = body.ok_or(shape("it does not end in a line break"))?;
        let mut lines = body.split('\n');
        let mut line = |what| {
            lines
                .next()
                .filter(|line| !line.is_empty())
                .ok_or(shape(what))
        };
        let origin = line("the origin is missing")?.to_owned();
        let size = parse_size(line("the size is missing")?);
        let size = size.ok_or(shape("the size is not a number in decimal"))?;
        let root = line("the root is missing")?.parse();
        let root = root.map_err(|_| shape("the root is not 32 bytes in base64"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(shape("an extension line is empty"));
        }
        Ok(Self {
            origin,
            size,
            root,
            extensions,
        })
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Returns the number that a text is in decimal, without a sign or leading zeroes; at most
/// [`MAX_SIZE`].
pub fn parse_size(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_canonical && is_decimal)?;
    (number <= MAX_SIZE).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn a_checkpoint_is_its_own_text() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.to_string(), TEXT);
        let extended = format!("{TEXT}one\ntwo\n");
        let checkpoint = Checkpoint::parse(&extended).unwrap();
        assert_eq!(checkpoint.extensions, ["one", "two"]);
        assert_eq!(checkpoint.to_string(), extended);
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        for (from, to) in [
            ("20852163", "020852163"),
            ("20852163", "+20852163"),
            ("20852163", "-1"),
            ("20852163", ""),
            ("20852163", "4611686018427387905"),
            ("20852163", "99999999999999999999"),
            ("example.com/behind-the-sofa", ""),
            ("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "AAAA"),
            ("2I=\n", "2I=\n\n"),
            ("2I=\n", "2I="),
            ("2I=\n", "2I=\n\nx\n"),
        ] {
            let bad = TEXT.replace(from, to);
            assert_ne!(bad, TEXT);
            assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
