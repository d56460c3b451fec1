//! The artifact graph: a manifest, the platforms of an index, and everything that refers to them.
//!
//! [`GraphWalk`] says what it needs next and is told the answer; it does no input or output, so
//! the same walk runs over a registry, a layout and a database. It is bounded in nodes, depth and
//! bytes, visits each digest once whatever cycles it is shown (zot 2026-08, oras-go GHSA-298f),
//! and notes what it could not read instead of giving up: one unreadable referrer must not hide
//! the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Descriptor, Digest, Manifest, MediaType};

/// How far a walk may go.
#[derive(Clone, Copy, Debug)]
pub struct GraphLimits {
    /// The most manifests. A release with twenty platforms and fifty signed reports each has two
    /// thousand.
    pub nodes: usize,
    /// The longest chain of edges from the root. A signature on a report on a platform of an
    /// index is three; nested evidence is rarely more than two further.
    pub depth: usize,
    /// The most bytes of manifests, in total.
    pub bytes: usize,
}

impl Default for GraphLimits {
    fn default() -> Self {
        Self {
            nodes: 4096,
            depth: 16,
            bytes: 64 * 1024 * 1024,
        }
    }
}

/// What a walk asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The manifest that this descriptor names.
    Manifest(Descriptor),
    /// The descriptors of all manifests whose subject has this digest.
    Referrers(Digest),
}

/// A bounded, cycle-safe walk from one manifest to all that hangs on it.
pub struct GraphWalk {
    limits: GraphLimits,
    graph: ArtifactGraph,
    asks: VecDeque<Ask>,
    bytes: usize,
}

/// The manifests that a walk found, by digest.
#[derive(Clone, Debug)]
pub struct ArtifactGraph {
    root: Digest,
    nodes: BTreeMap<Digest, Node>,
    truncated: Option<String>,
}

/// One manifest of the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// The descriptor under which it was found.
    pub descriptor: Descriptor,
    /// The manifest, if it could be read.
    pub manifest: Option<Manifest>,
    /// Why it, or the list of its referrers, could not be read.
    pub problem: Option<String>,
    /// The manifest it refers to, when it was found as a referrer.
    pub subject: Option<Digest>,
    /// Manifests that refer to it, in the order of their digests.
    pub referrers: BTreeSet<Digest>,
    /// Manifests that it lists, when it is an index, in the document's order.
    pub children: Vec<Digest>,
    /// The number of edges from the root.
    pub depth: usize,
}

impl Node {
    /// Returns the artifact type: the manifest's own if it was read, else what the list of
    /// referrers claimed.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        match &self.manifest {
            Some(manifest) => manifest.artifact_type(),
            None => self.descriptor.artifact_type.as_ref(),
        }
    }

    /// Returns whether this is an endorsement. What could not be read never counts as one: a
    /// registry could otherwise hide evidence by calling it a signature.
    pub fn is_endorsement(&self) -> bool {
        let own = self.manifest.as_ref().and_then(Manifest::artifact_type);
        self.subject.is_some() && own.is_some_and(MediaType::is_endorsement)
    }
}

impl GraphWalk {
    /// Starts a walk at `root`.
    pub fn new(root: Descriptor, limits: GraphLimits) -> Self {
        let graph = ArtifactGraph {
            root: root.digest.clone(),
            nodes: BTreeMap::new(),
            truncated: None,
        };
        let mut walk = Self {
            limits,
            graph,
            asks: VecDeque::new(),
            bytes: 0,
        };
        walk.visit(root, None, 0);
        walk
    }

    /// Returns everything that can be asked for now, each thing once. The walk is over when this
    /// is empty and every earlier question was answered.
    pub fn take_asks(&mut self) -> Vec<Ask> {
        self.asks.drain(..).collect()
    }

    /// Takes the answer to [`Ask::Manifest`].
    pub fn give_manifest(&mut self, digest: &Digest, answer: Result<Manifest, String>) {
        let Some(node) = self.graph.nodes.get_mut(digest) else {
            return;
        };
        let manifest = match answer {
            Ok(manifest) => manifest,
            Err(problem) => {
                node.problem = Some(problem);
                return;
            }
        };
        if manifest.digest() != digest && !digest.matches(manifest.bytes()) {
            node.problem = Some(format!("content has digest `{}`", manifest.digest()));
            return;
        }
        if let Some(problem) = subject_problem(node, &manifest) {
            node.problem = Some(problem);
            return;
        }
        self.bytes += manifest.bytes().len();
        let depth = node.depth;
        let children = manifest
            .as_index()
            .map(|index| index.manifests.clone())
            .unwrap_or_default();
        node.children = children.iter().map(|child| child.digest.clone()).collect();
        node.manifest = Some(manifest);
        if self.bytes > self.limits.bytes {
            self.stop(format!(
                "more than {} bytes of manifests",
                self.limits.bytes
            ));
            return;
        }
        for child in children {
            self.visit(child, None, depth + 1);
        }
    }

