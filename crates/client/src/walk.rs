//! Walking an artifact graph over a source, many questions at a time.

use futures_util::stream::{FuturesUnordered, StreamExt};
use oci::graph::{Ask, GraphLimits};
use oci::{ArtifactGraph, Descriptor, Digest, GraphWalk, Manifest, MediaType};

use crate::ClientError;
use crate::source::ArtifactSource;

/// How many questions are open at a time. More gains nothing against registries, which answer
/// from a few cores, and looks like an attack.
const MAX_OPEN_QUESTIONS: usize = 16;

enum Answer {
    Manifest(Digest, Box<Result<Manifest, ClientError>>),
    Referrers(Digest, Result<Vec<Descriptor>, ClientError>),
}

/// Returns everything that hangs on `root`. What cannot be read is noted in its node; nothing
/// aborts the walk.
pub async fn walk(
    source: &dyn ArtifactSource,
    root: Descriptor,
    limits: GraphLimits,
) -> ArtifactGraph {
    go(source, root, limits, Scope::Everything).await
}

/// Returns the manifest at `root` with the Notary signatures that hang on it, and nothing else:
/// all that the verification of one artifact needs, in as few questions as possible.
pub async fn walk_signatures(source: &dyn ArtifactSource, root: Descriptor) -> ArtifactGraph {
    let scope = Scope::SignaturesOf(root.digest.clone());
    go(source, root, GraphLimits::default(), scope).await
}

/// What of a graph is asked for.
enum Scope {
    Everything,
    SignaturesOf(Digest),
}

async fn go(
    source: &dyn ArtifactSource,
    root: Descriptor,
    limits: GraphLimits,
    scope: Scope,
) -> ArtifactGraph {
    let mut walk = GraphWalk::new(root, limits);
    let mut waiting: Vec<Ask> = Vec::new();
    let mut open = FuturesUnordered::new();
    loop {
        waiting.extend(walk.take_asks());
        while open.len() < MAX_OPEN_QUESTIONS
            && let Some(question) = waiting.pop()
        {
            open.push(ask(source, question, &scope));
        }
        match open.next().await {
            Some(answer) => give(&mut walk, answer),
            None => return walk.finish(),
        }
    }
}

async fn ask(source: &dyn ArtifactSource, question: Ask, scope: &Scope) -> Answer {
    match question {
        Ask::Manifest(descriptor) => {
            let answer = source.manifest(&descriptor).await;
            Answer::Manifest(descriptor.digest, Box::new(answer))
        }
        Ask::Referrers(digest) => {
            let answer = match scope {
                Scope::SignaturesOf(root) if *root != digest => Ok(Vec::new()),
                Scope::SignaturesOf(_) => source.referrers(&digest).await.map(signatures),
                Scope::Everything => source.referrers(&digest).await,
            };
            Answer::Referrers(digest, answer)
        }
    }
}

/// Leaves out what calls itself something else than a signature. What names no type stays: lists
/// that old clients wrote by hand may lack it.
fn signatures(mut referrers: Vec<Descriptor>) -> Vec<Descriptor> {
    referrers.retain(|one| {
        let kind = one.artifact_type.as_ref();
        kind.is_none_or(|kind| *kind == MediaType::NOTARY_SIGNATURE)
    });
    referrers
}

fn give(walk: &mut GraphWalk, answer: Answer) {
    match answer {
        Answer::Manifest(digest, answer) => {
            walk.give_manifest(&digest, answer.map_err(|e| crate::error::chain(&e)));
        }
        Answer::Referrers(digest, answer) => {
            walk.give_referrers(&digest, answer.map_err(|e| crate::error::chain(&e)));
        }
    }
}
