//! Downloading a file from a public place, for data that is checked by its reader.

use reqwest::StatusCode;
use reqwest::header::CONTENT_LENGTH;
use url::Url;

use crate::ClientError;
use crate::http_client::{self, HttpOptions};

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
    let configuration = |e: reqwest::Error| ClientError::Configuration {
        what: "TLS could not be set up".to_owned(),
        source: Some(Box::new(e)),
    };
    let builder = http_client::builder(options).map_err(configuration)?;
    let builder = builder.read_timeout(options.read_timeout);
    let builder = match http_client::is_loopback(url) {
        true => builder.no_proxy(),
        false => builder,
    };
    let client = builder.build().map_err(configuration)?;
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
