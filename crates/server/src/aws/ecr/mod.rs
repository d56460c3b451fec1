//! ECR's control plane: JSON 1.1 over `POST /`, one file per group of operations.
//!
//! The data plane is the registry itself. What a repository is here beyond its manifests (when it
//! was made, tags, mutability, lifecycle) is one document per repository; a repository that a push
//! made has none and is shown all the same. Errors have the names of ECR's, with status 400.

mod images;
mod lifecycle;
mod login;
mod mutability;
mod repositories;
mod scanning;
mod signing;

use http::StatusCode;
use oci::RepositoryName;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::StoreError;

pub use lifecycle::{apply as apply_lifecycle, run as run_lifecycle};
pub(crate) use mutability::{TagRefused, check as check_tags};
pub(crate) use signing::on_push;
pub use signing::run as run_signing;

use crate::auth::Caller;
use crate::error::{ApiError, ErrorKind, chain};
use crate::state::Front;

/// What the `X-Amz-Target` of every operation begins with.
pub const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.";

/// A request whose signature holds.
pub struct Call<'a> {
    /// The front.
    pub front: &'a Front,
    /// Who signed it.
    pub caller: &'a Caller,
    /// The account number that the caller speaks for.
    pub number: &'a str,
    /// The region of all ARNs.
    pub region: &'a str,
    /// The parameters.
    pub body: &'a Value,
}

/// An answer that is an error, under the name that ECR has for it.
#[derive(Debug)]
pub struct EcrError {
    /// The status.
    pub status: StatusCode,
    /// ECR's name.
    pub name: &'static str,
    /// What the caller is told.
    pub message: String,
}

impl EcrError {
    /// Returns the error that ECR calls `name`.
    pub fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            name,
            message: message.into(),
        }
    }

    fn parameter(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }
}

impl From<ApiError> for EcrError {
    fn from(error: ApiError) -> Self {
        let message = error.message().to_owned();
        match error.kind() {
            ErrorKind::Denied | ErrorKind::Unauthenticated => {
                Self::new("AccessDeniedException", message)
            }
            ErrorKind::Internal | ErrorKind::Unavailable => {
                tracing::error!(?error, "an ECR operation failed");
                Self {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    ..Self::new("ServerException", message)
                }
            }
            _ => Self::parameter(message),
        }
    }
}

impl From<StoreError> for EcrError {
    fn from(error: StoreError) -> Self {
        ApiError::internal(chain(&error)).into()
    }
}

type Answer = Result<Value, EcrError>;

/// Performs `operation`.
///
/// # Errors
/// Those that ECR documents for the operation.
pub async fn perform(call: &Call<'_>, operation: &str) -> Answer {
    match operation {
        "GetAuthorizationToken" => login::get_authorization_token(call).await,
        "CreateRepository" => repositories::create(call).await,
        "DescribeRepositories" => repositories::describe(call).await,
        "DeleteRepository" => repositories::delete(call).await,
        "TagResource" => repositories::tag(call).await,
        "UntagResource" => repositories::untag(call).await,
        "ListTagsForResource" => repositories::list_tags(call).await,
        "PutImageTagMutability" => mutability::put(call).await,
        "PutImageScanningConfiguration" => scanning::put_configuration(call).await,
        "StartImageScan" => scanning::start(call).await,
        "DescribeImageScanFindings" => scanning::describe_findings(call).await,
        "ListImages" => images::list(call).await,
        "DescribeImages" => images::describe(call).await,
        "BatchGetImage" => images::batch_get(call).await,
        "BatchDeleteImage" => images::batch_delete(call).await,
        "PutImage" => images::put(call).await,
        "ListImageReferrers" => images::list_referrers(call).await,
        "PutLifecyclePolicy" => lifecycle::put(call).await,
        "GetLifecyclePolicy" => lifecycle::get(call).await,
        "DeleteLifecyclePolicy" => lifecycle::delete(call).await,
        "StartLifecyclePolicyPreview" => lifecycle::start_preview(call).await,
        "GetLifecyclePolicyPreview" => lifecycle::get_preview(call).await,
        "PutSigningConfiguration" => signing::put_configuration(call).await,
        "GetSigningConfiguration" => signing::get_configuration(call).await,
        "DeleteSigningConfiguration" => signing::delete_configuration(call).await,
        "DescribeImageSigningStatus" => signing::describe_status(call).await,
        other => Err(EcrError::new(
            "UnknownOperationException",
            format!(
                "`{}` is not an operation of ECR that is served here",
                other.chars().take(80).collect::<String>()
            ),
        )),
    }
}

