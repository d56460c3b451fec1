//! Quotas: how many signatures one principal may have under one rule in a second, minute, hour or
//! day of the clock.
//!
//! The windows are those of the clock in UTC (an hour begins at minute zero) and not a sliding
//! one: what was used is then one number that can be counted again from the jobs after a restart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{Duration, OffsetDateTime};

/// The largest number in a quota: more than one machine signs in an hour.
pub const MAX_QUOTA: u32 = 10_000_000;

/// A number of signatures in a span of time, such as `600 per hour`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    count: u32,
    unit: QuotaUnit,
}

/// The span that a quota counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaUnit {
    /// A second of the clock.
    Second,
    /// A minute of the clock.
    Minute,
    /// An hour of the clock.
    Hour,
    /// A day in UTC.
    Day,
}

/// Says why a text is not a quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a quota: write a number from 1 to {MAX_QUOTA} and a unit, such as `600 per hour` (`second`, `minute`, `hour` or `day`)"
)]
pub struct QuotaError(String);

impl QuotaUnit {
    const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

impl Quota {
    /// Returns how many signatures fit into one window.
    pub fn count(self) -> u64 {
        self.count.into()
    }

    /// Returns the beginning of the window that `now` lies in.
    pub fn window_start(self, now: OffsetDateTime) -> OffsetDateTime {
        let seconds = now.unix_timestamp();
        let start = seconds - seconds.rem_euclid(self.unit.seconds());
        OffsetDateTime::from_unix_timestamp(start).unwrap_or(now)
    }

    /// Returns the beginning of the next window.
    pub fn window_end(self, now: OffsetDateTime) -> OffsetDateTime {
        let length = Duration::seconds(self.unit.seconds());
        self.window_start(now).checked_add(length).unwrap_or(now)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.count, self.unit.name())
    }
}

impl FromStr for Quota {
    type Err = QuotaError;

    fn from_str(text: &str) -> Result<Self, QuotaError> {
        let refused = || QuotaError(text.chars().take(80).collect());
        let (number, unit) = text.split_once(" per ").ok_or_else(refused)?;
        let count: u32 = number.parse().map_err(|_| refused())?;
        let unit = QuotaUnit::ALL
            .into_iter()
            .find(|known| known.name() == unit);
        match unit {
            // A sign would parse as well.
            Some(unit) if (1..=MAX_QUOTA).contains(&count) && !number.starts_with('+') => {
                Ok(Self { count, unit })
            }
            _ => Err(refused()),
        }
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn quotas_round_trip_and_nonsense_is_refused() {
        for text in [
            "1 per second",
            "600 per hour",
            "10000000 per day",
            "5 per minute",
        ] {
            assert_eq!(text.parse::<Quota>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "0 per hour",
            "600 per week",
            "600/hour",
            "-1 per day",
            "+1 per day",
            "10000001 per day",
            "1 per hours",
        ] {
            assert!(text.parse::<Quota>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_window_begins_and_ends_with_the_clock() {
        let now = datetime!(2026-03-01 12:34:56.7 UTC);
        for (text, start, end) in [
            (
                "1 per second",
                datetime!(2026-03-01 12:34:56 UTC),
                datetime!(2026-03-01 12:34:57 UTC),
            ),
            (
                "1 per minute",
                datetime!(2026-03-01 12:34 UTC),
                datetime!(2026-03-01 12:35 UTC),
            ),
            (
                "1 per hour",
                datetime!(2026-03-01 12:00 UTC),
                datetime!(2026-03-01 13:00 UTC),
            ),
            (
                "1 per day",
                datetime!(2026-03-01 0:00 UTC),
                datetime!(2026-03-02 0:00 UTC),
            ),
        ] {
            let quota: Quota = text.parse().unwrap();
            assert_eq!(
                (quota.window_start(now), quota.window_end(now)),
                (start, end),
                "{text}"
            );
        }
    }
}
