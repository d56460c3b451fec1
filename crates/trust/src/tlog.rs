//! The transparency log: a history that can be added to, and never rewritten unnoticed.
//!
//! Entries are the leaves of a Merkle tree ([`tree`], RFC 6962 §2.1). Its owner signs checkpoints
//! of it ([`checkpoint`]), which are notes ([`note`]); others who saw that it only grew sign
//! cosignatures over those ([`cosignature`]). The tree is given out in tiles ([`tile`]), and
//! proofs are made and checked ([`proof`]), also as a file of their own ([`proof_file`]).
//!
//! All of it is pure: hashes are read through a closure, and where they lie is the caller's
//! business. Formats: C2SP `tlog-tiles`, `tlog-checkpoint`, `signed-note`, `tlog-cosignature`,
//! `tlog-proof`.

pub mod hash;
pub mod tile;
pub mod tree;
pub use hash::{Hash, leaf_hash, node_hash};
pub use tree::{Frontier, Node};

pub mod note;
pub use note::{NoteError, SignatureLine, SignedNote, VerifierKey};

pub mod checkpoint;
pub mod cosignature;
pub mod proof;
pub mod proof_file;
pub mod witness;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use proof::ProofError;
pub use proof_file::{LogPolicy, LogProof, LogProofError};
pub use tile::{Tile, TileError, TileKind, TileSet};

/// The most entries that a log may hold: sizes and positions fit into a database's signed numbers.
pub const MAX_SIZE: u64 = 1 << 62;
/// The longest entry, in bytes. The format allows 65,535 (a length of 16 bits before each); ours
/// stay far below it.
pub const MAX_ENTRY_BYTES: usize = 16 * 1024;
