//! A feed that one task reads and many verifications ask.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use time::OffsetDateTime;

use super::set::Questioned;
use super::state::{Applied, FeedError, FeedState, FeedStatus};
use crate::revocation::RevocationStatus;
use crate::tlog::note::VerifierKey;

/// A [`FeedState`] that is shared. A verification sees every line that was applied before it asks.
#[derive(Clone, Debug)]
pub struct FeedHandle(Arc<RwLock<FeedState>>);

impl FeedHandle {
    /// Returns a feed of which nothing is known yet.
    pub fn new(key: VerifierKey) -> Self {
        Self(Arc::new(RwLock::new(FeedState::new(key))))
    }

    /// See [`FeedState::apply`].
    ///
    /// # Errors
    /// When the line is not the next one, or not genuine.
    pub fn apply(&self, line: &[u8], now: OffsetDateTime) -> Result<Applied, FeedError> {
        self.write().apply(line, now)
    }

    /// See [`FeedState::restart`].
    pub fn restart(&self) {
        self.write().restart();
    }

    /// See [`FeedState::sequence`].
    pub fn sequence(&self) -> u64 {
        self.read().sequence()
    }

    /// See [`FeedState::status`].
    pub fn status(&self, now: OffsetDateTime) -> FeedStatus {
        self.read().status(now)
    }

    /// See [`FeedState::covers`].
    pub fn covers(&self, issuer_key_sha256: &str) -> bool {
        self.read().covers(issuer_key_sha256)
    }

    /// See [`FeedState::judge`].
    pub fn judge(&self, asked: &Questioned<'_>, now: OffsetDateTime) -> RevocationStatus {
        self.read().judge(asked, now)
    }

    // A panic while a line was applied would have left the line out at worst, and the next
    // heartbeat would not match.
    fn read(&self) -> RwLockReadGuard<'_, FeedState> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, FeedState> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
