//! Revocations that are pushed: a sequence of lines, and signed words on how far it goes.
//!
//! A signing authority numbers its revocations and gives them out as lines of JSON
//! ([`RevocationLine`]). Every few seconds, and after every line, the key of its transparency log
//! signs a [`Heartbeat`]: how many lines there are, and a hash over all of them in their order, so
//! that a line that was dropped, changed or moved is noticed. Whoever holds all lines of a recent
//! heartbeat knows every revocation of the issuers that it names, and whoever saw no heartbeat for
//! [`MAX_SILENCE`] knows that it does not know.
//!
//! [`FeedState`] is the reader's side, with the time as an argument; [`FeedHandle`] shares it
//! between the connection that feeds it and the verifications that ask it. A [`Bundle`] is the
//! same for a verifier without a network: all lines, and a signed time until which they may be
//! used.
//!
//! docs/design/002-signing-service.md §8; notes are C2SP `signed-note`.

mod bundle;
mod handle;
mod head;
mod line;
mod set;
mod state;
#[cfg(test)]
mod testing;

use time::Duration;

pub use bundle::{Bundle, BundleError, MAX_BUNDLE_BYTES};
pub use handle::FeedHandle;
pub use head::{BundleHead, Head, HeadError, Heartbeat, MAX_ISSUERS};
pub use line::{LineError, MAX_LINE_BYTES, MAX_SIGNATURES_IN_LINE, RevocationLine, Revoked};
pub use set::{MAX_REVOCATIONS, Questioned, RevocationSet};
pub use state::{Applied, FeedError, FeedState, FeedStatus};

use crate::tlog::Hash;

/// How old the newest heartbeat may be. Five of them are missed by then.
pub const MAX_SILENCE: Duration = Duration::seconds(10);
/// How far the clocks of the authority and of the verifier may be apart. A heartbeat from further
/// in the past is one that somebody kept back.
pub const MAX_SKEW: Duration = Duration::seconds(5);

/// Returns what names one signature: SHA-256 over the fingerprint of its leaf and the SHA-256 of
/// the bytes that were signed (the JWS signing input, the DSSE PAE), both in lower-case
/// hexadecimal, itself in hexadecimal. The envelope around those can be written in many ways.
pub fn signature_identity(leaf_sha256: &str, signed_sha256: &str) -> String {
    let both = format!("{leaf_sha256}{signed_sha256}").to_ascii_lowercase();
    oci::Digest::sha256(both.as_bytes()).hex().to_owned()
}

/// Returns the hash over no line.
pub fn empty_chain() -> Hash {
    Hash::new([0; Hash::BYTES])
}

/// Returns the hash over all lines, given that over all before `line`.
pub fn extend_chain(chain: &Hash, line: &str) -> Hash {
    use aws_lc_rs::digest::{Context, SHA256};
    let mut context = Context::new(&SHA256);
    context.update(chain.as_bytes());
    context.update(line.as_bytes());
    let mut bytes = [0; Hash::BYTES];
    bytes.copy_from_slice(context.finish().as_ref());
    Hash::new(bytes)
}
