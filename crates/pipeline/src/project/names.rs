//! The small texts of a declarative file, each parsed once.

use std::fmt;
use std::str::FromStr;

use oci::{Reference, RepositoryName};

/// The longest name, in bytes: that of a DNS label, since names become host and folder names.
pub(super) const MAX_NAME_BYTES: usize = 63;
/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// Says which text is malformed, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: {expected}")]
pub struct NameError {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

impl NameError {
    pub(super) fn new(text: &str, kind: &'static str, expected: &'static str) -> Self {
        let text = text.chars().take(120).collect();
        Self {
            text,
            kind,
            expected,
        }
    }
}

/// Gives a type that is read and written as text its serde forms.
macro_rules! as_text {
    ($($name:ident),*) => {
        $(impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        })*
    };
}
pub(super) use as_text;

as_text!(Name, RelativePath, RepositoryPattern, Validity, ImageName);

/// The name of a project, account, profile, environment, pipeline, stage, action or policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str =
            "use up to 63 lower-case letters, digits and `-`, with a letter or digit at both ends";
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=MAX_NAME_BYTES).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if good {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(text, "a name", EXPECTED))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path below some folder: relative, with `/`, and never out of that folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelativePath(Box<str>);

impl RelativePath {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last part without its ending.
    pub fn stem(&self) -> &str {
        let file = self.0.rsplit('/').next().unwrap_or_default();
        file.rsplit_once('.').map_or(file, |(stem, _)| stem)
    }
}

impl FromStr for RelativePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str = "expected a relative path without `..`, such as `policies/a.yaml`";
        let part = |part: &str| !part.is_empty() && part != ".." && !part.contains('\\');
        let good = text.len() <= MAX_PATH_BYTES
            && !text.chars().any(char::is_control)
            && text.split('/').all(part);
        if good {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(text, "a path", EXPECTED))
        }
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names repositories: one exactly (`apps/shop`), all below a path (`apps/**`), those one level
/// below it (`apps/*`), or all (`**`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryPattern(Box<str>);

impl RepositoryPattern {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern names `repository`.
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        let name = repository.as_str();
        if &*self.0 == "**" {
            return true;
        }
        let below = |prefix: &str| Some(name.strip_prefix(prefix)?.strip_prefix('/')?.to_owned());
        if let Some(prefix) = self.0.strip_suffix("/**") {
            return below(prefix).is_some();
        }
        if let Some(prefix) = self.0.strip_suffix("/*") {
            return below(prefix).is_some_and(|rest| !rest.contains('/'));
        }
        *name == *self.0
    }
}

impl FromStr for RepositoryPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str = "expected a repository, `path/*`, `path/**` or `**`";
        let name = text.strip_suffix("/**").or(text.strip_suffix("/*"));
        let plain = name.unwrap_or(text);
        if text == "**" || plain.parse::<RepositoryName>().is_ok() {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(text, "a repository pattern", EXPECTED))
        }
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long the signatures of a profile are valid, such as `7 days`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// How many.
    pub value: u32,
    /// Of what.
    pub unit: ValidityUnit,
}

/// The unit of a validity. Months and years are those of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidityUnit {
    /// Seconds, for tests.
    Seconds,
    /// Days.
    Days,
    /// Months.
    Months,
    /// Years.
    Years,
}

impl ValidityUnit {
    const ALL: [(Self, &'static str, u32); 4] = [
        // The longest validity is that of AWS Signer, 135 months.
        (Self::Seconds, "seconds", 135 * 30 * 86_400),
        (Self::Days, "days", 135 * 30),
        (Self::Months, "months", 135),
        (Self::Years, "years", 11),
    ];

    /// Returns the word in the plural.
    pub fn as_str(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(unit, _, _)| *unit == self)
            .map_or("", |(_, word, _)| word)
    }
}

impl FromStr for Validity {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str = "expected a number of seconds, days, months or years, such as `7 days`, up to 135 months";
        let error = || NameError::new(text, "a validity", EXPECTED);
        let (number, word) = text.split_once(' ').ok_or_else(error)?;
        let value: u32 = number.parse().map_err(|_| error())?;
        let named = |(_, plural, _): &&(ValidityUnit, &str, u32)| {
            word == *plural || Some(word) == plural.strip_suffix('s')
        };
        let (unit, _, most) = ValidityUnit::ALL.iter().find(named).ok_or_else(error)?;
        match value {
            1.. if value <= *most => Ok(Self { value, unit: *unit }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.unit.as_str();
        let word = match self.value {
            1 => word.trim_end_matches('s'),
            _ => word,
        };
        write!(f, "{} {word}", self.value)
    }
}

/// An image to run commands in: `base/python:12` in our own registry, or a whole reference such
/// as `registry.example/base/python:12`.
///
/// As in other tools, the first part is a registry if it holds a `.` or a `:`, or is `localhost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// An image in our own registry: the repository, and a tag or a digest.
    Own(RepositoryName, String),
    /// An image elsewhere.
    Elsewhere(Reference),
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const EXPECTED: &str =
            "expected `repository:tag`, or `registry/repository:tag`, or one with `@digest`";
        let error = || NameError::new(text, "an image", EXPECTED);
        let first = text.split_once('/').map_or("", |(first, _)| first);
        let has_registry = first.contains(['.', ':']) || first == "localhost";
        let own = match has_registry {
            true => text.to_owned(),
            false => format!("localhost/{text}"),
        };
        let reference: Reference = own.parse().map_err(|_| error())?;
        if has_registry && (reference.tag.is_some() || reference.digest.is_some()) {
            return Ok(Self::Elsewhere(reference));
        }
        match (reference.tag, reference.digest) {
            (_, Some(digest)) => Ok(Self::Own(reference.repository, digest.to_string())),
            (Some(tag), None) => Ok(Self::Own(reference.repository, tag.to_string())),
            (None, None) => Err(error()),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere(reference) => write!(f, "{reference}"),
            Self::Own(repository, version) if version.contains(':') => {
                write!(f, "{repository}@{version}")
            }
            Self::Own(repository, version) => write!(f, "{repository}:{version}"),
        }
    }
}
