//! Fetching the envelopes and the reports of a graph.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use oci::graph::Node;
use oci::{ArtifactGraph, Descriptor, Digest, Manifest, MediaType};

use super::{
    Content, MAX_CONTENT_BYTES, MAX_CONTENTS_BYTES, MAX_ENVELOPE_BYTES, MAX_ENVELOPES_PER_SUBJECT,
    MAX_OPEN_REQUESTS, Problem,
};
use crate::envelope_artifact::{LOG_ENTRY_ANNOTATION, LOG_PROOF_ANNOTATION};
use crate::source::ArtifactSource;

/// Artifacts whose layer is a DSSE envelope.
const ATTESTATIONS: [MediaType; 4] = [
    MediaType::APPROVAL,
    MediaType::ACCEPTANCE,
    MediaType::VERDICT,
    MediaType::PROVENANCE,
];

/// How an envelope is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnvelopeKind {
    /// As a Notary signature.
    Signature,
    /// As a DSSE attestation.
    Attestation,
}

/// An envelope, and where it hangs.
pub(super) struct Envelope {
    pub(super) kind: EnvelopeKind,
    /// The manifest that holds it.
    pub(super) manifest: Digest,
    /// The manifest that it claims to be about.
    pub(super) subject: Descriptor,
    pub(super) media_type: MediaType,
    pub(super) bytes: Vec<u8>,
    /// The entry of a transparency log, and the proof for it, if the manifest carries them.
    pub(super) log: Option<(String, String)>,
}

/// Fetches the envelopes of all signatures and attestations.
pub(super) async fn envelopes(
    source: &dyn ArtifactSource,
    graph: &ArtifactGraph,
) -> Vec<Result<Envelope, Problem>> {
    let mut per_subject: BTreeMap<&Digest, usize> = BTreeMap::new();
    let mut results = Vec::new();
    let mut wanted = Vec::new();
    for node in graph.nodes() {
        let (Some(kind), Some(subject)) = (kind(node), subject(node)) else {
            continue;
        };
        let count = per_subject.entry(&subject.digest).or_default();
        *count += 1;
        match *count > MAX_ENVELOPES_PER_SUBJECT {
            true => results.push(Err(too_many(node))),
            false => wanted.push((node, kind, subject)),
        }
    }
    // Boxed before they become a stream: of a closure over borrowed nodes, no caller could prove
    // that its future may move between threads.
    let requests = wanted
        .into_iter()
        .map(|(node, kind, subject)| envelope(source, node, kind, subject).boxed());
    let requests: Vec<_> = requests.collect();
    let fetched = stream::iter(requests).buffered(MAX_OPEN_REQUESTS);
    results.extend(fetched.collect::<Vec<_>>().await);
    results
}

/// Fetches the first layer of each piece of evidence whose type is among `types`.
pub(super) async fn contents(
    source: &dyn ArtifactSource,
    graph: &ArtifactGraph,
    types: &BTreeSet<MediaType>,
) -> Vec<Result<(Digest, Content), Problem>> {
    let is_wanted = |node: &&Node| {
        let own = node.manifest.as_ref().and_then(Manifest::artifact_type);
        own.is_some_and(|own| types.contains(own))
    };
    let mut total: u64 = 0;
    let mut results = Vec::new();
    let mut wanted = Vec::new();
    for node in graph.evidence().into_iter().filter(is_wanted) {
        total = total.saturating_add(first_layer(node).map_or(0, |layer| layer.size));
        match total > MAX_CONTENTS_BYTES {
            true => results.push(Err(problem(node, TOO_MUCH))),
            false => wanted.push(node),
        }
    }
    let requests: Vec<_> = wanted
        .into_iter()
        .map(|node| content(source, node).boxed())
        .collect();
    let fetched = stream::iter(requests).buffered(MAX_OPEN_REQUESTS);
    results.extend(fetched.collect::<Vec<_>>().await);
    results
}

/// The reason for what is beyond [`MAX_CONTENTS_BYTES`].
const TOO_MUCH: &str = "the reports of this artifact are larger than we read";

fn kind(node: &Node) -> Option<EnvelopeKind> {
    let own = node.manifest.as_ref()?.artifact_type()?;
    if *own == MediaType::NOTARY_SIGNATURE {
        return Some(EnvelopeKind::Signature);
    }
    ATTESTATIONS
        .contains(own)
        .then_some(EnvelopeKind::Attestation)
}

fn subject(node: &Node) -> Option<&Descriptor> {
    node.manifest.as_ref()?.subject()
}

async fn envelope(
    source: &dyn ArtifactSource,
    node: &Node,
    kind: EnvelopeKind,
    subject: &Descriptor,
) -> Result<Envelope, Problem> {
    // signature-specification, OCI Signatures: the manifest has exactly one layer.
    let image = node.manifest.as_ref().and_then(Manifest::as_image);
    let [layer] = image.map(|image| &image.layers[..]).unwrap_or_default() else {
        return Err(problem(node, "it has not exactly one layer"));
    };
    let bytes = source
        .blob(layer, MAX_ENVELOPE_BYTES)
        .await
        .map_err(|e| problem(node, &crate::error::chain(&e)))?;
    Ok(Envelope {
        kind,
        manifest: node.descriptor.digest.clone(),
        subject: subject.bare(),
        media_type: layer.media_type.clone(),
        bytes,
        log: log(node),
    })
}

fn log(node: &Node) -> Option<(String, String)> {
    let annotations = node.manifest.as_ref()?.annotations();
    let annotation = |name| annotations.get(name).cloned();
    annotation(LOG_ENTRY_ANNOTATION).zip(annotation(LOG_PROOF_ANNOTATION))
}

async fn content(source: &dyn ArtifactSource, node: &Node) -> Result<(Digest, Content), Problem> {
    let layer = first_layer(node).ok_or_else(|| problem(node, "it has no layer"))?;
    let bytes = source
        .blob(layer, MAX_CONTENT_BYTES)
        .await
        .map_err(|e| problem(node, &crate::error::chain(&e)))?;
    let content = Content {
        media_type: layer.media_type.clone(),
        bytes,
    };
    Ok((node.descriptor.digest.clone(), content))
}

fn first_layer(node: &Node) -> Option<&Descriptor> {
    node.manifest.as_ref()?.as_image()?.layers.first()
}

fn too_many(node: &Node) -> Problem {
    problem(
        node,
        &format!("its subject has more than {MAX_ENVELOPES_PER_SUBJECT} signatures"),
    )
}

fn problem(node: &Node, reason: &str) -> Problem {
    Problem {
        digest: node.descriptor.digest.clone(),
        reason: reason.to_owned(),
    }
}
