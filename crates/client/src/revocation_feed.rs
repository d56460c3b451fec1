//! The connection to an authority's feed of revocations: kept up, and made anew when it breaks.
//!
//! What comes in is judged by `trust::revocation::feed`, which also says whether what is held may
//! be relied on. Here lines are read with a limit in bytes and in time: a connection that is
//! silent for a few heartbeats is given up for another. A reader that does not get through simply
//! leaves the feed as it is, and that is unknown after ten seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use time::OffsetDateTime;
use trust::revocation::feed::{FeedError, FeedHandle};

use crate::control::{ControlClient, ControlError};

/// How long a connection may be silent, or take to come about: three heartbeats. Another is tried
/// while what is held is still good.
const MAX_QUIET: Duration = Duration::from_secs(6);
/// How long to wait before the next connection; twice as long after each that gave nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such wait.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// How many revocations one page of the list holds; a shorter page is the last.
const PAGE_LINES: u64 = 1000;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Says why a connection to the feed was given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedReadError {
    /// The server cannot be reached, or refuses.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Nothing came for too long.
    #[error("nothing came for {} seconds", MAX_QUIET.as_secs())]
    Quiet,
    /// The server ended it.
    #[error("the server ended the feed")]
    Ended,
    /// What came is not what it should be.
    #[error("the feed cannot be used")]
    Feed(#[from] FeedError),
}

/// A reader of the feed of one server.
pub struct FeedReader {
    control: ControlClient,
    feed: FeedHandle,
    clock: Clock,
    problem: Mutex<Option<String>>,
}

impl FeedReader {
    /// Returns a reader that feeds `feed`. Nothing is read before [`FeedReader::run`].
    pub fn new(control: ControlClient, feed: FeedHandle, clock: Clock) -> Self {
        Self {
            control,
            feed,
            clock,
            problem: Mutex::default(),
        }
    }

    /// Returns the feed.
    pub fn feed(&self) -> &FeedHandle {
        &self.feed
    }

    /// Returns why the last connection was given up, if none has given a heartbeat since.
    pub fn problem(&self) -> Option<String> {
        self.problem_slot().clone()
    }

    /// Reads for ever.
    pub async fn run(&self) -> std::convert::Infallible {
        let mut pause = FIRST_PAUSE;
        loop {
            let (heard, error) = self.connect().await;
            tracing::info!(%error, "the connection to the feed of revocations ended");
            *self.problem_slot() = Some(crate::error::chain(&error));
            if matches!(&error, FeedReadError::Feed(error) if error.needs_restart()) {
                self.feed.restart();
            }
            if heard {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Reads one connection to its end. Returns whether a heartbeat came over it.
    async fn connect(&self) -> (bool, FeedReadError) {
        let mut heard = false;
        let end = self.read(&mut heard).await;
        (heard, end.err().unwrap_or(FeedReadError::Ended))
    }

    async fn read(&self, heard: &mut bool) -> Result<(), FeedReadError> {
        self.catch_up().await?;
        let path = format!("api/v1/revocations/feed?after={}", self.feed.sequence());
        let mut lines = self.open(&path).await?;
        while let Some(line) = next(&mut lines).await? {
            *heard |= self.take(&line)?;
        }
        Ok(())
    }

    /// Reads the list of revocations page by page: the feed gives only the newest of them.
    async fn catch_up(&self) -> Result<(), FeedReadError> {
        loop {
            let after = self.feed.sequence();
            let path = format!("api/v1/revocations?after={after}");
            let mut lines = self.open(&path).await?;
            while let Some(line) = next(&mut lines).await? {
                self.take(&line)?;
            }
            if self.feed.sequence() < after + PAGE_LINES {
                return Ok(());
            }
        }
    }

    async fn open(
        &self,
        path: &str,
    ) -> Result<BoxStream<'static, Result<String, ControlError>>, FeedReadError> {
        let opening = tokio::time::timeout(MAX_QUIET, self.control.stream(path));
        Ok(opening.await.map_err(|_| FeedReadError::Quiet)??)
    }

    /// Takes a line; returns whether it was a heartbeat that counts.
    fn take(&self, line: &str) -> Result<bool, FeedReadError> {
        use trust::revocation::feed::Applied;
        match self.feed.apply(line.as_bytes(), (self.clock)()) {
            Ok(Applied::Heartbeat) => {
                *self.problem_slot() = None;
                Ok(true)
            }
            // A new connection begins with the last heartbeat, which may be known.
            Ok(Applied::Revocation(_)) | Err(FeedError::Replayed(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn problem_slot(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn next(
    lines: &mut BoxStream<'static, Result<String, ControlError>>,
) -> Result<Option<String>, FeedReadError> {
    let line = tokio::time::timeout(MAX_QUIET, lines.next());
    Ok(line.await.map_err(|_| FeedReadError::Quiet)?.transpose()?)
}
