//! Git over smart HTTP: `/git/NAME.git/…`, answered by git's own `http-backend`.
//!
//! The routes are the three that the smart protocol has, so nothing of a repository's folder can
//! be read as a file. Who may fetch and push is decided here, before git starts. After a push the
//! branches are looked at before the client is answered; what the push starts is found there.
//!
//! gitprotocol-http(5).

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pipeline::git::{
    CgiAnswer, CgiRequest, GitError, GitRepositories, GitService, MAX_PUSH_BYTES, REQUEST_LIMIT,
    RefUpdate, updates,
};
use pipeline::project::Name;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::auth::{Action, Caller};
use crate::control::look_at_branches;
use crate::error::{ApiError, chain};
use crate::state::Front;

/// The largest request for fetching, in bytes: lists of commits that the client has. The bound of
/// git itself (`http.maxRequestBuffer`).
const MAX_FETCH_REQUEST_BYTES: u64 = 10 * 1024 * 1024;
/// The largest answer to a push, in bytes: a status for each reference, and progress.
const MAX_PUSH_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// The repositories, or why there are none.
type Repositories = Arc<Result<GitRepositories, String>>;

/// Returns the routes of this subject, over the repositories in the front's folder.
pub fn routes(front: &Front) -> Router<Front> {
    let repositories = GitRepositories::open(&crate::git::root(front));
    let repositories: Repositories = Arc::new(repositories.map_err(|error| chain(&error)));
    Router::new()
        .route("/git/{repository}/info/refs", get(info_refs))
        .route("/git/{repository}/git-upload-pack", post(upload_pack))
        .route("/git/{repository}/git-receive-pack", post(receive_pack))
        .layer(Extension(repositories))
}

#[derive(Deserialize)]
struct ServiceQuery {
    #[serde(default)]
    service: String,
}

async fn info_refs(
    Extension(repositories): Extension<Repositories>,
    caller: Caller,
    Path(repository): Path<String>,
    Query(query): Query<ServiceQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let service = match query.service.as_str() {
        "git-upload-pack" => GitService::UploadPack,
        "git-receive-pack" => GitService::ReceivePack,
        _ => {
            return Err(ApiError::usage(
                "only the smart protocol of git is served: `service` must be `git-upload-pack` or `git-receive-pack`",
            ));
        }
    };
    let name = repository_name(&repository)?;
    authorize(&caller, service, &name)?;
    let call = Call::new(&name, &caller, &request, "/info/refs");
    let answer = call.serve(&repositories, tokio::io::empty()).await?;
    Ok(streamed(answer))
}

async fn upload_pack(
    Extension(repositories): Extension<Repositories>,
    caller: Caller,
    Path(repository): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let name = repository_name(&repository)?;
    authorize(&caller, GitService::UploadPack, &name)?;
    let call = Call::new(&name, &caller, &request, "/git-upload-pack");
    let body = bounded(request, MAX_FETCH_REQUEST_BYTES);
    let answer = call.serve(&repositories, body).await?;
    Ok(streamed(answer))
}

/// Takes a push. The answer is held back until the references are known, so that the run that it
/// starts is there when the client is told that the push succeeded.
async fn receive_pack(
    State(front): State<Front>,
    Extension(repositories): Extension<Repositories>,
    caller: Caller,
    Path(repository): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let name = repository_name(&repository)?;
    authorize(&caller, GitService::ReceivePack, &name)?;
    let call = Call::new(&name, &caller, &request, "/git-receive-pack");
    let body = bounded(request, MAX_PUSH_BYTES);
    // A client that goes away in the middle must not leave a push that nobody looks at.
    let work = tokio::spawn(async move {
        let git = available(&repositories)?;
        let _turn = git.lock_pushes(&name).await;
        let before = git.references(&name).await.map_err(failed)?;
        let answer = call.serve(&repositories, body).await?;
        let collected = tokio::time::timeout(REQUEST_LIMIT, collect(answer)).await;
        let after = git.references(&name).await.map_err(failed)?;
        tell(&name, &call.account, &updates(&before, &after));
        if let Err(error) = look_at_branches(&front).await {
            // The push stands; the loop looks again by itself.
            tracing::error!(error = chain(&error), "the branches could not be looked at");
        }
        match collected {
            Ok(collected) => collected,
            Err(_) => Err(ApiError::usage("the push took too long")),
        }
    });
    work.await.map_err(ApiError::internal)?
}

