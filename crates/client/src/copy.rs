//! Copying an artifact, or a whole artifact graph, from a source to a sink.
//!
//! Blobs go first, many at a time, each through a small buffer and never as a whole in memory;
//! then manifests, so that whatever the sink lists is complete at every moment: platforms before
//! their index, subjects before what refers to them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::stream::{self, TryStreamExt};
use oci::graph::{GraphLimits, Node};
use oci::{ArtifactGraph, Descriptor, Digest, Manifest, Tag};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::source::{ArtifactSink, ArtifactSource, TagOrDigest};
use crate::{ClientError, walk};

/// How many blobs are on their way at a time.
const MAX_OPEN_BLOBS: usize = 4;
/// What lies between reader and writer of a blob, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyScope {
    /// The artifact with its platforms.
    Artifact,
    /// The artifact and everything that refers to it.
    Graph,
}

/// What happens to one blob or manifest.
#[derive(Clone, Copy, Debug)]
pub enum CopyEvent<'a> {
    /// It is on its way.
    Started(&'a Descriptor),
    /// So many more bytes of it came.
    Advanced(&'a Descriptor, u64),
    /// It arrived.
    Copied(&'a Descriptor),
    /// The sink has it already.
    Present(&'a Descriptor),
}

/// Is told what happens, from any thread.
pub type CopyProgress<'a> = &'a (dyn for<'e> Fn(CopyEvent<'e>) + Send + Sync);

/// What was copied, and what was not.
#[derive(Debug)]
pub struct CopySummary {
    /// The descriptor of the artifact.
    pub root: Descriptor,
    /// The number of manifests.
    pub manifests: usize,
    /// The number of blobs, those already present included.
    pub blobs: usize,
    /// Referrers that could not be read, with the reason: they were left behind.
    pub skipped: Vec<(Digest, String)>,
}

/// Copies `root` from `source` to `sink`, and lets `tag` name it there.
///
/// # Errors
/// If the artifact itself cannot be read whole, or the sink takes something not. Whatever was
/// copied before stays.
pub async fn copy(
    from: (&dyn ArtifactSource, &Descriptor),
    to: (&dyn ArtifactSink, Option<&Tag>),
    scope: CopyScope,
    progress: CopyProgress<'_>,
) -> Result<CopySummary, ClientError> {
    let (source, root) = from;
    let (sink, tag) = to;
    let graph = read_graph(source, root.clone(), scope).await;
    let plan = Plan::of(&graph)?;
    stream::iter(plan.blobs.values().map(Ok))
        .try_for_each_concurrent(MAX_OPEN_BLOBS, |blob| {
            copy_blob(source, sink, blob, progress)
        })
        .await?;
    for manifest in &plan.manifests {
        let tag = tag.filter(|_| manifest.digest() == graph.root());
        let descriptor = manifest.descriptor();
        sink.push_manifest(manifest, tag).await?;
        progress(CopyEvent::Copied(&descriptor));
    }
    Ok(CopySummary {
        root: root.clone(),
        manifests: plan.manifests.len(),
        blobs: plan.blobs.len(),
        skipped: plan.skipped,
    })
}

async fn read_graph(
    source: &dyn ArtifactSource,
    root: Descriptor,
    scope: CopyScope,
) -> ArtifactGraph {
    match scope {
        CopyScope::Graph => walk(source, root, GraphLimits::default()).await,
        CopyScope::Artifact => walk(&WithoutReferrers(source), root, GraphLimits::default()).await,
    }
}

/// What has to go, in order.
struct Plan {
    manifests: Vec<Manifest>,
    blobs: BTreeMap<Digest, Descriptor>,
    skipped: Vec<(Digest, String)>,
}

impl Plan {
    fn of(graph: &ArtifactGraph) -> Result<Self, ClientError> {
        if let Some(reason) = graph.truncated() {
            return Err(incomplete(graph.root(), reason));
        }
        let mut plan = Self {
            manifests: Vec::new(),
            blobs: BTreeMap::new(),
            skipped: Vec::new(),
        };
        plan.add(graph, graph.root(), &mut BTreeSet::new())?;
        Ok(plan)
    }

    /// Adds a node and what hangs on it. The depth is bounded by that of the walk.
    fn add(
        &mut self,
        graph: &ArtifactGraph,
        digest: &Digest,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<(), ClientError> {
        let Some(node) = graph.node(digest) else {
            return Ok(());
        };
        if !seen.insert(digest.clone()) {
            return Ok(());
        }
        for child in &node.children {
            self.add(graph, child, seen)?;
        }
        match (&node.manifest, &node.problem) {
            (Some(manifest), None) => self.add_manifest(manifest),
            (_, problem) => return self.skip(node, problem.as_deref().unwrap_or("unreadable")),
        }
        for referrer in &node.referrers {
            self.add(graph, referrer, seen)?;
        }
        Ok(())
    }

    fn add_manifest(&mut self, manifest: &Manifest) {
        if let Some(image) = manifest.as_image() {
            let blobs = std::iter::once(&image.config).chain(&image.layers);
            for blob in blobs.filter(|blob| !is_foreign(blob)) {
                self.blobs.insert(blob.digest.clone(), blob.clone());
            }
        }
        self.manifests.push(manifest.clone());
    }

    /// A referrer may be left behind; the artifact itself must be whole.
    fn skip(&mut self, node: &Node, problem: &str) -> Result<(), ClientError> {
        let digest = &node.descriptor.digest;
        if node.subject.is_none() {
            return Err(incomplete(digest, problem));
        }
        self.skipped.push((digest.clone(), problem.to_owned()));
        Ok(())
    }
}

fn incomplete(digest: &Digest, reason: &str) -> ClientError {
    ClientError::Malformed {
        place: digest.to_string(),
        reason: reason.to_owned(),
        source: None,
    }
}

/// Layers that registries need not hold (image-spec `layer.md`, Non-Distributable Layers).
fn is_foreign(blob: &Descriptor) -> bool {
    let media_type = blob.media_type.as_str();
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}

/// Copies one blob, unless the sink has it.
///
/// # Errors
/// That of the side that failed first.
pub async fn copy_blob(
    source: &dyn ArtifactSource,
    sink: &dyn ArtifactSink,
    blob: &Descriptor,
    progress: CopyProgress<'_>,
) -> Result<(), ClientError> {
    if sink.has_blob(&blob.digest).await? {
        progress(CopyEvent::Present(blob));
        return Ok(());
    }
    let (near, mut far) = tokio::io::duplex(BUFFER_BYTES);
    let read = async {
        let mut near = near;
        let read = fetch_blob(source, blob, &mut near, progress).await;
        // Without an orderly end the other side sees too few bytes, and refuses them.
        let _ = near.shutdown().await;
        read
    };
    let write = async {
        let written = sink.push_blob_from(blob, &mut far).await;
        drop(far);
        written
    };
    match tokio::join!(read, write) {
        // The sink checked the digest, or has the blob from elsewhere by now.
        (_, Ok(())) => Ok(()),
        // The reader only noticed that nobody takes its bytes any more.
        (Err(ClientError::Other { .. }) | Ok(()), Err(error)) => Err(error),
        (Err(error), Err(_)) => Err(error),
    }
}

/// Reads one blob into `writer`, as [`ArtifactSource::blob_to`] does, and tells how far it is.
///
/// # Errors
/// Those of the source.
pub async fn fetch_blob(
    source: &dyn ArtifactSource,
    blob: &Descriptor,
    writer: &mut (dyn AsyncWrite + Send + Unpin),
    progress: CopyProgress<'_>,
) -> Result<(), ClientError> {
    progress(CopyEvent::Started(blob));
    let mut counted = Counted {
        inner: writer,
        count: |bytes| progress(CopyEvent::Advanced(blob, bytes)),
    };
    source.blob_to(blob, &mut counted).await?;
    progress(CopyEvent::Copied(blob));
    Ok(())
}

/// Stores one blob from `reader`, as [`ArtifactSink::push_blob_from`] does, and tells how far it
/// is.
///
/// # Errors
/// Those of the sink.
pub async fn send_blob(
    sink: &dyn ArtifactSink,
    blob: &Descriptor,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    progress: CopyProgress<'_>,
) -> Result<(), ClientError> {
    progress(CopyEvent::Started(blob));
    let mut counted = Counted {
        inner: reader,
        count: |bytes| progress(CopyEvent::Advanced(blob, bytes)),
    };
    sink.push_blob_from(blob, &mut counted).await?;
    progress(CopyEvent::Copied(blob));
    Ok(())
}

/// A reader or writer that tells how much went through it.
struct Counted<T, F> {
    inner: T,
    count: F,
}

impl<R: AsyncRead + Unpin, F: Fn(u64) + Unpin> AsyncRead for Counted<R, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        (self.count)((buffer.filled().len() - before) as u64);
        read
    }
}

impl<W: AsyncWrite + Unpin, F: Fn(u64) + Unpin> AsyncWrite for Counted<W, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            (self.count)(*count as u64);
        }
        written
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A source that knows of no referrers.
struct WithoutReferrers<'a>(&'a dyn ArtifactSource);

#[async_trait]
impl ArtifactSource for WithoutReferrers<'_> {
    async fn resolve(&self, name: &TagOrDigest) -> Result<Descriptor, ClientError> {
        self.0.resolve(name).await
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, ClientError> {
        self.0.manifest(descriptor).await
    }

    async fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, ClientError> {
        Ok(Vec::new())
    }

    async fn blob(
        &self,
        descriptor: &Descriptor,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, ClientError> {
        self.0.blob(descriptor, limit_bytes).await
    }

    async fn blob_to(
        &self,
        descriptor: &Descriptor,
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), ClientError> {
        self.0.blob_to(descriptor, writer).await
    }
}
