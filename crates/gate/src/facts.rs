//! Facts: everything that a decision may depend on, besides the policy.

use std::collections::BTreeMap;

use oci::{ArtifactGraph, Digest, MediaType, Tag};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use trust::{AttestationOutcome, VerificationOutcome};

/// Everything that is known about an image at one moment.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The image: the root of the graph.
    pub subject: Digest,
    /// The repository, as `registry/repository`.
    pub repository: String,
    /// Everything that refers to the image.
    pub graph: ArtifactGraph,
    /// What was found about each signature, by the digest of its manifest.
    pub outcomes: BTreeMap<Digest, VerificationOutcome>,
    /// What was found about each attestation, by the digest of its manifest.
    pub attestations: BTreeMap<Digest, AttestationOutcome>,
    /// The content of evidence, by the digest of its manifest.
    pub contents: BTreeMap<Digest, Content>,
    /// What could not be read, by the digest of the manifest that it is about.
    pub problems: BTreeMap<Digest, String>,
    /// The newest artifact of each type that was ever seen for this image.
    pub newest_known: BTreeMap<String, NewestKnown>,
    /// The gate policies that the server has, by name: an approval over one that has changed
    /// since is outdated.
    pub policies: BTreeMap<String, Digest>,
    /// What was found about the signatures of base images, by the digest of the base image.
    pub bases: BTreeMap<Digest, Vec<VerificationOutcome>>,
    /// The tag that this began with, if it began with a tag.
    pub tag: Option<TagFact>,
    /// The time that counts as now.
    pub now: OffsetDateTime,
}

/// The first layer of a piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The media type of the layer.
    pub media_type: MediaType,
    /// The bytes, whose digest was checked.
    pub bytes: Vec<u8>,
}

/// The newest artifact of a type that was ever seen for an image. It is remembered outside of the
/// registry, so that whoever can write there cannot make a bad report forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestKnown {
    /// The artifact.
    pub digest: Digest,
    /// Its time: the older of its own and of its signature's.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// A tag, and where it leads now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFact {
    /// The tag.
    pub tag: Tag,
    /// What it leads to now; `None` if that cannot be learned.
    pub now: Option<Digest>,
}

impl Facts {
    /// Returns facts about `graph`, with nothing known beyond it.
    pub fn new(repository: &str, graph: ArtifactGraph, now: OffsetDateTime) -> Self {
        Self {
            subject: graph.root().clone(),
            repository: repository.to_owned(),
            graph,
            outcomes: BTreeMap::new(),
            attestations: BTreeMap::new(),
            contents: BTreeMap::new(),
            problems: BTreeMap::new(),
            newest_known: BTreeMap::new(),
            policies: BTreeMap::new(),
            bases: BTreeMap::new(),
            tag: None,
            now,
        }
    }

    /// Returns why what `digest` names could not be read, if it could not.
    pub(crate) fn problem(&self, digest: &Digest) -> Option<&str> {
        let of_node = || self.graph.node(digest)?.problem.as_deref();
        self.problems
            .get(digest)
            .map(String::as_str)
            .or_else(of_node)
    }
}
