//! Answers about revocation.

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::revocation::{RevocationCall, RevocationReply};
use crate::service::{Signer, SignerError};

/// The longest that a question for the next revocation waits for one.
pub(super) const MAX_PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn dispatch(
    signer: &Arc<Signer>,
    call: RevocationCall,
) -> Result<RevocationReply, SignerError> {
    Ok(match call {
        RevocationCall::Revoke { principal, request } => {
            RevocationReply::Revoked(signer.revoke(&principal, &request).await?)
        }
        RevocationCall::Preview {
            principal,
            target,
            from,
            watched,
        } => {
            let what = (&target, from);
            RevocationReply::Preview(
                signer
                    .preview_revocation(&principal, what, &watched)
                    .await?,
            )
        }
        RevocationCall::Feed { after, patience_ms } => {
            let patience = Duration::from_millis(patience_ms).min(MAX_PATIENCE);
            RevocationReply::Feed {
                page: signer.revocation_feed(after, patience).await?,
                key: signer.log_key().clone(),
            }
        }
        RevocationCall::Bundle { principal, until } => {
            let (note, sequence) = signer.revocation_bundle(&principal, until)?;
            let note = note.to_string();
            RevocationReply::Bundle { note, sequence }
        }
        RevocationCall::Status { question } => {
            RevocationReply::Status(signer.revocation_status(&question).await?)
        }
        RevocationCall::Expiring {
            from,
            before,
            after,
        } => {
            let (jobs, next) = signer.expiring((from, before), after).await?;
            RevocationReply::Expiring { jobs, next }
        }
        RevocationCall::SignedAfter { digest, time } => RevocationReply::SignedAfter {
            is_signed: signer.is_signed_after(&digest, time).await?,
        },
    })
}
