//! StartSigningJob, over the repositories of our own registry.
//!
//! At AWS the source is an object in S3. Here the bucket is a repository, the key a tag or digest,
//! and the version the digest that the caller means (or `null`, as S3 calls the version of an object
//! that has none). What is signed is that manifest; the signature is stored beside it as a referrer,
//! so it has no place of its own to choose. The job is done when the answer is given.

use ::signer::protocol::log::Which;
use ::signer::{JobId, SignRequest};
use client::envelope_artifact::{EnvelopeArtifact, SignedContent};
use client::{ArtifactSource as _, ClientError, TagOrDigest};
use oci::{Descriptor, RepositoryName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::documents::DocumentKey;
use trust::TargetArtifact;

use super::{Answer, account_number, profile_name};
use crate::api::signing;
use crate::aws::error::AwsError;
use crate::aws::invocations::AwsAnswer;
use crate::aws::request::AwsRequest;
use crate::clock;
use crate::error::{ApiError, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// The kind of document that says what a job signed and where the signature lies.
const JOBS: &str = "aws-signing-job";
/// The kind of document that says what a client's token was used for.
const TOKENS: &str = "aws-signing-token";
/// The longest token of a client, in bytes.
const MAX_TOKEN_BYTES: usize = 256;
/// What S3 calls the version of an object that has none.
const NO_VERSION: &str = "null";

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    source: Place<Source>,
    destination: Place<Destination>,
    profile_name: String,
    client_request_token: String,
    profile_owner: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Place<T> {
    s3: T,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    bucket_name: String,
    key: String,
    version: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    bucket_name: Option<String>,
    prefix: Option<String>,
}

/// What a client's token was used for.
#[derive(Serialize, Deserialize)]
struct Used {
    /// The hash of the request.
    request: String,
    /// The answer; none while the job is under way.
    answer: Option<Value>,
}

/// Where the object of a job lies, and where its signature.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Objects {
    pub(super) source: Value,
    pub(super) signed_object: Value,
}

/// Signs a manifest of a repository and stores the signature beside it.
pub(super) async fn start(request: &AwsRequest) -> Answer {
    let input: Input = request.json()?;
    let token = &input.client_request_token;
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return Err(AwsError::validation(format!(
            "`clientRequestToken` has {} bytes: use 1 to {MAX_TOKEN_BYTES}",
            token.len()
        )));
    }
    let once = Once::new(request, &input)?;
    if let Some(answer) = once.reserve().await? {
        return Ok(AwsAnswer::ok(answer));
    }
    let done = sign(request, &input).await;
    once.settle(done.as_ref().ok()).await?;
    done.map(AwsAnswer::ok)
}

async fn sign(request: &AwsRequest, input: &Input) -> Result<Value, AwsError> {
    let front = &request.front;
    let repository = repository(input)?;
    let caller = &request.caller.caller;
    caller.require_push(&repository)?;
    let profile = profile_name(&input.profile_name)?;
    signing::check_limits(caller, &profile)?;
    let owner = match &input.profile_owner {
        Some(owner) => account_number(owner)?,
        None => request.caller.number,
    };
    let source = StoreSource::new(front, &repository, &caller.account);
    let subject = resolve(&source, &input.source.s3).await?;
    signing::check_made_by_run(front, caller, (&subject.digest, Some(&repository))).await?;
    let signed = front.signer.sign(SignRequest {
        principal: request.principal().await?,
        profile,
        owner: Some(owner),
        payload: TargetArtifact::of(&subject).to_payload(),
        artifact: signing::stored_artifact(front, &subject.digest, &repository).await?,
    });
    let signed = signed.await?;
    let content = SignedContent {
        subject: subject.clone(),
        envelope: signed.envelope,
        signing_time: signed.signing_time,
        job: signed.job.to_string(),
        log: Some(front.prove(Which::Position(signed.position)).await?),
    };
    let artifact = EnvelopeArtifact::signature(content, &signed.certificate_sha256);
    let manifest = artifact.push(&source).await.map_err(failed)?;
    let objects = Objects {
        source: json!({"s3": {
            "bucketName": repository,
            "key": input.source.s3.key,
            "version": subject.digest,
        }}),
        signed_object: json!({"s3": {"bucketName": repository, "key": manifest.digest}}),
    };
    remember(front, signed.job, &objects).await?;
    Ok(json!({"jobId": signed.job.to_string(), "jobOwner": owner}))
}

