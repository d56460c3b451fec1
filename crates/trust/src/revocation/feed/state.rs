//! What a reader of the feed holds, and whether it may be relied on now.

use time::{Duration, OffsetDateTime};

use super::head::{HeadError, Heartbeat};
use super::line::{LineError, RevocationLine};
use super::set::{MAX_REVOCATIONS, Questioned, RevocationSet};
use super::{MAX_SILENCE, MAX_SKEW, empty_chain, extend_chain};
use crate::encoding::rfc3339;
use crate::revocation::RevocationStatus;
use crate::tlog::Hash;
use crate::tlog::note::{SignedNote, VerifierKey};

/// How a line with a heartbeat begins; every other line is a revocation.
const HEARTBEAT_LINE: &[u8] = b"{\"heartbeat\":";

/// Says why a line of the feed was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// A line cannot be read, or is of an unknown kind.
    #[error("a line of the feed cannot be used")]
    Line(#[from] LineError),
    /// A heartbeat is not one of the expected key.
    #[error("a heartbeat cannot be used")]
    Head(#[from] HeadError),
    /// A line is missing, or is there twice.
    #[error("revocation {expected} should come next, and {found} came")]
    Gap {
        /// The number that should come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A heartbeat knows of another number of revocations than came before it.
    #[error("the heartbeat is about {signed} revocations, and {received} came")]
    Count {
        /// What the heartbeat says.
        signed: u64,
        /// How many came.
        received: u64,
    },
    /// The lines that came are not those that were signed.
    #[error("the {0} revocations that came are not those that the heartbeat is about")]
    Chain(u64),
    /// The authority signed fewer revocations than it signed before: it was set back.
    #[error("the feed went back from {before} revocations to {now}")]
    WentBack {
        /// How many there were.
        before: u64,
        /// How many there are said to be.
        now: u64,
    },
    /// A heartbeat is from too far in the past or in the future.
    #[error(
        "the heartbeat is of {}, more than {} seconds from now: it was kept back, or a clock is \
         wrong", rfc3339(*.0), MAX_SKEW.whole_seconds()
    )]
    Skew(OffsetDateTime),
    /// A heartbeat is not newer than the last.
    #[error("the heartbeat of {} was seen before", rfc3339(*.0))]
    Replayed(OffsetDateTime),
    /// There are more revocations than are kept.
    #[error("there are more than {MAX_REVOCATIONS} revocations")]
    TooMany,
}

impl FeedError {
    /// Returns whether what is held is worthless, and must be read from the first line again.
    pub fn needs_restart(&self) -> bool {
        match self {
            Self::Chain(_) | Self::WentBack { .. } => true,
            // Lines that nobody signed came; lines that are missing can still come.
            Self::Count { signed, received } => signed < received,
            _ => false,
        }
    }
}

/// What a line of the feed was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The revocation of this number.
    Revocation(u64),
    /// A heartbeat, after which everything that is held is known to be whole.
    Heartbeat,
}

/// Whether what is held may be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedStatus {
    /// A heartbeat of not long ago covers it.
    Fresh {
        /// When that was signed.
        heartbeat: OffsetDateTime,
    },
    /// It may be behind.
    Lost {
        /// When the last heartbeat was signed, if there was one.
        since: Option<OffsetDateTime>,
    },
}

/// A reader of the feed of one authority.
#[derive(Clone, Debug)]
pub struct FeedState {
    key: VerifierKey,
    set: RevocationSet,
    sequence: u64,
    chain: Hash,
    /// The issuers that the last heartbeat named. They outlast a restart.
    issuers: Option<Vec<String>>,
    last: Option<Seen>,
    /// The most revocations that a heartbeat was ever about.
    highest: u64,
}

/// A heartbeat, and when it came.
#[derive(Clone, Debug)]
struct Seen {
    heartbeat: Heartbeat,
    received: OffsetDateTime,
}

#[derive(serde::Deserialize)]
struct HeartbeatLine {
    heartbeat: String,
}

impl FeedState {
    /// Returns a reader that knows nothing yet, of the authority whose log signs with `key`.
    pub fn new(key: VerifierKey) -> Self {
        Self {
            key,
            set: RevocationSet::default(),
            sequence: 0,
            chain: empty_chain(),
            issuers: None,
            last: None,
            highest: 0,
        }
    }

    /// Returns the key that heartbeats must be signed with.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Returns the number of the last revocation that is held: where to go on reading.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns the last heartbeat that counted.
    pub fn heartbeat(&self) -> Option<&Heartbeat> {
        self.last.as_ref().map(|seen| &seen.heartbeat)
    }

    /// Takes a line of the feed, without its line break.
    ///
    /// A revocation counts at once. A heartbeat counts only if it is about exactly the lines that
    /// came, and is of now.
    ///
    /// # Errors
    /// When the line is not the next one, or not genuine. Nothing is changed then; after an error
    /// that [`needs_restart`](FeedError::needs_restart) the reader must [`restart`](Self::restart).
    pub fn apply(&mut self, line: &[u8], now: OffsetDateTime) -> Result<Applied, FeedError> {
        match line.starts_with(HEARTBEAT_LINE) {
            true => self.take_heartbeat(line, now),
            false => self.take_revocation(line),
        }
    }

