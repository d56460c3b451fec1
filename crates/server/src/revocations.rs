//! The front's copy of the revocations, and those who hear of them.
//!
//! One task asks the signer for what comes next, which answers at once when something was revoked
//! and with a heartbeat every two seconds when nothing was. What it says is kept in a
//! [`FeedHandle`], by which our own gates judge, and handed on to subscribers. A subscriber that
//! does not keep up is cut off: it comes back and reads on from where it was.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use trust::revocation::feed::{FeedError, FeedHandle};
use trust::tlog::VerifierKey;

use crate::clock;
use crate::error::chain;
use crate::state::Front;

/// How often a heartbeat is sent.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(2);
/// The most subscribers at once: each holds a connection open.
pub const MAX_SUBSCRIBERS: usize = 256;
/// How many lines a subscriber may be behind before it is cut off.
const BACKLOG: usize = 1024;
/// How many lines are kept for subscribers that come back.
const RECENT_LINES: usize = 10_000;
/// How long to wait before the signer is asked again that did not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// A line of the feed.
pub type Line = Arc<str>;

/// The front's copy of the revocations.
pub struct Revocations {
    feed: OnceLock<(FeedHandle, VerifierKey)>,
    recent: Mutex<Recent>,
    sender: broadcast::Sender<Line>,
    reached: watch::Sender<u64>,
    slots: Arc<Semaphore>,
}

/// The newest lines.
#[derive(Default)]
struct Recent {
    lines: VecDeque<(u64, Line)>,
    /// The number of the last line, also where none is kept.
    last: u64,
    heartbeat: Option<Line>,
}

/// Says why nobody can subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// There are too many.
    #[error("there are {MAX_SUBSCRIBERS} subscribers already")]
    Full,
    /// The lines that come next are not kept here any more.
    #[error("more than {RECENT_LINES} revocations were made since number {0}")]
    TooFarBehind(u64),
    /// There are not so many revocations yet.
    #[error("there is no revocation number {0} yet")]
    Ahead(u64),
}

/// A subscriber: first what it missed, then what comes.
pub struct Subscription {
    missed: VecDeque<Line>,
    receiver: broadcast::Receiver<Line>,
    _slot: OwnedSemaphorePermit,
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            feed: OnceLock::new(),
            recent: Mutex::default(),
            sender: broadcast::Sender::new(BACKLOG),
            reached: watch::Sender::new(0),
            slots: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
        }
    }
}

impl Revocations {
    /// Returns the feed as it was heard; `None` before the signer answered for the first time.
    pub fn feed(&self) -> Option<FeedHandle> {
        self.feed.get().map(|(feed, _)| feed.clone())
    }

    /// Returns the key that signs heartbeats; `None` before the signer answered.
    pub fn key(&self) -> Option<VerifierKey> {
        self.feed.get().map(|(_, key)| key.clone())
    }

    /// Returns when revocation number `sequence` is known here, and so at our own gates; false
    /// when it took too long.
    pub async fn reach(&self, sequence: u64) -> bool {
        let mut reached = self.reached.subscribe();
        let waiting = reached.wait_for(|reached| *reached >= sequence);
        let done = tokio::time::timeout(HEARTBEAT_PERIOD, waiting).await;
        matches!(done, Ok(Ok(_)))
    }

    /// Subscribes to what comes after number `after`.
    ///
    /// # Errors
    /// When there are too many subscribers, or the next lines are not kept.
    pub fn subscribe(&self, after: u64) -> Result<Subscription, SubscribeError> {
        let slot = self.slots.clone().try_acquire_owned();
        let slot = slot.map_err(|_| SubscribeError::Full)?;
        // Under the lock, so that no line falls between what was missed and what comes.
        let recent = self.recent();
        let mut missed = recent.after(after)?;
        missed.extend(recent.heartbeat.clone());
        Ok(Subscription {
            missed,
            receiver: self.sender.subscribe(),
            _slot: slot,
        })
    }