fn repository(input: &Input) -> Result<RepositoryName, AwsError> {
    let source = &input.source.s3;
    let destination = &input.destination.s3;
    if destination
        .bucket_name
        .as_ref()
        .is_some_and(|name| *name != source.bucket_name)
    {
        return Err(AwsError::validation(
            "`destination.s3.bucketName` is not the repository of the source: a signature is a \
             referrer of what it signs, and lies beside it",
        ));
    }
    if destination
        .prefix
        .as_ref()
        .is_some_and(|prefix| !prefix.is_empty())
    {
        return Err(AwsError::validation(
            "`destination.s3.prefix` cannot be honoured: a signature is found by the digest of \
             what it signs; leave it out",
        ));
    }
    let parsed: Result<RepositoryName, _> = source.bucket_name.parse();
    parsed.map_err(|error| AwsError::validation(format!("`source.s3.bucketName`: {error}")))
}

async fn resolve(source: &StoreSource, asked: &Source) -> Result<Descriptor, AwsError> {
    let digest = asked.key.parse().map(TagOrDigest::Digest);
    let name = digest.or_else(|_| asked.key.parse().map(TagOrDigest::Tag));
    let name = name.map_err(|_| {
        AwsError::validation("`source.s3.key` is neither a tag nor a digest of the repository")
    })?;
    let found = source.resolve(&name).await.map_err(failed)?;
    match asked.version == NO_VERSION || asked.version == found.digest.to_string() {
        true => Ok(found),
        false => Err(AwsError::validation(format!(
            "`source.s3.version` is not `{}`, which the key names now: give that digest, or \
             `{NO_VERSION}` for whatever the key names",
            found.digest
        ))),
    }
}

fn failed(error: ClientError) -> AwsError {
    match error {
        ClientError::NotFound { .. } => AwsError::not_found(error.to_string()),
        other => ApiError::internal(chain(&other)).into(),
    }
}

async fn remember(front: &Front, job: JobId, objects: &Objects) -> Result<(), AwsError> {
    let bytes = serde_json::to_vec(objects).unwrap_or_default();
    let key = DocumentKey::new(JOBS, job.to_string());
    front
        .store
        .documents
        .put(&key, &bytes, clock::now())
        .await?;
    Ok(())
}

/// Returns where the object of a job lies; nothing for a job that signed a payload.
pub(super) async fn objects(front: &Front, job: JobId) -> Result<Objects, AwsError> {
    let key = DocumentKey::new(JOBS, job.to_string());
    let row = front.store.documents.get(&key).await?;
    let parsed = row.and_then(|row| serde_json::from_slice(&row.bytes).ok());
    Ok(parsed.unwrap_or_default())
}

/// One use of a client's token.
struct Once<'a> {
    front: &'a Front,
    key: DocumentKey,
    request: String,
}

impl<'a> Once<'a> {
    fn new(request: &'a AwsRequest, input: &Input) -> Result<Self, AwsError> {
        let bytes = serde_json::to_vec(input).map_err(|error| {
            AwsError::from(ApiError::internal(format!(
                "a request does not serialise: {error}"
            )))
        })?;
        let token = &input.client_request_token;
        let name = format!("{}\n{token}", request.caller.caller.account);
        Ok(Self {
            front: &request.front,
            key: DocumentKey::new(TOKENS, hex::encode(Sha256::digest(name))),
            request: hex::encode(Sha256::digest(bytes)),
        })
    }

    /// Returns the answer that was given to this token before; `None` when it is the caller's to
    /// find one.
    async fn reserve(&self) -> Result<Option<Value>, AwsError> {
        let documents = &self.front.store.documents;
        let bytes = self.document(None);
        let put = documents
            .put_if_version(&self.key, 0, &bytes, clock::now())
            .await;
        match put {
            Ok(_) => return Ok(None),
            Err(store::StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let row = documents.get(&self.key).await?;
        let used: Option<Used> = row.and_then(|row| serde_json::from_slice(&row.bytes).ok());
        match used {
            Some(used) if used.request != self.request => Err(AwsError::validation(
                "`clientRequestToken` was used for another request: choose another",
            )),
            Some(Used {
                answer: Some(answer),
                ..
            }) => Ok(Some(answer)),
            _ => Err(AwsError::throttled(
                "ThrottlingException",
                "the job of this `clientRequestToken` is under way: ask again in a moment",
            )),
        }
    }

    async fn settle(&self, answer: Option<&Value>) -> Result<(), AwsError> {
        let documents = &self.front.store.documents;
        match answer {
            Some(answer) => {
                let bytes = self.document(Some(answer.clone()));
                documents.put(&self.key, &bytes, clock::now()).await?;
            }
            None => {
                documents.delete(&self.key).await?;
            }
        }
        Ok(())
    }

    fn document(&self, answer: Option<Value>) -> Vec<u8> {
        let request = self.request.clone();
        serde_json::to_vec(&Used { request, answer }).unwrap_or_default()
    }
}
