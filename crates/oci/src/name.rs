//! Names: registry host, repository, tag.
//!
//! distribution-spec, Pulling manifests, gives the grammar of repository names and tags. The
//! length limit of 255 for host and name together is the one that most clients keep.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// The longest repository name, in bytes (distribution-spec: clients limit host and name to 255).
pub const MAX_REPOSITORY_NAME_BYTES: usize = 255;
/// The longest tag, in bytes (distribution-spec, Pulling manifests).
pub const MAX_TAG_BYTES: usize = 128;

/// Says which name a text is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {expected}")]
pub struct NameError {
    kind: &'static str,
    text: String,
    expected: &'static str,
}

impl NameError {
    pub(crate) fn new(kind: &'static str, text: &str, expected: &'static str) -> Self {
        Self {
            kind,
            text: text.chars().take(160).collect(),
            expected,
        }
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $expected:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError::new($kind, text, $expected))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_from_str(deserializer)
            }
        }
    };
}

name_type!(
    /// A registry: a host name or address, with a port where it is not the default.
    Registry,
    "registry",
    "expected a host name with an optional port, such as `registry.example:5000`",
    is_registry
);

name_type!(
    /// A repository: a named collection inside a registry.
    RepositoryName,
    "repository name",
    "use lower-case letters, digits and single separators, in parts joined by `/`",
    is_repository_name
);

name_type!(
    /// A tag: a mutable name for a manifest.
    Tag,
    "tag",
    "use up to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`",
    is_tag
);

impl Registry {
    /// Returns whether the host is this machine: `localhost`, `127.0.0.0/8` or `[::1]`.
    ///
    /// Plain HTTP is only ever tried by itself against such a host.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host);
        host == "localhost" || host == "[::1]" || is_loopback_v4(host)
    }
}

fn is_loopback_v4(host: &str) -> bool {
    host.parse::<std::net::Ipv4Addr>()
        .is_ok_and(|address| address.is_loopback())
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, tail)) => {
                return address.parse::<std::net::Ipv6Addr>().is_ok() && is_port_suffix(tail);
            }
            None => return false,
        },
        None => text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port_suffix(tail: &str) -> bool {
    tail.is_empty() || tail.strip_prefix(':').is_some_and(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_repository_name(text: &str) -> bool {
    text.len() <= MAX_REPOSITORY_NAME_BYTES && text.split('/').all(is_path_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends_well = bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric);
    ends_well
        && part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG_BYTES
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Deserializes any of our parsed texts through its own parser.
pub(crate) fn deserialize_from_str<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        for good in ["a", "a/b", "a.b_c__d---e/f0", "0"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in [
            "", "/", "a//b", "A", "a..b", "a___b", "-a", "a-", "a/../b", "a._b", "a%2f", "é",
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        let longest = "t".repeat(MAX_TAG_BYTES);
        for good in ["latest", "1.0", "_x", "A-b.c", &longest] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        let too_long = "t".repeat(MAX_TAG_BYTES + 1);
        for bad in ["", ".x", "-x", "a b", "a/b", "a:b", "\u{1b}[31m", &too_long] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn registries_are_hosts_with_a_port() {
        for good in ["localhost", "127.0.0.1:5000", "[::1]:443", "a.example:1"] {
            assert!(good.parse::<Registry>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "host:",
            "host:0",
            "host:99999",
            "http://a",
            "-a",
            "[::1",
            "a/b",
        ] {
            assert!(bad.parse::<Registry>().is_err(), "{bad}");
        }
        assert!("127.8.0.1:80".parse::<Registry>().unwrap().is_loopback());
        assert!(
            !"127.0.0.1.example"
                .parse::<Registry>()
                .unwrap()
                .is_loopback()
        );
    }
}
