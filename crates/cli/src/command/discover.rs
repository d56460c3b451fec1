//! `countersign discover`.

use std::collections::{BTreeMap, BTreeSet};

use client::ArtifactSource;
use client::evidence::MAX_ENVELOPE_BYTES;
use futures_util::stream::{self, StreamExt};
use oci::descriptor::Annotations;
use oci::graph::{GraphLimits, Node};
use oci::{ArtifactGraph, Descriptor, Digest, Manifest, MediaType};
use serde::Serialize;

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render::{self, tree::Tree};
use crate::target::Target;

/// How many envelopes are fetched at a time.
const MAX_OPEN_REQUESTS: usize = 16;

/// Show everything that hangs on an artifact, down to the signatures.
///
/// Nothing is verified here: a signature in this tree is one that somebody put there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact.
    #[arg(value_name = "REF")]
    target: Target,
    /// Show only what has this type, and what leads to it.
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<MediaType>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    graph_root: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<String>,
    #[serde(flatten)]
    root: Entry,
}

/// One manifest, with what it lists and what refers to it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    digest: Digest,
    media_type: MediaType,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<MediaType>,
    /// The bytes of all layers together.
    content_size: u64,
    /// Whom the leaf certificate of a signature or attestation names. Anybody can write that.
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified_signer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    annotations: Annotations,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<Entry>,
    referrers: Vec<Entry>,
}

/// Discovers.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let source = args.target.open(context)?;
    let root = args.target.resolve(&*source, context, None).await?;
    let graph = client::walk(&*source, root, GraphLimits::default()).await;
    let signers = signers(&*source, &graph).await;
    let selection = Selection {
        graph: &graph,
        signers: &signers,
        artifact_type: args.artifact_type.as_ref(),
    };
    let mut seen = BTreeSet::new();
    let root = selection
        .entry(graph.root(), &mut seen)
        .ok_or_else(|| CliError::internal("the graph has no root"))?;
    if let Some(problem) = &root.problem {
        return Err(
            CliError::new(Kind::Untrusted, "the artifact could not be read")
                .because(problem.clone()),
        );
    }
    let discovered = Discovered {
        reference: args.target.at(graph.root()).to_string(),
        graph_root: graph.graph_root(),
        truncated: graph.truncated().map(str::to_owned),
        root,
    };
    context.print(&discovered, text)?;
    if let Some(reason) = &discovered.truncated {
        context.warn(&format!(
            "this is not everything: the walk stopped at {reason}"
        ));
    }
    Ok(ExitCode::Done)
}

/// What of a graph is shown.
struct Selection<'a> {
    graph: &'a ArtifactGraph,
    signers: &'a BTreeMap<Digest, String>,
    artifact_type: Option<&'a MediaType>,
}

impl Selection<'_> {
    /// Returns a manifest and what hangs on it; `None` if it was shown already, or nothing of it
    /// was asked for. The depth is bounded by that of the walk.
    fn entry(&self, digest: &Digest, seen: &mut BTreeSet<Digest>) -> Option<Entry> {
        let node = self.graph.node(digest)?;
        if !seen.insert(digest.clone()) {
            return None;
        }
        let manifests = self.entries(&node.children, seen);
        let mut referrers = self.entries(&node.referrers, seen);
        referrers.sort_by(|a, b| (&a.artifact_type, &a.digest).cmp(&(&b.artifact_type, &b.digest)));
        let leads_on = !manifests.is_empty() || !referrers.is_empty();
        let wanted = match self.artifact_type {
            Some(wanted) => node.artifact_type() == Some(wanted),
            None => true,
        };
        (wanted || leads_on || digest == self.graph.root()).then(|| Entry {
            unverified_signer: self.signers.get(digest).cloned(),
            ..entry(node, manifests, referrers)
        })
    }

    fn entries<'d>(
        &self,
        digests: impl IntoIterator<Item = &'d Digest>,
        seen: &mut BTreeSet<Digest>,
    ) -> Vec<Entry> {
        let entries = digests.into_iter();
        entries
            .filter_map(|digest| self.entry(digest, seen))
            .collect()
    }
}

fn entry(node: &Node, manifests: Vec<Entry>, referrers: Vec<Entry>) -> Entry {
    let image = node.manifest.as_ref().and_then(Manifest::as_image);
    let sizes = image.into_iter().flat_map(|image| &image.layers);
    let platform = node.descriptor.platform.as_ref();
    Entry {
        digest: node.descriptor.digest.clone(),
        media_type: node.descriptor.media_type.clone(),
        size: node.descriptor.size,
        artifact_type: node.artifact_type().cloned(),
        content_size: sizes.fold(0, |sum, layer| layer.size.saturating_add(sum)),
        unverified_signer: None,
        platform: platform.map(|p| format!("{}/{}", p.os, p.architecture)),
        annotations: node
            .manifest
            .as_ref()
            .map(|manifest| manifest.annotations().clone())
            .unwrap_or_default(),
        problem: node.problem.clone(),
        manifests,
        referrers,
    }
}

fn text(discovered: &Discovered) -> String {
    let mut tree = Tree::new(discovered.reference.clone());
    add_below(&mut tree, &discovered.root);
    let mut text = tree.draw();
    if let Some(graph_root) = &discovered.graph_root {
        text.push_str(&format!("graph root {graph_root}\n"));
    }
    text
}

fn add_below(tree: &mut Tree, entry: &Entry) {
    for child in entry.manifests.iter().chain(&entry.referrers) {
        let mut below = Tree::new(line(child));
        add_below(&mut below, child);
        tree.push(below);
    }
}

fn line(entry: &Entry) -> String {
    let kind = match (&entry.platform, &entry.artifact_type) {
        (Some(platform), _) => render::sanitise(platform),
        (None, Some(artifact_type)) => artifact_type.to_string(),
        (None, None) => entry.media_type.to_string(),
    };
    let size = render::bytes(entry.content_size);
    let remark = match (&entry.problem, &entry.unverified_signer) {
        (Some(problem), _) => render::sanitise(problem),
        (None, Some(signer)) => format!("signed by `{}` (not verified)", render::sanitise(signer)),
        (None, None) => size,
    };
    format!("{kind}  {}  {remark}", entry.digest)
}

/// Returns whom the envelopes of the graph name as signer. One that cannot be read is left out:
/// this is a picture, not a judgement.
async fn signers(source: &dyn ArtifactSource, graph: &ArtifactGraph) -> BTreeMap<Digest, String> {
    let envelopes = graph.nodes().filter_map(|node| {
        let image = node.manifest.as_ref()?.as_image()?;
        let layer = image.layers.first()?;
        let is_envelope = [MediaType::JOSE_JSON, MediaType::DSSE].contains(&layer.media_type);
        is_envelope.then(|| (node.descriptor.digest.clone(), layer.clone()))
    });
    let named = stream::iter(envelopes.collect::<Vec<_>>())
        .map(async |(digest, layer)| Some((digest, signer(source, &layer).await?)))
        .buffer_unordered(MAX_OPEN_REQUESTS);
    named.filter_map(async |named| named).collect().await
}

async fn signer(source: &dyn ArtifactSource, layer: &Descriptor) -> Option<String> {
    let envelope = source.blob(layer, MAX_ENVELOPE_BYTES).await.ok()?;
    let view = trust::inspect(&layer.media_type, &envelope).ok()?;
    let leaf = view.certificates.first()?;
    Some(match leaf.subject.common_name() {
        "" => leaf.subject.to_string(),
        name => name.to_owned(),
    })
}
