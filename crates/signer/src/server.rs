//! The socket of the signer: who may connect, how much at once, for how long.
//!
//! The socket has mode 0660, and every peer's user id is checked against a list as well: a file
//! permission can be changed by mistake, the kernel's word about the peer cannot. A connection
//! that sends something unreadable is closed; it is our own front, so that is a bug and not a
//! user's mistake.

mod log;
mod revocation;

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::profile::SigningProfile;
use crate::protocol::{self, Failure, FrameError, Numbered, Request, Response};
use crate::records::Records;
use crate::service::{AttestRequest, ServiceConfig, SignRequest, Signer, SignerError, StartError};

/// The most connections at once; the front keeps a few.
pub const MAX_CONNECTIONS: usize = 64;
/// The most requests under way on one connection; more wait unread in the socket.
pub const MAX_IN_FLIGHT: usize = 128;
/// The longest that one request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a frame may take to arrive once its length has, and that an answer may wait
/// for a reader.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(5);
/// How long requests under way may still take after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(3);

/// A signer and the socket that it serves.
#[derive(Clone)]
pub struct SignerConfig {
    /// The signer.
    pub service: ServiceConfig,
    /// Where the socket is made.
    pub socket: PathBuf,
    /// The group of the socket's file, where the front runs as another user.
    pub socket_group: Option<u32>,
    /// The user ids that may connect.
    pub allowed_uids: Vec<u32>,
}

/// Serves until `shutdown` resolves, then lets what is under way finish, and takes the socket away.
pub async fn serve(
    config: SignerConfig,
    records: Arc<dyn Records>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), StartError> {
    let signer = Signer::open(config.service, records).await?;
    warn_about(&signer);
    let socket = SocketFile::bind(&config.socket, config.socket_group)?;
    tracing::info!(socket = %config.socket.display(), "the signer is ready");
    let allowed: Arc<[u32]> = config.allowed_uids.into();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some(slot) = admit(&stream, &allowed, &slots) {
                        let connection = Connection { signer: signer.clone(), _slot: slot };
                        connections.spawn(connection.run(stream, stopping.clone()));
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot accept a connection"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop((socket, stop));
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, all).await;
    Ok(())
}

/// A list of the root that ends sooner than this is worth a word at each start.
const ROOT_LIST_ENDS: time::Duration = time::Duration::days(90);

/// Says what of the authority somebody should see to.
fn warn_about(signer: &Signer) {
    let authority = signer.authority();
    if authority.root_key_beside() {
        tracing::warn!(
            "the key of the root lies beside the service: whoever takes the service over can issue \
             for ever. `countersign ca init` makes an authority whose root is elsewhere"
        );
    }
    match authority.root_list() {
        Some(list) if list.next_update < signer.now() + ROOT_LIST_ENDS => tracing::warn!(
            until = %list.next_update,
            "the revocation list of the root ends soon, and nothing verifies without one: sign \
             another with `countersign ca revoke`, and bring it in with `countersign ca import`"
        ),
        _ => {}
    }
    if authority.timestamping().is_none() {
        tracing::info!("no time is stamped: there is no intermediate for that");
    }
}

/// The listener, and the file that is taken away with it.
struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
}

impl SocketFile {
    fn bind(path: &Path, group: Option<u32>) -> Result<Self, StartError> {
        let failed = |source| StartError::System {
            action: "make the signer's socket",
            source,
        };
        remove_stale(path).map_err(failed)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self {
            listener,
            path: path.to_owned(),
        };
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group).map_err(failed)?;
        }
        let mode = std::fs::Permissions::from_mode(0o660);
        std::fs::set_permissions(path, mode).map_err(failed)?;
        Ok(socket)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes what a killed signer left behind. Anything but a socket is not ours to remove.
