//! Everything that a decision over an artifact graph needs to know, fetched and verified.
//!
//! For each signature and attestation of the graph the envelope is fetched and judged under the
//! trust policy; the reports that the caller reads are fetched too. Whatever cannot be read
//! becomes a [`Problem`] and hides nothing else.
//!
//! Envelopes are judged twice: first with what is pushed alone, and only if a chain leads to a
//! trust anchor are the lists fetched that it needs besides, and the envelope judged again. A stranger's certificate can
//! thus make us fetch nothing.

mod fetch;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use oci::{ArtifactGraph, Descriptor, Digest, Manifest, MediaType};
use serde::Serialize;
use time::OffsetDateTime;
use trust::revocation::Pushed;
use trust::{
    AttestationOutcome, LogEvidence, NoStatement, RevocationEvidence, TrustPolicy,
    TrustPolicyStatement, TrustStore, VerificationAction, VerificationOutcome, VerifyRequest,
};

use crate::revocation::CrlSource;
use crate::source::ArtifactSource;

use fetch::{Envelope, EnvelopeKind};

/// The largest envelope, in bytes. A chain of RSA-4096 certificates with metadata has about ten
/// thousand; the specification names no limit.
pub const MAX_ENVELOPE_BYTES: u64 = 1024 * 1024;
/// The most signatures and attestations of one artifact that are judged
/// (notation's default for `--max-signatures` is 100).
pub const MAX_ENVELOPES_PER_SUBJECT: usize = 100;
/// The largest report, in bytes. The JSON of a scan of a large image has about forty million.
pub const MAX_CONTENT_BYTES: u64 = 64 * 1024 * 1024;
/// The most bytes of all reports of a graph together.
pub const MAX_CONTENTS_BYTES: u64 = 512 * 1024 * 1024;
/// The most revocation lists that are fetched for one graph.
pub const MAX_REVOCATION_LISTS: usize = 32;
/// How many requests are open at a time.
const MAX_OPEN_REQUESTS: usize = 16;

/// Whom we trust, and where to learn who no longer is.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// The trust policy.
    pub policy: &'a TrustPolicy,
    /// The trust anchors.
    pub store: &'a TrustStore,
    /// Where revocation lists come from.
    pub crls: &'a dyn CrlSource,
    /// What authorities push, or gave out as a whole: it goes before their lists.
    pub pushed: &'a [Pushed],
}

/// What to collect, and how to judge it.
#[derive(Clone, Copy)]
pub struct Collection<'a> {
    /// Whom we trust.
    pub trust: Trust<'a>,
    /// The repository, as `registry/repository`: what the trust policy calls a scope.
    pub scope: &'a str,
    /// The artifact types whose content is read.
    pub contents: &'a BTreeSet<MediaType>,
    /// User metadata that every signature must have.
    pub required_metadata: &'a BTreeMap<String, String>,
    /// The time that counts as now.
    pub now: OffsetDateTime,
}

/// A graph, and what was found about it.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The graph.
    pub graph: ArtifactGraph,
    /// What was found about each signature, by the digest of the signature manifest.
    pub outcomes: BTreeMap<Digest, VerificationOutcome>,
    /// What was found about each attestation, by the digest of its manifest.
    pub attestations: BTreeMap<Digest, AttestationOutcome>,
    /// The reports that were asked for, by the digest of their manifest.
    pub contents: BTreeMap<Digest, Content>,
    /// What could not be read, in the order of the digests.
    pub problems: Vec<Problem>,
}

/// The first layer of a piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The media type of the layer.
    pub media_type: MediaType,
    /// The bytes; their digest was checked.
    pub bytes: Vec<u8>,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The manifest that it is about.
    pub digest: Digest,
    /// Why.
    pub reason: String,
}

/// Fetches and judges what hangs on `graph`.
///
/// # Errors
/// If the trust policy has no statement for the repository: then nothing can be judged.
pub async fn collect(
    source: &dyn ArtifactSource,
    graph: ArtifactGraph,
    collection: &Collection<'_>,
) -> Result<Evidence, NoStatement> {
    let statement = collection.trust.policy.statement(collection.scope)?;
    let mut problems = unread_nodes(&graph);
    let (envelopes, contents) = tokio::join!(
        fetch::envelopes(source, &graph),
        fetch::contents(source, &graph, collection.contents)
    );
    let envelopes = keep(envelopes, &mut problems);
    let contents = keep(contents, &mut problems).into_iter().collect();
    let judge = Judge {
        collection,
        statement,
        graph: &graph,
    };
    let judged = judge.judge(&envelopes).await;
    problems.sort();
    let mut evidence = Evidence {
        outcomes: BTreeMap::new(),
        attestations: BTreeMap::new(),
        contents,
        problems,
        graph,
    };
    for (envelope, verdict) in envelopes.into_iter().zip(judged) {
        match verdict {
            Verdict::Signature(outcome) => {
                evidence.outcomes.insert(envelope.manifest, *outcome);
            }
            Verdict::Attestation(outcome) => {
                evidence.attestations.insert(envelope.manifest, *outcome);
            }
        }
    }
    Ok(evidence)
}

