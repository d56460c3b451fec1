//! How many requests an account number may make: a bucket of tokens for each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use signer::AccountNumber;

/// Requests per second and account number, unless configured otherwise: above what two cores sign.
pub const DEFAULT_REQUESTS_PER_SECOND: u32 = 2_000;
/// How many seconds' worth of requests may come at once.
const BURST_SECONDS: f64 = 2.0;
/// The most buckets; above it those that are full, and so say nothing, are dropped.
const MAX_BUCKETS: usize = 4_096;

/// The buckets.
pub struct Throttle {
    per_second: f64,
    buckets: Mutex<HashMap<AccountNumber, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Throttle {
    /// Returns full buckets that gain `per_second` tokens a second.
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second: f64::from(per_second.max(1)),
            buckets: Mutex::default(),
        }
    }

    /// Takes a token, or returns how long it is until there is one.
    pub fn take(&self, number: AccountNumber, now: Instant) -> Result<(), Duration> {
        let capacity = self.per_second * BURST_SECONDS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, bucket| bucket.filled(self.per_second, now) < capacity);
        }
        let bucket = buckets.entry(number).or_insert(Bucket {
            tokens: capacity,
            filled_at: now,
        });
        bucket.tokens = bucket.filled(self.per_second, now).min(capacity);
        bucket.filled_at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(
            (1.0 - bucket.tokens) / self.per_second,
        ))
    }
}

impl Bucket {
    fn filled(&self, per_second: f64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.filled_at);
        self.tokens + passed.as_secs_f64() * per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_a_bucket_that_fills_again() {
        let throttle = Throttle::new(5);
        let (one, two) = (AccountNumber::UNSET, AccountNumber::from_random([1; 12]));
        let start = Instant::now();
        for _ in 0..10 {
            assert_eq!(throttle.take(one, start), Ok(()));
        }
        let wait = throttle.take(one, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(200));
        assert_eq!(throttle.take(two, start), Ok(()));
        let later = start + wait;
        assert_eq!(throttle.take(one, later), Ok(()));
        assert!(throttle.take(one, later).is_err());
        // It never holds more than its size.
        let much_later = start + Duration::from_secs(3600);
        let given = (0..100).filter(|_| throttle.take(one, much_later).is_ok());
        assert_eq!(given.count(), 10);
    }
}
