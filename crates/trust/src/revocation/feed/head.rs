//! How far a sequence of revocations goes, and the two signed texts that say so.

use std::fmt;

use time::OffsetDateTime;

use crate::tlog::Hash;
use crate::tlog::checkpoint::parse_size;
use crate::tlog::note::{NoteError, SignedNote, VerifierKey};

/// The most issuers that a text names: those of an authority and of the ones that it replaced.
pub const MAX_ISSUERS: usize = 16;

/// The first lines, which no checkpoint of a log can have: the same key signs all three.
const HEARTBEAT: &str = "countersign revocation heartbeat v1";
const BUNDLE: &str = "countersign revocation bundle v1";

/// Says why a note is not a heartbeat or the head of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// It is no note, or another key signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not what it should be.
    #[error("the signed text is unusable: {0}")]
    Shape(&'static str),
    /// It is of another log than the key's.
    #[error("it is about the revocations of `{found}`, not of `{expected}`")]
    Origin {
        /// The log that it names.
        found: String,
        /// The log that was expected.
        expected: String,
    },
}

/// How far a sequence goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log of the authority whose revocations these are.
    pub origin: String,
    /// The number of lines.
    pub sequence: u64,
    /// The number of entries of the log by then.
    pub log_size: u64,
    /// The hash over all lines.
    pub chain: Hash,
    /// The issuers whose leaves are covered: SHA-256 of their public keys (SubjectPublicKeyInfo),
    /// in hexadecimal.
    pub issuers: Vec<String>,
}

/// A head, and when it was true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// How far the sequence went.
    pub head: Head,
    /// When, to the millisecond.
    pub time: OffsetDateTime,
}

/// The head of a bundle, and when that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleHead {
    /// How far the sequence went.
    pub head: Head,
    /// The first moment.
    pub from: OffsetDateTime,
    /// The first moment that is too late.
    pub until: OffsetDateTime,
}

impl Heartbeat {
    /// Reads a heartbeat that `key` signed.
    ///
    /// # Errors
    /// When it is not one, or not signed by that key, or not of that log.
    pub fn verify(note: &SignedNote, key: &VerifierKey) -> Result<Self, HeadError> {
        let mut lines = Lines::of(note.verify(key)?, HEARTBEAT)?;
        let heartbeat = Self {
            head: lines.head(key)?,
            time: lines.time("time ")?,
        };
        lines.end()?;
        Ok(heartbeat)
    }
}

impl BundleHead {
    /// Reads the head of a bundle that `key` signed.
    ///
    /// # Errors
    /// When it is not one, or not signed by that key, or not of that log.
    pub fn verify(note: &SignedNote, key: &VerifierKey) -> Result<Self, HeadError> {
        let bundle = Self::parse(note.verify(key)?, key)?;
        Ok(bundle)
    }

    fn parse(text: &str, key: &VerifierKey) -> Result<Self, HeadError> {
        let mut lines = Lines::of(text, BUNDLE)?;
        let bundle = Self {
            head: lines.head(key)?,
            from: lines.time("from ")?,
            until: lines.time("until ")?,
        };
        lines.end()?;
        Ok(bundle)
    }
}

/// The text that is signed.
impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEARTBEAT}\n{}", self.head)?;
        writeln!(f, "time {}", milliseconds(self.time))
    }
}

/// The text that is signed.
impl fmt::Display for BundleHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (milliseconds(self.from), milliseconds(self.until));
        writeln!(f, "{BUNDLE}\n{}", self.head)?;
        writeln!(f, "from {from}\nuntil {until}")
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nsequence {}", self.origin, self.sequence)?;
        writeln!(f, "log-size {}\nchain {}", self.log_size, self.chain)?;
        write!(f, "issuers {}", self.issuers.join(" "))
    }
}

/// The lines of a text that are not read yet.
struct Lines<'a>(std::str::Split<'a, char>);

impl<'a> Lines<'a> {
    fn of(text: &'a str, kind: &str) -> Result<Self, HeadError> {
        let body = text.strip_suffix('\n').unwrap_or(text);
        let mut lines = body.split('\n');
        match lines.next() == Some(kind) {
            true => Ok(Self(lines)),
            false => Err(HeadError::Shape("it is of another kind")),
        }
    }

    fn next(&mut self, name: &str) -> Result<&'a str, HeadError> {
        let missing = HeadError::Shape("a line is missing or out of order");
        let line = self.0.next().and_then(|line| line.strip_prefix(name));
        line.ok_or(missing)
    }

    fn number(&mut self, name: &str) -> Result<u64, HeadError> {
        let number = parse_size(self.next(name)?);
        number.ok_or(HeadError::Shape("a number is not in decimal"))
    }

    fn time(&mut self, name: &str) -> Result<OffsetDateTime, HeadError> {
        let nanoseconds = i128::from(self.number(name)?) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
            .map_err(|_| HeadError::Shape("a time is beyond the calendar"))
    }

    fn head(&mut self, key: &VerifierKey) -> Result<Head, HeadError> {
        let origin = self.next("")?;
        if origin != key.name() {
            return Err(HeadError::Origin {
                found: origin.chars().take(80).collect(),
                expected: key.name().to_owned(),
            });
        }
        Ok(Head {
            origin: origin.to_owned(),
            sequence: self.number("sequence ")?,
            log_size: self.number("log-size ")?,
            chain: self.chain()?,
            issuers: self.issuers()?,
        })
    }

    fn chain(&mut self) -> Result<Hash, HeadError> {
        let chain = self.next("chain ")?.parse();
        chain.map_err(|_| HeadError::Shape("the chain is not 32 bytes in base64"))
    }

    fn issuers(&mut self) -> Result<Vec<String>, HeadError> {
        let is_hash = |text: &&str| {
            text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let issuers: Vec<&str> = self.next("issuers ")?.split(' ').collect();
        if issuers.len() > MAX_ISSUERS || !issuers.iter().all(is_hash) {
            return Err(HeadError::Shape("the issuers are not SHA-256 hashes"));
        }
        Ok(issuers.into_iter().map(str::to_owned).collect())
    }

    fn end(mut self) -> Result<(), HeadError> {
        match self.0.next() {
            None => Ok(()),
            Some(_) => Err(HeadError::Shape("there is more than there should be")),
        }
    }
}

fn milliseconds(time: OffsetDateTime) -> i128 {
    time.unix_timestamp_nanos() / 1_000_000
}
