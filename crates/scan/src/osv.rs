//! Advisories in the Open Source Vulnerability format, schema 1.7.
//!
//! Members that we do not use are skipped, since every source adds its own; a member that we use
//! and that has the wrong shape is an error with its line and column. One record can concern
//! packages of several ecosystems; [`Advisory::affected`] keeps them apart.

pub mod archive;
mod range;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use range::{Event, Place, Range};

use crate::cvss;
use crate::package::Ecosystem;
use crate::severity::Severity;

/// The largest record, in bytes. Records of the Linux kernel that list every version reach 5 MiB.
pub const MAX_ADVISORY_BYTES: usize = 16 * 1024 * 1024;
/// The most packages of one record.
pub const MAX_AFFECTED: usize = 10_000;
/// The longest summary that is kept, in characters. Reports repeat it for every finding.
const MAX_SUMMARY_CHARACTERS: usize = 500;
/// The most references that are kept.
const MAX_REFERENCES: usize = 16;

/// One record: what a source says about one flaw, or about several in one release.
#[derive(Clone, Debug, PartialEq)]
pub struct Advisory {
    /// What does not depend on the package.
    pub about: About,
    /// When it was withdrawn, if it was: it then holds for nothing.
    pub withdrawn: Option<OffsetDateTime>,
    /// When it was last changed.
    pub modified: OffsetDateTime,
    /// The packages that it concerns.
    pub affected: Vec<Affected>,
}

/// The identity of an advisory, and what it says of the flaw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The identifier that the source gave, such as `GHSA-…` or `DSA-…`.
    pub id: String,
    /// Other identifiers of the same flaw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The flaws that this advisory of a distribution answers, each a flaw of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
    /// One or two sentences.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// CVSS vectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<String>,
    /// The word for its severity that the source gives.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub word: Severity,
    /// Where more is to be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Who says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// The versions of one package that an advisory concerns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// The name, in the form under which it is looked up.
    pub name: String,
    /// Ranges under the ecosystem's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// Versions that are affected whatever the ranges say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// The word for the severity in this package.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub word: Severity,
}

fn is_unknown(severity: &Severity) -> bool {
    *severity == Severity::Unknown
}

/// Says why bytes are not an advisory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OsvError {
    /// Larger than [`MAX_ADVISORY_BYTES`].
    #[error("advisory has {0} bytes, more than the limit of {MAX_ADVISORY_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or a member has the wrong kind.
    #[error("advisory is malformed: {0}")]
    Json(serde_json::Error),
    /// A member is there, but its value is of no use.
    #[error("advisory `{id}`: member `{member}` {reason}")]
    Member {
        /// The advisory.
        id: String,
        /// The member.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads one record.
///
/// # Errors
/// If the bytes are too many, not JSON, or a member that we use is missing or malformed.
pub fn parse(bytes: &[u8]) -> Result<Advisory, OsvError> {
    if bytes.len() > MAX_ADVISORY_BYTES {
        return Err(OsvError::TooLarge(bytes.len()));
    }
    let wire: Wire = serde_json::from_slice(bytes).map_err(OsvError::Json)?;
    let id = wire.id.clone();
    let refuse = |member, reason: &str| OsvError::Member {
        id: id.clone(),
        member,
        reason: reason.to_owned(),
    };
    if id.is_empty() || id.len() > 200 || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refuse("id", "is not an identifier"));
    }
    let instant = |member, text: &str| {
        OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|error| refuse(member, &format!("is no RFC 3339 time: {error}")))
    };
    let modified = instant("modified", &wire.modified)?;
    let withdrawn = wire
        .withdrawn
        .as_deref()
        .map(|text| instant("withdrawn", text))
        .transpose()?;
    if wire.affected.len() > MAX_AFFECTED {
        return Err(refuse(
            "affected",
            &format!("has more than {MAX_AFFECTED} entries, the limit"),
        ));
    }
    let affected = wire
        .affected
        .iter()
        .filter_map(|affected| affected.read(&id).transpose());
    Ok(Advisory {
        affected: affected.collect::<Result<_, _>>()?,
        about: wire.about(),
        withdrawn,
        modified,
    })
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    modified: String,
    withdrawn: Option<String>,
    #[serde(default)]
    aliases: Option<Vec<String>>,
    #[serde(default)]
    upstream: Option<Vec<String>>,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    severity: Option<Vec<WireSeverity>>,
    #[serde(default)]
    affected: Vec<WireAffected>,
    #[serde(default)]
    references: Option<Vec<WireReference>>,
    #[serde(default)]
    database_specific: Value,
}

#[derive(Deserialize)]
struct WireSeverity {
    score: String,
}

#[derive(Deserialize)]
struct WireReference {
    url: String,
}

