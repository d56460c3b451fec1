//! The front's side of the socket.
//!
//! A few connections, each with many requests under way. A connection that broke is made anew at
//! the next request: a signer that was killed and restarted is found again. A request that was
//! lost with its connection is sent once more; none of them does harm when it is done twice (a
//! second signature is a second job, given out once).

mod log;
mod revocation;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::authority::AuthoritySubject;
use crate::job::{JobId, SigningJob};
use crate::principal::Principal;
use crate::profile::{PermissionChange, ProfileName, ProfileSpec, SigningProfile, TagChange};
use crate::protocol::{self, Failure, FailureKind, FrameError, Numbered, Request, Response};
use crate::server::REQUEST_TIMEOUT;
use crate::service::{
    AttestRequest, JobFilter, JobListing, ProfileChange, RevokedParts, RuleTest, RuleTestResult,
    SignRequest, SignedEnvelope, StatusQuestion,
};

/// How many connections are kept. One carries many requests; a second lets both sides parse on
/// two processors.
const CONNECTIONS: usize = 2;
/// How often a connection is tried, and the pause between, ten seconds in all: a signer that
/// starts needs a moment to derive its keys, twice as long at the first start.
const CONNECT_ATTEMPTS: u32 = 100;
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
const QUEUE: usize = 256;

/// Says why the signer gave no answer, or which one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerClientError {
    /// The signer refused.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The signer cannot be reached.
    #[error("cannot reach the signer at `{path}`")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke while the request was under way, twice.
    #[error("the signer went away while it worked on the request")]
    Lost,
    /// No answer came in time.
    #[error("the signer gave no answer in time")]
    Timeout,
    /// The request is too long for a frame.
    #[error("the request does not fit into a frame")]
    Frame(#[from] FrameError),
    /// The signer answered something else than was asked.
    #[error("the signer gave an answer to something else")]
    Unexpected,
}

impl SignerClientError {
    /// Returns whose fault it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Failed(failure) => failure.kind,
            Self::Unreachable { .. } | Self::Lost | Self::Timeout => FailureKind::Unavailable,
            Self::Frame(_) => FailureKind::Usage,
            Self::Unexpected => FailureKind::Internal,
        }
    }
}

/// A client of the signer. Cheap to clone.
#[derive(Clone)]
pub struct SignerClient {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    next_id: AtomicU64,
    slots: [tokio::sync::Mutex<Option<Connection>>; CONNECTIONS],
}

/// The root and the chain of the signer's authority, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityChain {
    /// The root: the trust anchor.
    pub root_pem: String,
    /// Intermediate and root.
    pub chain_pem: String,
    /// What all subjects share.
    pub subject: AuthoritySubject,
    /// Where the leaves say that the revocation list is.
    pub crl_url: Option<String>,
    /// Where the lists of the intermediates are, with the identifiers of their keys.
    pub lists: Vec<(String, String)>,
    /// Where the list of the root is.
    pub root_crl_url: Option<String>,
}

/// A document in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The document.
    pub der: Vec<u8>,
    /// Until when it may be used, if it says so.
    pub next_update: Option<OffsetDateTime>,
}

/// A revocation list, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedList {
    /// The list in DER.
    pub der: Vec<u8>,
    /// Its number.
    pub number: u64,
    /// Until when it may be used.
    pub next_update: OffsetDateTime,
}

impl SignerClient {
    /// Returns a client of the signer at `socket`. Nothing is connected before the first request.
    pub fn connect(socket: &Path) -> Self {
        Self {
            shared: Arc::new(Shared {
                path: socket.to_owned(),
                next_id: AtomicU64::new(1),
                slots: Default::default(),
            }),
        }
    }

