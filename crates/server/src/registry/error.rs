//! Errors of the registry, in the shape of distribution-spec, Error Codes.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use oci::manifest::ManifestError;
use serde_json::json;
use store::StoreError;
use store::blob::UploadError;

use crate::auth::AuthFailure;
use crate::error::{ApiError, CHALLENGE, chain};

/// A code of distribution-spec, Error Codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// The blob is not in this repository.
    BlobUnknown,
    /// The upload is not acceptable.
    BlobUploadInvalid,
    /// There is no such upload session.
    BlobUploadUnknown,
    /// The digest is malformed, or not that of the content.
    DigestInvalid,
    /// The manifest names a blob or manifest that is not here.
    ManifestBlobUnknown,
    /// The manifest is malformed.
    ManifestInvalid,
    /// The manifest is not in this repository.
    ManifestUnknown,
    /// The repository's name is malformed.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// The length or range is not acceptable.
    SizeInvalid,
    /// The tag may not be moved. Not in the specification; docker knows it, and ECR answers it.
    TagInvalid,
    /// No valid credentials.
    Unauthorized,
    /// The account may not do this.
    Denied,
    /// This registry does not do this.
    Unsupported,
    /// Ask again later.
    TooManyRequests,
    /// Something of ours failed. Not in the specification, but in every implementation.
    Unknown,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Returns the status that usually goes with the code.
    fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown => StatusCode::NOT_FOUND,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestInvalid
            | Self::ManifestBlobUnknown
            | Self::NameInvalid
            | Self::SizeInvalid
            | Self::TagInvalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An answer of the registry that is an error.
#[derive(Debug)]
pub struct RegistryError {
    code: Code,
    status: StatusCode,
    message: String,
    internal: Option<String>,
    headers: Vec<(header::HeaderName, String)>,
}

impl RegistryError {
    /// Returns an error with the status that usually goes with `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status(),
            message: message.into(),
            internal: None,
            headers: Vec::new(),
        }
    }

    /// Replaces the status, where the specification asks for another one.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns an error whose cause is for the log alone.
    pub fn internal(cause: impl Into<String>) -> Self {
        let message = "internal error: the server's log has the details under this request's id";
        Self {
            internal: Some(cause.into()),
            ..Self::new(Code::Unknown, message)
        }
    }

    /// Returns the code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns what the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    fn log(&self) {
        let (code, cause) = (self.code.text(), self.internal.as_deref().unwrap_or("-"));
        if self.status.is_server_error() {
            tracing::error!(code, cause, "{}", self.message);
        } else {
            tracing::debug!(code, cause, "{}", self.message);
        }
    }
}

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        self.log();
        let body = json!({"errors": [{"code": self.code.text(), "message": self.message}]});
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl From<AuthFailure> for RegistryError {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::Store(error) => Self::internal(chain(&error)),
            AuthFailure::Busy => Self::new(Code::TooManyRequests, failure.to_string())
                .header(header::RETRY_AFTER, "1"),
            other => Self::new(Code::Unauthorized, other.to_string()),
        }
    }
}

/// The only errors of ours that come here are denials by [`crate::auth::Caller`].
impl From<ApiError> for RegistryError {
    fn from(error: ApiError) -> Self {
        Self::new(Code::Denied, error.message())
    }
}

impl From<ManifestError> for RegistryError {
    fn from(error: ManifestError) -> Self {
        let status = match error {
            ManifestError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(Code::ManifestInvalid, chain(&error)).status(status)
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::DigestMismatch { .. } => Self::new(Code::DigestInvalid, error.to_string()),
            StoreError::TooLarge { .. } => Self::new(Code::SizeInvalid, error.to_string())
                .status(StatusCode::PAYLOAD_TOO_LARGE),
            StoreError::Incoming(_) => Self::new(Code::BlobUploadInvalid, chain(&error)),
            _ => Self::internal(chain(&error)),
        }
    }
}

impl From<UploadError> for RegistryError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Unknown(_) => Self::new(Code::BlobUploadUnknown, error.to_string()),
            UploadError::OutOfOrder { .. } => Self::new(Code::BlobUploadInvalid, error.to_string())
                .status(StatusCode::RANGE_NOT_SATISFIABLE),
            UploadError::Busy(_) => {
                Self::new(Code::TooManyRequests, error.to_string()).header(header::RETRY_AFTER, "1")
            }
            UploadError::Store(error) => error.into(),
            other => Self::internal(chain(&other)),
        }
    }
}