    /// Forgets the lines, to read them again from the first. What the authority signed before is
    /// not forgotten: it cannot go back behind that.
    pub fn restart(&mut self) {
        self.set = RevocationSet::default();
        self.sequence = 0;
        self.chain = empty_chain();
        self.last = None;
    }

    /// Returns whether what is held may be relied on at `now`.
    pub fn status(&self, now: OffsetDateTime) -> FeedStatus {
        let Some(Seen {
            heartbeat,
            received,
        }) = &self.last
        else {
            return FeedStatus::Lost { since: None };
        };
        // The older of both: neither a heartbeat that was kept back nor one from a clock that is
        // ahead counts for longer. A verifier whose clock was set back knows nothing, either.
        let age = now - heartbeat.time.min(*received);
        match (-MAX_SKEW..=MAX_SILENCE).contains(&age) {
            true => FeedStatus::Fresh {
                heartbeat: heartbeat.time,
            },
            false => FeedStatus::Lost {
                since: Some(heartbeat.time),
            },
        }
    }

    /// Returns whether this feed tells of the leaves of the issuer with this key. Before the first
    /// heartbeat it is not known whose they are, and so it might be anybody's.
    pub fn covers(&self, issuer_key_sha256: &str) -> bool {
        let issuers = self.issuers.as_ref();
        issuers.is_none_or(|issuers| issuers.iter().any(|one| one == issuer_key_sha256))
    }

    /// Returns what is known at `now` about a signature of an issuer that this feed covers.
    pub fn judge(&self, asked: &Questioned<'_>, now: OffsetDateTime) -> RevocationStatus {
        // What is revoked stays so, however old the word is.
        if let Some(line) = self.set.find(asked) {
            return revoked(line);
        }
        let name = self.key.name();
        match self.status(now) {
            FeedStatus::Fresh { .. } => RevocationStatus::Good,
            FeedStatus::Lost { since: None } => RevocationStatus::Unknown {
                reason: format!("nothing was heard yet of the revocations of `{name}`"),
            },
            FeedStatus::Lost { since: Some(time) } => RevocationStatus::Unknown {
                reason: format!(
                    "nothing was heard of the revocations of `{name}` since {}, for more than {} \
                     seconds",
                    rfc3339(time),
                    MAX_SILENCE.whole_seconds()
                ),
            },
        }
    }

    fn take_revocation(&mut self, line: &[u8]) -> Result<Applied, FeedError> {
        let parsed = RevocationLine::parse(line)?;
        let expected = self.sequence + 1;
        if parsed.sequence != expected {
            return Err(FeedError::Gap {
                expected,
                found: parsed.sequence,
            });
        }
        if expected > MAX_REVOCATIONS {
            return Err(FeedError::TooMany);
        }
        // The line was JSON, so it is text.
        self.chain = extend_chain(&self.chain, &String::from_utf8_lossy(line));
        self.sequence = expected;
        self.set.add(parsed);
        Ok(Applied::Revocation(expected))
    }

    fn take_heartbeat(&mut self, line: &[u8], now: OffsetDateTime) -> Result<Applied, FeedError> {
        let heartbeat = self.genuine(line)?;
        self.check_head(&heartbeat)?;
        self.check_time(&heartbeat, now)?;
        self.highest = heartbeat.head.sequence;
        self.issuers = Some(heartbeat.head.issuers.clone());
        self.last = Some(Seen {
            heartbeat,
            received: now,
        });
        Ok(Applied::Heartbeat)
    }

    fn genuine(&self, line: &[u8]) -> Result<Heartbeat, FeedError> {
        let HeartbeatLine { heartbeat } =
            crate::json::from_slice(line).map_err(|error| LineError::Shape(error.to_string()))?;
        let note = SignedNote::parse(heartbeat.as_bytes()).map_err(HeadError::from)?;
        Ok(Heartbeat::verify(&note, &self.key)?)
    }

    fn check_head(&self, heartbeat: &Heartbeat) -> Result<(), FeedError> {
        let head = &heartbeat.head;
        if head.sequence < self.highest {
            return Err(FeedError::WentBack {
                before: self.highest,
                now: head.sequence,
            });
        }
        if head.sequence != self.sequence {
            return Err(FeedError::Count {
                signed: head.sequence,
                received: self.sequence,
            });
        }
        match head.chain == self.chain {
            true => Ok(()),
            false => Err(FeedError::Chain(head.sequence)),
        }
    }

    fn check_time(&self, heartbeat: &Heartbeat, now: OffsetDateTime) -> Result<(), FeedError> {
        let time = heartbeat.time;
        let difference: Duration = now - time;
        if difference.abs() > MAX_SKEW {
            return Err(FeedError::Skew(time));
        }
        match &self.last {
            Some(last) if time <= last.heartbeat.time => Err(FeedError::Replayed(time)),
            _ => Ok(()),
        }
    }
}

impl Heartbeat {
    /// Returns the line of the feed that holds a signed heartbeat.
    pub fn line(note: &SignedNote) -> String {
        serde_json::json!({ "heartbeat": note.to_string() }).to_string()
    }
}

pub(super) fn revoked(line: &RevocationLine) -> RevocationStatus {
    RevocationStatus::Revoked {
        at: line.at,
        reason: format!("revocation {}: {}", line.sequence, line.reason),
    }
}

#[cfg(test)]
mod tests;