    /// Returns when the signer answers.
    pub async fn ping(&self) -> Result<(), SignerClientError> {
        match self.call(&Request::Ping).await? {
            Response::Pong => Ok(()),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Has an artifact signed.
    pub async fn sign(&self, request: SignRequest) -> Result<SignedEnvelope, SignerClientError> {
        let SignRequest {
            principal,
            profile,
            owner,
            payload,
            artifact,
        } = request;
        match self
            .call(&Request::Sign {
                principal,
                profile,
                owner,
                payload,
                artifact,
            })
            .await?
        {
            Response::Signed(signed) => Ok(signed),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Adds or removes a permission of a profile, if its permissions are still at a revision.
    pub async fn change_permissions(
        &self,
        principal: Principal,
        name: ProfileName,
        (change, revision): (PermissionChange, Option<String>),
    ) -> Result<SigningProfile, SignerClientError> {
        let request = Request::ChangePermissions {
            principal,
            name,
            change,
            revision,
        };
        match self.call(&request).await? {
            Response::Profile(profile) => Ok(profile),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Sets and removes tags of a profile.
    pub async fn change_tags(
        &self,
        principal: Principal,
        name: ProfileName,
        change: TagChange,
    ) -> Result<SigningProfile, SignerClientError> {
        let request = Request::ChangeTags {
            principal,
            name,
            change,
        };
        match self.call(&request).await? {
            Response::Profile(profile) => Ok(profile),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns a page of jobs, the newest first.
    pub async fn list_jobs(
        &self,
        principal: Principal,
        filter: JobFilter,
    ) -> Result<JobListing, SignerClientError> {
        match self.call(&Request::Jobs { principal, filter }).await? {
            Response::Jobs(listing) => Ok(listing),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns what of a signature was revoked.
    pub async fn revoked_parts(
        &self,
        question: StatusQuestion,
    ) -> Result<RevokedParts, SignerClientError> {
        match self.call(&Request::RevokedParts(question)).await? {
            Response::RevokedParts(parts) => Ok(parts),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Has a statement signed.
    pub async fn attest(
        &self,
        request: AttestRequest,
    ) -> Result<SignedEnvelope, SignerClientError> {
        let AttestRequest {
            principal,
            profile,
            payload_type,
            payload,
            artifact,
        } = request;
        let request = Request::Attest {
            principal,
            profile,
            payload_type,
            payload,
            artifact,
        };
        match self.call(&request).await? {
            Response::Signed(signed) => Ok(signed),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Makes a profile, or with `replace` a new version of it.
    pub async fn put_profile(
        &self,
        principal: Principal,
        spec: ProfileSpec,
        replace: bool,
    ) -> Result<(ProfileChange, SigningProfile), SignerClientError> {
        match self
            .call(&Request::PutProfile {
                principal,
                spec,
                replace,
            })
            .await?
        {
            Response::ProfilePut { change, profile } => Ok((change, profile)),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns what the rules of a profile would say to a request.
    pub async fn test_rules(
        &self,
        principal: Principal,
        test: RuleTest,
    ) -> Result<RuleTestResult, SignerClientError> {
        match self.call(&Request::TestRules { principal, test }).await? {
            Response::RulesTested(result) => Ok(result),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns a profile.
    pub async fn profile(
        &self,
        principal: Principal,
        name: ProfileName,
    ) -> Result<SigningProfile, SignerClientError> {
        profile_of(self.call(&Request::Profile { principal, name }).await?)
    }

    /// Returns all profiles that the caller may see, by name.
    pub async fn profiles(
        &self,
        principal: Principal,
    ) -> Result<Vec<SigningProfile>, SignerClientError> {
        let mut all: Vec<SigningProfile> = Vec::new();
        loop {
            let after = all.last().map(|profile| profile.name.clone());
            let request = Request::Profiles {
                principal: principal.clone(),
                after,
            };
            let Response::Profiles { profiles, more } = self.call(&request).await? else {
                return Err(SignerClientError::Unexpected);
            };
            let is_last = !more || profiles.is_empty();
            all.extend(profiles);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Lets a profile sign no more.
    pub async fn cancel_profile(
        &self,
        principal: Principal,
        name: ProfileName,
    ) -> Result<SigningProfile, SignerClientError> {
        profile_of(
            self.call(&Request::CancelProfile { principal, name })
                .await?,
        )
    }

    /// Revokes what a profile signed at `from` or later; everything when it is absent.
    pub async fn revoke_profile(
        &self,
        principal: Principal,
        name: ProfileName,
        (from, reason): (Option<OffsetDateTime>, String),
    ) -> Result<SigningProfile, SignerClientError> {
        let request = Request::RevokeProfile {
            principal,
            name,
            from,
            reason,
        };
        profile_of(self.call(&request).await?)
    }

    /// Returns a job.
    pub async fn job(
        &self,
        principal: Principal,
        id: JobId,
    ) -> Result<SigningJob, SignerClientError> {
        job_of(self.call(&Request::Job { principal, id }).await?)
    }

    /// Revokes one signature; with `whole_leaf`, also those that share its leaf.
    pub async fn revoke_job(
        &self,
        principal: Principal,
        id: JobId,
        (reason, whole_leaf): (String, bool),
    ) -> Result<SigningJob, SignerClientError> {
        job_of(
            self.call(&Request::RevokeJob {
                principal,
                id,
                reason,
                whole_leaf,
            })
            .await?,
        )
    }

    /// Returns the trust anchor and the chain.
    pub async fn authority(&self) -> Result<AuthorityChain, SignerClientError> {
        match self.call(&Request::Authority).await? {
            Response::Authority {
                root_pem,
                chain_pem,
                subject,
                crl_url,
                lists,
                root_crl_url,
            } => Ok(AuthorityChain {
                root_pem,
                chain_pem,
                subject,
                crl_url,
                lists,
                root_crl_url,
            }),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns where the keys lie, in words.
    pub async fn custody(&self) -> Result<String, SignerClientError> {
        match self.call(&Request::Custody).await? {
            Response::Custody(description) => Ok(description),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns the revocation list of the root.
    pub async fn root_list(&self) -> Result<Document, SignerClientError> {
        document_of(self.call(&Request::RootList).await?)
    }

    /// Returns the answer to an OCSP request in DER.
    pub async fn ocsp(&self, request: Vec<u8>) -> Result<Document, SignerClientError> {
        document_of(self.call(&Request::Ocsp { request }).await?)
    }

    /// Returns the answer to a time-stamp request in DER.
    pub async fn timestamp(&self, request: Vec<u8>) -> Result<Document, SignerClientError> {
        document_of(self.call(&Request::Timestamp { request }).await?)
    }

    /// Returns the revocation list of the intermediate whose key has this identifier, of the newest
    /// when it is absent, put together from its pieces.
    pub async fn revocation_list(
        &self,
        issuer: Option<&str>,
    ) -> Result<FetchedList, SignerClientError> {
        // A list that is replaced between two pieces is begun again.
        for _ in 0..3 {
            match self.try_revocation_list(issuer).await {
                Err(SignerClientError::Failed(failure))
                    if failure.code == "revocation-list-replaced" => {}
                result => return result,
            }
        }
        Err(SignerClientError::Timeout)
    }

    async fn try_revocation_list(
        &self,
        issuer: Option<&str>,
    ) -> Result<FetchedList, SignerClientError> {
        let mut der = Vec::new();
        let mut wanted = None;
        loop {
            let request = Request::RevocationList {
                issuer: issuer.map(str::to_owned),
                number: wanted,
                offset: der.len(),
            };
            let answer = self.call(&request).await?;
            let Response::RevocationList {
                number,
                next_update,
                total_bytes,
                piece,
            } = answer
            else {
                return Err(SignerClientError::Unexpected);
            };
            let is_last = piece.is_empty() || der.len() + piece.len() >= total_bytes;
            der.extend_from_slice(&piece);
            if is_last {
                return Ok(FetchedList {
                    der,
                    number,
                    next_update,
                });
            }
            wanted = Some(number);
        }
    }

    async fn call(&self, request: &Request) -> Result<Response, SignerClientError> {
        for _ in 0..2 {
            match self.try_call(request).await {
                Err(SignerClientError::Lost) => {}
                Ok(Response::Failed(failure)) => return Err(failure.into()),
                result => return result,
            }
        }
        Err(SignerClientError::Lost)
    }

    async fn try_call(&self, request: &Request) -> Result<Response, SignerClientError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = protocol::encode(&Numbered { id, body: request })?;
        let connection = self.shared.connection(id).await?;
        let (sender, answer) = oneshot::channel();
        connection.pending().insert(id, sender);
        if connection.frames.send(frame).await.is_err() {
            return Err(SignerClientError::Lost);
        }
        // A little longer than the signer allows itself, so that its own answer is heard.
        let limit = REQUEST_TIMEOUT + Duration::from_secs(2);
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(SignerClientError::Lost),
            Err(_) => {
                connection.pending().remove(&id);
                Err(SignerClientError::Timeout)
            }
        }
    }
}

fn profile_of(response: Response) -> Result<SigningProfile, SignerClientError> {
    match response {
        Response::Profile(profile) => Ok(profile),
        _ => Err(SignerClientError::Unexpected),
    }
}

fn document_of(response: Response) -> Result<Document, SignerClientError> {
    match response {
        Response::Document { der, next_update } => Ok(Document { der, next_update }),
        _ => Err(SignerClientError::Unexpected),
    }
}

fn job_of(response: Response) -> Result<SigningJob, SignerClientError> {
    match response {
        Response::Job(job) => Ok(job),
        _ => Err(SignerClientError::Unexpected),
    }
}

impl Shared {
    async fn connection(&self, id: u64) -> Result<Connection, SignerClientError> {
        let mut slot = self.slots[usize::from(id % 2 == 1)].lock().await;
        if let Some(connection) = &*slot
            && !connection.frames.is_closed()
        {
            return Ok(connection.clone());
        }
        let connection = Connection::start(self.open().await?);
        *slot = Some(connection.clone());
        Ok(connection)
    }

    async fn open(&self) -> Result<UnixStream, SignerClientError> {
        let mut attempt = 1;
        loop {
            match UnixStream::connect(&self.path).await {
                Ok(stream) => return Ok(stream),
                Err(_) if attempt < CONNECT_ATTEMPTS => attempt += 1,
                Err(source) => {
                    let path = self.path.clone();
                    return Err(SignerClientError::Unreachable { path, source });
                }
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Response>>>>;

#[derive(Clone)]
struct Connection {
    frames: mpsc::Sender<Vec<u8>>,
    pending: Pending,
}

impl Connection {
    fn start(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        let (frames, queue) = mpsc::channel(QUEUE);
        let pending = Pending::default();
        tokio::spawn(run(reader, (writer, queue), pending.clone()));
        Self { frames, pending }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Response>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and writes until one of both ends. Then the queue is closed, so that nobody sends into
/// it, and all who wait are told.
async fn run(
    reader: OwnedReadHalf,
    (writer, mut queue): (OwnedWriteHalf, mpsc::Receiver<Vec<u8>>),
    pending: Pending,
) {
    tokio::select! {
        () = write_requests(writer, &mut queue) => {}
        result = read_answers(reader, &pending) => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection to the signer ended");
            }
        }
    }
    queue.close();
    while queue.try_recv().is_ok() {}
    pending
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}

async fn write_requests(mut writer: OwnedWriteHalf, queue: &mut mpsc::Receiver<Vec<u8>>) {
    let mut frames = Vec::new();
    let mut buffer = Vec::new();
    while queue.recv_many(&mut frames, QUEUE).await > 0 {
        buffer.clear();
        frames
            .drain(..)
            .for_each(|frame| buffer.extend_from_slice(&frame));
        if writer.write_all(&buffer).await.is_err() {
            return;
        }
    }
}

async fn read_answers(reader: OwnedReadHalf, pending: &Pending) -> Result<(), FrameError> {
    let mut reader = BufReader::new(reader);
    while let Some(length) = protocol::read_length(&mut reader).await? {
        let body = protocol::read_body(&mut reader, length).await?;
        let answer: Numbered<Response> = serde_json::from_slice(&body)?;
        let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = pending.remove(&answer.id) {
            let _ = sender.send(answer.body);
        }
    }
    Ok(())
}
