//! A compact advisory database in one file, so that replacing it is one rename.
//!
//! The first line names the format, the second is the status as JSON, and then follows one line
//! for each package and advisory: ecosystem, tab, package, tab, JSON. The lines are sorted, so a
//! look-up is a binary search over the bytes and parses only what it finds; opening costs one
//! pass for the digest. Reading and writing the file is the caller's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oci::Digest;
use time::OffsetDateTime;

use crate::advisory::{Advisories, DatabaseStatus, PackageAdvisory};
use crate::osv::{Advisory, Affected, Place};
use crate::package::Ecosystem;
use crate::version::VersionOrder;

/// The first line.
const FORMAT: &str = "countersign-advisories/1";
/// The largest database, in bytes. All of OSV's Debian and Python records come to about 200 MB.
pub const MAX_DATABASE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Says why a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The first line is another.
    #[error("file is not an advisory database of the format `{FORMAT}`")]
    Format,
    /// The second line is malformed.
    #[error("advisory database has a malformed status: {0}")]
    Status(serde_json::Error),
    /// The records are not those that were written.
    #[error("advisory database is damaged: its records have digest `{actual}`, not `{expected}`")]
    Digest {
        /// What the status says.
        expected: Digest,
        /// What the records have.
        actual: Digest,
    },
    /// A record is malformed, though the digest is right: another version wrote it.
    #[error("advisory database has a malformed record for `{package}`: {reason}")]
    Record {
        /// The package.
        package: String,
        /// What is wrong.
        reason: String,
    },
}

/// Advisories on their way to becoming a database.
#[derive(Default)]
pub struct DatabaseBuilder {
    lines: BTreeSet<String>,
    identifiers: BTreeMap<Ecosystem, BTreeSet<String>>,
    sources: Vec<String>,
    newest: Option<OffsetDateTime>,
    withdrawn: u64,
}

impl DatabaseBuilder {
    /// Starts an empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names a source, for [`DatabaseStatus::sources`].
    pub fn add_source(&mut self, source: impl Into<String>) {
        let source = source.into();
        if !self.sources.contains(&source) {
            self.sources.push(source);
        }
    }

    /// States that an ecosystem is covered even if no advisory is about it, as after reading the
    /// whole of an archive.
    pub fn add_ecosystem(&mut self, ecosystem: Ecosystem) {
        self.identifiers.entry(ecosystem).or_default();
    }

    /// Adds an advisory, unless it was withdrawn.
    pub fn add(&mut self, advisory: Advisory) {
        self.newest = self.newest.max(Some(advisory.modified));
        if advisory.withdrawn.is_some() {
            self.withdrawn += 1;
            return;
        }
        for affected in advisory.affected {
            let ecosystem = affected.ecosystem.clone();
            let identifiers = self.identifiers.entry(ecosystem).or_default();
            identifiers.insert(advisory.about.id.clone());
            let record = PackageAdvisory {
                about: advisory.about.clone(),
                affected: slim(affected),
            };
            self.lines.insert(line(&record));
        }
    }

    /// Returns how many advisories were left out because they were withdrawn.
    pub fn withdrawn(&self) -> u64 {
        self.withdrawn
    }

    /// Returns the bytes of the database, and what it holds.
    pub fn finish(self, built: OffsetDateTime) -> (Vec<u8>, DatabaseStatus) {
        let records = self.lines.into_iter().collect::<String>();
        let counts = self.identifiers.into_iter();
        let status = DatabaseStatus {
            built,
            newest: self.newest,
            advisories: counts.map(|(name, ids)| (name, ids.len() as u64)).collect(),
            sources: self.sources,
            digest: Digest::sha256(records.as_bytes()),
        };
        let header = serde_json::to_string(&status).expect("a status has string keys only");
        (
            format!("{FORMAT}\n{header}\n{records}").into_bytes(),
            status,
        )
    }
}

fn line(record: &PackageAdvisory) -> String {
    let json = serde_json::to_string(record).expect("an advisory has string keys only");
    format!(
        "{}\t{}\t{json}\n",
        record.affected.ecosystem, record.affected.name
    )
}

/// Leaves out the listed versions that the ranges cover as well: most sources state everything
/// twice, and the lists are nine tenths of the bytes.
fn slim(affected: Affected) -> Affected {
    let Some(order) = VersionOrder::of(&affected.ecosystem) else {
        return affected;
    };
    let covered = |version: &str| {
        let inside = |place| !matches!(place, Ok(Place::Outside) | Err(_));
        affected
            .ranges
            .iter()
            .any(|range| inside(range.place(version, order)))
    };
    let versions: Vec<String> = affected
        .versions
        .iter()
        .filter(|v| !covered(v))
        .cloned()
        .collect();
    Affected {
        versions,
        ..affected
    }
}

/// A database that can be asked.
#[derive(Clone)]
pub struct Database {
    bytes: Arc<[u8]>,
    records: usize,
    status: DatabaseStatus,
}

impl Database {
    /// Opens a database, and checks that its records are those that were written.
    ///
    /// # Errors
    /// If the format is another, or the records are damaged.
    pub fn open(bytes: impl Into<Arc<[u8]>>) -> Result<Self, DatabaseError> {
        let bytes = bytes.into();
        let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
        if lines.next() != Some(FORMAT.as_bytes()) {
            return Err(DatabaseError::Format);
        }
        let header = lines.next().ok_or(DatabaseError::Format)?;
        let records = lines.next().ok_or(DatabaseError::Format)?;
        let status: DatabaseStatus =
            serde_json::from_slice(header).map_err(DatabaseError::Status)?;
        let actual = Digest::sha256(records);
        if actual != status.digest {
            return Err(DatabaseError::Digest {
                expected: status.digest,
                actual,
            });
        }
        let records = bytes.len() - records.len();
        Ok(Self {
            bytes,
            records,
            status,
        })
    }

