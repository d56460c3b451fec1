//! The hashes of a Merkle tree (RFC 6962 §2.1): leaves and nodes are kept apart by a first byte.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256, digest};

use crate::encoding;

/// A SHA-256 hash of a tree: of a leaf, of a node, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; Self::BYTES]);

impl Hash {
    /// The length, in bytes.
    pub const BYTES: usize = 32;

    /// Returns the hash that is these bytes.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the hash that is these bytes, if there are 32 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Returns the hash of the tree that has no leaf: that of no bytes.
    pub fn of_empty_tree() -> Self {
        Self::of(Context::new(&SHA256))
    }

    fn of(context: Context) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

/// Says that a text is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hash: expected 32 bytes in base64")]
pub struct HashError(String);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encoding::base64(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = encoding::from_base64(text).and_then(|bytes| Self::from_slice(&bytes));
        bytes.ok_or_else(|| HashError(text.chars().take(80).collect()))
    }
}

/// Returns the hash of the leaf that holds `entry`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(entry);
    Hash::of(context)
}

/// Returns the hash of the node above `left` and `right`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 1 + 2 * Hash::BYTES];
    bytes[1..=Hash::BYTES].copy_from_slice(&left.0);
    bytes[1 + Hash::BYTES..].copy_from_slice(&right.0);
    let mut hash = [0; Hash::BYTES];
    hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    Hash(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes that RFC 6962 implementations share as test vectors: of the empty tree, of an
    /// empty leaf, of a leaf and of a node.
    #[test]
    fn hashes_are_those_of_the_standard() {
        let hex = |hash: Hash| hex::encode(hash.as_bytes());
        let table = [
            (
                hex(Hash::of_empty_tree()),
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                hex(leaf_hash(b"")),
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            ),
            (
                hex(leaf_hash(&[0])),
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            ),
            (
                hex(node_hash(&leaf_hash(b""), &leaf_hash(&[0]))),
                "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_hash_is_its_own_text() {
        let hash = leaf_hash(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for bad in ["", "AAAA", &format!("{hash}="), &format!(" {hash}")] {
            assert!(bad.parse::<Hash>().is_err(), "{bad}");
        }
    }
}
