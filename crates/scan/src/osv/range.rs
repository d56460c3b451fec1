//! Ranges of versions: the evaluation of the OSV schema, section *Evaluation*.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::version::{VersionError, VersionOrder};

/// A range: events along the order of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Range {
    /// The events, in the order of the record.
    pub events: Vec<Event>,
}

/// A version from which on something is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Affected from here on; `0` stands before all versions.
    Introduced(String),
    /// No longer affected from here on.
    Fixed(String),
    /// Affected up to and with this, without saying that the next one is fixed.
    LastAffected(String),
    /// Nothing is said of this and what comes after.
    Limit(String),
}

/// Where a version lies in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Outside.
    Outside,
    /// Inside, and the range ends with this fix.
    FixedIn(String),
    /// Inside, and a later version is known to be unaffected without being called fixed.
    EndsWith(String),
    /// Inside, and the range has no end.
    Open,
}

impl Event {
    /// Returns the event that a record calls `name`.
    pub(super) fn named(name: &str, version: &str) -> Option<Self> {
        let version = version.to_owned();
        Some(match name {
            "introduced" => Self::Introduced(version),
            "fixed" => Self::Fixed(version),
            "last_affected" => Self::LastAffected(version),
            "limit" => Self::Limit(version),
            _ => return None,
        })
    }

    fn version(&self) -> &str {
        match self {
            Self::Introduced(v) | Self::Fixed(v) | Self::LastAffected(v) | Self::Limit(v) => v,
        }
    }
}

impl Range {
    /// Returns where `version` lies.
    ///
    /// # Errors
    /// If the version or that of an event has no place in the order: then nothing can be said.
    pub fn place(&self, version: &str, order: VersionOrder) -> Result<Place, VersionError> {
        let mut events: Vec<&Event> = Vec::new();
        let mut limits: Vec<&str> = Vec::new();
        for event in &self.events {
            match event {
                Event::Limit(limit) => limits.push(limit),
                other => events.push(other),
            }
        }
        if !below_a_limit(version, &limits, order)? {
            return Ok(Place::Outside);
        }
        let events = sorted(events, order)?;
        let mut inside = false;
        for event in events {
            let reached = match event {
                Event::Introduced(zero) if zero == "0" => true,
                // `last_affected` is the only one that holds for its own version.
                Event::LastAffected(last) => order.compare(version, last)?.is_gt(),
                other => order.compare(version, other.version())?.is_ge(),
            };
            match event {
                Event::Introduced(_) if reached => inside = true,
                Event::Fixed(_) | Event::LastAffected(_) if reached => inside = false,
                Event::Fixed(fixed) if inside => return Ok(Place::FixedIn(fixed.clone())),
                Event::LastAffected(last) if inside => return Ok(Place::EndsWith(last.clone())),
                _ => {}
            }
        }
        Ok(if inside { Place::Open } else { Place::Outside })
    }

    /// Returns the range in words, such as `>=1.0,<1.2`.
    pub fn constraint(&self) -> String {
        let words = self.events.iter().filter_map(|event| match event {
            Event::Introduced(zero) if zero == "0" => None,
            Event::Introduced(version) => Some(format!(">={version}")),
            Event::Fixed(version) | Event::Limit(version) => Some(format!("<{version}")),
            Event::LastAffected(version) => Some(format!("<={version}")),
        });
        let words: Vec<String> = words.collect();
        match words.is_empty() {
            true => "any".to_owned(),
            false => words.join(","),
        }
    }
}

/// A limit of `*` is no limit.
fn below_a_limit(
    version: &str,
    limits: &[&str],
    order: VersionOrder,
) -> Result<bool, VersionError> {
    for limit in limits {
        if *limit == "*" || order.compare(version, limit)?.is_lt() {
            return Ok(true);
        }
    }
    Ok(limits.is_empty())
}

