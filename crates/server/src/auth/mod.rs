//! Who sends a request and what they may do.
//!
//! A request carries `Authorization: Bearer TOKEN`, or Basic with the account's name and either a
//! token or the account's password. [`Caller`] is the extractor that handlers take; its methods
//! check a grant and return an error that names the rule. There is no anonymous access.

mod authenticator;
mod grants;
mod token;

pub use authenticator::{AuthFailure, Authenticator, Credentials, IssueError, NewTokenRequest};
pub(crate) use authenticator::{RUN_ACCOUNT, WORKLOAD_ACCOUNT};
pub use grants::{Action, Caller, GitGrants, Grants, RunScope};
pub use oci::pattern::{Pattern, PatternError};
pub use token::{MAX_SECRET_BYTES, NewToken, SecretError, hash_password, hash_token};

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::error::ApiError;
use crate::state::Front;

impl FromRequestParts<Front> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, ApiError> {
        let caller = front.auth.authenticate(&parts.headers).await?;
        Ok((*caller).clone())
    }
}

impl From<AuthFailure> for ApiError {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::Store(error) => Self::internal(crate::error::chain(&error)),
            AuthFailure::Busy => Self::new(
                crate::error::ErrorKind::TooManyRequests,
                "too-many-requests",
                failure.to_string(),
            )
            .hint("use a token instead of a password: it is checked at once"),
            other => Self::unauthenticated(other.to_string()),
        }
    }
}
