//! A verifier for one machine: it holds what is needed to judge, and answers over HTTP.
//!
//! It subscribes to the revocations of a server and keeps them in memory; it keeps the envelopes
//! that it read, by their digests; and it judges anew at every question, so that a revocation counts
//! for the next answer. When it hears nothing for ten seconds, its answers say that revocation is
//! unknown, and a policy that enforces revocation refuses.
//!
//! It has no accounts: it listens on a loopback address for whoever runs on the machine, and says
//! nothing that the registry's own credentials would not say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use client::cached::{Cache, CachedSource};
use client::revocation::HttpCrls;
use client::revocation_feed::FeedReader;
use client::verification::{Report, Verification, VerificationError, verify};
use client::{
    ArtifactSource, ClientError, ErrorKind as ClientErrorKind, RegistryClient, TagOrDigest,
};
use http::StatusCode;
use oci::{Digest, Reference};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, watch};
use trust::revocation::Pushed;
use trust::revocation::feed::FeedStatus;
use trust::{TrustPolicy, TrustStore};

use crate::clock;
use crate::error::{ApiError, ErrorKind, chain};
use crate::listen::{ListenError, Listener};

/// How many bytes of manifests and envelopes are kept.
const CACHE_BYTES: usize = 64 << 20;
/// The largest question, in bytes.
const MAX_QUESTION_BYTES: usize = 64 * 1024;
/// How many questions are worked on at once; more wait.
const MAX_AT_ONCE: usize = 64;
/// How long one question may take.
const MAX_TIME: Duration = Duration::from_secs(30);

/// What a verifier is made of.
pub struct VerifierParts {
    /// Whom to trust.
    pub policy: TrustPolicy,
    /// The trust anchors.
    pub store: TrustStore,
    /// The connection to the feed.
    pub reader: FeedReader,
    /// Where revocation lists of others come from.
    pub crls: HttpCrls,
    /// Where artifacts come from.
    pub registries: RegistryClient,
}

struct Verifier {
    parts: VerifierParts,
    cache: Cache,
    slots: Semaphore,
}

/// A question.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VerifyQuestion {
    /// The artifact, as `registry/repository:tag` or `registry/repository@digest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The repository, as `registry/repository`, together with `digest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The repository that the trust policy is asked about, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// User metadata that a signature must have.
    pub metadata: BTreeMap<String, String>,
    /// Whether everything that hangs on the artifact must be signed, too.
    pub recursive: bool,
}

/// What `/healthz` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifierHealth {
    /// `fresh`, or `lost`.
    pub feed: String,
    /// When the last heartbeat was signed.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub heartbeat: Option<OffsetDateTime>,
    /// The number of the last revocation that is known.
    pub sequence: u64,
    /// Why the last connection ended, if none has given a heartbeat since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Serves until `stop` becomes true.
///
/// # Errors
/// When the address cannot be listened on, or is not a loopback address.
pub async fn run(
    parts: VerifierParts,
    listen: SocketAddr,
    stop: watch::Receiver<bool>,
) -> Result<(), ListenError> {
    let listener = Listener::bind(listen, None).await?;
    tracing::info!(url = listener.url(), "ready: verifier");
    let verifier = Arc::new(Verifier {
        parts,
        cache: Cache::new(CACHE_BYTES),
        slots: Semaphore::new(MAX_AT_ONCE),
    });
    let reading = tokio::spawn({
        let verifier = verifier.clone();
        async move { verifier.parts.reader.run().await }
    });
    listener.serve(router(verifier), stop).await;
    reading.abort();
    Ok(())
}

fn router(verifier: Arc<Verifier>) -> Router {
    let limit = axum::extract::DefaultBodyLimit::max(MAX_QUESTION_BYTES);
    Router::new()
        .route("/verify", post(answer).layer(limit))
        .route("/healthz", get(health))
        .with_state(verifier)
}

