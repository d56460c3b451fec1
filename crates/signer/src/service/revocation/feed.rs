//! The lines that are pushed to verifiers, and what the key of the log signs about them.
//!
//! `trust::revocation::feed` says what lines and heartbeats are; here they are numbered, chained
//! and signed.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use trust::revocation::feed::{
    BundleHead, Head, Heartbeat, RevocationLine, empty_chain, extend_chain,
};
use trust::tlog::{Hash, SignedNote};

use super::super::{Signer, SignerError, StartError};
use super::By;
use super::plan::Plan;
use crate::principal::{Denial, Principal};
use crate::records::{KeptRevocation, Records};

/// The longest time that a bundle may be used, unless another is made: what is revoked meanwhile
/// is not known to those who use it.
pub const MAX_BUNDLE_LIFE: Duration = Duration::days(90);
/// The most bytes of lines in one page: they fit into a frame of the protocol.
const PAGE_BYTES: usize = 44 * 1024;
/// The most lines in one page.
const PAGE_LINES: usize = 1000;

/// How far the feed goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) struct FeedHead {
    pub(in crate::service) sequence: u64,
    pub(in crate::service) chain: Hash,
}

impl FeedHead {
    /// Reads where the feed ends.
    pub(in crate::service) async fn load(records: &dyn Records) -> Result<Self, StartError> {
        let last = records.last_revocation().await?;
        Ok(last.map_or_else(Self::start, |last| Self {
            sequence: last.sequence,
            chain: last.chain,
        }))
    }

    fn start() -> Self {
        Self {
            sequence: 0,
            chain: empty_chain(),
        }
    }

    fn push(&mut self, line: String) -> KeptRevocation {
        self.sequence += 1;
        self.chain = extend_chain(&self.chain, &line);
        KeptRevocation {
            sequence: self.sequence,
            chain: self.chain,
            line,
        }
    }
}

/// A piece of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedPage {
    /// Lines, in their order, each as it is pushed.
    pub lines: Vec<String>,
    /// The line of a heartbeat over everything up to the last of them; absent where more lines
    /// follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<String>,
}

impl Signer {
    /// Returns the lines after number `after`, and a heartbeat if they are the last. Where there
    /// are none, waits for one, for at most `patience`.
    pub async fn revocation_feed(
        &self,
        after: u64,
        patience: std::time::Duration,
    ) -> Result<FeedPage, SignerError> {
        let mut head = self.feed.subscribe();
        if patience > std::time::Duration::ZERO {
            let waiting = head.wait_for(|head| head.sequence > after);
            // That nothing came is an answer, too.
            let _ = tokio::time::timeout(patience, waiting).await;
        }
        let mut lines = Vec::new();
        let (mut bytes, mut last) = (0, after);
        for kept in self.records.revocations(after, PAGE_LINES).await? {
            bytes += kept.line.len();
            if bytes > PAGE_BYTES && !lines.is_empty() {
                break;
            }
            last = kept.sequence;
            lines.push(kept.line);
        }
        let head = self.feed_head();
        let heartbeat = match last == head.sequence {
            true => Some(Heartbeat::line(&self.signed_heartbeat(head)?)),
            false => None,
        };
        Ok(FeedPage { lines, heartbeat })
    }

    /// Returns the signed head of a bundle of all revocations up to now, which may be used until
    /// `until`.
    pub fn revocation_bundle(
        &self,
        principal: &Principal,
        until: OffsetDateTime,
    ) -> Result<(SignedNote, u64), SignerError> {
        let now = self.now();
        if principal.pipeline.is_some() {
            let (account, action) = (principal.account.clone(), "export revocations");
            return Err(Denial::AdministratorsOnly { account, action }.into());
        }
        if until <= now || until > now + MAX_BUNDLE_LIFE {
            let days = MAX_BUNDLE_LIFE.whole_days();
            let text = format!(
                "a revocation bundle is valid for more than nothing, and for at most {days} days"
            );
            return Err(SignerError::Malformed(text));
        }
        let head = self.feed_head();
        let bundle = BundleHead {
            head: self.described_head(head),
            from: now,
            until,
        };
        Ok((self.sign_note(bundle.to_string())?, head.sequence))
    }

    pub(super) fn feed_head(&self) -> FeedHead {
        *self.feed.borrow()
    }

    /// Gives the lines of a plan their numbers, and returns where the feed then ends.
    pub(super) fn next_lines(&self, plan: &mut Plan, by: &By<'_>) -> FeedHead {
        let mut head = self.feed_head();
        for revoked in &plan.revoked {
            let line = RevocationLine {
                sequence: head.sequence + 1,
                at: by.at,
                reason: by.reason.to_owned(),
                revoked: revoked.clone(),
            };
            plan.rows.revocations.push(head.push(line.to_json()));
        }
        head
    }

    /// Tells whoever waits for it.
    pub(super) fn publish(&self, head: FeedHead) {
        self.feed.send_replace(head);
    }

    /// A commit that failed may have reached the disk all the same: the records are believed.
    pub(super) async fn reload_feed_head(&self) {
        match FeedHead::load(&*self.records).await {
            Ok(head) => self.publish(head),
            // A number that is taken is refused by the records.
            Err(error) => {
                tracing::error!(%error, "the revocations cannot be read after a failed commit")
            }
        }
    }

    fn signed_heartbeat(&self, head: FeedHead) -> Result<SignedNote, SignerError> {
        let heartbeat = Heartbeat {
            head: self.described_head(head),
            time: self.now(),
        };
        self.sign_note(heartbeat.to_string())
    }

    fn described_head(&self, head: FeedHead) -> Head {
        Head {
            origin: self.log_key.origin().to_owned(),
            sequence: head.sequence,
            log_size: self.journal.head().size,
            chain: head.chain,
            issuers: self.authority.issuer_keys_sha256(),
        }
    }

    fn sign_note(&self, text: String) -> Result<SignedNote, SignerError> {
        let signed = self.log_key.sign_note(text);
        signed.map_err(|error| SignerError::Internal(error.to_string()))
    }
}
