//! The public side of the authority: trust anchor, chain, revocation lists, OCSP, time-stamps. No
//! token is needed.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};

use crate::error::{ApiError, ErrorKind};
use crate::state::Front;

const PEM: &str = "application/x-pem-file";
/// RFC 2585 §4.2.
const CRL: &str = "application/pkix-crl";
/// RFC 6960 §A.1.
const OCSP_REQUEST: &str = "application/ocsp-request";
const OCSP_RESPONSE: &str = "application/ocsp-response";
/// RFC 3161 §3.4.
const TIMESTAMP_QUERY: &str = "application/timestamp-query";
const TIMESTAMP_REPLY: &str = "application/timestamp-reply";
/// The longest body that is read, in bytes: above the limits of both kinds of request, which
/// answer what is too long for them in their own words.
pub(super) const MAX_REQUEST_BYTES: usize = 8 * 1024;
/// Lists and answers say themselves until when they may be used; a cache on the way must not add to that.
const NO_CACHE: &str = "no-cache";

pub(super) async fn root(State(front): State<Front>) -> Result<Response, ApiError> {
    let authority = front.signer.authority().await?;
    Ok(([(header::CONTENT_TYPE, PEM)], authority.root_pem).into_response())
}

pub(super) async fn chain(State(front): State<Front>) -> Result<Response, ApiError> {
    let authority = front.signer.authority().await?;
    Ok(([(header::CONTENT_TYPE, PEM)], authority.chain_pem).into_response())
}

pub(super) async fn revocation_list(State(front): State<Front>) -> Result<Response, ApiError> {
    let list = front.signer.revocation_list(None).await?;
    Ok(document(CRL, list.der))
}

/// The list of one intermediate, `KEY-ID.crl`.
pub(super) async fn list_of_issuer(
    State(front): State<Front>,
    Path(file): Path<String>,
) -> Result<Response, ApiError> {
    let key_id = file.strip_suffix(".crl").unwrap_or(&file);
    let list = front.signer.revocation_list(Some(key_id)).await?;
    Ok(document(CRL, list.der))
}

pub(super) async fn root_list(State(front): State<Front>) -> Result<Response, ApiError> {
    Ok(document(CRL, front.signer.root_list().await?.der))
}

/// RFC 6960 §A.1: the request in base64 is the rest of the path.
pub(super) async fn ocsp_get(
    State(front): State<Front>,
    Path(request): Path<String>,
) -> Result<Response, ApiError> {
    // What is no base64 is no request, and the responder says so itself.
    let request = BASE64_STANDARD.decode(request).unwrap_or_default();
    let answer = front.signer.ocsp(request).await?;
    Ok(document(OCSP_RESPONSE, answer.der))
}

pub(super) async fn ocsp_post(
    State(front): State<Front>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    require_type(&headers, OCSP_REQUEST)?;
    let answer = front.signer.ocsp(body.to_vec()).await?;
    Ok(document(OCSP_RESPONSE, answer.der))
}

/// RFC 3161 §3.4.
pub(super) async fn timestamp(
    State(front): State<Front>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    require_type(&headers, TIMESTAMP_QUERY)?;
    let answer = front.signer.timestamp(body.to_vec()).await?;
    Ok(document(TIMESTAMP_REPLY, answer.der))
}

fn require_type(headers: &HeaderMap, expected: &'static str) -> Result<(), ApiError> {
    let found = headers.get(header::CONTENT_TYPE);
    let found = found.and_then(|value| value.to_str().ok()).unwrap_or("");
    if found
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim() == expected)
    {
        return Ok(());
    }
    let message = format!("the body must be `{expected}`");
    Err(ApiError::new(
        ErrorKind::Usage,
        "content-type-refused",
        message,
    ))
}

fn document(kind: &'static str, der: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, NO_CACHE),
    ];
    (headers, der).into_response()
}