/// Answers with the report that `countersign verify --output json` prints.
async fn answer(
    State(verifier): State<Arc<Verifier>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Report>, ApiError> {
    let question = parse(body)?;
    let slot = verifier.slots.acquire().await;
    let _slot = slot.map_err(|_| ApiError::unavailable("the verifier stops", "closed"))?;
    let judged = tokio::time::timeout(MAX_TIME, verifier.judge(&question)).await;
    let judged = judged.unwrap_or_else(|_| {
        let text = "the artifact could not be read in time";
        Err(ApiError::unavailable(text, "timeout"))
    });
    judged.map(Json)
}

fn parse(body: Result<Bytes, BytesRejection>) -> Result<VerifyQuestion, ApiError> {
    let body = body.map_err(|rejection| {
        let kind = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
            _ => ErrorKind::Usage,
        };
        ApiError::new(kind, "bad-body", rejection.body_text())
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::usage(format!("the question is malformed: {error}")))
}

async fn health(State(verifier): State<Arc<Verifier>>) -> (StatusCode, Json<VerifierHealth>) {
    let reader = &verifier.parts.reader;
    let (feed, heartbeat, status) = match reader.feed().status(clock::now()) {
        FeedStatus::Fresh { heartbeat } => ("fresh", Some(heartbeat), StatusCode::OK),
        FeedStatus::Lost { since } => ("lost", since, StatusCode::SERVICE_UNAVAILABLE),
    };
    let health = VerifierHealth {
        feed: feed.to_owned(),
        heartbeat,
        sequence: reader.feed().sequence(),
        problem: reader.problem(),
    };
    (status, Json(health))
}

impl VerifyQuestion {
    fn reference(&self) -> Result<Reference, ApiError> {
        let text = match (&self.reference, &self.repository, &self.digest) {
            (Some(reference), None, None) => reference.clone(),
            (None, Some(repository), Some(digest)) => format!("{repository}@{digest}"),
            _ => {
                let text = "the question names either `reference`, or `repository` and `digest`";
                return Err(ApiError::usage(text));
            }
        };
        text.parse().map_err(|error| ApiError::usage(chain(&error)))
    }
}

impl Verifier {
    async fn judge(&self, question: &VerifyQuestion) -> Result<Report, ApiError> {
        let reference = question.reference()?;
        let name = TagOrDigest::of(&reference).ok_or_else(|| {
            ApiError::usage(format!("`{reference}` has neither a tag nor a digest"))
        })?;
        let repository = self.parts.registries.repository(&reference);
        let own_scope = reference.scope();
        let source = CachedSource::new(&repository, &own_scope, &self.cache);
        let root = source.resolve(&name).await.map_err(unreadable)?;
        let reference = reference.at(root.digest.clone()).to_string();
        let pushed = [Pushed::Feed(self.parts.reader.feed().clone())];
        let verification = Verification {
            trust: client::evidence::Trust {
                policy: &self.parts.policy,
                store: &self.parts.store,
                crls: &self.parts.crls,
                pushed: &pushed,
            },
            scope: question.scope.as_deref().unwrap_or(&own_scope),
            required_metadata: &question.metadata,
            recursive: question.recursive,
            now: clock::now(),
        };
        let report = verify(&source, (root, reference), &verification).await;
        report.map_err(|error| {
            let code = match &error {
                VerificationError::NoStatement(_) => "no-statement",
                _ => "artifact-unreadable",
            };
            ApiError::new(ErrorKind::Unprocessable, code, chain(&error))
        })
    }
}

fn unreadable(error: ClientError) -> ApiError {
    let text = chain(&error);
    match error.kind() {
        ClientErrorKind::NotFound => ApiError::not_found(text),
        ClientErrorKind::Denied => ApiError::denied(text),
        ClientErrorKind::Unavailable => {
            ApiError::new(ErrorKind::Unavailable, "registry-unavailable", text)
        }
        _ => ApiError::new(ErrorKind::Unprocessable, "artifact-unreadable", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_one_artifact_in_one_way() {
        let digest = Digest::sha256(b"x");
        for (question, expected) in [
            (r#"{"reference":"a.example/b:1"}"#.to_owned(), true),
            (
                format!(r#"{{"repository":"a.example/b","digest":"{digest}"}}"#),
                true,
            ),
            ("{}".to_owned(), false),
            (r#"{"repository":"a.example/b"}"#.to_owned(), false),
            (
                format!(r#"{{"reference":"a.example/b:1","digest":"{digest}"}}"#),
                false,
            ),
            (r#"{"reference":"b"}"#.to_owned(), false),
            (r#"{"image":"a.example/b:1"}"#.to_owned(), false),
        ] {
            let parsed = parse(Ok(Bytes::from(question.clone())));
            let found = parsed.and_then(|question| question.reference());
            assert_eq!(found.is_ok(), expected, "{question}");
        }
    }
}