fn unread_nodes(graph: &ArtifactGraph) -> Vec<Problem> {
    let unread = graph.nodes().filter_map(|node| {
        Some(Problem {
            digest: node.descriptor.digest.clone(),
            reason: node.problem.clone()?,
        })
    });
    unread.collect()
}

fn keep<T>(results: Vec<Result<T, Problem>>, problems: &mut Vec<Problem>) -> Vec<T> {
    let kept = results.into_iter().filter_map(|result| match result {
        Ok(value) => Some(value),
        Err(problem) => {
            problems.push(problem);
            None
        }
    });
    kept.collect()
}

enum Verdict {
    Signature(Box<VerificationOutcome>),
    Attestation(Box<AttestationOutcome>),
}

impl Verdict {
    fn outcome(&self) -> &VerificationOutcome {
        match self {
            Self::Signature(outcome) => outcome,
            Self::Attestation(attestation) => &attestation.outcome,
        }
    }

    /// Returns whether revocation would change anything: the chain leads to an anchor, and the
    /// policy wants to know.
    fn depends_on_revocation(&self) -> bool {
        let outcome = self.outcome();
        outcome.authenticity.passed() && outcome.revocation.action != VerificationAction::Skip
    }
}

struct Judge<'a> {
    collection: &'a Collection<'a>,
    statement: &'a TrustPolicyStatement,
    graph: &'a ArtifactGraph,
}

impl Judge<'_> {
    async fn judge(&self, envelopes: &[Envelope]) -> Vec<Verdict> {
        let pushed = self.pushed();
        let mut verdicts = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            verdicts.push(self.verify(envelope, &pushed));
            // A verification takes about a millisecond; others want to run too.
            tokio::task::yield_now().await;
        }
        let needed: Vec<(usize, Vec<String>)> = (0..envelopes.len())
            .filter(|&position| verdicts[position].depends_on_revocation())
            .map(|position| {
                let envelope = &envelopes[position];
                let urls = pushed.needs(&envelope.media_type, &envelope.bytes);
                (position, urls)
            })
            .filter(|(_, urls)| !urls.is_empty())
            .collect();
        let revocation = self
            .fetch_lists(needed.iter().flat_map(|(_, urls)| urls))
            .await;
        for (position, _) in needed {
            verdicts[position] = self.verify(&envelopes[position], &revocation);
            tokio::task::yield_now().await;
        }
        verdicts
    }

    fn pushed(&self) -> RevocationEvidence {
        let mut revocation = RevocationEvidence::default();
        let pushed = self.collection.trust.pushed.iter();
        pushed.for_each(|pushed| revocation.add_pushed(pushed.clone()));
        revocation
    }

    async fn fetch_lists<'u>(&self, urls: impl Iterator<Item = &'u String>) -> RevocationEvidence {
        let urls: BTreeSet<&String> = urls.collect();
        let mut revocation = self.pushed();
        for url in urls.iter().skip(MAX_REVOCATION_LISTS) {
            let reason = format!("more than {MAX_REVOCATION_LISTS} lists are needed");
            revocation.add_failure(url, &reason);
        }
        let crls = self.collection.trust.crls;
        let requests: Vec<_> = urls
            .into_iter()
            .take(MAX_REVOCATION_LISTS)
            .map(|url| async move { (url, crls.fetch(url).await) }.boxed())
            .collect();
        let fetched: Vec<_> = stream::iter(requests)
            .buffer_unordered(MAX_OPEN_REQUESTS)
            .collect()
            .await;
        for (url, answer) in fetched {
            match answer {
                // What is wrong with a list is remembered in the evidence itself.
                Ok(bytes) => drop(revocation.add_crl(url, &bytes, self.collection.now)),
                Err(e) => revocation.add_failure(url, &crate::error::chain(&e)),
            }
        }
        revocation
    }

    fn verify(&self, envelope: &Envelope, revocation: &RevocationEvidence) -> Verdict {
        let target = self.target(&envelope.subject);
        let request = VerifyRequest {
            media_type: &envelope.media_type,
            envelope: &envelope.bytes,
            target: &target,
            statement: self.statement,
            store: self.collection.trust.store,
            revocation,
            required_metadata: self.collection.required_metadata,
            log: envelope
                .log
                .as_ref()
                .map(|(entry, proof)| LogEvidence { entry, proof }),
            now: self.collection.now,
        };
        match envelope.kind {
            EnvelopeKind::Signature => Verdict::Signature(Box::new(trust::verify(&request))),
            EnvelopeKind::Attestation => {
                Verdict::Attestation(Box::new(trust::verify_attestation(&request)))
            }
        }
    }

    /// Returns the descriptor of the artifact that an envelope hangs on: from its own bytes, if
    /// they were read, and not from what some list says about it.
    fn target(&self, subject: &Descriptor) -> Descriptor {
        let node = self.graph.node(&subject.digest);
        let manifest = node.and_then(|node| node.manifest.as_ref());
        match manifest.map(Manifest::descriptor) {
            Some(own) => Descriptor {
                digest: subject.digest.clone(),
                ..own
            },
            None => subject.clone(),
        }
    }
}
