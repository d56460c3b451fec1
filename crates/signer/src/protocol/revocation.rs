//! What the front asks of revocation, and what ends by itself.

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use trust::tlog::VerifierKey;

use crate::principal::Principal;
use crate::service::{
    ExpiringJob, ExpiryPlace, FeedPage, Preview, RevocationAnswer, RevocationOutcome,
    RevocationQuestion, RevocationRequest, RevocationTarget,
};

/// A revocation, or a question about them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum RevocationCall {
    /// Revoke.
    Revoke {
        /// Who asks.
        principal: Principal,
        /// What, from when on, and why.
        request: RevocationRequest,
    },
    /// What a revocation would cover.
    Preview {
        /// Who asks.
        principal: Principal,
        /// What.
        target: RevocationTarget,
        /// From when on.
        #[serde(default, with = "time::serde::rfc3339::option")]
        from: Option<OffsetDateTime>,
        /// Digests that are of interest, such as what is deployed.
        watched: Vec<Digest>,
    },
    /// The revocations after a number, and a heartbeat.
    Feed {
        /// The number.
        after: u64,
        /// How long to wait for one.
        patience_ms: u64,
    },
    /// The signed head of a bundle of all revocations.
    Bundle {
        /// Who asks.
        principal: Principal,
        /// Until when it may be used.
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
    /// Whether something is revoked.
    Status {
        /// What.
        question: RevocationQuestion,
    },
    /// Signatures in the order of their expiry.
    Expiring {
        /// Those that expire at this moment or later.
        #[serde(with = "time::serde::rfc3339")]
        from: OffsetDateTime,
        /// Those that expire before this moment.
        #[serde(with = "time::serde::rfc3339")]
        before: OffsetDateTime,
        /// Only those after this expiry and position.
        #[serde(default)]
        after: Option<ExpiryPlace>,
    },
    /// Whether an artifact has a signature in force after a moment.
    SignedAfter {
        /// The artifact.
        digest: Digest,
        /// The moment.
        #[serde(with = "time::serde::rfc3339")]
        time: OffsetDateTime,
    },
}

/// An answer about revocation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum RevocationReply {
    /// What a revocation did.
    Revoked(RevocationOutcome),
    /// What a revocation would do.
    Preview(Preview),
    /// A piece of the feed.
    Feed {
        /// The lines and the heartbeat.
        page: FeedPage,
        /// The key that signs heartbeats.
        key: VerifierKey,
    },
    /// The signed head of a bundle.
    Bundle {
        /// The note.
        note: String,
        /// The number of the last line that belongs to it.
        sequence: u64,
    },
    /// What is revoked of what was asked.
    Status(RevocationAnswer),
    /// A page of signatures.
    Expiring {
        /// The signatures.
        jobs: Vec<ExpiringJob>,
        /// Where the next page goes on.
        next: Option<ExpiryPlace>,
    },
    /// Whether an artifact has such a signature.
    SignedAfter {
        /// Whether it has.
        is_signed: bool,
    },
}