impl Call<'_> {
    fn input<T: DeserializeOwned>(&self) -> Result<T, EcrError> {
        let parsed = T::deserialize(self.body);
        parsed.map_err(|error| EcrError::parameter(error.to_string()))
    }

    /// Returns the repository that the request names. Only our own registry is here.
    fn repository(&self) -> Result<RepositoryName, EcrError> {
        if let Some(registry) = self.body["registryId"].as_str()
            && registry != self.number
        {
            let message = format!(
                "registry `{registry}` is not here: this one is `{}`",
                self.number
            );
            return Err(EcrError::parameter(message));
        }
        let name = self.body["repositoryName"].as_str().unwrap_or_default();
        name.parse::<RepositoryName>()
            .map_err(|error| EcrError::parameter(error.to_string()))
    }

    fn registry_host(&self) -> &str {
        let url = self.front.public_url.as_str();
        url.split_once("://").map_or(url, |(_, host)| host)
    }

    fn arn(&self, repository: &RepositoryName) -> String {
        format!(
            "arn:aws:ecr:{}:{}:repository/{repository}",
            self.region, self.number
        )
    }
}

fn no_repository(repository: &RepositoryName, number: &str) -> EcrError {
    EcrError::new(
        "RepositoryNotFoundException",
        format!(
            "the repository with name '{repository}' does not exist in the registry with id '{number}'"
        ),
    )
}

/// One page of a list that is in memory, in its order.
struct Paged {
    limit: usize,
    after: usize,
}

impl Paged {
    /// Reads `maxResults`, from 1 to `most`, and `nextToken`, which is the number of the next row.
    fn read(call: &Call<'_>, (usual, most): (usize, usize)) -> Result<Self, EcrError> {
        let limit = match &call.body["maxResults"] {
            Value::Null => usual,
            value => {
                let number = value
                    .as_u64()
                    .and_then(|number| usize::try_from(number).ok());
                let allowed = number.filter(|number| (1..=most).contains(number));
                allowed.ok_or_else(|| {
                    EcrError::parameter(format!("`maxResults` is not 1 to {most}"))
                })?
            }
        };
        let after = match call.body["nextToken"].as_str() {
            None => 0,
            Some(token) => token.parse().map_err(|_| {
                EcrError::parameter("`nextToken` is not one that this operation gave out")
            })?,
        };
        Ok(Self { limit, after })
    }

    fn cut<T>(&self, all: Vec<T>) -> (Vec<T>, Option<String>) {
        let total = all.len();
        let end = self.after.saturating_add(self.limit);
        let page = all.into_iter().skip(self.after).take(self.limit).collect();
        (page, (end < total).then(|| end.to_string()))
    }
}

/// Returns the seconds since 1970 with their fraction, as JSON 1.1 has times.
fn epoch(time: time::OffsetDateTime) -> f64 {
    // Milliseconds since 1970 are far below the 2^53 that a number holds exactly.
    (time.unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0
}

/// Returns whether `text` matches a filter in which `*` stands for any characters.
fn wildcard(filter: &str, text: &str) -> bool {
    let mut parts = filter.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = filter.rsplit_once('*').map(|(_, last)| last) else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    for part in &middle[..middle.len() - 1] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_any_characters() {
        for (filter, text, expected) in [
            ("*", "apps/web", true),
            ("apps/*", "apps/web", true),
            ("apps/*", "app/web", false),
            ("*web", "apps/web", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("web", "web", true),
            ("web", "webs", false),
            ("**", "", true),
        ] {
            assert_eq!(wildcard(filter, text), expected, "{filter} {text}");
        }
    }
}
