//! How long a signature stays valid: a number and a unit.
//!
//! AWS Signer's words: `DAYS`, `MONTHS`, `YEARS`, and 135 months at most. Seconds exist so that a
//! test can see a signature expire. Months and years follow the calendar: a day that the later
//! month does not have becomes its last day.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{Date, Duration, Month, OffsetDateTime};

/// The longest validity, in months (AWS Signer, `SignatureValidityPeriod`).
pub const MAX_VALIDITY_MONTHS: u32 = 135;
/// The longest validity in days: 135 months of the Gregorian calendar's mean length, rounded down.
pub const MAX_VALIDITY_DAYS: u32 = 4_108;

/// The unit of a validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValidityUnit {
    /// Seconds, meant for tests.
    Seconds,
    /// Days of 24 hours.
    Days,
    /// Months of the calendar.
    Months,
    /// Years of the calendar.
    Years,
}

impl ValidityUnit {
    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Days => "days",
            Self::Months => "months",
            Self::Years => "years",
        }
    }

    fn limit(self) -> u32 {
        match self {
            Self::Seconds => MAX_VALIDITY_DAYS * 86_400,
            Self::Days => MAX_VALIDITY_DAYS,
            Self::Months => MAX_VALIDITY_MONTHS,
            Self::Years => MAX_VALIDITY_MONTHS / 12,
        }
    }
}

/// A validity, such as `7 days`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Validity {
    value: u32,
    unit: ValidityUnit,
}

/// Says why a text is not a validity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidityError {
    /// The text is not a number and a unit.
    #[error(
        "`{0}` is not a validity: expected a number and `days`, `months` or `years`, such as `7 days`"
    )]
    Shape(String),
    /// The number is zero or beyond the limit.
    #[error("a validity of {value} {unit} is out of range: use 1 to {limit} {unit} (135 months)")]
    Range {
        /// The number that was asked for.
        value: u32,
        /// The unit's name.
        unit: &'static str,
        /// The largest number in that unit.
        limit: u32,
    },
}

impl Validity {
    /// Returns a validity of `value` units, between one and 135 months.
    pub fn new(value: u32, unit: ValidityUnit) -> Result<Self, ValidityError> {
        let limit = unit.limit();
        if (1..=limit).contains(&value) {
            return Ok(Self { value, unit });
        }
        let unit = unit.name();
        Err(ValidityError::Range { value, unit, limit })
    }

    /// Returns the number.
    pub fn value(self) -> u32 {
        self.value
    }

    /// Returns the unit.
    pub fn unit(self) -> ValidityUnit {
        self.unit
    }

    /// Returns the moment at which something signed at `start` expires; `None` beyond the year
    /// 9999.
    pub fn end_after(self, start: OffsetDateTime) -> Option<OffsetDateTime> {
        let value = i64::from(self.value);
        match self.unit {
            ValidityUnit::Seconds => start.checked_add(Duration::seconds(value)),
            ValidityUnit::Days => start.checked_add(Duration::days(value)),
            ValidityUnit::Months => add_months(start, self.value),
            ValidityUnit::Years => add_months(start, self.value * 12),
        }
    }
}

fn add_months(start: OffsetDateTime, months: u32) -> Option<OffsetDateTime> {
    let from_january = u32::from(u8::from(start.month()) - 1) + months;
    let year = start
        .year()
        .checked_add(i32::try_from(from_january / 12).ok()?)?;
    let month = Month::try_from(u8::try_from(from_january % 12 + 1).ok()?).ok()?;
    let day = start.day().min(month.length(year));
    let date = Date::from_calendar_date(year, month, day).ok()?;
    Some(start.replace_date(date))
}

impl FromStr for Validity {
    type Err = ValidityError;

    fn from_str(text: &str) -> Result<Self, ValidityError> {
        let shape = || ValidityError::Shape(text.chars().take(80).collect());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(shape)?;
        let (number, rest) = text.split_at(digits);
        let unit = match rest.strip_prefix(' ').unwrap_or(rest) {
            "s" | "second" | "seconds" => ValidityUnit::Seconds,
            "d" | "day" | "days" => ValidityUnit::Days,
            "month" | "months" => ValidityUnit::Months,
            "y" | "year" | "years" => ValidityUnit::Years,
            _ => return Err(shape()),
        };
        Self::new(number.parse().map_err(|_| shape())?, unit)
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.unit.name();
        match self.value {
            1 => write!(f, "1 {}", name.trim_end_matches('s')),
            value => write!(f, "{value} {name}"),
        }
    }
}

impl Serialize for Validity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Validity {
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
    fn expiry_follows_the_calendar() {
        let table = [
            (
                datetime!(2026-01-31 10:00 UTC),
                "1 month",
                datetime!(2026-02-28 10:00 UTC),
            ),
            (
                datetime!(2028-01-31 10:00 UTC),
                "1 month",
                datetime!(2028-02-29 10:00 UTC),
            ),
            (
                datetime!(2024-02-29 00:00 UTC),
                "1 year",
                datetime!(2025-02-28 00:00 UTC),
            ),
            (
                datetime!(2024-02-29 00:00 UTC),
                "4 years",
                datetime!(2028-02-29 00:00 UTC),
            ),
            (
                datetime!(2026-12-15 23:59:59 UTC),
                "1 months",
                datetime!(2027-01-15 23:59:59 UTC),
            ),
            (
                datetime!(2026-11-30 00:00 UTC),
                "135 months",
                datetime!(2038-02-28 00:00 UTC),
            ),
            (
                datetime!(2026-03-28 12:00 UTC),
                "7 days",
                datetime!(2026-04-04 12:00 UTC),
            ),
            (
                datetime!(2026-03-28 12:00 UTC),
                "5s",
                datetime!(2026-03-28 12:00:05 UTC),
            ),
            (
                datetime!(2026-10-31 12:00 UTC),
                "12 months",
                datetime!(2027-10-31 12:00 UTC),
            ),
        ];
        for (start, text, expected) in table {
            let validity: Validity = text.parse().unwrap();
            assert_eq!(
                validity.end_after(start),
                Some(expected),
                "{start} + {text}"
            );
        }
    }

    #[test]
    fn beyond_the_calendar_there_is_no_end() {
        let validity: Validity = "11 years".parse().unwrap();
        assert_eq!(validity.end_after(datetime!(9999-01-01 0:00 UTC)), None);
    }

    #[test]
    fn the_range_is_one_to_135_months() {
        for good in ["1 day", "4108 days", "135 months", "11 years", "1 seconds"] {
            assert!(good.parse::<Validity>().is_ok(), "{good}");
        }
        for bad in [
            "0 days",
            "4109 days",
            "136 months",
            "12 years",
            "",
            "days",
            "7",
            "-1 days",
            "7  days",
            "7 weeks",
            "7 Days",
            "99999999999 days",
            "1.5 years",
            " 7 days",
        ] {
            assert!(bad.parse::<Validity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_text_round_trips() {
        for text in [
            "7 days",
            "1 day",
            "1 year",
            "3 months",
            "2 years",
            "30 seconds",
        ] {
            assert_eq!(text.parse::<Validity>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn errors_say_what_is_expected() {
        let range = "12 years".parse::<Validity>().unwrap_err();
        insta::assert_snapshot!(range, @"a validity of 12 years is out of range: use 1 to 11 years (135 months)");
        let shape = "soon".parse::<Validity>().unwrap_err();
        insta::assert_snapshot!(shape, @"`soon` is not a validity: expected a number and `days`, `months` or `years`, such as `7 days`");
    }
}
