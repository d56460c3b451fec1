//! Quotas, counted exactly: by jobs on record, and by those that are being signed.
//!
//! What was used in a window is counted from the jobs once, when a key is first used in it, and
//! in memory from then on. So a restart forgets nothing, and two requests never share a place.

use std::collections::HashMap;
use std::sync::Arc;

use oci::Digest;
use time::OffsetDateTime;
use tokio::sync::{Mutex, MutexGuard};

use super::{Signer, SignerError};
use crate::principal::Principal;
use crate::profile::rules::{self, Quota, Rule, RuleId, RuleRequest};
use crate::profile::{ProfileName, SigningProfile};

/// The most keys that are counted at once. Beyond it requests are turned away, rather than
/// counted wrongly.
const MAX_KEYS: usize = 65_536;

/// The rule that lets something be signed, and where it counts.
#[derive(Clone, Debug)]
pub(super) struct Permit {
    pub(super) rule: RuleId,
    pub(super) quota_key: Option<String>,
}

#[derive(Default)]
pub(super) struct QuotaBook {
    windows: Mutex<HashMap<String, Window>>,
}

#[derive(Clone, Copy)]
struct Window {
    start: OffsetDateTime,
    end: OffsetDateTime,
    used: u64,
}

impl QuotaBook {
    /// Takes back the place of a request that left no job.
    pub(super) async fn give_back(&self, permit: &Permit) {
        let Some(key) = &permit.quota_key else {
            return;
        };
        if let Some(window) = self.windows.lock().await.get_mut(key) {
            window.used = window.used.saturating_sub(1);
        }
    }
}

impl Signer {
    /// Returns the permit of a request, whose place in a quota is taken.
    pub(super) async fn permit(
        &self,
        profile: &SigningProfile,
        request: RuleRequest<'_>,
        now: OffsetDateTime,
    ) -> Result<Permit, SignerError> {
        let in_force = profile.rules_in_force();
        let first = rules::first_match(&in_force, request);
        let Some((rule, quota)) = first.and_then(|rule| Some((rule, rule.quota?))) else {
            let rule = profile.authorize(request, |_| 0)?;
            return Ok(Permit {
                rule,
                quota_key: None,
            });
        };
        let key = quota_key(&profile.name, rule, request.principal);
        let mut windows = self.quotas.windows.lock().await;
        let window = self.window(&mut windows, (&key, quota), now).await?;
        let rule = profile.authorize(request, |_| window.used)?;
        window.used += 1;
        Ok(Permit {
            rule,
            quota_key: Some(key),
        })
    }

    /// Returns how many signatures `principal` has had under `rule` in the current window.
    pub(super) async fn quota_used(
        &self,
        profile: &ProfileName,
        (rule, quota): (&Rule, Quota),
        principal: &Principal,
    ) -> Result<u64, SignerError> {
        let key = quota_key(profile, rule, principal);
        let mut windows = self.quotas.windows.lock().await;
        Ok(self
            .window(&mut windows, (&key, quota), self.now())
            .await?
            .used)
    }

    async fn window<'a>(
        &self,
        windows: &'a mut MutexGuard<'_, HashMap<String, Window>>,
        (key, quota): (&str, Quota),
        now: OffsetDateTime,
    ) -> Result<&'a mut Window, SignerError> {
        // A clock that was set back does not open a window again.
        let now = windows.get(key).map_or(now, |window| now.max(window.start));
        let (start, end) = (quota.window_start(now), quota.window_end(now));
        let is_known = windows
            .get(key)
            .is_some_and(|known| (known.start, known.end) == (start, end));
        if !is_known {
            make_room(windows, now)?;
            let used = self.records.count_jobs(key, start).await?;
            windows.insert(key.to_owned(), Window { start, end, used });
        }
        let missing = || SignerError::Internal("a window of a quota is missing".to_owned());
        windows.get_mut(key).ok_or_else(missing)
    }
}

fn make_room(
    windows: &mut HashMap<String, Window>,
    now: OffsetDateTime,
) -> Result<(), SignerError> {
    if windows.len() >= MAX_KEYS {
        windows.retain(|_, window| window.end > now);
    }
    match windows.len() < MAX_KEYS {
        true => Ok(()),
        false => Err(SignerError::Busy),
    }
}

/// Returns the key under which signatures of `principal` count for `rule`: a hash, because a
/// subject may be long and is nobody's business in an index.
fn quota_key(profile: &ProfileName, rule: &Rule, principal: &Principal) -> String {
    let text = format!("{profile}\n{}\n{}", rule.id, principal.identity());
    Digest::sha256(text.as_bytes()).hex().to_owned()
}

/// Returns whether a request that failed so is certain to have left no job.
pub(super) fn left_no_job(error: &SignerError) -> bool {
    matches!(
        error,
        SignerError::Payload(_)
            | SignerError::ExpiryOverflow
            | SignerError::Busy
            | SignerError::Authority(_)
            | SignerError::Denied(_)
    )
}

/// Keeps the profile that a permit was given for together with it.
pub(super) struct Permitted {
    pub(super) profile: Arc<SigningProfile>,
    pub(super) permit: Permit,
    /// When it was given, which is the time of the signature: both count in one window.
    pub(super) now: OffsetDateTime,
}