    /// Takes the answer to [`Ask::Referrers`].
    pub fn give_referrers(&mut self, subject: &Digest, answer: Result<Vec<Descriptor>, String>) {
        let Some(node) = self.graph.nodes.get_mut(subject) else {
            return;
        };
        let depth = node.depth;
        let referrers = match answer {
            Ok(referrers) => referrers,
            Err(problem) => {
                node.problem = Some(problem);
                return;
            }
        };
        node.referrers
            .extend(referrers.iter().map(|referrer| referrer.digest.clone()));
        for referrer in referrers {
            self.visit(referrer, Some(subject.clone()), depth + 1);
        }
    }

    /// Returns the graph.
    pub fn finish(self) -> ArtifactGraph {
        self.graph
    }

    fn visit(&mut self, descriptor: Descriptor, subject: Option<Digest>, depth: usize) {
        let digest = descriptor.digest.clone();
        if self.graph.truncated.is_some() || self.graph.nodes.contains_key(&digest) {
            return;
        }
        if self.graph.nodes.len() >= self.limits.nodes {
            return self.stop(format!("more than {} manifests", self.limits.nodes));
        }
        if depth > self.limits.depth {
            return self.stop(format!("more than {} edges deep", self.limits.depth));
        }
        self.asks.push_back(Ask::Manifest(descriptor.clone()));
        self.asks.push_back(Ask::Referrers(digest.clone()));
        let node = Node {
            descriptor,
            manifest: None,
            problem: None,
            subject,
            referrers: BTreeSet::new(),
            children: Vec::new(),
            depth,
        };
        self.graph.nodes.insert(digest, node);
    }

    fn stop(&mut self, reason: String) {
        self.asks.clear();
        self.graph.truncated.get_or_insert(reason);
    }
}

/// A registry lists what it likes; only the manifest's own `subject` makes it a referrer.
fn subject_problem(node: &Node, manifest: &Manifest) -> Option<String> {
    let listed = node.subject.as_ref()?;
    match manifest.subject() {
        Some(subject) if subject.digest == *listed => None,
        Some(subject) => Some(format!(
            "refers to `{}`, not to what lists it",
            subject.digest
        )),
        None => Some("has no `subject`, though it is listed as a referrer".to_owned()),
    }
}

impl ArtifactGraph {
    /// Returns the digest that the walk started from.
    pub fn root(&self) -> &Digest {
        &self.root
    }

    /// Returns the node with `digest`.
    pub fn node(&self, digest: &Digest) -> Option<&Node> {
        self.nodes.get(digest)
    }

    /// Returns all nodes, in the order of their digests.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Returns why the walk was cut short, if it was. A truncated graph supports no decision.
    pub fn truncated(&self) -> Option<&str> {
        self.truncated.as_deref()
    }

    /// Returns the nodes that are evidence: reachable without passing through an endorsement, and
    /// not endorsements themselves. The root is the first.
    pub fn evidence(&self) -> Vec<&Node> {
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([&self.root]);
        let mut found = Vec::new();
        while let Some(digest) = queue.pop_front() {
            let Some(node) = self.nodes.get(digest) else {
                continue;
            };
            if !seen.insert(digest) || node.is_endorsement() {
                continue;
            }
            found.push(node);
            queue.extend(node.children.iter().chain(&node.referrers));
        }
        found
    }

    /// Returns the graph root: a digest over the evidence, so that an approval or an acceptance
    /// can name exactly what it was given over, and anything added, replaced or removed since
    /// shows. `None` for a truncated graph.
    ///
    /// The digest is SHA-256 over the line `countersign-graph-root/v1` and then, for each piece of
    /// evidence in the order of the digests, a line of its digest, a space, and the digest of its
    /// subject or `-`. A manifest's digest covers its configuration and layers, so this covers
    /// every byte.
    pub fn graph_root(&self) -> Option<Digest> {
        if self.truncated.is_some() {
            return None;
        }
        let line = |node: &Node| {
            let subject = node.subject.as_ref().map_or("-", Digest::as_str);
            format!("{} {subject}\n", node.descriptor.digest)
        };
        let lines: BTreeSet<String> = self.evidence().into_iter().map(line).collect();
        let text: String = lines.into_iter().collect();
        Some(Digest::sha256(
            format!("countersign-graph-root/v1\n{text}").as_bytes(),
        ))
    }
}

#[cfg(test)]
mod tests;
