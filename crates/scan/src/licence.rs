//! Licence names as packages declare them, and their SPDX identifiers where these are beyond
//! doubt.
//!
//! An SPDX document may only use identifiers of the SPDX licence list or `LicenseRef-…` ones of
//! its own, so a name that we do not know becomes the latter instead of being guessed at.

use std::collections::BTreeSet;

/// The most licences of one package. The copyright file of a kernel names a hundred.
const MAX_LICENCES: usize = 64;
/// The longest licence name, in bytes; longer ones are whole texts in the wrong field.
const MAX_NAME_BYTES: usize = 128;

/// A declared licence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Licence {
    /// The name as declared.
    pub name: String,
    /// The identifier of the SPDX licence list, if there is one.
    pub spdx: Option<&'static str>,
}

impl Licence {
    /// Returns a licence by its declared name.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            spdx: spdx_identifier(name),
        }
    }

    /// Returns the identifier to use inside an SPDX expression.
    pub fn reference(&self) -> String {
        match self.spdx {
            Some(identifier) => identifier.to_owned(),
            None => {
                let sane = |c: char| {
                    if c.is_ascii_alphanumeric() || c == '.' {
                        c
                    } else {
                        '-'
                    }
                };
                format!(
                    "LicenseRef-{}",
                    self.name.chars().map(sane).collect::<String>()
                )
            }
        }
    }
}

/// Returns the licences in an expression such as `GPL-2+ and Expat`, `MIT OR Apache-2.0`, or a
/// single name, sorted, each once. Which of them apply at a time is not kept.
pub(crate) fn in_expression(expression: &str) -> BTreeSet<Licence> {
    let spaced = expression.replace(['(', ')', ',', '|', '\n'], " | ");
    let mut names = BTreeSet::new();
    let mut name: Vec<&str> = Vec::new();
    for word in spaced.split_whitespace().chain(["|"]) {
        let is_joint = word == "|" || ["and", "or"].contains(&word.to_ascii_lowercase().as_str());
        if !is_joint {
            name.push(word);
            continue;
        }
        let whole = name.join(" ");
        name.clear();
        if !whole.is_empty() && whole.len() <= MAX_NAME_BYTES && names.len() < MAX_LICENCES {
            names.insert(Licence::named(&whole));
        }
    }
    names
}

/// Debian's short names (copyright-format 1.0, License specification), names that Python packages
/// use, and SPDX's own, in lower case.
#[rustfmt::skip]
const IDENTIFIERS: &[(&str, &str)] = &[
    ("0bsd", "0BSD"), ("agpl-3", "AGPL-3.0-only"), ("agpl-3+", "AGPL-3.0-or-later"), ("agpl-3.0-only", "AGPL-3.0-only"),
    ("agpl-3.0-or-later", "AGPL-3.0-or-later"), ("apache 2.0", "Apache-2.0"), ("apache license 2.0", "Apache-2.0"),
    ("apache-2", "Apache-2.0"), ("apache-2.0", "Apache-2.0"), ("artistic", "Artistic-1.0-Perl"), ("artistic-2.0", "Artistic-2.0"),
    ("bsd-2-clause", "BSD-2-Clause"), ("bsd-3-clause", "BSD-3-Clause"), ("bsd-4-clause", "BSD-4-Clause"),
    ("bsd-4-clause-uc", "BSD-4-Clause-UC"), ("bsl-1.0", "BSL-1.0"), ("bzip2-1.0.6", "bzip2-1.0.6"), ("cc-by-3.0", "CC-BY-3.0"),
    ("cc-by-4.0", "CC-BY-4.0"), ("cc-by-sa-3.0", "CC-BY-SA-3.0"), ("cc-by-sa-4.0", "CC-BY-SA-4.0"), ("cc0", "CC0-1.0"),
    ("cc0-1.0", "CC0-1.0"), ("curl", "curl"), ("expat", "MIT"), ("gfdl-1.2", "GFDL-1.2-only"), ("gfdl-1.2+", "GFDL-1.2-or-later"),
    ("gfdl-1.3", "GFDL-1.3-only"), ("gfdl-1.3+", "GFDL-1.3-or-later"), ("gpl-1", "GPL-1.0-only"), ("gpl-1+", "GPL-1.0-or-later"),
    ("gpl-2", "GPL-2.0-only"), ("gpl-2+", "GPL-2.0-or-later"), ("gpl-2.0-only", "GPL-2.0-only"), ("gpl-2.0-or-later", "GPL-2.0-or-later"),
    ("gpl-3", "GPL-3.0-only"), ("gpl-3+", "GPL-3.0-or-later"), ("gpl-3.0-only", "GPL-3.0-only"), ("gpl-3.0-or-later", "GPL-3.0-or-later"),
    ("gplv2", "GPL-2.0-only"), ("gplv2+", "GPL-2.0-or-later"), ("gplv3", "GPL-3.0-only"), ("gplv3+", "GPL-3.0-or-later"),
    ("isc", "ISC"), ("lgpl-2", "LGPL-2.0-only"), ("lgpl-2+", "LGPL-2.0-or-later"), ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-2.1+", "LGPL-2.1-or-later"), ("lgpl-2.1-only", "LGPL-2.1-only"), ("lgpl-2.1-or-later", "LGPL-2.1-or-later"),
    ("lgpl-3", "LGPL-3.0-only"), ("lgpl-3+", "LGPL-3.0-or-later"), ("lgpl-3.0-only", "LGPL-3.0-only"),
    ("lgpl-3.0-or-later", "LGPL-3.0-or-later"), ("mit", "MIT"), ("mit license", "MIT"), ("mpl-1.1", "MPL-1.1"), ("mpl-2.0", "MPL-2.0"),
    ("openssl", "OpenSSL"), ("psf-2.0", "PSF-2.0"), ("python-2.0", "Python-2.0"), ("sleepycat", "Sleepycat"), ("unicode-dfs-2016", "Unicode-DFS-2016"),
    ("unlicense", "Unlicense"), ("wtfpl", "WTFPL"), ("x11", "X11"), ("zlib", "Zlib"), ("zpl-2.1", "ZPL-2.1"),
];

fn spdx_identifier(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let row = IDENTIFIERS.iter().find(|(known, _)| *known == name);
    row.map(|(_, identifier)| *identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_fall_into_names() {
        let table = [
            ("GPL-2+ and Expat", "GPL-2.0-or-later MIT"),
            ("MIT OR (Apache-2.0 AND 0BSD)", "0BSD Apache-2.0 MIT"),
            (
                "GPL-2+ with OpenSSL exception",
                "LicenseRef-GPL-2--with-OpenSSL-exception",
            ),
            ("and, or ()", ""),
            ("MIT, MIT", "MIT"),
        ];
        for (expression, expected) in table {
            let mut found: Vec<String> = in_expression(expression)
                .iter()
                .map(Licence::reference)
                .collect();
            found.sort();
            assert_eq!(found.join(" "), expected, "{expression}");
        }
    }

    #[test]
    fn whole_texts_are_not_names() {
        assert!(in_expression(&"word ".repeat(100)).is_empty());
    }
}
