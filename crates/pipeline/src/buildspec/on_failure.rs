//! `on-failure`: what happens when a command of a phase fails.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most attempts that may be asked for (CodeBuild: 0 to 100).
const MAX_ATTEMPTS: u32 = 100;
/// How often a plain `RETRY` tries again (CodeBuild: up to three times).
const DEFAULT_ATTEMPTS: u32 = 3;
/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 256;

/// What happens when a command of a phase fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The build ends.
    Abort,
    /// The next phase runs; the build has failed all the same.
    Continue,
    /// The phase runs again.
    Retry(Retry),
}

/// How a phase runs again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often, at most.
    pub attempts: u32,
    /// A pattern that the message of the failure must match.
    pub pattern: Option<String>,
}

impl FromStr for OnFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ABORT" => return Ok(Self::Abort),
            "CONTINUE" => return Ok(Self::Continue),
            _ => {}
        }
        let rest = text
            .strip_prefix("RETRY")
            .filter(|_| text.len() <= MAX_PATTERN_BYTES);
        let retry = match rest.map(|rest| (rest, rest.strip_prefix('-'))) {
            Some(("", _)) => Some(retry("")),
            Some((_, Some(rest))) if !rest.is_empty() => Some(retry(rest)),
            _ => None,
        };
        match retry {
            Some(retry) if retry.attempts <= MAX_ATTEMPTS => Ok(Self::Retry(retry)),
            _ => Err(format!(
                "`{}` is not one of `ABORT`, `CONTINUE`, `RETRY`, `RETRY-n` (up to {MAX_ATTEMPTS}), `RETRY-pattern` and `RETRY-n-pattern`",
                text.chars().take(60).collect::<String>()
            )),
        }
    }
}

/// Reads `n`, `n-pattern` or `pattern`.
fn retry(rest: &str) -> Retry {
    let (first, tail) = match rest.split_once('-') {
        Some((first, tail)) => (first, Some(tail.to_owned())),
        None => (rest, None),
    };
    match first.parse() {
        Ok(attempts) => Retry {
            attempts,
            pattern: tail,
        },
        Err(_) => Retry {
            attempts: DEFAULT_ATTEMPTS,
            pattern: (!rest.is_empty()).then(|| rest.to_owned()),
        },
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abort => f.write_str("ABORT"),
            Self::Continue => f.write_str("CONTINUE"),
            Self::Retry(retry) => {
                write!(f, "RETRY-{}", retry.attempts)?;
                match &retry.pattern {
                    Some(pattern) => write!(f, "-{pattern}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Serialize for OnFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OnFailure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