    /// Asks the signer for what comes next until the front stops.
    pub async fn run(&self, front: &Front) {
        loop {
            if let Err(problem) = self.ask(front).await {
                tracing::warn!(problem, "the revocations cannot be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn ask(&self, front: &Front) -> Result<(), String> {
        let after = self.recent().last;
        let answer = front.signer.revocation_feed(after, HEARTBEAT_PERIOD).await;
        let (page, key) = answer.map_err(|error| chain(&error))?;
        let (feed, known) = self
            .feed
            .get_or_init(|| (FeedHandle::new(key.clone()), key.clone()));
        if *known != key {
            return Err("the signer has another log than before: restart the front".to_owned());
        }
        let taken = self.take(feed, page.lines.iter().chain(&page.heartbeat));
        taken.map_err(|error| {
            if error.needs_restart() {
                feed.restart();
                *self.recent() = Recent::default();
            }
            chain(&error)
        })?;
        self.reached.send_replace(feed.sequence());
        match page.lines.is_empty() && page.heartbeat.is_none() {
            true => Err("the signer gave neither a line nor a heartbeat".to_owned()),
            false => Ok(()),
        }
    }

    fn take<'a>(
        &self,
        feed: &FeedHandle,
        lines: impl Iterator<Item = &'a String>,
    ) -> Result<(), FeedError> {
        use trust::revocation::feed::Applied;
        let mut recent = self.recent();
        for line in lines {
            let applied = feed.apply(line.as_bytes(), clock::now())?;
            let line = Line::from(line.as_str());
            match applied {
                Applied::Revocation(sequence) => recent.push(sequence, line.clone()),
                Applied::Heartbeat => recent.heartbeat = Some(line.clone()),
            }
            // Nobody listens, maybe.
            let _ = self.sender.send(line);
        }
        Ok(())
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn push(&mut self, sequence: u64, line: Line) {
        if self.lines.len() == RECENT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((sequence, line));
        self.last = sequence;
        // It is about fewer lines.
        self.heartbeat = None;
    }

    fn after(&self, after: u64) -> Result<VecDeque<Line>, SubscribeError> {
        if after > self.last {
            return Err(SubscribeError::Ahead(after));
        }
        let first = self
            .lines
            .front()
            .map_or(self.last + 1, |(first, _)| *first);
        if after + 1 < first {
            return Err(SubscribeError::TooFarBehind(after));
        }
        let missed = self.lines.iter().filter(|(sequence, _)| *sequence > after);
        Ok(missed.map(|(_, line)| line.clone()).collect())
    }
}

impl Subscription {
    /// Returns the next line; `None` when the subscriber is too far behind, or the front stops.
    pub async fn next(&mut self) -> Option<Line> {
        match self.missed.pop_front() {
            Some(line) => Some(line),
            None => self.receiver.recv().await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_lines(numbers: std::ops::RangeInclusive<u64>) -> Revocations {
        let revocations = Revocations::default();
        for number in numbers {
            revocations
                .recent()
                .push(number, format!("line {number}").into());
        }
        revocations
    }

    async fn read(subscription: &mut Subscription, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(subscription.next().await.unwrap().to_string());
        }
        lines
    }

    #[tokio::test]
    async fn a_subscriber_goes_on_where_it_was() {
        let revocations = with_lines(1..=3);
        revocations.recent().heartbeat = Some("heartbeat".into());
        let mut subscription = revocations.subscribe(1).unwrap();
        revocations.sender.send("line 4".into()).unwrap();
        let lines = read(&mut subscription, 4).await;
        assert_eq!(lines, ["line 2", "line 3", "heartbeat", "line 4"]);
        let mut newest = revocations.subscribe(3).unwrap();
        assert_eq!(read(&mut newest, 1).await, ["heartbeat"]);
        let ahead = revocations.subscribe(4).err();
        assert_eq!(ahead, Some(SubscribeError::Ahead(4)));
    }

    #[tokio::test]
    async fn one_that_is_too_far_behind_reads_the_list_first() {
        let revocations = with_lines(1..=RECENT_LINES as u64 + 5);
        let behind = revocations.subscribe(4).err();
        assert_eq!(behind, Some(SubscribeError::TooFarBehind(4)));
        let mut subscription = revocations.subscribe(5).unwrap();
        assert_eq!(read(&mut subscription, 1).await, ["line 6"]);
    }

    #[tokio::test]
    async fn one_that_does_not_keep_up_is_cut_off() {
        let revocations = with_lines(1..=1);
        let mut slow = revocations.subscribe(1).unwrap();
        let mut quick = revocations.subscribe(1).unwrap();
        for number in 0..=BACKLOG {
            revocations.sender.send(number.to_string().into()).unwrap();
            assert!(quick.next().await.is_some());
        }
        assert!(slow.next().await.is_none());
    }

    #[tokio::test]
    async fn subscribers_are_counted() {
        let revocations = with_lines(1..=1);
        let subscribe = || revocations.subscribe(1);
        let mut all: Vec<_> = (0..MAX_SUBSCRIBERS).map(|_| subscribe().unwrap()).collect();
        assert_eq!(subscribe().err(), Some(SubscribeError::Full));
        all.pop();
        assert!(subscribe().is_ok());
    }
}
