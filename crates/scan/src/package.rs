//! A package: a catalogued component with name and version, and how it is called elsewhere.

use std::fmt;

use oci::Digest;
use packageurl::PackageUrl;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::catalog::Distro;
use crate::licence::Licence;

/// The kind of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackageKind {
    /// A Debian package, or one of a distribution made from Debian.
    Deb,
    /// An installed Python distribution.
    Python,
}

impl PackageKind {
    /// Returns the name that syft and grype use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Python => "python",
        }
    }

    /// Returns the language, as grype's reports have it; empty for packages of a distribution.
    pub fn language(self) -> &'static str {
        match self {
            Self::Deb => "",
            Self::Python => "python",
        }
    }
}

/// The name of an ecosystem in OSV's words, such as `PyPI` or `Debian:12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ecosystem(String);

impl Ecosystem {
    /// Names an ecosystem. Any text will do: OSV adds new ones all the time, and one that we do
    /// not know simply matches nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the Python Package Index.
    pub fn pypi() -> Self {
        Self::new("PyPI")
    }

    /// Returns the whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the colon.
    pub fn base(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(base, _)| base)
    }

    /// Returns a package name in the form under which advisories are looked up: PEP 503 for
    /// Python, unchanged elsewhere.
    pub fn normalise(&self, name: &str) -> String {
        match self.base() {
            "PyPI" => pep503(name),
            _ => name.to_owned(),
        }
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a Python name in lower case, with each run of `-`, `_` and `.` as one hyphen (PEP 503,
/// Normalized Names).
pub fn pep503(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.extend(other.to_lowercase()),
        }
    }
    normal
}

/// Where a package was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The path of the record that names it, without leading slash.
    pub path: String,
    /// The layer that the record came with.
    pub layer: Digest,
}

/// The source package that a binary package was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePackage {
    /// The name.
    pub name: String,
    /// The version, which may differ from the binary package's.
    pub version: String,
}

/// What a cataloguer found out about a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The kind.
    pub kind: PackageKind,
    /// The name, as its record has it.
    pub name: String,
    /// The version, as its record has it.
    pub version: String,
    /// The processor architecture, where the record has one.
    pub architecture: Option<String>,
    /// The source package, where it is not the same name and version.
    pub source: Option<SourcePackage>,
    /// Where it was found.
    pub location: Location,
    /// The declared licences.
    pub licences: Vec<Licence>,
    /// Who maintains it, as `Name <address>`.
    pub maintainer: Option<String>,
    /// Its home page.
    pub homepage: Option<String>,
    /// The name of the distribution's package that installed it, for a language package. The
    /// distribution patches such a package without changing its version.
    pub owner: Option<String>,
    /// The package URL.
    pub purl: String,
}

impl Package {
    /// Returns sixteen hexadecimal digits that stay the same from scan to scan: a hash over what
    /// the package is and the path where it is recorded.
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.kind.as_str(), &self.purl, &self.location.path] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex::encode(&hash.finalize()[..8])
    }
}

/// Returns the package URL as syft writes it, since that is what grype and trivy read the
/// distribution and the source package from.
pub(crate) fn purl(package: &Package, distro: Option<&Distro>) -> String {
    let url = match package.kind {
        PackageKind::Deb => deb_purl(package, distro),
        PackageKind::Python => {
            PackageUrl::new("pypi", pep503(&package.name)).map(|url| with_version(url, package))
        }
    };
    // An empty name is the only thing that has no package URL, and cataloguers drop those.
    url.map(|url| url.to_string()).unwrap_or_default()
}

fn with_version<'a>(mut url: PackageUrl<'a>, package: &'a Package) -> PackageUrl<'a> {
    // An empty version would leave a trailing `@`; refused versions are left out.
    if !package.version.is_empty() {
        let _ = url.with_version(&package.version);
    }
    url
}

fn deb_purl<'a>(
    package: &'a Package,
    distro: Option<&Distro>,
) -> Result<PackageUrl<'a>, packageurl::Error> {
    let mut url = with_version(PackageUrl::new("deb", package.name.as_str())?, package);
    if let Some(distro) = distro {
        url.with_namespace(distro.id.clone())?;
        let version = match distro.version_id.is_empty() {
            true => distro.id.clone(),
            false => format!("{}-{}", distro.id, distro.version_id),
        };
        url.add_qualifier("distro", version)?;
    }
    if let Some(architecture) = &package.architecture {
        url.add_qualifier("arch", architecture.clone())?;
    }
    if let Some(source) = &package.source {
        let upstream = match source.version == package.version {
            true => source.name.clone(),
            false => format!("{}@{}", source.name, source.version),
        };
        url.add_qualifier("upstream", upstream)?;
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(version: &str, source: Option<(&str, &str)>) -> Package {
        let source = source.map(|(name, version)| SourcePackage {
            name: name.to_owned(),
            version: version.to_owned(),
        });
        Package {
            kind: PackageKind::Deb,
            name: "libx".to_owned(),
            version: version.to_owned(),
            architecture: Some("amd64".to_owned()),
            source,
            location: Location {
                path: "var/lib/dpkg/status".to_owned(),
                layer: Digest::sha256(b""),
            },
            licences: Vec::new(),
            maintainer: None,
            homepage: None,
            owner: None,
            purl: String::new(),
        }
    }

    #[test]
    fn package_urls_are_those_of_syft() {
        let bookworm = Distro::named("debian", "12");
        let table = [
            (
                deb("1.2-3", None),
                "pkg:deb/debian/libx@1.2-3?arch=amd64&distro=debian-12",
            ),
            (
                deb("1.2-3+b1", Some(("x", "1.2-3"))),
                "pkg:deb/debian/libx@1.2-3%2Bb1?arch=amd64&distro=debian-12&upstream=x%401.2-3",
            ),
            (
                deb("1:2.0~rc1-1", Some(("x", "1:2.0~rc1-1"))),
                "pkg:deb/debian/libx@1:2.0~rc1-1?arch=amd64&distro=debian-12&upstream=x",
            ),
        ];
        for (package, expected) in table {
            assert_eq!(purl(&package, Some(&bookworm)), expected);
        }
        let python = Package {
            kind: PackageKind::Python,
            name: "Ruamel.YAML_clib".to_owned(),
            ..deb("0.2.8", None)
        };
        assert_eq!(
            purl(&python, Some(&bookworm)),
            "pkg:pypi/ruamel-yaml-clib@0.2.8"
        );
    }

    #[test]
    fn python_names_are_normalised() {
        for name in [
            "friendly-bard",
            "Friendly-Bard",
            "friendly.bard",
            "friendly--bard",
            "FrIeNdLy-._.-bArD",
        ] {
            assert_eq!(pep503(name), "friendly-bard");
        }
    }
}