    /// Returns where the first line lies that is not before `key`, from the start of the records.
    fn lower_bound(&self, key: &[u8]) -> usize {
        let records = &self.bytes[self.records..];
        let (mut low, mut high) = (0, records.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let before = records[low..middle].iter().rposition(|byte| *byte == b'\n');
            let start = before.map_or(low, |newline| low + newline + 1);
            let length = records[start..].iter().position(|byte| *byte == b'\n');
            let end = length.map_or(records.len(), |length| start + length + 1);
            match records[start..end] < *key {
                true => low = end,
                false => high = start,
            }
        }
        low
    }
}

impl Advisories for Database {
    fn for_package(
        &self,
        ecosystem: &Ecosystem,
        name: &str,
    ) -> Result<Vec<PackageAdvisory>, DatabaseError> {
        let key = format!("{ecosystem}\t{name}\t");
        let records = &self.bytes[self.records..];
        let lines = records[self.lower_bound(key.as_bytes())..].split(|byte| *byte == b'\n');
        let own = lines.map_while(|line| line.strip_prefix(key.as_bytes()));
        own.map(|json| {
            serde_json::from_slice(json).map_err(|error| DatabaseError::Record {
                package: name.to_owned(),
                reason: error.to_string(),
            })
        })
        .collect()
    }

    fn status(&self) -> &DatabaseStatus {
        &self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::osv;
    use time::macros::datetime;

    const BUILT: OffsetDateTime = datetime!(2026-11-23 08:00 UTC);

    fn advisory(id: &str, ecosystem: &str, name: &str) -> Advisory {
        let text = format!(
            r#"{{"id":"{id}","modified":"2024-01-02T00:00:00Z","affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"{name}"}},
            "ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"2"}}]}}],"versions":["1","2","x"]}}]}}"#
        );
        osv::parse(text.as_bytes()).unwrap()
    }

    fn database(advisories: impl IntoIterator<Item = Advisory>) -> Vec<u8> {
        let mut builder = DatabaseBuilder::new();
        advisories
            .into_iter()
            .for_each(|advisory| builder.add(advisory));
        builder.finish(BUILT).0
    }

    #[test]
    fn every_package_is_found_and_no_other() {
        let names = ["a", "aa", "a-b", "b", "b0", "zz", "m"];
        let mut all = Vec::new();
        for (number, name) in names.iter().enumerate() {
            for ecosystem in ["PyPI", "Debian:12", "Debian:1"] {
                all.push(advisory(
                    &format!("X-{number}-{ecosystem}"),
                    ecosystem,
                    name,
                ));
                all.push(advisory(
                    &format!("Y-{number}-{ecosystem}"),
                    ecosystem,
                    name,
                ));
            }
        }
        let database = Database::open(database(all)).unwrap();
        for ecosystem in ["PyPI", "Debian:12", "Debian:1"] {
            let ecosystem = Ecosystem::new(ecosystem);
            for name in names {
                let found = database.for_package(&ecosystem, name).unwrap();
                assert_eq!(found.len(), 2, "{ecosystem} {name}");
                assert!(found.iter().all(|found| found.affected.name == name));
            }
            for name in ["", "A", "ab", "b1", "zzz"] {
                assert!(
                    database.for_package(&ecosystem, name).unwrap().is_empty(),
                    "{name}"
                );
            }
        }
        assert_eq!(database.status().advisories[&Ecosystem::pypi()], 14);
        assert!(!database.status().covers(&Ecosystem::new("Debian:11")));
        assert!(
            database
                .for_package(&Ecosystem::new("npm"), "a")
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn versions_that_the_ranges_cover_are_left_out() {
        let database = Database::open(database([advisory("X", "PyPI", "a")])).unwrap();
        let found = database.for_package(&Ecosystem::pypi(), "a").unwrap();
        assert_eq!(found[0].affected.versions, ["2", "x"]);
    }

    #[test]
    fn the_same_advisories_give_the_same_bytes() {
        let (a, b) = (advisory("X", "PyPI", "a"), advisory("Y", "PyPI", "b"));
        assert_eq!(
            database([a.clone(), b.clone()]),
            database([b, a.clone(), a])
        );
    }

    #[test]
    fn withdrawn_advisories_do_not_count() {
        let withdrawn = Advisory {
            withdrawn: Some(BUILT),
            ..advisory("X", "PyPI", "a")
        };
        let mut builder = DatabaseBuilder::new();
        builder.add(withdrawn);
        assert_eq!(builder.withdrawn(), 1);
        assert!(builder.finish(BUILT).1.advisories.is_empty());
    }

    #[test]
    fn other_and_damaged_files_are_refused() {
        let good = database([advisory("X", "PyPI", "a")]);
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() = b' ';
        let table = [
            (Vec::new(), "is not an advisory database"),
            (b"PK\x03\x04".to_vec(), "is not an advisory database"),
            (FORMAT.as_bytes().to_vec(), "is not an advisory database"),
            (
                format!("{FORMAT}\n{{}}\n").into_bytes(),
                "malformed status: missing field `built`",
            ),
            (damaged, "advisory database is damaged"),
            (
                good[..good.len() - 9].to_vec(),
                "advisory database is damaged",
            ),
        ];
        for (bytes, expected) in table {
            let error = Database::open(bytes).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Database::open(database([])).is_ok());
    }
}
