//! Time-stamps: anybody may have one, and none is on record: a token speaks for itself.

use super::{Signer, SignerError};
use crate::authority::TimestampAuthority;

impl Signer {
    /// Returns the answer to a time-stamp request in DER: a token, or why there is none.
    pub async fn timestamp(&self, request: Vec<u8>) -> Result<Vec<u8>, SignerError> {
        if self.authority.timestamping().is_none() {
            return Err(SignerError::NoTimestamping);
        }
        let (authority, now) = (self.authority.clone(), self.now());
        let stamping = move || {
            let stamper = authority
                .timestamping()
                .ok_or(SignerError::NoTimestamping)?;
            Ok(stamper.respond(&request, now)?)
        };
        match self.pool.run(stamping).await {
            Err(SignerError::Authority(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "a time-stamp request failed");
                Ok(TimestampAuthority::failed()?)
            }
            result => result,
        }
    }
}
