//! The distribution that an image is made from: `os-release`.
//!
//! os-release(5): `/etc/os-release`, or else `/usr/lib/os-release`; lines of shell assignments.

use std::collections::BTreeMap;

use crate::files::FileView;
use crate::package::Ecosystem;

/// A distribution and its release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distro {
    /// `ID`, in lower case: `debian`.
    pub id: String,
    /// `VERSION_ID`: `12`. Empty on a rolling release.
    pub version_id: String,
    /// `VERSION_CODENAME`: `bookworm`.
    pub codename: Option<String>,
    /// `PRETTY_NAME`, for people.
    pub pretty_name: Option<String>,
    /// `ID_LIKE`: what it was made from.
    pub id_like: Vec<String>,
}

impl Distro {
    /// Returns a distribution of which only the name and the release are known.
    pub fn named(id: &str, version_id: &str) -> Self {
        Self {
            id: id.to_owned(),
            version_id: version_id.to_owned(),
            ..Self::default()
        }
    }

    /// Returns the ecosystem of its packages' advisories in OSV's words. Only Debian's own
    /// releases have one that we know: a derived distribution changes versions, and advisories
    /// for its origin would be guesses.
    pub fn ecosystem(&self) -> Option<Ecosystem> {
        let major = self.version_id.split('.').next().unwrap_or_default();
        match self.id.as_str() {
            "debian" if !major.is_empty() => Some(Ecosystem::new(format!("Debian:{major}"))),
            _ => None,
        }
    }
}

/// Returns the distribution of an image, if it says one.
pub(super) fn find(view: &FileView) -> Option<Distro> {
    let file = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| view.file(path))?;
    parse(&String::from_utf8_lossy(&file.bytes))
}

fn parse(text: &str) -> Option<Distro> {
    let fields: BTreeMap<&str, String> = text.lines().filter_map(assignment).collect();
    let field = |name: &str| fields.get(name).filter(|value| !value.is_empty()).cloned();
    let like = field("ID_LIKE").unwrap_or_default();
    Some(Distro {
        id: field("ID")?.to_ascii_lowercase(),
        version_id: field("VERSION_ID").unwrap_or_default(),
        codename: field("VERSION_CODENAME"),
        pretty_name: field("PRETTY_NAME"),
        id_like: like.split_whitespace().map(str::to_owned).collect(),
    })
}

/// Reads `NAME=value`, where the value may be quoted as in a shell.
fn assignment(line: &str) -> Option<(&str, String)> {
    let (name, value) = line.trim().split_once('=')?;
    let quoted = |quote| {
        value
            .strip_prefix(quote)
            .and_then(|v: &str| v.strip_suffix(quote))
    };
    let inner = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for character in inner.chars() {
        escaped = character == '\\' && !escaped;
        if !escaped {
            plain.push(character);
        }
    }
    (!name.starts_with('#')).then_some((name, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_releases() {
        let table = [
            (
                "ID=debian\nVERSION_ID=\"12\"\n",
                Some(("debian", "12")),
                Some("Debian:12"),
            ),
            (
                "ID='Debian'\nVERSION_ID=12.5",
                Some(("debian", "12.5")),
                Some("Debian:12"),
            ),
            (
                "ID=debian\nVERSION_CODENAME=sid\n",
                Some(("debian", "")),
                None,
            ),
            (
                "ID=ubuntu\nVERSION_ID=\"24.04\"\nID_LIKE=debian",
                Some(("ubuntu", "24.04")),
                None,
            ),
            ("# ID=debian\nNAME=x", None, None),
            ("ID=", None, None),
            ("", None, None),
        ];
        for (text, expected, ecosystem) in table {
            let distro = parse(text);
            let found = distro
                .as_ref()
                .map(|d| (d.id.as_str(), d.version_id.as_str()));
            assert_eq!(found, expected, "{text}");
            let found = distro.and_then(|d| d.ecosystem());
            assert_eq!(found.as_ref().map(Ecosystem::as_str), ecosystem, "{text}");
        }
    }

    #[test]
    fn quotes_and_escapes_are_taken_off() {
        let distro = parse("ID=x\nPRETTY_NAME=\"a \\\"b\\\" \\\\c\"").unwrap();
        assert_eq!(distro.pretty_name.as_deref(), Some("a \"b\" \\c"));
    }
}
