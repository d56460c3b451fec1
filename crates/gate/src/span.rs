//! Lengths of time as people write them: `30s`, `24h`, `7d`, `7 days`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::Duration;

/// The longest length of time, in seconds: a hundred years. Longer ones overflow dates.
const MAX_SECONDS: i64 = 100 * 365 * 86_400;

const UNITS: [(&str, &str, i64); 4] = [
    ("s", "second", 1),
    ("m", "minute", 60),
    ("h", "hour", 3600),
    ("d", "day", 86_400),
];

/// A positive length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// Says that a text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a length of time: expected a number and a unit, such as `30s`, `24h` or `7 days`"
)]
pub struct SpanError(String);

impl Span {
    /// Returns a span of `hours`.
    pub const fn hours(hours: u32) -> Self {
        Self(Duration::seconds(hours as i64 * 3600))
    }

    /// Returns a span of `seconds`.
    pub const fn seconds(seconds: u32) -> Self {
        Self(Duration::seconds(seconds as i64))
    }

    /// Returns the length.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.chars().take(40).collect());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = text[..digits].parse().map_err(|_| error())?;
        let unit = text[digits..].trim_start();
        let named = |(short, long, _): &&(&str, &str, i64)| {
            unit == *short || unit.strip_suffix('s').unwrap_or(unit) == *long
        };
        let (_, _, seconds) = UNITS.iter().find(named).ok_or_else(error)?;
        match number.checked_mul(*seconds) {
            Some(total) if (1..=MAX_SECONDS).contains(&total) => Ok(Self(Duration::seconds(total))),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.whole_seconds();
        let fits = |unit: &&(&str, &str, i64)| seconds % unit.2 == 0;
        let (short, _, length) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
        write!(f, "{}{short}", seconds / length)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds, shown) in [
            ("30s", 30, "30s"),
            ("90 minutes", 5400, "90m"),
            ("1 hour", 3600, "1h"),
            ("24h", 86_400, "1d"),
            ("7 days", 604_800, "7d"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.duration(), Duration::seconds(seconds));
            assert_eq!(span.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "h",
            "7",
            "-1h",
            "0s",
            "1.5h",
            "1 fortnight",
            "1 h h",
            "99999999999999999999d",
            "9999999d",
            "é",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
