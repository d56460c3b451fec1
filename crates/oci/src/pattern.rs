//! Patterns over names of repositories: what a grant, or a rule of a signing profile, is limited to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest pattern, in bytes: a repository name has at most 255.
const MAX_PATTERN_BYTES: usize = 255;

/// A pattern such as `apps/*` or `team/**`.
///
/// `*` stands for any characters but `/`, and `**` as a whole part stands for one or more parts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

/// Says why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a repository pattern: write a name in which `*` stands for a part and `**` for any parts"
)]
pub struct PatternError(String);

impl Pattern {
    /// Returns the pattern that every name matches.
    pub fn any() -> Self {
        Self("**".into())
    }

    /// Returns whether `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<&str> = self.0.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        parts_match(&pattern, &name)
    }
}

/// Matches part by part. `**` is tried at every length; both sides have at most 128 parts and
/// only granted patterns are ever matched, so this stays small.
fn parts_match(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), Some(_)) => {
            (1..=name.len()).any(|taken| parts_match(rest, &name[taken..]))
        }
        (Some((part, rest)), Some((text, others))) => {
            part_matches(part.as_bytes(), text.as_bytes()) && parts_match(rest, others)
        }
        _ => false,
    }
}

fn part_matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|taken| part_matches(rest, &text[taken..])),
        Some((byte, rest)) => text.first() == Some(byte) && part_matches(rest, &text[1..]),
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-*".contains(&b);
        // Stars are counted: matching tries every split, so each star costs a factor.
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(byte)
                && (part == "**" || (!part.contains("**") && part.matches('*').count() <= 2))
        };
        let wide = text.split('/').filter(|part| *part == "**").count();
        if text.len() <= MAX_PATTERN_BYTES && wide <= 2 && text.split('/').all(part) {
            Ok(Self(text.into()))
        } else {
            Err(PatternError(text.chars().take(160).collect()))
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("**", "a", true),
            ("**", "a/b/c", true),
            ("apps/**", "apps/shop", true),
            ("apps/**", "apps/shop/web", true),
            ("apps/**", "apps", false),
            ("apps/**", "apps2/shop", false),
            ("apps/*", "apps/shop", true),
            ("apps/*", "apps/shop/web", false),
            ("apps/s*p", "apps/shop", true),
            ("apps/s*p", "apps/shops", false),
            ("**/web", "a/b/web", true),
            ("**/web", "web", false),
            ("apps/shop", "apps/shop", true),
            ("apps/shop", "xapps/shop", false),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(name), expected, "{pattern} over {name}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in [
            "", "/", "a//b", "A", "a/***", "a/**b", "../a b", "*a*b*", "**/**/**",
        ] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
