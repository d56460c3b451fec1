//! The OCI registry under `/v2/`.
//!
//! distribution-spec 1.1, whole: pull, push (monolithic, in chunks, by mount), content discovery
//! with the Referrers API, deletion. Every repository needs a grant; without one, the answer is
//! the same whether the repository exists or not. Challenges are Basic: every client that we
//! know of answers them, and our tokens need no second server to turn them into other tokens.

mod error;
mod route;

mod blobs;
mod listings;
mod manifests;
mod referrers;
mod uploads;

mod range;
mod reply;
mod scope;

pub use error::{Code, RegistryError};
pub(crate) use manifests::{Pushed, keep_manifest};
pub(crate) use scope::Scope;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::state::Front;
use route::{Place, Route};

/// The header that some clients take for the mark of a registry.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Returns the routes of this subject. The path below is parsed by hand.
pub fn routes() -> Router<Front> {
    Router::new()
        .route("/v2", any(dispatch))
        .route("/v2/", any(dispatch))
        .route("/v2/{*path}", any(dispatch))
}

async fn dispatch(State(front): State<Front>, request: Request) -> Response {
    let mut response = answer(front, request)
        .await
        .unwrap_or_else(IntoResponse::into_response);
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert(API_VERSION, version);
    response
}

async fn answer(front: Front, request: Request) -> Result<Response, RegistryError> {
    let caller = front.auth.authenticate(request.headers()).await?;
    let route = Route::parse(request.uri().path())?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match route {
        Route::Base if reads => {
            let json = HeaderMap::from_iter([(
                http::header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )]);
            Ok((json, "{}").into_response())
        }
        Route::Catalog if reads => listings::catalog(&front, &caller, request.uri().query()).await,
        Route::Base | Route::Catalog => Err(unsupported(request.method())),
        Route::In(repository, place) => {
            let scope = Scope {
                front,
                caller,
                repository,
            };
            inside(&scope, place, request).await
        }
    }
}

/// Answers inside a repository: one line for each end of distribution-spec, Endpoints.
async fn inside(scope: &Scope, place: Place, request: Request) -> Result<Response, RegistryError> {
    let method = request.method().clone();
    let head = method == Method::HEAD;
    let query = request.uri().query();
    match (method.as_str(), place) {
        ("GET" | "HEAD", Place::Manifest(name)) => manifests::get(scope, &name, head).await,
        ("PUT", Place::Manifest(name)) => manifests::put(scope, name, request).await,
        ("DELETE", Place::Manifest(name)) => manifests::delete(scope, name).await,
        ("GET" | "HEAD", Place::Blob(digest)) => {
            blobs::get(scope, &digest, request.headers(), head).await
        }
        ("DELETE", Place::Blob(digest)) => blobs::delete(scope, &digest).await,
        ("POST", Place::Uploads) => uploads::start(scope, request).await,
        ("PATCH", Place::Upload(id)) => uploads::append(scope, id, request).await,
        ("PUT", Place::Upload(id)) => uploads::finish(scope, id, request).await,
        ("GET", Place::Upload(id)) => uploads::status(scope, id).await,
        ("DELETE", Place::Upload(id)) => uploads::cancel(scope, id).await,
        ("GET" | "HEAD", Place::Tags) => listings::tags(scope, query).await,
        ("GET" | "HEAD", Place::Referrers(digest)) => referrers::get(scope, &digest, query).await,
        _ => Err(unsupported(&method)),
    }
}

fn unsupported(method: &Method) -> RegistryError {
    let method: String = method.as_str().chars().take(20).collect();
    RegistryError::new(
        Code::Unsupported,
        format!("`{method}` is not supported here"),
    )
}
