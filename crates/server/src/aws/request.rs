//! A request whose signature holds, and how its parts are read.

use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use signer::Principal;

use super::accounts::AwsCaller;
use super::error::AwsError;
use super::invocations::Invocation;
use super::sigv4::decode;
use crate::api::signing;
use crate::state::Front;

/// The header with which an SDK says that a request is another attempt.
const INVOCATION_ID: &str = "amz-sdk-invocation-id";
/// The longest identifier of an invocation, in bytes; the SDKs send a UUID.
const MAX_INVOCATION_BYTES: usize = 64;
/// The most parameters of one query.
const MAX_PARAMETERS: usize = 512;

/// A request whose signature holds.
pub struct AwsRequest {
    /// The front.
    pub front: Front,
    /// Who signed.
    pub caller: AwsCaller,
    /// Method, path, query and headers.
    pub parts: Parts,
    /// The body.
    pub body: Arc<[u8]>,
}

impl AwsRequest {
    /// Returns the segments of the path, each decoded once: an ARN in a path keeps its slashes.
    pub fn segments(&self) -> Result<Vec<String>, AwsError> {
        let path = self.parts.uri.path();
        let segments = path.split('/').skip(1).map(text);
        segments.collect()
    }

    /// Returns the parameters of the query.
    ///
    /// # Errors
    /// When there are too many, or one is not text.
    pub fn query(&self) -> Result<Query, AwsError> {
        let query = self.parts.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs: Result<Vec<_>, AwsError> = pairs
            .take(MAX_PARAMETERS + 1)
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((text(name)?, text(value)?))
            })
            .collect();
        match pairs? {
            pairs if pairs.len() > MAX_PARAMETERS => Err(AwsError::validation(format!(
                "the query has more than {MAX_PARAMETERS} parameters"
            ))),
            pairs => Ok(Query(pairs)),
        }
    }

    /// Returns the body, parsed.
    ///
    /// # Errors
    /// Says where it is not what the operation takes.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, AwsError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| AwsError::validation(format!("the request's body: {error}")))
    }

    /// Returns whom the signer is told to have asked.
    ///
    /// # Errors
    /// When the caller is a run that is over.
    pub async fn principal(&self) -> Result<Principal, AwsError> {
        let principal = signing::of_caller(&self.front, &self.caller.caller).await?;
        Ok(Principal {
            number: Some(self.caller.number),
            ..principal
        })
    }

    /// Returns the identity of the invocation that this is an attempt of.
    pub(super) fn invocation(&self) -> Option<Invocation> {
        let id = self.parts.headers.get(INVOCATION_ID)?;
        let id = id.to_str().ok()?;
        if id.is_empty() || id.len() > MAX_INVOCATION_BYTES {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(self.parts.method.as_str());
        hash.update(self.parts.uri.to_string());
        let target = self.parts.headers.get("x-amz-target");
        hash.update(target.map_or(&b""[..], HeaderValue::as_bytes));
        hash.update([0]);
        hash.update(&self.body);
        let key = self.caller.access_key_id.clone();
        Some((key, id.to_owned(), hash.finalize().into()))
    }
}

/// The parameters of a query, in the order in which they were sent.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Returns the first value of a parameter; an empty one counts as absent.
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a str> {
        let named = self.0.iter().find(|(one, _)| one == name);
        named
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Returns all values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(one, _)| one == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter that must be there.
    ///
    /// # Errors
    /// Names the one that is missing.
    pub fn required<'a>(&'a self, name: &str) -> Result<&'a str, AwsError> {
        self.get(name)
            .ok_or_else(|| AwsError::validation(format!("`{name}` is missing")))
    }
}

fn text(encoded: &str) -> Result<String, AwsError> {
    String::from_utf8(decode(encoded))
        .map_err(|_| AwsError::validation("the request's address is not UTF-8"))
}
