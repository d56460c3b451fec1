//! How many requests a second one caller may send: a bucket of tokens for each.
//!
//! A bucket holds `burst` tokens and is filled with `per_second` of them; a request takes one. It
//! lives in memory: whoever restarts the server gives everybody a full bucket. What must be exact
//! and outlive a restart is a quota of a rule ([`signer::profile::rules::Quota`]).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The most callers whose buckets are kept. A bucket that is full again is the same as none.
const MAX_BUCKETS: usize = 16_384;
/// The largest rate and burst.
pub const MAX_RATE: u32 = 100_000;

/// A rate, and how many requests may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// Requests in a second, in the long run.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

impl Rate {
    /// Returns whether both numbers are from 1 to [`MAX_RATE`].
    pub fn is_fit(self) -> bool {
        let fits = |number: u32| (1..=MAX_RATE).contains(&number);
        fits(self.per_second) && fits(self.burst)
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn filled(self, rate: Rate, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let tokens = self.tokens + passed * f64::from(rate.per_second);
        Self {
            tokens: tokens.min(f64::from(rate.burst)),
            at: now.max(self.at),
        }
    }
}

/// The buckets of all callers.
#[derive(Default)]
pub struct Throttle {
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Throttle {
    /// Takes a token of `caller`; says how long to wait for the next when there is none.
    ///
    /// # Errors
    /// The time after which there is a token again.
    pub fn take(&self, caller: &str, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(caller) {
            let full = f64::from(rate.burst);
            buckets.retain(|_, bucket| bucket.filled(rate, now).tokens < full);
            if buckets.len() >= MAX_BUCKETS {
                // So many at once are an attack; a full bucket for each would be its success.
                return Err(Duration::from_secs(1));
            }
        }
        let fresh = Bucket {
            tokens: f64::from(rate.burst),
            at: now,
        };
        let bucket = buckets.entry(caller.to_owned()).or_insert(fresh);
        *bucket = bucket.filled(rate, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let missing = (1.0 - bucket.tokens) / f64::from(rate.per_second);
        Err(Duration::from_secs_f64(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 3,
    };

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let take = |caller: &str, millis: u64| {
            let at = start + Duration::from_millis(millis);
            throttle.take(caller, RATE, at).is_ok()
        };
        assert_eq!(
            [0, 0, 0, 0].map(|at| take("a", at)),
            [true, true, true, false]
        );
        assert!(take("b", 0), "each caller has a bucket");
        assert!(!take("a", 99));
        assert!(take("a", 100));
        assert!(!take("a", 100));
        assert_eq!(
            [900, 900, 900, 900].map(|at| take("a", at)),
            [true, true, true, false]
        );
    }

    #[test]
    fn the_wait_is_said() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..3 {
            throttle.take("a", RATE, now).unwrap();
        }
        let wait = throttle.take("a", RATE, now).unwrap_err();
        assert!((wait.as_secs_f64() - 0.1).abs() < 1e-6, "{wait:?}");
    }

    #[test]
    fn a_flood_of_callers_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..MAX_BUCKETS {
            throttle.take(&number.to_string(), RATE, now).unwrap();
        }
        assert!(throttle.take("one more", RATE, now).is_err());
        let later = now + Duration::from_secs(1);
        assert!(throttle.take("one more", RATE, later).is_ok());
    }
}
