//! What the actions of a run produced, and which of them did.

use std::collections::BTreeMap;

use oci::{Digest, MediaType, RepositoryName};
use serde::{Deserialize, Serialize};

use super::Input;
use crate::project::Name;

/// Everything that a run produced so far, for the actions that come after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// The commit that was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The image: built by the run, or given to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ProducedImage>,
    /// The artifacts that were attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ProducedArtifact>,
    /// The verdicts of the gates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<ProducedVerdict>,
    /// What was deployed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<Deployed>,
    /// The variables that buildspecs exported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducedImage {
    /// The repository.
    pub repository: RepositoryName,
    /// The digest.
    pub digest: Digest,
}

/// An artifact that an action attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducedArtifact {
    /// Its type.
    #[serde(rename = "type")]
    pub artifact_type: MediaType,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The action that attached it.
    pub action: Name,
}

/// The verdict of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducedVerdict {
    /// The action.
    pub action: Name,
    /// The policy.
    pub policy: Name,
    /// The digest of the policy.
    pub policy_digest: Digest,
    /// The graph root that it was given over.
    pub graph_root: Digest,
    /// The verdict digest.
    pub digest: Digest,
}

/// An image that runs somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// The environment.
    pub environment: Name,
    /// The URL.
    pub url: String,
}

/// What one attempt at an action produced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionOutputs {
    /// The image that was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ProducedImage>,
    /// The artifacts that were attached: type and digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<(MediaType, Digest)>,
    /// The verdict, without the action's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ProducedVerdict>,
    /// What was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<Deployed>,
    /// The variables that a buildspec exported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

impl Outputs {
    /// Returns what is known from the start.
    pub(super) fn of_input(input: &Input) -> Self {
        match input {
            Input::Commit { commit, .. } => Self {
                commit: Some(commit.clone()),
                ..Self::default()
            },
            Input::Image {
                repository, digest, ..
            } => Self {
                image: Some(ProducedImage {
                    repository: repository.clone(),
                    digest: digest.clone(),
                }),
                ..Self::default()
            },
        }
    }

    /// Returns the digests of the artifacts of this type that the run attached.
    pub fn artifacts_of<'a>(
        &'a self,
        artifact_type: &'a MediaType,
    ) -> impl Iterator<Item = &'a Digest> {
        self.artifacts
            .iter()
            .filter(move |artifact| artifact.artifact_type == *artifact_type)
            .map(|artifact| &artifact.digest)
    }

    /// Adds what `action` produced.
    pub(super) fn add(&mut self, action: &Name, produced: ActionOutputs) {
        if produced.image.is_some() {
            self.image = produced.image;
        }
        let artifacts = produced.artifacts.into_iter();
        self.artifacts
            .extend(artifacts.map(|(artifact_type, digest)| ProducedArtifact {
                artifact_type,
                digest,
                action: action.clone(),
            }));
        self.verdicts.extend(produced.verdict);
        self.deployments.extend(produced.deployed);
        self.variables.extend(produced.variables);
    }
}
