//! All revocations in one file, for a verifier without a network.
//!
//! The file is a signed note ([`BundleHead`]), an empty line, and the lines of the feed. The note
//! holds the hash over all of them and the time in which they may be used.

use std::fmt::Write as _;

use time::OffsetDateTime;

use super::head::{BundleHead, HeadError};
use super::line::{LineError, RevocationLine};
use super::set::{MAX_REVOCATIONS, Questioned, RevocationSet};
use super::state::revoked;
use super::{empty_chain, extend_chain};
use crate::encoding::rfc3339;
use crate::revocation::RevocationStatus;
use crate::tlog::note::{SignedNote, VerifierKey};

/// The largest bundle, in bytes: a million short lines.
pub const MAX_BUNDLE_BYTES: usize = 256 << 20;

/// Says why a file is not a bundle that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file is not laid out as a bundle.
    #[error("not a revocation bundle: {0}")]
    Shape(&'static str),
    /// What is signed is unusable, or another key signed it.
    #[error("the revocation bundle cannot be trusted")]
    Head(#[from] HeadError),
    /// A line cannot be read.
    #[error("revocation {number} of the bundle cannot be used")]
    Line {
        /// Its number.
        number: u64,
        /// Why not.
        #[source]
        source: LineError,
    },
    /// The lines are not those that were signed.
    #[error("the revocations of the bundle are not those that were signed: it was changed")]
    Tampered,
}

/// A bundle whose lines are those that were signed. Whether its time has come or gone is asked
/// at each use.
#[derive(Clone, Debug)]
pub struct Bundle {
    head: BundleHead,
    set: RevocationSet,
    lines: Vec<RevocationLine>,
}

impl Bundle {
    /// Returns the file of a signed head and the lines that it is about.
    pub fn write<'a>(head: &SignedNote, lines: impl IntoIterator<Item = &'a str>) -> String {
        let mut text = head.to_string();
        text.push('\n');
        for line in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Reads a bundle that `key` signed.
    ///
    /// # Errors
    /// When it is not one, is signed by another key, or was changed. Not when it has expired.
    pub fn read(bytes: &[u8], key: &VerifierKey) -> Result<Self, BundleError> {
        let (note, rest) = split(bytes)?;
        let note = SignedNote::parse(note.as_bytes()).map_err(HeadError::from)?;
        let head = BundleHead::verify(&note, key)?;
        let lines = signed_lines(&head, rest)?;
        let mut set = RevocationSet::default();
        lines.iter().cloned().for_each(|line| set.add(line));
        Ok(Self { head, set, lines })
    }

    /// Returns what was signed.
    pub fn head(&self) -> &BundleHead {
        &self.head
    }

    /// Returns the revocations, in their order.
    pub fn lines(&self) -> &[RevocationLine] {
        &self.lines
    }

    /// Returns why the bundle may not be used at `now`, if it may not.
    pub fn unusable_at(&self, now: OffsetDateTime) -> Option<String> {
        let BundleHead { from, until, .. } = self.head;
        if now < from {
            return Some(format!(
                "the revocation bundle is valid only from {} on",
                rfc3339(from)
            ));
        }
        (now >= until).then(|| format!("the revocation bundle expired at {}", rfc3339(until)))
    }

    /// Returns whether the bundle tells of the leaves of the issuer with this key.
    pub fn covers(&self, issuer_key_sha256: &str) -> bool {
        let mut issuers = self.head.head.issuers.iter();
        issuers.any(|one| one == issuer_key_sha256)
    }

    /// Returns what is known at `now` about a signature of an issuer that the bundle covers.
    pub fn judge(&self, asked: &Questioned<'_>, now: OffsetDateTime) -> RevocationStatus {
        if let Some(line) = self.set.find(asked) {
            return revoked(line);
        }
        match self.unusable_at(now) {
            None => RevocationStatus::Good,
            Some(reason) => RevocationStatus::Unknown { reason },
        }
    }
}

/// Returns the note and what follows it. The signed text has no empty line, so the second one of
/// the file ends the note.
fn split(bytes: &[u8]) -> Result<(&str, &str), BundleError> {
    if bytes.len() > MAX_BUNDLE_BYTES {
        return Err(BundleError::Shape("it is larger than 256 MiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BundleError::Shape("not UTF-8"))?;
    let signatures = text.find("\n\n").map(|at| at + 2);
    let signatures = signatures.ok_or(BundleError::Shape("it begins with no signed note"))?;
    let end = text[signatures..].find("\n\n").map(|at| signatures + at);
    let end = end.ok_or(BundleError::Shape("no empty line after the signed note"))?;
    Ok((&text[..=end], &text[end + 2..]))
}

fn signed_lines(head: &BundleHead, text: &str) -> Result<Vec<RevocationLine>, BundleError> {
    let mut chain = empty_chain();
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.split_terminator('\n')) {
        if number > MAX_REVOCATIONS {
            return Err(BundleError::Shape("more than a million revocations"));
        }
        let parsed = RevocationLine::parse(line.as_bytes());
        let parsed = parsed.map_err(|source| BundleError::Line { number, source })?;
        if parsed.sequence != number {
            return Err(BundleError::Tampered);
        }
        chain = extend_chain(&chain, line);
        lines.push(parsed);
    }
    let count = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    match (count, chain) == (head.head.sequence, head.head.chain) {
        true => Ok(lines),
        false => Err(BundleError::Tampered),
    }
}

#[cfg(test)]
mod tests;
