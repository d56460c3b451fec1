//! Globs over subjects of workloads, over claims and over artifact types.
//!
//! `*` stands for any characters but `/`, `:` and space, so that it stays inside one part of a
//! subject: in `repo:shop/*:ref:refs/heads/main` it cannot swallow the `:ref:` and let another
//! branch in. `**` stands for any characters at all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest glob, in bytes.
pub const MAX_GLOB_BYTES: usize = 256;
/// The most stars in one glob.
pub const MAX_GLOB_STARS: usize = 8;

/// A glob such as `repo:shop/*:ref:refs/heads/main`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Glob(Box<str>);

/// Says why a text is not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a pattern: write 1 to {MAX_GLOB_BYTES} bytes in which `*` stands for a part and `**` for anything, with at most {MAX_GLOB_STARS} of them"
)]
pub struct GlobError(String);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Part,
    Anything,
}

impl Glob {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the whole of `text` matches.
    ///
    /// Walks all places of the glob at once, so that the time is at most the product of both
    /// lengths, whatever the text: the subject comes from outside.
    pub fn matches(&self, text: &str) -> bool {
        let tokens = tokens(&self.0);
        let mut places = vec![false; tokens.len() + 1];
        places[0] = true;
        skip_stars(&tokens, &mut places);
        for byte in text.bytes() {
            places = step(&tokens, &places, byte);
            if !places.contains(&true) {
                return false;
            }
        }
        places[tokens.len()]
    }
}

fn step(tokens: &[Token], places: &[bool], byte: u8) -> Vec<bool> {
    let mut next = vec![false; places.len()];
    for (place, token) in tokens
        .iter()
        .enumerate()
        .filter(|(place, _)| places[*place])
    {
        match token {
            Token::Byte(wanted) if *wanted == byte => next[place + 1] = true,
            Token::Part if !b"/: ".contains(&byte) => next[place] = true,
            Token::Anything => next[place] = true,
            _ => {}
        }
    }
    skip_stars(tokens, &mut next);
    next
}

/// A star may stand for nothing.
fn skip_stars(tokens: &[Token], places: &mut [bool]) {
    for (place, token) in tokens.iter().enumerate() {
        if places[place] && !matches!(token, Token::Byte(_)) {
            places[place + 1] = true;
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match (byte, tokens.last_mut()) {
            (b'*', Some(last @ Token::Part)) => *last = Token::Anything,
            (b'*', _) => tokens.push(Token::Part),
            _ => tokens.push(Token::Byte(byte)),
        }
    }
    tokens
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let is_fit = (1..=MAX_GLOB_BYTES).contains(&text.len())
            && !text.chars().any(char::is_control)
            && !text.contains("***")
            && tokens(text)
                .iter()
                .filter(|one| !matches!(one, Token::Byte(_)))
                .count()
                <= MAX_GLOB_STARS;
        match is_fit {
            true => Ok(Self(text.into())),
            false => Err(GlobError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stays_inside_one_part() {
        let main = "repo:shop/*:ref:refs/heads/main";
        for (glob, text, expected) in [
            (main, "repo:shop/web:ref:refs/heads/main", true),
            (main, "repo:shop/:ref:refs/heads/main", true),
            (main, "repo:shop/web:ref:refs/heads/dev", false),
            (main, "repo:shop/web:x:ref:refs/heads/main", false),
            (main, "repo:shop/a/b:ref:refs/heads/main", false),
            (main, "repo:shop/web:ref:refs/heads/main2", false),
            ("repo:**", "repo:a/b:c d", true),
            ("**", "", true),
            ("*", "a b", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            (
                "application/vnd.oci.image.*",
                "application/vnd.oci.image.config.v1+json",
                true,
            ),
            (
                "application/vnd.oci.image.*",
                "application/vnd.oci.artifact",
                false,
            ),
            ("abc", "abcd", false),
            ("abc", "ab", false),
        ] {
            let parsed: Glob = glob.parse().unwrap();
            assert_eq!(parsed.matches(text), expected, "{glob} over {text}");
        }
    }

    #[test]
    fn malformed_globs_are_refused() {
        let long = "a".repeat(MAX_GLOB_BYTES + 1);
        for text in ["", "a\nb", "***", "*a*a*a*a*a*a*a*a*", &long] {
            assert!(text.parse::<Glob>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_stars_matches_itself_alone(text in "[a-z:/ ]{1,40}", other in "[a-z:/ ]{1,40}") {
            let glob: Glob = text.parse().unwrap();
            prop_assert!(glob.matches(&text));
            prop_assert_eq!(glob.matches(&other), text == other);
        }

        #[test]
        fn anything_matches_every_text(text in "\\PC{0,200}") {
            prop_assert!("**".parse::<Glob>().unwrap().matches(&text));
        }
    }
}
