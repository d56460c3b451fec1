//! The public side of the authority: trust anchor, chain, revocation list. No token is needed.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use crate::error::ApiError;
use crate::state::Front;

const PEM: &str = "application/x-pem-file";
/// RFC 2585 §4.2.
const CRL: &str = "application/pkix-crl";
/// Lists say themselves until when they may be used; a cache on the way must not add to that.
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
    let list = front.signer.revocation_list().await?;
    let headers = [
        (header::CONTENT_TYPE, CRL),
        (header::CACHE_CONTROL, NO_CACHE),
    ];
    Ok((headers, list.der).into_response())
}
