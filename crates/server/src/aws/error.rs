//! The one error of the AWS face, in the form of both of its protocols.
//!
//! rest-json names the error in the header `x-amzn-ErrorType`, JSON 1.1 in the member `__type`;
//! both are sent. The text is in `message`, in lower case: with `Message` the Go plugin shows an
//! empty reason. What the caller may not know is for the log alone.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use signer::SignerClientError;
use store::StoreError;

use super::sigv4::SigV4Error;
use crate::error::{ApiError, ErrorKind};

/// The header that names the error.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// An answer that is an error.
#[derive(Debug)]
pub struct AwsError {
    status: StatusCode,
    name: Cow<'static, str>,
    message: String,
    internal: Option<String>,
}

impl AwsError {
    /// Returns an error that AWS calls `name`.
    pub fn new(
        status: StatusCode,
        name: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            name: name.into(),
            message: message.into(),
            internal: None,
        }
    }

    /// Returns the error of a request that is wrong in itself.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationException", message)
    }

    /// Returns the error about something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// Returns a denial; `message` names the rule.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDeniedException", message)
    }

    /// Returns the error of an operation that is not there.
    pub fn unknown_operation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "UnknownOperationException", message)
    }

    /// Returns the error of somebody who must wait.
    pub fn throttled(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, name, message)
    }

    /// Returns the name that AWS gives the error.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the same error under the names that the operations on tags have for it.
    #[must_use]
    pub fn of_tags(self) -> Self {
        let name = match &*self.name {
            "ValidationException" => "BadRequestException",
            "ResourceNotFoundException" => "NotFoundException",
            _ => return self,
        };
        Self {
            name: name.into(),
            ..self
        }
    }

    fn log(&self) {
        let cause = self.internal.as_deref().unwrap_or("-");
        let name = &*self.name;
        match self.status.is_server_error() {
            true => tracing::error!(name, cause, "{}", self.message),
            false => tracing::info!(name, cause, "{}", self.message),
        }
    }
}

impl From<SigV4Error> for AwsError {
    fn from(error: SigV4Error) -> Self {
        let status = match error {
            SigV4Error::Incomplete(_) | SigV4Error::Unsigned(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.name(), error.to_string())
    }
}

impl From<ApiError> for AwsError {
    fn from(error: ApiError) -> Self {
        let (status, name) = match error.kind() {
            ErrorKind::Usage | ErrorKind::Unprocessable | ErrorKind::TooLarge => {
                (StatusCode::BAD_REQUEST, "ValidationException")
            }
            ErrorKind::Unauthenticated => (StatusCode::FORBIDDEN, "UnrecognizedClientException"),
            ErrorKind::Denied => (StatusCode::FORBIDDEN, "AccessDeniedException"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "ResourceNotFoundException"),
            // Operations that have no conflict call it so; only a stale revision has a name.
            ErrorKind::Conflict => match error.code() {
                "permission-revision-stale" | "permission-exists" => {
                    (StatusCode::CONFLICT, "ConflictException")
                }
                _ => (StatusCode::BAD_REQUEST, "ValidationException"),
            },
            ErrorKind::TooManyRequests if error.code() == "permissions-too-many" => (
                StatusCode::PAYMENT_REQUIRED,
                "ServiceLimitExceededException",
            ),
            ErrorKind::TooManyRequests => {
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException")
            }
            // A signer that starts again is a matter of seconds, and the SDKs try again on 500.
            ErrorKind::Internal | ErrorKind::Unavailable => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServiceErrorException",
            ),
        };
        let (message, hint, internal) = error.into_parts();
        let message = match hint {
            Some(hint) => format!("{message}: {hint}"),
            None => message,
        };
        Self {
            internal,
            ..Self::new(status, name, message)
        }
    }
}

impl From<SignerClientError> for AwsError {
    fn from(error: SignerClientError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<StoreError> for AwsError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl IntoResponse for AwsError {
    fn into_response(self) -> Response {
        self.log();
        let body = serde_json::json!({
            "__type": self.name,
            "code": self.name,
            "message": self.message,
        });
        let mut response = (self.status, Json(body)).into_response();
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            response.headers_mut().insert(ERROR_TYPE, name);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols_find_the_name_and_the_message() {
        let error = AwsError::from(ApiError::denied("not granted").hint("ask an administrator"));
        let response = error.into_response();
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()[ERROR_TYPE], "AccessDeniedException");
        let body =
            futures_util::FutureExt::now_or_never(axum::body::to_bytes(response.into_body(), 4096));
        let text = String::from_utf8(body.unwrap().unwrap().to_vec()).unwrap();
        insta::assert_snapshot!(text, @r#"{"__type":"AccessDeniedException","code":"AccessDeniedException","message":"not granted: ask an administrator"}"#);
    }

    #[test]
    fn the_operations_on_tags_have_names_of_their_own() {
        let names = [
            AwsError::validation("x"),
            AwsError::not_found("x"),
            AwsError::denied("x"),
        ];
        let names = names.map(|error| error.of_tags().name().to_owned());
        assert_eq!(
            names,
            [
                "BadRequestException",
                "NotFoundException",
                "AccessDeniedException"
            ]
        );
    }
}
