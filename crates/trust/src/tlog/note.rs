//! Signed notes (C2SP `signed-note`): a text, and lines that sign it.
//!
//! A verifier names the keys that it knows. Lines of other keys are passed over; a line of a known
//! key that does not verify makes the note bad, whatever else stands in it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::encoding;

/// The longest note that is read, in bytes: a checkpoint with some hundred signatures.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;
/// The most signature lines that are read. The specification asks for 16 at least.
pub const MAX_SIGNATURES: usize = 64;
/// The longest name of a key, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

const DASH: &str = "\u{2014} ";
const KEY_ID_BYTES: usize = 4;

/// Says why a note or a key of one is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The bytes are not a note.
    #[error("not a signed note: {0}")]
    Shape(&'static str),
    /// The text is not a verifier key.
    #[error("`{text}` is not a verifier key: {reason}")]
    Key {
        /// The text, cut.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// A line of a known key does not verify.
    #[error("the signature of `{0}` over the note is not valid")]
    Signature(String),
    /// None of the known keys signed.
    #[error("no key that is trusted here signed the note: expected `{0}`")]
    NotSigned(String),
}

/// What a key signs with (`signed-note`, Signature types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureType {
    /// Ed25519 over the text of the note.
    Ed25519,
    /// A timestamped Ed25519 cosignature of a checkpoint (C2SP `tlog-cosignature`).
    CosignatureV1,
}

impl SignatureType {
    /// Returns the byte that stands for it.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }
}

/// The public half of a key that signs notes, with its name: a `vkey`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: Box<str>,
    signature_type: SignatureType,
    public_key: [u8; 32],
    id: [u8; KEY_ID_BYTES],
}

impl VerifierKey {
    /// Returns the key of that name.
    ///
    /// # Errors
    /// When the name is empty, too long, or holds a space, a plus or a control character.
    pub fn new(
        name: &str,
        signature_type: SignatureType,
        public_key: [u8; 32],
    ) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            let text = name.chars().take(80).collect();
            let reason = "a name has 1 to 255 bytes and no space, plus or control character";
            return Err(NoteError::Key { text, reason });
        }
        let mut hashed = name.as_bytes().to_vec();
        hashed.extend_from_slice(&[b'\n', signature_type.byte()]);
        hashed.extend_from_slice(&public_key);
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&digest(&SHA256, &hashed).as_ref()[..KEY_ID_BYTES]);
        Ok(Self {
            name: name.into(),
            signature_type,
            public_key,
            id,
        })
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the key signs with.
    pub fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// Returns whether a line says that this key made it.
    pub fn is_of(&self, line: &SignatureLine) -> bool {
        line.name == *self.name && line.id == self.id
    }

    /// Returns the line that holds `signature`, which this key made.
    pub fn line(&self, signature: Vec<u8>) -> SignatureLine {
        SignatureLine {
            name: self.name.to_string(),
            id: self.id,
            signature,
        }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.public_key);
        key.verify(message, signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.signature_type.byte()];
        key.extend_from_slice(&self.public_key);
        let id = hex::encode(self.id);
        write!(f, "{}+{id}+{}", self.name, encoding::base64(&key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let refused = |reason| NoteError::Key {
            text: text.chars().take(160).collect(),
            reason,
        };
        // The key's base64 may hold a plus; name and identifier hold none.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refused("expected `NAME+ID+KEY`"));
        };
        let key = encoding::from_base64(key).ok_or_else(|| refused("the key is not base64"))?;
        let Some((kind, key)) = key.split_first() else {
            return Err(refused("the key is empty"));
        };
        let signature_type = match kind {
            0x01 => SignatureType::Ed25519,
            0x04 => SignatureType::CosignatureV1,
            _ => return Err(refused("only Ed25519 keys are known (types 1 and 4)")),
        };
        let key = key
            .try_into()
            .map_err(|_| refused("an Ed25519 key has 32 bytes"))?;
        let parsed = Self::new(name, signature_type, key)?;
        if hex::encode(parsed.id) != id {
            return Err(refused(
                "the identifier is not that of the name and the key",
            ));
        }
        Ok(parsed)
    }
}

impl serde::Serialize for VerifierKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for VerifierKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One line that signs a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    name: String,
    id: [u8; KEY_ID_BYTES],
    signature: Vec<u8>,
}

impl SignatureLine {
    /// Returns the name of the key that the line says made it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what follows the key's identifier.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_vec();
        bytes.extend_from_slice(&self.signature);
        write!(f, "{DASH}{} {}", self.name, encoding::base64(&bytes))
    }
}

impl FromStr for SignatureLine {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        let refused = NoteError::Shape("a signature line is not `— NAME BASE64`");
        let rest = line.strip_prefix(DASH).ok_or_else(|| refused.clone())?;
        let (name, bytes) = rest.split_once(' ').ok_or_else(|| refused.clone())?;
        let bytes = encoding::from_base64(bytes).ok_or_else(|| refused.clone())?;
        let (id, signature) = bytes.split_first_chunk().ok_or_else(|| refused.clone())?;
        if !is_key_name(name) || signature.is_empty() {
            return Err(refused);
        }
        Ok(Self {
            name: name.to_owned(),
            id: *id,
            signature: signature.to_vec(),
        })
    }
}

