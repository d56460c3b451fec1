//! Deciding whether an image satisfies a gate policy now.
//!
//! The facts come from the store itself, the revocations from the signer itself as they are pushed
//! to everybody: nothing that a decision of ours rests on takes a way on which somebody could keep
//! it back, and where the signer fell silent, revocation is unknown.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use client::evidence::{Collection, Evidence, Trust, collect};
use client::http_client::HttpOptions;
use client::revocation::{CrlSource, HttpCrls};
use client::{ArtifactSource, ClientError, TagOrDigest, walk};
use gate::{Decision, Facts, GatePolicy, NewestKnown, decide, newest_signed};
use oci::graph::GraphLimits;
use oci::{ArtifactGraph, Digest, RepositoryName};
use serde_json::Value;
use signer::protocol::FailureKind;
use signer::{SignerClient, SignerClientError};
use store::StoreError;
use store::documents::DocumentKey;
use trust::revocation::Pushed;
use trust::{NoStatement, StoreKind, TrustPolicy, TrustStore};

use super::assign::registry_name;
use super::perform::RUN_ACCOUNT;
use super::projects;
use crate::clock;
use crate::error::{ApiError, ErrorKind, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// The kind of the documents that hold the newest reports known for an image.
const NEWEST_KNOWN: &str = "newest-known";
/// The trust store that holds our own authority; declarative files name it.
const OWN_STORE: &str = "countersign";
/// How often the newest reports are written when somebody else writes them too.
const MAX_TRIES: usize = 5;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The project that the policy belongs to.
    pub(crate) project: &'a str,
    /// The policy.
    pub(crate) policy: &'a str,
    /// The repository.
    pub(crate) repository: &'a RepositoryName,
    /// The image.
    pub(crate) digest: &'a Digest,
}

/// The answer, with everything that those who asked go on with.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Whether the policy allows it.
    pub(crate) allowed: bool,
    /// The code of the requirement that decided against it.
    pub(crate) code: String,
    /// Why, in one sentence.
    pub(crate) message: String,
    /// The decision as a tree, for people.
    pub(crate) tree: String,
    /// The decision as JSON.
    pub(crate) json: Value,
    /// The payload of a verification summary that says so.
    pub(crate) summary: Vec<u8>,
    /// The evidence that it was given over.
    pub(crate) graph_root: Option<Digest>,
    /// The digest of the policy.
    pub(crate) policy_digest: Digest,
    /// The verdict digest.
    pub(crate) digest: Digest,
    /// The evidence that the decision rests on.
    pub(crate) rests_on: BTreeSet<Digest>,
}