fn remove_stale(path: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

fn admit(
    stream: &UnixStream,
    allowed: &[u32],
    slots: &Arc<Semaphore>,
) -> Option<OwnedSemaphorePermit> {
    let uid = match stream.peer_cred() {
        Ok(credentials) => credentials.uid(),
        Err(error) => {
            tracing::warn!(%error, "a connection was refused: its user is not known");
            return None;
        }
    };
    if !allowed.contains(&uid) {
        tracing::warn!(uid, "a connection was refused: its user may not connect");
        return None;
    }
    let slot = slots.clone().try_acquire_owned().ok();
    if slot.is_none() {
        tracing::warn!("a connection was refused: there are {MAX_CONNECTIONS} already");
    }
    slot
}

struct Connection {
    signer: Arc<Signer>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: UnixStream, mut stopping: watch::Receiver<()>) {
        let (reader, writer) = stream.into_split();
        let (answers, queue) = mpsc::channel(MAX_IN_FLIGHT);
        let writing = tokio::spawn(write_answers(writer, queue));
        let result = tokio::select! {
            result = self.read_requests(reader, &answers) => result,
            // The sender is dropped when a stop is asked for; what was read is still answered.
            _ = stopping.changed() => Ok(()),
        };
        if let Err(error) = result {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a connection was closed");
        }
        drop(answers);
        let _ = writing.await;
    }

    async fn read_requests(
        &self,
        reader: OwnedReadHalf,
        answers: &mpsc::Sender<Vec<u8>>,
    ) -> Result<(), FrameError> {
        let mut reader = tokio::io::BufReader::new(reader);
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        while let Some(length) = protocol::read_length(&mut reader).await? {
            let body = protocol::read_body(&mut reader, length);
            let body = tokio::time::timeout(FRAME_TIMEOUT, body)
                .await
                .map_err(|_| timed_out())??;
            let request = parse(&body)?;
            let Ok(permit) = in_flight.clone().acquire_owned().await else {
                break;
            };
            let (signer, answers) = (self.signer.clone(), answers.clone());
            tokio::spawn(async move {
                let frame = answer(&signer, request).await;
                let _ = answers.send(frame).await;
                drop(permit);
            });
        }
        Ok(())
    }
}

fn timed_out() -> std::io::Error {
    std::io::ErrorKind::TimedOut.into()
}

/// A request whose number can be read is answered, whatever the rest of it is.
fn parse(body: &[u8]) -> Result<Numbered<Result<Request, SignerError>>, FrameError> {
    #[derive(serde::Deserialize)]
    struct OnlyNumber {
        id: u64,
    }
    match serde_json::from_slice::<Numbered<Request>>(body) {
        Ok(Numbered { id, body }) => Ok(Numbered { id, body: Ok(body) }),
        Err(error) => {
            let OnlyNumber { id } = serde_json::from_slice(body)?;
            Ok(Numbered {
                id,
                body: Err(SignerError::Malformed(error.to_string())),
            })
        }
    }
}

async fn write_answers(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    let mut frames = Vec::new();
    let mut buffer = Vec::new();
    // Answers that are ready together are written together.
    while queue.recv_many(&mut frames, MAX_IN_FLIGHT).await > 0 {
        buffer.clear();
        frames
            .drain(..)
            .for_each(|frame| buffer.extend_from_slice(&frame));
        let written = tokio::time::timeout(FRAME_TIMEOUT, writer.write_all(&buffer));
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn answer(signer: &Arc<Signer>, request: Numbered<Result<Request, SignerError>>) -> Vec<u8> {
    let Numbered { id, body } = request;
    let done = async { dispatch(signer, body?).await };
    let result = tokio::time::timeout(REQUEST_TIMEOUT, done).await;
    let body = result
        .unwrap_or(Err(SignerError::Timeout))
        .unwrap_or_else(|error| failed(&error));
    protocol::encode(&Numbered { id, body }).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer is too long");
        let error = SignerError::Internal("the answer is too long".to_owned());
        let body = failed(&error);
        protocol::encode(&Numbered { id, body }).unwrap_or_default()
    })
}

fn failed(error: &SignerError) -> Response {
    let failure = Failure::from(error);
    if failure.kind == protocol::FailureKind::Internal {
        let error: &dyn std::error::Error = error;
        tracing::error!(error, "a request failed");
    }
    Response::Failed(failure)
}

