//! The tree as it grows: what must be remembered to add leaves and to know the root.
//!
//! A tree of any size is a row of perfect subtrees, one for each bit of its size, the largest
//! first. Their roots, at most 63, are all that adding needs ([`Frontier`]). Nothing of a perfect
//! subtree ever changes again, so what is written down of the tree are roots of perfect subtrees
//! ([`Node`]): those whose height is a multiple of eight, which make up the tiles.

use super::hash::{Hash, leaf_hash, node_hash};
use super::tile::TILE_HEIGHT;

/// The place of a perfect subtree: that of `2^height` leaves, beginning with leaf
/// `number * 2^height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// The height above the leaves.
    pub height: u8,
    /// The number among those of its height, from the left.
    pub number: u64,
}

impl Node {
    /// Returns the place of a leaf.
    pub fn leaf(position: u64) -> Self {
        Self {
            height: 0,
            number: position,
        }
    }

    /// Returns the two halves; `None` for a leaf.
    pub fn halves(self) -> Option<(Self, Self)> {
        let height = self.height.checked_sub(1)?;
        let number = self.number.checked_mul(2)?;
        let right = number.checked_add(1)?;
        Some((
            Self { height, number },
            Self {
                height,
                number: right,
            },
        ))
    }
}

/// Returns the perfect subtrees that the leaves from `start` up to `end` are made of, from left to
/// right. `start` is a multiple of the largest power of two that is below `end - start`, as in all
/// ranges of RFC 6962 §2.1.
pub fn perfect_subtrees(start: u64, end: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = start;
    while at < end {
        let height = (end - at).ilog2().min(at.trailing_zeros());
        nodes.push(Node {
            height: u8::try_from(height).unwrap_or(u8::MAX),
            number: at >> height,
        });
        at += 1 << height;
    }
    nodes
}

/// Returns the hash over perfect subtrees that stand side by side: those on the right are the
/// smaller ones, and join first.
pub fn join(hashes: &[Hash]) -> Hash {
    let Some((last, rest)) = hashes.split_last() else {
        return Hash::of_empty_tree();
    };
    rest.iter()
        .rev()
        .fold(*last, |right, left| node_hash(left, &right))
}

/// Returns the root over hashes of the same height that stand side by side: that of the tree
/// whose leaves they are (RFC 6962 §2.1).
pub fn root_of(hashes: &[Hash]) -> Hash {
    let mut tree = Frontier::empty();
    for hash in hashes {
        tree.push_hash(*hash, |_, _| {});
    }
    tree.root()
}

/// The right edge of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The roots of the perfect subtrees, the largest first.
    roots: Vec<Hash>,
}

impl Default for Frontier {
    fn default() -> Self {
        Self::empty()
    }
}

impl Frontier {
    /// Returns that of the tree without leaves.
    pub fn empty() -> Self {
        Self {
            size: 0,
            roots: Vec::new(),
        }
    }

    /// Returns that of a tree of `size` leaves, whose hashes `read` returns.
    ///
    /// # Errors
    /// What `read` fails with.
    pub fn read<E>(size: u64, read: impl FnMut(Node) -> Result<Hash, E>) -> Result<Self, E> {
        let nodes = perfect_subtrees(0, size).into_iter();
        let roots = nodes.map(read).collect::<Result<_, _>>()?;
        Ok(Self { size, roots })
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the hash of the whole tree.
    pub fn root(&self) -> Hash {
        join(&self.roots)
    }

    /// Adds a leaf, and hands to `completed` what tiles are made of: each perfect subtree that is
    /// complete now and whose height is a multiple of eight, but not the leaf.
    pub fn push(&mut self, entry: &[u8], completed: impl FnMut(Node, Hash)) {
        self.push_hash(leaf_hash(entry), completed);
    }

    /// Adds a leaf of which the hash is known; as [`Frontier::push`].
    pub fn push_hash(&mut self, leaf: Hash, mut completed: impl FnMut(Node, Hash)) {
        let mut hash = leaf;
        for height in 1..=self.size.trailing_ones() {
            let Some(left) = self.roots.pop() else { break };
            hash = node_hash(&left, &hash);
            if let Ok(height) = u8::try_from(height)
                && height % TILE_HEIGHT == 0
            {
                let number = self.size >> height;
                completed(Node { height, number }, hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The root as RFC 6962 §2.1 defines it, word for word.
    pub(crate) fn root_by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of_empty_tree(),
            [one] => *one,
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(half);
                node_hash(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    /// The eight leaves that RFC 6962 implementations share as test vectors, and their roots.
    #[test]
    fn roots_are_those_of_the_shared_vectors() {
        let leaves: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::empty();
        for (leaf, root) in leaves.into_iter().zip(roots) {
            tree.push(leaf, |_, _| {});
            assert_eq!(hex::encode(tree.root().as_bytes()), root);
        }
    }

    #[test]
    fn every_root_is_the_defined_one_and_every_tree_can_be_taken_up_again() {
        let mut tree = Frontier::empty();
        let mut leaves = Vec::new();
        let mut kept = BTreeMap::new();
        for position in 0_u64..600 {
            assert_eq!(tree.root(), root_by_definition(&leaves));
            let again = Frontier::read(position, |node| {
                let start = usize::try_from(node.number << node.height).unwrap();
                Ok::<_, ()>(root_by_definition(
                    &leaves[start..start + (1 << node.height)],
                ))
            });
            assert_eq!(again.unwrap(), tree);
            let leaf = leaf_hash(&position.to_be_bytes());
            leaves.push(leaf);
            tree.push_hash(leaf, |node, hash| {
                assert!(kept.insert(node, hash).is_none());
            });
        }
        assert_eq!(kept.len(), 2);
        for (node, hash) in kept {
            let start = usize::try_from(node.number << node.height).unwrap();
            let end = start + (1 << node.height);
            assert_eq!(hash, root_by_definition(&leaves[start..end]));
        }
    }

    #[test]
    fn a_range_is_made_of_the_perfect_subtrees_of_its_bits() {
        let ranges = |start, end| {
            let nodes = perfect_subtrees(start, end).into_iter();
            nodes
                .map(|node| (node.height, node.number))
                .collect::<Vec<_>>()
        };
        assert_eq!(ranges(0, 0), []);
        assert_eq!(ranges(0, 7), [(2, 0), (1, 2), (0, 6)]);
        assert_eq!(ranges(4, 7), [(1, 2), (0, 6)]);
        assert_eq!(ranges(0, 1 << 62), [(62, 0)]);
    }
}