/// A text and the lines that sign it. Nothing is verified by its existence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    /// The lines, in the order in which they stand.
    pub signatures: Vec<SignatureLine>,
}

impl SignedNote {
    /// Returns the note of `text` with its signatures.
    ///
    /// # Errors
    /// When the text does not end in a line break or holds another control character.
    pub fn new(text: String, signatures: Vec<SignatureLine>) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || has_control(&text) {
            let reason = "the text ends in a line break and holds no other control character";
            return Err(NoteError::Shape(reason));
        }
        Ok(Self { text, signatures })
    }

    /// Reads a note of at most [`MAX_NOTE_BYTES`].
    ///
    /// # Errors
    /// When the bytes are not a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Shape("longer than 64 KiB"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Shape("not UTF-8"))?;
        if has_control(note) {
            return Err(NoteError::Shape("it holds a control character"));
        }
        // The last empty line separates; the text may hold others.
        let blank = note.rfind("\n\n");
        let blank = blank.ok_or(NoteError::Shape("no empty line before the signatures"))?;
        let (text, lines) = (&note[..=blank], &note[blank + 2..]);
        let lines = lines.strip_suffix('\n');
        let lines = lines.ok_or(NoteError::Shape("it does not end in a line break"))?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::Shape("more than 64 signatures"));
        }
        let signatures = lines.split('\n').map(str::parse);
        Self::new(text.to_owned(), signatures.collect::<Result<_, _>>()?)
    }

    /// Returns the text that is signed, without knowing whether anybody did.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// Returns the text, if the key `key`, which signs whole texts, signed it.
    ///
    /// # Errors
    /// When the key did not sign, or its signature does not verify.
    pub fn verify(&self, key: &VerifierKey) -> Result<&str, NoteError> {
        let mut lines = self
            .signatures
            .iter()
            .filter(|line| key.is_of(line))
            .peekable();
        if lines.peek().is_none() || key.signature_type != SignatureType::Ed25519 {
            return Err(NoteError::NotSigned(key.to_string()));
        }
        match lines.all(|line| key.verifies(self.text.as_bytes(), &line.signature)) {
            true => Ok(&self.text),
            false => Err(NoteError::Signature(key.name.to_string())),
        }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Returns whether `name` can be the name of a key: not empty, and without what separates names
/// from the rest of a line or of a verifier key.
pub fn is_key_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20 && byte != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    // C2SP signed-note, Example.
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\
        — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn the_example_of_the_specification_verifies() {
        let key: VerifierKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.verify(&key), Ok("This is an example message.\n"));
        assert_eq!(note.to_string(), NOTE);
    }

    #[test]
    fn a_changed_note_does_not_verify() {
        let key: VerifierKey = KEY.parse().unwrap();
        let changed = NOTE.replace("an example", "no example");
        let changed = SignedNote::parse(changed.as_bytes()).unwrap();
        assert_eq!(
            changed.verify(&key),
            Err(NoteError::Signature("example.com/foo".to_owned()))
        );
        // A good line does not outweigh a bad one of the same key.
        let line = NOTE.lines().last().unwrap();
        let bad = line.replace("Uw2QOkn8", "Uw2QOkn9");
        let both = format!("{NOTE}{bad}\n");
        let both = SignedNote::parse(both.as_bytes()).unwrap();
        assert!(matches!(both.verify(&key), Err(NoteError::Signature(_))));
        // A line of an unknown key of the same name is passed over.
        let other = line.replace("Uw2QOkn8", "Vw2QOkn8");
        let with_other = format!("{NOTE}{other}\n");
        let with_other = SignedNote::parse(with_other.as_bytes()).unwrap();
        assert!(with_other.verify(&key).is_ok());
        let alone = NOTE.replace(line, &other);
        let alone = SignedNote::parse(alone.as_bytes()).unwrap();
        assert!(matches!(alone.verify(&key), Err(NoteError::NotSigned(_))));
    }

    #[test]
    fn the_last_empty_line_separates() {
        let text = NOTE.replace("message.\n", "message.\n\nMore.\n");
        let note = SignedNote::parse(text.as_bytes()).unwrap();
        assert_eq!(
            note.unverified_text(),
            "This is an example message.\n\nMore.\n"
        );
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let long = format!("{}\n\n— a AAAAAAA=\n", "x".repeat(MAX_NOTE_BYTES));
        let many = format!("x\n\n{}", "— a AAAAAAA=\n".repeat(MAX_SIGNATURES + 1));
        for bad in [
            "",
            "\n",
            "x\n",
            "x\n\n",
            "x\n\n— a AAAAAAA=",
            "x\n\n- a AAAAAAA=\n",
            "x\n\n— a AAAA\n",
            "x\n\n— a AAAAAA==\n",
            "x\n\n— a+b AAAAAAA=\n",
            "x\n\n—  AAAAAAA=\n",
            "x\n\n— a AAAAAAA\n",
            "x\t\n\n— a AAAAAAA=\n",
            "x\n\n— a AAAAAAA=\n\n— a AAAAAAA=\nx\n",
            &long,
            &many,
        ] {
            assert!(SignedNote::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(SignedNote::parse(b"x\xff\n\n").is_err());
    }

    #[test]
    fn what_is_no_verifier_key_is_refused() {
        for bad in [
            "",
            "example.com/foo",
            "example.com/foo+530d903a",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fox+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U0=",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example com+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
    }
}
