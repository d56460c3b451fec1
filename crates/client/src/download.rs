//! Downloading a file from a public place, for data that is checked by its reader.

use reqwest::StatusCode;
use reqwest::header::CONTENT_LENGTH;
use url::Url;

use crate::ClientError;
use crate::http_client::{self, Clients, HttpOptions};

/// Returns the content at `url`, at most `limit_bytes` of it. No credential is sent and no
/// redirect is followed.
///
/// # Errors
/// If the place cannot be reached, answers with anything but the content, or has too much of it.
pub async fn download(
    url: &Url,
    options: &HttpOptions,
    limit_bytes: usize,
) -> Result<Vec<u8>, ClientError> {
    let clients = Clients::new(options, Some(options.read_timeout))?;
    let client = clients.of(url)?;
    let unreachable = |e: reqwest::Error| ClientError::Unavailable {
        place: url.to_string(),
        reason: "the request failed".to_owned(),
        source: Some(Box::new(e.without_url())),
    };
    let response = client.get(url.clone()).send().await.map_err(unreachable)?;
    let too_large = || ClientError::TooLarge {
        what: format!("`{url}`"),
        limit_bytes: limit_bytes as u64,
    };
    let stated = response.headers().get(CONTENT_LENGTH);
    let stated: Option<usize> = stated.and_then(|length| length.to_str().ok()?.parse().ok());
    match response.status() {
        StatusCode::OK if stated.is_some_and(|length| length > limit_bytes) => Err(too_large()),
        StatusCode::OK => http_client::read_body(response, limit_bytes)
            .await
            .map_err(unreachable)?
            .ok_or_else(too_large),
        StatusCode::NOT_FOUND => Err(ClientError::NotFound {
            what: url.path().to_owned(),
            place: url.host_str().unwrap_or_default().to_owned(),
        }),
        status => Err(ClientError::Unavailable {
            place: url.to_string(),
            reason: format!("the answer is {status}"),
            source: None,
        }),
    }
}