async fn dispatch(signer: &Arc<Signer>, request: Request) -> Result<Response, SignerError> {
    Ok(match request {
        Request::Ping => Response::Pong,
        Request::Sign {
            principal,
            profile,
            owner,
            payload,
            artifact,
        } => Response::Signed(
            signer
                .sign(SignRequest {
                    principal,
                    profile,
                    owner,
                    payload,
                    artifact,
                })
                .await?,
        ),
        Request::Attest {
            principal,
            profile,
            payload_type,
            payload,
            artifact,
        } => {
            let request = AttestRequest {
                principal,
                profile,
                payload_type,
                payload,
                artifact,
            };
            Response::Signed(signer.attest(request).await?)
        }
        Request::PutProfile {
            principal,
            spec,
            replace,
        } => {
            let (change, profile) = signer.put_profile(&principal, spec, replace).await?;
            Response::ProfilePut {
                change,
                profile: SigningProfile::clone(&profile),
            }
        }
        Request::TestRules { principal, test } => {
            Response::RulesTested(signer.test_rules(&principal, test).await?)
        }
        Request::Profile { principal, name } => {
            Response::Profile(SigningProfile::clone(&*signer.profile(&principal, &name)?))
        }
        Request::Profiles { principal, after } => {
            profile_page(&signer.profiles(&principal, after.as_ref(), usize::MAX))
        }
        Request::CancelProfile { principal, name } => {
            let profile = signer.cancel_profile(&principal, &name).await?;
            Response::Profile(SigningProfile::clone(&profile))
        }
        Request::RevokeProfile {
            principal,
            name,
            from,
            reason,
        } => {
            let profile = signer
                .revoke_profile(&principal, &name, (from, &reason))
                .await?;
            Response::Profile(SigningProfile::clone(&profile))
        }
        Request::Job { principal, id } => Response::Job(signer.job(&principal, id).await?),
        Request::RevokeJob {
            principal,
            id,
            reason,
            whole_leaf,
        } => Response::Job(
            signer
                .revoke_job(&principal, id, (&reason, whole_leaf))
                .await?,
        ),
        Request::Log(request) => Response::Log(log::dispatch(signer, request).await?),
        Request::Custody => Response::Custody(signer.authority().custody().describe()),
        Request::Revocation(call) => {
            Response::Revocation(revocation::dispatch(signer, call).await?)
        }
        Request::ChangePermissions {
            principal,
            name,
            change,
            revision,
        } => {
            let change = (change, revision.as_deref());
            let changed = signer.change_permissions(&principal, &name, change).await?;
            Response::Profile(SigningProfile::clone(&changed))
        }
        Request::ChangeTags {
            principal,
            name,
            change,
        } => {
            let changed = signer.change_tags(&principal, &name, change).await?;
            Response::Profile(SigningProfile::clone(&changed))
        }
        Request::Jobs { principal, filter } => {
            Response::Jobs(signer.list_jobs(&principal, filter).await?)
        }
        Request::RevokedParts(question) => {
            Response::RevokedParts(signer.revoked_parts(&question).await?)
        }
        Request::Authority => Response::Authority {
            root_pem: signer.authority().root_pem(),
            chain_pem: signer.authority().chain_pem(),
            subject: signer.authority().subject().clone(),
            crl_url: signer.authority().crl_url(),
            lists: signer.authority().list_urls(),
            root_crl_url: signer.authority().pki().root_crl_url.clone(),
        },
        Request::RevocationList {
            issuer,
            number,
            offset,
        } => list_piece(signer, issuer.as_deref(), (number, offset)).await?,
        Request::RootList => {
            let list = signer.authority().root_list();
            let list = list.ok_or(SignerError::NoRootList)?;
            Response::Document {
                der: list.der.clone(),
                next_update: Some(list.next_update),
            }
        }
        Request::Ocsp { request } => {
            let answer = signer.ocsp(&request).await;
            Response::Document {
                der: answer.der.to_vec(),
                next_update: answer.next_update,
            }
        }
        Request::Timestamp { request } => Response::Document {
            der: signer.timestamp(request).await?,
            next_update: None,
        },
    })
}

/// Returns as many profiles as fit into a frame; one always does.
fn profile_page(all: &[Arc<SigningProfile>]) -> Response {
    let length =
        |profile: &SigningProfile| serde_json::to_vec(profile).map_or(0, |json| json.len());
    let mut bytes = 0;
    let mut count = 0;
    for profile in all {
        bytes += length(profile);
        if count > 0 && bytes > protocol::PROFILE_PAGE_BYTES {
            break;
        }
        count += 1;
    }
    Response::Profiles {
        profiles: all[..count]
            .iter()
            .map(|profile| SigningProfile::clone(profile))
            .collect(),
        more: count < all.len(),
    }
}

async fn list_piece(
    signer: &Arc<Signer>,
    issuer: Option<&str>,
    (number, offset): (Option<u64>, usize),
) -> Result<Response, SignerError> {
    let list = signer.revocation_list(issuer).await?;
    if let Some(number) = number
        && number != list.number
    {
        return Err(SignerError::ListReplaced(number));
    }
    let start = offset.min(list.der.len());
    let end = (start + protocol::LIST_PIECE_BYTES).min(list.der.len());
    Ok(Response::RevocationList {
        number: list.number,
        next_update: list.next_update,
        total_bytes: list.der.len(),
        piece: list.der[start..end].to_vec(),
    })
}
