//! The unlocking secret as a blob that AWS KMS encrypted: worthless without the service.

use std::path::Path;
use std::sync::Arc;

use client::http_client::HttpOptions;
use client::kms::{KmsClient, KmsError, KmsOptions};
use signer::UnlockSource;
use signer::custody::UnlockError;

use super::AwsEnvironment;
use crate::clock;

/// The longest blob, in bytes: the service encrypts at most 4096 and adds some hundred.
const MAX_BLOB_BYTES: usize = 8 * 1024;

/// Says why a blob gave no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The blob cannot be read.
    #[error("cannot read the wrapped unlocking secret `{path}`")]
    Blob {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The environment does not say how to reach the service.
    #[error(
        "unwrapping the unlocking secret needs AWS_REGION, AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY in the environment"
    )]
    Environment,
    /// `AWS_ENDPOINT_URL_KMS` is not a URL.
    #[error("AWS_ENDPOINT_URL_KMS is not a URL")]
    Endpoint,
    /// The service did not.
    #[error("the unlocking secret cannot be unwrapped")]
    Service(#[from] KmsError),
    /// What it held is no secret.
    #[error(transparent)]
    Secret(#[from] UnlockError),
}

/// Returns the unlocking secret that AWS KMS wrapped into the file `blob`: what
/// `aws kms encrypt` gives, in binary.
pub async fn unwrap_by_kms(
    blob: &Path,
    environment: &AwsEnvironment,
) -> Result<UnlockSource, UnwrapError> {
    let failed = |source| UnwrapError::Blob {
        path: blob.to_owned(),
        source,
    };
    let bytes = signer::custody::files::read_bounded(blob, MAX_BLOB_BYTES).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
    let secret = connect(environment)?.decrypt(&bytes).await?;
    Ok(UnlockSource::given(secret.to_vec())?)
}

fn connect(environment: &AwsEnvironment) -> Result<KmsClient, UnwrapError> {
    let (Some(key), Some(region)) = (&environment.key, &environment.region) else {
        return Err(UnwrapError::Environment);
    };
    let endpoint = environment.kms_endpoint.clone();
    let endpoint = endpoint.unwrap_or_else(|| format!("https://kms.{region}.amazonaws.com"));
    Ok(KmsClient::new(KmsOptions {
        endpoint: endpoint.parse().map_err(|_| UnwrapError::Endpoint)?,
        region: region.clone(),
        key: key.clone(),
        clock: Arc::new(clock::now),
        http: HttpOptions::default(),
    })?)
}
