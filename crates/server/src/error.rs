//! The one error that handlers of the control API return.
//!
//! It keeps two texts apart: what the caller is told and what the log is told (with the request
//! id, which is a field of the span that the error is logged in). The kind decides the status;
//! the hint is one step that the caller can take. The registry has an error of its own
//! ([`crate::registry::RegistryError`]), because its wire shape belongs to distribution-spec.

use std::fmt;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use store::StoreError;

/// The realm that challenges name: what a client shows when it asks for a password.
pub const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"countersign\"");

/// What kind of thing went wrong: decides the HTTP status, and the exit code of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is malformed: 400.
    Usage,
    /// No valid token came with the request: 401.
    Unauthenticated,
    /// The caller is known and may not do this: 403.
    Denied,
    /// There is no such thing, or none that the caller may know of: 404.
    NotFound,
    /// It contradicts what is already there: 409.
    Conflict,
    /// The request is larger than a limit: 413.
    TooLarge,
    /// The request is well-formed and cannot be carried out: 422.
    Unprocessable,
    /// The caller must wait: 429.
    TooManyRequests,
    /// Something of ours failed: 500.
    Internal,
    /// A part that is needed does not answer: 503.
    Unavailable,
}

impl ErrorKind {
    /// Returns the HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Usage => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An answer that is an error.
pub struct ApiError {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    hint: Option<String>,
    internal: Option<String>,
}

/// The wire shape: `{"error":{"code","message","hint"}}`.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct ErrorBody {
    /// The only member.
    pub error: ErrorDetail,
}

/// What a client learns of an error.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct ErrorDetail {
    /// A stable kebab-case code.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ApiError {
    /// Returns an error that tells the caller `message` under a stable kebab-case `code`.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            hint: None,
            internal: None,
        }
    }

    /// Returns an error about a malformed request.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, "bad-request", message)
    }

    /// Returns an error about something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, "not-found", message)
    }

    /// Returns an error about a contradiction with what is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, "conflict", message)
    }

    /// Returns a denial. `message` names the rule that is missing.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, "denied", message)
    }

    /// Returns the error of a request that needs a token and has none that is valid.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unauthenticated, "unauthenticated", message)
            .hint("send `Authorization: Bearer TOKEN`, or Basic with the account's name and token")
    }

    /// Returns an error whose cause is for the log alone.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let message = "internal error: the server's log has the details under this request's id";
        Self::new(ErrorKind::Internal, "internal", message).because(cause)
    }

    /// Returns an error about a part that does not answer; `cause` is for the log alone.
    pub fn unavailable(message: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, "unavailable", message).because(cause)
    }

    /// Adds the step that the caller can take.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause, for the log alone.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.internal = Some(cause.to_string());
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns what the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the message, the hint, and what is for the log alone.
    pub(crate) fn into_parts(self) -> (String, Option<String>, Option<String>) {
        (self.message, self.hint, self.internal)
    }

    /// Writes the internal text to the log; the request id is a field of the current span.
    pub(crate) fn log(&self) {
        let cause = self.internal.as_deref().unwrap_or("-");
        if self.kind.status().is_server_error() {
            tracing::error!(code = self.code, cause, "{}", self.message);
        } else {
            tracing::info!(code = self.code, cause, "{}", self.message);
        }
    }
}

/// What the store could not do is the caller's business only where the caller can change it.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let (kind, code) = match &error {
            StoreError::NotFound(_) => (ErrorKind::NotFound, "not-found"),
            StoreError::Conflict(_) => (ErrorKind::Conflict, "conflict"),
            StoreError::TooLarge { .. } => (ErrorKind::TooLarge, "too-large"),
            StoreError::DigestMismatch { .. } => (ErrorKind::Usage, "digest-mismatch"),
            StoreError::Incoming(_) => (ErrorKind::Usage, "bad-body"),
            _ => return Self::internal(chain(&error)),
        };
        Self::new(kind, code, error.to_string()).because(chain(&error))
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let body = ErrorBody {
            error: ErrorDetail {
                code: self.code.to_owned(),
                message: self.message,
                hint: self.hint,
            },
        };
        let mut response = (self.kind.status(), Json(body)).into_response();
        if self.kind == ErrorKind::Unauthenticated {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}

/// Returns `error` and everything that caused it, as `outer: inner: root`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_not_told_to_the_caller() {
        let response = ApiError::internal("password is hunter2").into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body =
            futures_util::FutureExt::now_or_never(axum::body::to_bytes(response.into_body(), 4096));
        let text = String::from_utf8(body.unwrap().unwrap().to_vec()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("\"code\":\"internal\""), "{text}");
    }

    #[test]
    fn only_a_missing_token_is_challenged() {
        let challenged = |error: ApiError| {
            let response = error.into_response();
            response.headers().contains_key(header::WWW_AUTHENTICATE)
        };
        assert!(challenged(ApiError::unauthenticated("no token")));
        assert!(!challenged(ApiError::denied("not granted")));
    }
}
