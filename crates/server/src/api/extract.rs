//! The extractor of JSON bodies whose refusals are in our own form.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use crate::error::{ApiError, ErrorKind};
use crate::state::Front;

/// A JSON body. Unlike axum's own, it does not ask for a `Content-Type`, and its refusals are
/// [`ApiError`]s with the line and column.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Front> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Self, ApiError> {
        let bytes = bytes::Bytes::from_request(request, front)
            .await
            .map_err(|rejection| {
                let kind = match rejection.status() {
                    http::StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
                    _ => ErrorKind::Usage,
                };
                ApiError::new(kind, "bad-body", rejection.body_text())
            })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| ApiError::usage(format!("the request body is malformed: {error}")))
    }
}