/// A push was made durable. The control loop looks at the branches itself.
fn tell(repository: &Name, account: &str, updates: &[RefUpdate]) {
    for update in updates {
        let old = update.old.as_deref().unwrap_or("-");
        let new = update.new.as_deref().unwrap_or("-");
        let reference = update.name.as_str();
        tracing::info!(%repository, account, reference, old, new, "pushed");
    }
}

fn repository_name(segment: &str) -> Result<Name, ApiError> {
    let name = segment.strip_suffix(".git").unwrap_or(segment);
    name.parse()
        .map_err(|_| ApiError::not_found("there is no such git repository"))
}

fn authorize(caller: &Caller, service: GitService, name: &Name) -> Result<(), ApiError> {
    let action = match service {
        GitService::UploadPack => Action::GitPull,
        GitService::ReceivePack => Action::GitPush,
    };
    caller.require(action, name.as_str())
}

fn available(repositories: &Repositories) -> Result<&GitRepositories, ApiError> {
    match &**repositories {
        Ok(repositories) => Ok(repositories),
        Err(reason) => Err(ApiError::unavailable(
            "git repositories are not available on this server",
            reason,
        )
        .hint("install git on the server's machine, and start the server again")),
    }
}

fn failed(error: GitError) -> ApiError {
    match error {
        GitError::NotFound(_) => ApiError::not_found(error.to_string()),
        _ => ApiError::internal(chain(&error)),
    }
}

/// What `http-backend` is told of a request.
struct Call {
    repository: Name,
    account: String,
    method: Method,
    path: &'static str,
    query: String,
    content_type: String,
    content_encoding: String,
    protocol: String,
}

impl Call {
    fn new(repository: &Name, caller: &Caller, request: &Request, path: &'static str) -> Self {
        let text = |name: &str| header_text(request.headers(), name);
        Self {
            repository: repository.clone(),
            account: caller.account.clone(),
            method: request.method().clone(),
            path,
            query: request.uri().query().unwrap_or_default().to_owned(),
            content_type: text("content-type"),
            content_encoding: text("content-encoding"),
            protocol: text("git-protocol"),
        }
    }

    async fn serve<B>(&self, repositories: &Repositories, body: B) -> Result<CgiAnswer, ApiError>
    where
        B: AsyncRead + Send + Unpin + 'static,
    {
        let request = CgiRequest {
            repository: &self.repository,
            method: self.method.as_str(),
            path: self.path,
            query: &self.query,
            content_type: &self.content_type,
            content_encoding: &self.content_encoding,
            protocol: &self.protocol,
            account: &self.account,
        };
        let served = available(repositories)?.serve(&request, body).await;
        served.map_err(failed)
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Returns the body as a reader that ends with an error where it is too long.
fn bounded(request: Request, limit: u64) -> impl AsyncRead + Send + Unpin + 'static {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let body = http_body_util::Limited::new(request.into_body(), limit);
    let stream = http_body_util::BodyDataStream::new(body).map_err(io::Error::other);
    StreamReader::new(Box::pin(stream))
}

fn streamed(answer: CgiAnswer) -> Response {
    let head = (answer.status, answer.headers);
    respond(head, Body::from_stream(ReaderStream::new(answer.body)))
}

async fn collect(answer: CgiAnswer) -> Result<Response, ApiError> {
    let head = (answer.status, answer.headers);
    let mut body = answer.body;
    let mut bytes = Vec::new();
    let read = (&mut body)
        .take(MAX_PUSH_ANSWER_BYTES)
        .read_to_end(&mut bytes)
        .await;
    read.map_err(|error| ApiError::internal(format!("git http-backend: {error}")))?;
    body.finish().await;
    Ok(respond(head, Body::from(bytes)))
}

fn respond((status, headers): (u16, Vec<(String, String)>), body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value))
            && name != header::TRANSFER_ENCODING
            && name != header::CONNECTION
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests;