/// Sorts by version. Of two events with one version the introduction comes last: a version that
/// one fix repairs and another flaw breaks again is broken.
fn sorted(events: Vec<&Event>, order: VersionOrder) -> Result<Vec<&Event>, VersionError> {
    let is_start = |event: &Event| matches!(event, Event::Introduced(_));
    let mut events = events;
    let mut failure = None;
    if let [only] = events[..] {
        // A single event is never compared with another, but must have a place all the same.
        order.compare(only.version(), only.version())?;
    }
    events.sort_by(|a, b| {
        let zero = |event: &Event| is_start(event) && event.version() == "0";
        match (zero(a), zero(b)) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => match order.compare(a.version(), b.version()) {
                Ok(ordering) => ordering.then(is_start(a).cmp(&is_start(b))),
                Err(error) => {
                    failure.get_or_insert(error);
                    Ordering::Equal
                }
            },
        }
    });
    failure.map_or(Ok(events), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(text: &str) -> Range {
        let event = |word: &str| {
            let (name, version) = word.split_once('=').unwrap();
            Event::named(name, version).unwrap()
        };
        Range {
            events: text.split_whitespace().map(event).collect(),
        }
    }

    #[test]
    fn the_table_of_places() {
        let fixed = |version: &str| Place::FixedIn(version.to_owned());
        let ends = |version: &str| Place::EndsWith(version.to_owned());
        let table = [
            ("introduced=0 fixed=2.0", "1.9", fixed("2.0")),
            ("introduced=0 fixed=2.0", "2.0", Place::Outside),
            ("introduced=0 fixed=2.0", "2.0rc1", fixed("2.0")),
            ("fixed=2.0 introduced=0", "1.9", fixed("2.0")),
            ("introduced=1.0 fixed=2.0", "0.9", Place::Outside),
            ("introduced=1.0 fixed=2.0", "1.0", fixed("2.0")),
            ("introduced=0", "99", Place::Open),
            ("introduced=0 last_affected=2.0", "2.0", ends("2.0")),
            (
                "introduced=0 last_affected=2.0",
                "2.0.post1",
                Place::Outside,
            ),
            (
                "introduced=0 fixed=1.2 introduced=2.0 fixed=2.3",
                "1.1",
                fixed("1.2"),
            ),
            (
                "introduced=0 fixed=1.2 introduced=2.0 fixed=2.3",
                "1.5",
                Place::Outside,
            ),
            (
                "introduced=0 fixed=1.2 introduced=2.0 fixed=2.3",
                "2.2",
                fixed("2.3"),
            ),
            ("introduced=0 fixed=1.2 introduced=2.0", "3", Place::Open),
            ("introduced=0 limit=2.0", "1.9", Place::Open),
            ("introduced=0 limit=2.0", "2.0", Place::Outside),
            ("introduced=0 limit=*", "9", Place::Open),
            ("introduced=2.0 fixed=2.0", "2.0", Place::Open),
            ("", "1", Place::Outside),
        ];
        for (events, version, expected) in table {
            let found = range(events).place(version, VersionOrder::Pep440);
            assert_eq!(found, Ok(expected), "{events} {version}");
        }
    }

    #[test]
    fn what_has_no_place_is_an_error_and_not_outside() {
        for (events, version) in [
            ("introduced=0 fixed=x-y", "1"),
            ("introduced=0 fixed=2.0", "local build"),
        ] {
            assert!(
                range(events).place(version, VersionOrder::Pep440).is_err(),
                "{events}"
            );
        }
    }

    #[test]
    fn constraints_in_words() {
        assert_eq!(range("introduced=0 fixed=2.0").constraint(), "<2.0");
        assert_eq!(
            range("introduced=1 last_affected=2").constraint(),
            ">=1,<=2"
        );
        assert_eq!(range("introduced=0").constraint(), "any");
    }

    proptest! {
        #[test]
        fn any_events_never_panic(events in proptest::collection::vec(("introduced|fixed|last_affected|limit", "[0-9a-z.~:-]{0,6}"), 0..6), version: String) {
            let events = events.iter().filter_map(|(name, version)| Event::named(name, version)).collect();
            for order in [VersionOrder::Debian, VersionOrder::Pep440] {
                let range = Range { events: Clone::clone(&events) };
                let _ = range.place(&version, order);
            }
        }

        #[test]
        fn the_order_of_events_does_not_matter(turns in 0usize..4, version in "[0-5]\\.[0-9]") {
            let all = ["introduced=0", "fixed=1.2", "introduced=2.0", "fixed=2.3"];
            let mut shuffled = all;
            shuffled.rotate_left(turns);
            let (a, b) = (range(&all.join(" ")), range(&shuffled.join(" ")));
            prop_assert_eq!(a.place(&version, VersionOrder::Pep440), b.place(&version, VersionOrder::Pep440));
        }
    }
}