#[derive(Deserialize)]
struct WireAffected {
    package: Option<WirePackage>,
    #[serde(default)]
    ranges: Vec<WireRange>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    ecosystem_specific: Value,
    #[serde(default)]
    database_specific: Value,
}

#[derive(Deserialize)]
struct WirePackage {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct WireRange {
    #[serde(rename = "type")]
    kind: String,
    events: Vec<BTreeMap<String, Value>>,
}

impl Wire {
    fn about(self) -> About {
        let vectors = self
            .severity
            .unwrap_or_default()
            .into_iter()
            .map(|s| s.score);
        let references = self
            .references
            .unwrap_or_default()
            .into_iter()
            .map(|r| r.url);
        let text = self
            .summary
            .filter(|text| !text.is_empty())
            .or(self.details);
        About {
            id: self.id,
            aliases: self.aliases.unwrap_or_default(),
            upstream: self.upstream.unwrap_or_default(),
            summary: text
                .unwrap_or_default()
                .chars()
                .take(MAX_SUMMARY_CHARACTERS)
                .collect(),
            vectors: vectors.filter(|vector| vector.len() < 500).collect(),
            word: word(&self.database_specific, "severity"),
            references: references.take(MAX_REFERENCES).collect(),
            source: text_of(&self.database_specific, "source")
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

/// Members below `database_specific` and `ecosystem_specific` are each source's own.
fn text_of<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member)?.as_str()
}

fn word(value: &Value, member: &str) -> Severity {
    let word = text_of(value, member).unwrap_or_default();
    word.parse().unwrap_or_default()
}

impl WireAffected {
    /// Returns what is said of a package; nothing where there is only a source repository.
    fn read(&self, id: &str) -> Result<Option<Affected>, OsvError> {
        let Some(package) = &self.package else {
            return Ok(None);
        };
        let ecosystem = Ecosystem::new(&*package.ecosystem);
        let name = ecosystem.normalise(&package.name);
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(OsvError::Member {
                id: id.to_owned(),
                member: "affected.package.name",
                reason: "is not a name".to_owned(),
            });
        }
        let usable = self.ranges.iter().filter(|range| range.kind != "GIT");
        let urgency = word(&self.ecosystem_specific, "urgency");
        let ranges = usable
            .map(|range| range.read(id))
            .collect::<Result<_, _>>()?;
        Ok(Some(Affected {
            ecosystem,
            name,
            ranges,
            versions: self.versions.clone(),
            word: urgency.max(word(&self.database_specific, "severity")),
        }))
    }
}

impl WireRange {
    /// Since schema 1.4 an event has one member; older records have an `introduced` and a `fixed`
    /// in one.
    fn read(&self, id: &str) -> Result<Range, OsvError> {
        let refuse = |reason: String| OsvError::Member {
            id: id.to_owned(),
            member: "affected.ranges.events",
            reason,
        };
        if !matches!(self.kind.as_str(), "SEMVER" | "ECOSYSTEM") {
            return Err(refuse(format!(
                "stands under the unknown range type `{}`",
                self.kind
            )));
        }
        let mut events = Vec::new();
        for event in &self.events {
            for (name, version) in event {
                let version = version
                    .as_str()
                    .ok_or_else(|| refuse(format!("has a `{name}` that is no text")))?;
                let event = Event::named(name, version);
                events.push(event.ok_or_else(|| refuse(format!("has the unknown kind `{name}`")))?);
            }
        }
        Ok(Range { events })
    }
}

impl About {
    /// Returns how bad the flaw is in a package: what the distribution says if it calls it
    /// unimportant, else the band of the CVSS score, else the word of the source.
    pub fn severity(&self, affected: &Affected) -> Severity {
        if affected.word == Severity::Negligible {
            return Severity::Negligible;
        }
        let scores = self
            .vectors
            .iter()
            .filter_map(|vector| cvss::base_score(vector));
        let worst = scores.map(|score| Severity::of_score(score.base)).max();
        worst.unwrap_or(if self.word == Severity::Unknown {
            affected.word
        } else {
            self.word
        })
    }

    /// Returns the identifiers under which findings are reported: every flaw that a
    /// distribution's advisory answers, else the CVE, else the advisory's own.
    pub fn finding_ids(&self) -> Vec<&str> {
        let is_cve = |id: &&str| id.starts_with("CVE-");
        let answered: Vec<&str> = self
            .upstream
            .iter()
            .map(String::as_str)
            .filter(is_cve)
            .collect();
        if !answered.is_empty() {
            return answered;
        }
        let own = [self.id.as_str()].into_iter();
        let mut known = own.chain(self.aliases.iter().map(String::as_str));
        vec![known.find(is_cve).unwrap_or(&self.id)]
    }
}

#[cfg(test)]
mod tests;
