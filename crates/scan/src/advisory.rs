//! Looking up advisories, wherever they are kept.

use std::collections::BTreeMap;

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::database::DatabaseError;
use crate::osv::{About, Affected};
use crate::package::Ecosystem;

/// An advisory as it concerns one package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackageAdvisory {
    /// What it says of the flaw.
    #[serde(flatten)]
    pub about: About,
    /// The versions that it concerns.
    pub affected: Affected,
}

/// Advisories that can be asked for.
pub trait Advisories {
    /// Returns the advisories on a package. The name is in the form of
    /// [`Ecosystem::normalise`].
    ///
    /// # Errors
    /// If the database cannot be read; a package without advisories is an empty list.
    fn for_package(
        &self,
        ecosystem: &Ecosystem,
        name: &str,
    ) -> Result<Vec<PackageAdvisory>, DatabaseError>;

    /// Returns what the database holds.
    fn status(&self) -> &DatabaseStatus;
}

/// What an advisory database holds, and how old that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// When the database was made from its sources.
    #[serde(with = "time::serde::rfc3339")]
    pub built: OffsetDateTime,
    /// When the newest of its advisories was last changed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub newest: Option<OffsetDateTime>,
    /// How many advisories there are in each ecosystem. An ecosystem that is not listed is not
    /// covered.
    pub advisories: BTreeMap<Ecosystem, u64>,
    /// Where the advisories came from, as the importer was told.
    pub sources: Vec<String>,
    /// The digest of the records.
    pub digest: Digest,
}

impl DatabaseStatus {
    /// Returns whether there are advisories of an ecosystem.
    pub fn covers(&self, ecosystem: &Ecosystem) -> bool {
        self.advisories.contains_key(ecosystem)
    }
}

/// The advisories that somebody else looked up, for a process that has no database of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdvisorySubset {
    /// The advisories on the packages of [`crate::matching::look_ups`].
    pub advisories: Vec<PackageAdvisory>,
    /// What the whole database holds.
    pub status: DatabaseStatus,
}

impl AdvisorySubset {
    /// Returns the advisories of a database on some packages.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn of<'a>(
        database: &dyn Advisories,
        packages: impl IntoIterator<Item = (&'a Ecosystem, &'a str)>,
    ) -> Result<Self, DatabaseError> {
        let mut advisories = Vec::new();
        for (ecosystem, name) in packages {
            advisories.extend(database.for_package(ecosystem, name)?);
        }
        Ok(Self {
            advisories,
            status: database.status().clone(),
        })
    }
}

impl Advisories for AdvisorySubset {
    fn for_package(
        &self,
        ecosystem: &Ecosystem,
        name: &str,
    ) -> Result<Vec<PackageAdvisory>, DatabaseError> {
        let about =
            |a: &&PackageAdvisory| a.affected.ecosystem == *ecosystem && a.affected.name == name;
        Ok(self.advisories.iter().filter(about).cloned().collect())
    }

    fn status(&self) -> &DatabaseStatus {
        &self.status
    }
}