/// Says why nothing could be decided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum JudgeError {
    #[error("project `{0}` does not exist")]
    NoProject(String),
    #[error("project `{project}` has no gate policy `{policy}`")]
    NoPolicy { project: String, policy: String },
    #[error("project `{0}` has no trust policy: it cannot be said who is trusted")]
    NoTrustPolicy(String),
    #[error("a policy of project `{project}` cannot be read")]
    Policy {
        project: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the image cannot be read")]
    Image(#[source] ClientError),
    #[error("the trust policy says nothing about this repository")]
    NoStatement(#[from] NoStatement),
    #[error("the signer does not answer")]
    Signer(#[from] SignerClientError),
    #[error("connections cannot be set up")]
    Client(#[source] ClientError),
    #[error("the verdict cannot be written down")]
    Summary(#[from] gate::statement::TooLarge),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl JudgeError {
    /// Returns whether trying again may help.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Signer(error) if error.kind() == FailureKind::Unavailable)
    }
}

impl From<JudgeError> for ApiError {
    fn from(error: JudgeError) -> Self {
        let text = chain(&error);
        match error {
            JudgeError::NoProject(_) | JudgeError::NoPolicy { .. } => Self::not_found(text),
            JudgeError::Image(source) if source.is_not_found() => Self::not_found(text),
            JudgeError::NoTrustPolicy(_) | JudgeError::NoStatement(_) => {
                Self::new(ErrorKind::Unprocessable, "cannot-judge", text)
            }
            JudgeError::Signer(source) => source.into(),
            JudgeError::Store(source) => source.into(),
            _ => Self::internal(text),
        }
    }
}

/// Decides.
pub(crate) async fn judge(front: &Front, question: &Question<'_>) -> Result<Verdict, JudgeError> {
    let stored = projects::load(front, question.project).await?;
    let stored = stored.ok_or_else(|| JudgeError::NoProject(question.project.to_owned()))?;
    let policy = parse_policy(&stored, question)?;
    let evidence = evidence(front, &stored, (question, &policy)).await?;
    let graph = evidence.graph.clone();
    let facts = facts(front, &stored, (question, evidence)).await?;
    let decision = decide(&policy, &facts);
    remember(front, question, newest_signed(&policy, &facts)).await?;
    verdict(front, &graph, &decision)
}

fn parse_policy(
    stored: &projects::Stored,
    question: &Question<'_>,
) -> Result<GatePolicy, JudgeError> {
    let text = stored.policy(question.policy);
    let text = text.ok_or_else(|| JudgeError::NoPolicy {
        project: question.project.to_owned(),
        policy: question.policy.to_owned(),
    })?;
    GatePolicy::parse(text).map_err(|source| JudgeError::Policy {
        project: question.project.to_owned(),
        source: Box::new(source),
    })
}

async fn evidence(
    front: &Front,
    stored: &projects::Stored,
    (question, policy): (&Question<'_>, &GatePolicy),
) -> Result<Evidence, JudgeError> {
    let text = stored.trust_policy();
    let text = text.ok_or_else(|| JudgeError::NoTrustPolicy(question.project.to_owned()))?;
    let trust_policy =
        TrustPolicy::parse(text.as_bytes()).map_err(|source| JudgeError::Policy {
            project: question.project.to_owned(),
            source: Box::new(source),
        })?;
    let trust_store = own_trust_store(front).await?;
    let crls = Crls::new(front).await?;
    let pushed: Vec<Pushed> = front
        .revocations
        .feed()
        .map(Pushed::Feed)
        .into_iter()
        .collect();
    let source = StoreSource::new(front, question.repository, RUN_ACCOUNT);
    let name = TagOrDigest::Digest(question.digest.clone());
    let root = source.resolve(&name).await.map_err(JudgeError::Image)?;
    let graph = walk(&source, root, GraphLimits::default()).await;
    let contents = policy.content_types();
    let collection = Collection {
        trust: Trust {
            policy: &trust_policy,
            store: &trust_store,
            crls: &crls,
            pushed: &pushed,
        },
        scope: &scope(front, question.repository),
        contents: &contents,
        required_metadata: &BTreeMap::new(),
        now: clock::now(),
    };
    Ok(collect(&source, graph, &collection).await?)
}

/// Returns `registry/repository`, as trust policies and decisions name a repository.
pub(crate) fn scope(front: &Front, repository: &RepositoryName) -> String {
    format!("{}/{repository}", registry_name(front))
}

async fn own_trust_store(front: &Front) -> Result<TrustStore, JudgeError> {
    let authority = front.signer.authority().await?;
    let mut store = TrustStore::default();
    let pem = authority.root_pem.as_bytes();
    let added = store.add(StoreKind::SigningAuthority, OWN_STORE, pem);
    added.map_err(|source| JudgeError::Policy {
        project: OWN_STORE.to_owned(),
        source: Box::new(source),
    })?;
    Ok(store)
}

async fn facts(
    front: &Front,
    stored: &projects::Stored,
    (question, evidence): (&Question<'_>, Evidence),
) -> Result<Facts, JudgeError> {
    let repository = scope(front, question.repository);
    let mut facts = pipeline::facts::of_evidence(&repository, evidence, clock::now());
    facts.policies = stored.policy_digests();
    facts.newest_known = newest_known(front, question).await?.1;
    Ok(facts)
}

fn newest_key(question: &Question<'_>) -> DocumentKey {
    let name = format!("{}@{}", question.repository, question.digest);
    DocumentKey::new(NEWEST_KNOWN, name)
}

type NewestByType = BTreeMap<String, NewestKnown>;

async fn newest_known(
    front: &Front,
    question: &Question<'_>,
) -> Result<(u64, NewestByType), JudgeError> {
    let Some(row) = front.store.documents.get(&newest_key(question)).await? else {
        return Ok((0, NewestByType::new()));
    };
    let known = serde_json::from_slice(&row.bytes).map_err(|source| JudgeError::Policy {
        project: question.project.to_owned(),
        source: Box::new(source),
    })?;
    Ok((row.version, known))
}

/// Remembers the newest reports outside of the registry, where whoever may push cannot take them
/// away. What is remembered only ever becomes newer.
async fn remember(
    front: &Front,
    question: &Question<'_>,
    seen: NewestByType,
) -> Result<(), JudgeError> {
    for _ in 0..MAX_TRIES {
        let (version, mut known) = newest_known(front, question).await?;
        let mut is_newer = false;
        for (kind, report) in &seen {
            if known.get(kind).is_none_or(|old| old.at < report.at) {
                known.insert(kind.clone(), report.clone());
                is_newer = true;
            }
        }
        if !is_newer {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&known).map_err(|source| JudgeError::Policy {
            project: question.project.to_owned(),
            source: Box::new(source),
        })?;
        let key = newest_key(question);
        let documents = &front.store.documents;
        match documents
            .put_if_version(&key, version, &bytes, clock::now())
            .await
        {
            Err(StoreError::Conflict(_)) => {}
            other => return other.map(drop).map_err(JudgeError::from),
        }
    }
    Err(StoreError::Conflict("the newest reports of an image".to_owned()).into())
}

fn verdict(
    front: &Front,
    graph: &ArtifactGraph,
    decision: &Decision,
) -> Result<Verdict, JudgeError> {
    let decisive = decision.decisive();
    let code = decisive.and_then(|requirement| requirement.code);
    let message = decisive.map(|found| format!("`{}`: {}", found.id, found.reason));
    let mut rests_on = BTreeSet::new();
    for requirement in &decision.requirements {
        collect_evidence(graph, requirement, &mut rests_on);
    }
    Ok(Verdict {
        allowed: decision.is_allowed(),
        code: code.map_or("inconclusive", gate::Code::as_str).to_owned(),
        message: message.unwrap_or_else(|| "nothing was required".to_owned()),
        tree: decision.render_tree(),
        json: serde_json::to_value(decision).unwrap_or_default(),
        summary: gate::verdict::statement(decision, &front.public_url)?,
        graph_root: decision.graph_root.clone(),
        policy_digest: decision.policy.digest.clone(),
        digest: decision.verdict_digest(),
        rests_on,
    })
}

/// Collects the pieces of evidence, and not the endorsements, that a requirement rests on.
fn collect_evidence(
    graph: &ArtifactGraph,
    requirement: &gate::Requirement,
    found: &mut BTreeSet<Digest>,
) {
    let is_evidence = |digest: &&Digest| {
        let node = graph.node(digest);
        node.is_some_and(|node| !node.is_endorsement())
    };
    found.extend(requirement.evidence.iter().filter(is_evidence).cloned());
    for child in &requirement.children {
        collect_evidence(graph, child, found);
    }
}

/// Returns the graph root of what is there now.
pub(crate) async fn current_graph_root(
    source: &StoreSource,
    digest: &Digest,
) -> Result<Digest, ApiError> {
    let root = source.resolve(&TagOrDigest::Digest(digest.clone())).await;
    let root = root.map_err(|error| ApiError::internal(chain(&error)))?;
    let graph = walk(source, root, GraphLimits::default()).await;
    graph.graph_root().ok_or_else(|| {
        let text = "the artifacts of the image are too many to be looked at".to_owned();
        ApiError::new(ErrorKind::Unprocessable, "graph-truncated", text)
    })
}

/// Revocation lists: our own from the signer, which cannot be kept back; those of others from
/// where their certificates say.
///
/// Ours is asked for only before the feed of revocations was heard for the first time.
struct Crls {
    signer: SignerClient,
    own: BTreeMap<String, OwnList>,
    others: HttpCrls,
}

/// Whose list of our own.
enum OwnList {
    Root,
    Issuer(String),
}

impl Crls {
    async fn new(front: &Front) -> Result<Self, JudgeError> {
        let authority = front.signer.authority().await?;
        let lists = authority.lists.into_iter();
        let mut own: BTreeMap<_, _> = lists.map(|(url, id)| (url, OwnList::Issuer(id))).collect();
        own.extend(authority.root_crl_url.map(|url| (url, OwnList::Root)));
        Ok(Self {
            signer: front.signer.clone(),
            own,
            others: HttpCrls::new(&HttpOptions::default()).map_err(JudgeError::Client)?,
        })
    }
}

#[async_trait]
impl CrlSource for Crls {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, ClientError> {
        let own = match self.own.get(url) {
            None => return self.others.fetch(url).await,
            Some(OwnList::Root) => self.signer.root_list().await.map(|list| list.der),
            Some(OwnList::Issuer(id)) => {
                let list = self.signer.revocation_list(Some(id)).await;
                list.map(|list| list.der)
            }
        };
        own.map_err(|error| ClientError::Unavailable {
            place: url.to_owned(),
            reason: error.to_string(),
            source: Some(Box::new(error)),
        })
    }
}
