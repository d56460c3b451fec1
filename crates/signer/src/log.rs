//! The signer's transparency log: what is written into it, the key that signs it, and reading it.
//!
//! Every change of the records is an entry ([`entry`]), written by the journal in the same
//! transaction as what it changes. The key ([`key`]) is Ed25519, sealed beside the others as
//! `log.key`; its name, the origin of the log, is fixed when it is made. Formats and proofs are
//! [`trust::tlog`]'s.

pub mod entry;
pub mod key;
pub(crate) mod read;

pub use entry::{Entry, EntryError, EntryKind};
pub use key::{LogKey, LogKeyError};
