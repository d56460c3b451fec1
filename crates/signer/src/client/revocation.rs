//! The front's questions about revocation.

use std::time::Duration;

use oci::Digest;
use time::OffsetDateTime;
use trust::tlog::VerifierKey;

use super::{SignerClient, SignerClientError};
use crate::principal::Principal;
use crate::protocol::revocation::{RevocationCall, RevocationReply};
use crate::protocol::{Request, Response};
use crate::service::{
    ExpiringJob, ExpiryPlace, FeedPage, Preview, RevocationAnswer, RevocationOutcome,
    RevocationQuestion, RevocationRequest, RevocationTarget,
};

impl SignerClient {
    /// Revokes.
    pub async fn revoke(
        &self,
        principal: Principal,
        request: RevocationRequest,
    ) -> Result<RevocationOutcome, SignerClientError> {
        match self
            .revocation(RevocationCall::Revoke { principal, request })
            .await?
        {
            RevocationReply::Revoked(outcome) => Ok(outcome),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns what a revocation would cover, and what it would do to the digests in `watched`.
    pub async fn preview_revocation(
        &self,
        principal: Principal,
        (target, from): (RevocationTarget, Option<OffsetDateTime>),
        watched: Vec<Digest>,
    ) -> Result<Preview, SignerClientError> {
        let request = RevocationCall::Preview {
            principal,
            target,
            from,
            watched,
        };
        match self.revocation(request).await? {
            RevocationReply::Preview(preview) => Ok(preview),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns the revocations after number `after`, waiting for one for at most `patience`, and
    /// the key that signs heartbeats.
    pub async fn revocation_feed(
        &self,
        after: u64,
        patience: Duration,
    ) -> Result<(FeedPage, VerifierKey), SignerClientError> {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let request = RevocationCall::Feed { after, patience_ms };
        match self.revocation(request).await? {
            RevocationReply::Feed { page, key } => Ok((page, key)),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns the signed head of a bundle of all revocations that may be used until `until`, and
    /// the number of the last line that belongs to it.
    pub async fn revocation_bundle(
        &self,
        principal: Principal,
        until: OffsetDateTime,
    ) -> Result<(String, u64), SignerClientError> {
        let request = RevocationCall::Bundle { principal, until };
        match self.revocation(request).await? {
            RevocationReply::Bundle { note, sequence } => Ok((note, sequence)),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Says whether something is revoked.
    pub async fn revocation_status(
        &self,
        question: RevocationQuestion,
    ) -> Result<RevocationAnswer, SignerClientError> {
        match self.revocation(RevocationCall::Status { question }).await? {
            RevocationReply::Status(answer) => Ok(answer),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns a page of the signatures that expire in a stretch of time, the first to expire
    /// first, and where the next page goes on.
    pub async fn expiring(
        &self,
        (from, before): (OffsetDateTime, OffsetDateTime),
        after: Option<ExpiryPlace>,
    ) -> Result<(Vec<ExpiringJob>, Option<ExpiryPlace>), SignerClientError> {
        let request = RevocationCall::Expiring {
            from,
            before,
            after,
        };
        match self.revocation(request).await? {
            RevocationReply::Expiring { jobs, next } => Ok((jobs, next)),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    /// Returns whether an artifact has a signature that is in force after a moment.
    pub async fn is_signed_after(
        &self,
        digest: Digest,
        time: OffsetDateTime,
    ) -> Result<bool, SignerClientError> {
        match self
            .revocation(RevocationCall::SignedAfter { digest, time })
            .await?
        {
            RevocationReply::SignedAfter { is_signed } => Ok(is_signed),
            _ => Err(SignerClientError::Unexpected),
        }
    }

    async fn revocation(&self, call: RevocationCall) -> Result<RevocationReply, SignerClientError> {
        match self.call(&Request::Revocation(call)).await? {
            Response::Revocation(reply) => Ok(reply),
            _ => Err(SignerClientError::Unexpected),
        }
    }
}
