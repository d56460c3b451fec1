//! AWS in front: requests signed with AWS Signature Version 4, answered by our own signer.
//!
//! A request is AWS's when it is signed so, whatever its path: the credential's scope names the
//! service. The three host names that the SDKs use for one service need no routing, because the
//! paths differ. What stands on the wire is AWS's; what is allowed, and why not, is ours.

pub mod accounts;
pub mod ecr;
pub mod error;
mod invocations;
mod request;
pub mod signer;
pub mod sigv4;
mod throttle;

use std::sync::Arc;
use std::time::Instant;

use ::signer::Installation;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

pub use accounts::{AwsCaller, KeyRing, SealingKey};
pub use error::AwsError;
pub use invocations::AwsAnswer;
pub use request::AwsRequest;
pub use throttle::{DEFAULT_REQUESTS_PER_SECOND, Throttle};

use crate::clock;
use crate::request::RequestId;
use crate::state::Front;
use accounts::Directory;
use invocations::Invocations;
use sigv4::{Authorization, SigV4Error, SignedRequest};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const TARGET: &str = "x-amz-target";
const SESSION_TOKEN: &str = "x-amz-security-token";
/// What the paths of AWS Signer begin with. A request there that is not signed is told so.
const SIGNER_PATHS: [&str; 5] = [
    "/signing-jobs",
    "/signing-profiles",
    "/signing-platforms",
    "/revocations",
    "/tags/",
];

/// What the AWS face is started with.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct AwsSettings {
    /// Account number and region.
    pub installation: Installation,
    /// The key that access keys are sealed under.
    pub sealing_key: SealingKey,
    /// How many requests a second each account number may make.
    pub requests_per_second: u32,
}

#[cfg(test)]
impl AwsSettings {
    /// Returns the settings of an installation that nobody else has.
    pub(crate) fn for_tests() -> Self {
        Self {
            installation: Installation::default(),
            sealing_key: SealingKey::new(&[7; 32]),
            requests_per_second: 1000,
        }
    }
}

/// What the AWS face keeps in memory.
pub struct Aws {
    /// Account number and region.
    pub installation: Installation,
    /// The access keys.
    pub keys: KeyRing,
    throttle: Throttle,
    invocations: Invocations,
}

impl Aws {
    /// Returns the state of a face that has just started.
    pub fn new(settings: AwsSettings) -> Self {
        let AwsSettings {
            installation,
            sealing_key,
            requests_per_second,
        } = settings;
        Self {
            keys: KeyRing::new(&sealing_key, installation.number),
            installation,
            throttle: Throttle::new(requests_per_second),
            invocations: Invocations::default(),
        }
    }
}

/// The services that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Signer,
    Ecr,
}

impl Service {
    fn of(name: &str) -> Result<Self, SigV4Error> {
        match name {
            "signer" => Ok(Self::Signer),
            "ecr" => Ok(Self::Ecr),
            other => Err(SigV4Error::Service(other.to_owned())),
        }
    }

    /// The longest body, in bytes. The largest request of Signer has two hundred tags of 384
    /// characters, each up to six bytes in JSON.
    fn max_body_bytes(self) -> usize {
        match self {
            Self::Signer => 512 * 1024,
            // A manifest of 4 MiB as a text in JSON, most of whose quotes are escaped.
            Self::Ecr => 9 * 1024 * 1024,
        }
    }
}

/// Answers what is signed the way of AWS, and lets everything else pass.
pub(crate) async fn intercept(
    State(front): State<Front>,
    request: Request,
    next: Next,
) -> Response {
    if !is_aws(&request) {
        return next.run(request).await;
    }
    let id = request.extensions().get::<RequestId>().copied();
    let answer = answer(&front, request).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    if let Some(RequestId(id)) = id
        && let Ok(value) = HeaderValue::from_str(&id.to_string())
    {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn is_aws(request: &Request) -> bool {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let signed = authorization
        .is_some_and(|value| value.as_bytes().starts_with(sigv4::ALGORITHM.as_bytes()));
    let path = request.uri().path();
    signed || SIGNER_PATHS.iter().any(|start| path.starts_with(start))
}

async fn answer(front: &Front, request: Request) -> Result<Response, AwsError> {
    let (parts, body) = request.into_parts();
    let authorization = Authorization::parse(&parts.headers)?;
    let service = Service::of(&authorization.service)?;
    let directory = Directory {
        keys: &*front.store.access_keys,
        auth: &front.auth,
    };
    let aws = &front.aws;
    let key = aws
        .keys
        .find(directory, &authorization.access_key_id)
        .await?;
    let body = read(body, service.max_body_bytes()).await?;
    let signed = SignedRequest {
        method: &parts.method,
        uri: &parts.uri,
        headers: &parts.headers,
        body: &body,
    };
    let now = clock::now();
    authorization.verify(&signed, &key.secret, now)?;
    let token = parts.headers.get(SESSION_TOKEN);
    key.check_session(token.map(HeaderValue::as_bytes), now)?;
    throttle(aws, &key.caller)?;
    let request = AwsRequest {
        front: front.clone(),
        caller: key.caller,
        parts,
        body,
    };
    let invocation = request.invocation();
    let answering = async {
        let response = match service {
            Service::Signer => signer::dispatch(&request).await?,
            Service::Ecr => ecr(&request).await?,
        };
        Ok::<_, AwsError>(response)
    };
    aws.invocations.once(invocation, answering).await
}

/// Hands a request of JSON 1.1 to ECR's control plane.
async fn ecr(request: &AwsRequest) -> Result<AwsAnswer, AwsError> {
    let target = request.parts.headers.get(TARGET);
    let target = target.and_then(|value| value.to_str().ok());
    let operation = target.and_then(|target| target.strip_prefix(ecr::TARGET));
    let operation = operation.ok_or_else(|| {
        let message = format!("`X-Amz-Target` does not begin with `{}`", ecr::TARGET);
        AwsError::unknown_operation(message)
    })?;
    let call = ecr::Call {
        front: &request.front,
        caller: &request.caller.caller,
        number: request.caller.number.as_str(),
        region: &request.front.aws.installation.region,
        body: &request.json()?,
    };
    let answer = ecr::perform(&call, operation).await;
    answer
        .map(AwsAnswer::ok)
        .map_err(|error| AwsError::new(error.status, error.name, error.message))
}

async fn read(body: Body, limit: usize) -> Result<Arc<[u8]>, AwsError> {
    let bytes = axum::body::to_bytes(body, limit).await.map_err(|_| {
        AwsError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLargeException",
            format!("the request's body has more than {limit} bytes, or ended early"),
        )
    })?;
    Ok(Arc::from(&bytes[..]))
}

/// Takes one request off what the caller's account number has left.
fn throttle(aws: &Aws, caller: &AwsCaller) -> Result<(), AwsError> {
    aws.throttle
        .take(caller.number, Instant::now())
        .map_err(|wait| {
            let millis = wait.as_millis() + 1;
            let message = format!(
                "rate exceeded for account number {}: the next request is free in {millis} ms",
                caller.number
            );
            AwsError::throttled("ThrottlingException", message)
        })
}
