//! Proofs that an entry is in a tree, and that one tree is the beginning of another (RFC 6962
//! §2.1.1 and §2.1.2; checked as RFC 9162 §2.1.3.2 and §2.1.4.2 spell out).

use super::hash::{Hash, node_hash};
use super::tree::{Node, join, perfect_subtrees};

/// The most hashes that a proof holds: one for each level of the largest tree, and one more.
pub const MAX_PROOF_HASHES: usize = 63;

/// Says that a proof does not prove what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The position lies beyond the end of the tree.
    #[error("position {position} is not in a tree of {size} entries")]
    Position {
        /// The position.
        position: u64,
        /// The number of entries.
        size: u64,
    },
    /// The older tree is larger than the newer.
    #[error("a log of {old} entries cannot become one of {new}")]
    Shrunk {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// The hashes lead to another root, or are too many or too few.
    #[error("the hashes do not lead to the root of the tree")]
    Root,
}

/// Returns the proof that the entry at `position` is in the tree of `size` entries.
///
/// # Errors
/// What `read` fails with. A position beyond the end gives an empty proof, which verifies nothing.
pub fn inclusion<E>(
    (position, size): (u64, u64),
    mut read: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, size);
    while position < size && end - start > 1 {
        let middle = start + half(end - start);
        if position < middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((start, middle));
            start = middle;
        }
    }
    let ranges = ranges.into_iter().rev();
    ranges
        .map(|(start, end)| range_hash(start, end, &mut read))
        .collect()
}

/// Returns the proof that the tree of `old` entries is the beginning of that of `new` entries.
///
/// # Errors
/// What `read` fails with.
pub fn consistency<E>(
    (old, new): (u64, u64),
    mut read: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, new);
    // Until what is left of the newer tree is what is left of the older.
    while 0 < old && old < end {
        let middle = start + half(end - start);
        if old <= middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((start, middle));
            start = middle;
        }
    }
    // The older tree as a whole is known to whoever asks.
    if start > 0 {
        ranges.push((start, end));
    }
    let ranges = ranges.into_iter().rev();
    ranges
        .map(|(start, end)| range_hash(start, end, &mut read))
        .collect()
}

/// Returns nothing when `proof` shows that the leaf at `position` is in the tree of `size` entries
/// with that `root`.
///
/// # Errors
/// When it does not.
pub fn verify_inclusion(
    (position, leaf): (u64, Hash),
    (size, root): (u64, Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    if position >= size {
        return Err(ProofError::Position { position, size });
    }
    let (mut at, mut last) = (position, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Root);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            // Levels at which the right edge has no sibling are not in the proof.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    match last == 0 && hash == root {
        true => Ok(()),
        false => Err(ProofError::Root),
    }
}

/// Returns nothing when `proof` shows that the tree of the first size and root is the beginning of
/// that of the second.
///
/// # Errors
/// When it does not.
pub fn verify_consistency(
    (old, old_root): (u64, Hash),
    (new, new_root): (u64, Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    let proven = |is| if is { Ok(()) } else { Err(ProofError::Root) };
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    if old == new {
        return proven(proof.is_empty() && old_root == new_root);
    }
    if old == 0 {
        return proven(proof.is_empty() && old_root == Hash::of_empty_tree());
    }
    // A whole power of two is itself the first hash of the path.
    let mut path = proof.iter().copied();
    let first = if old.is_power_of_two() {
        Some(old_root)
    } else {
        path.next()
    };
    let Some(first) = first else {
        return Err(ProofError::Root);
    };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Root);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(&sibling, &old_hash);
            new_hash = node_hash(&sibling, &new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, &sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    proven(last == 0 && old_hash == old_root && new_hash == new_root)
}

/// Returns the largest power of two that is smaller than `count`, which is 2 at least.
fn half(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

fn range_hash<E>(
    start: u64,
    end: u64,
    read: &mut impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let nodes = perfect_subtrees(start, end).into_iter();
    Ok(join(&nodes.map(read).collect::<Result<Vec<_>, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::super::hash::leaf_hash;
    use super::super::tile::{Tile, TileKind, TileSet};
    use super::super::tree::root_of;
    use super::*;
    use proptest::prelude::*;

    /// The most entries of a tree whose every proof is tried.
    const ALL: u64 = 300;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    fn reader(leaves: &[Hash]) -> impl Fn(Node) -> Result<Hash, ()> {
        let leaves = leaves.to_vec();
        move |node: Node| {
            let start = usize::try_from(node.number << node.height).map_err(|_| ())?;
            leaves
                .get(start..start + (1 << node.height))
                .map(root_of)
                .ok_or(())
        }
    }

    #[test]
    fn every_leaf_of_every_tree_is_proven() {
        let leaves = leaves(ALL);
        let read = reader(&leaves);
        for size in 1..=ALL {
            let root = root_of(&leaves[..usize::try_from(size).unwrap()]);
            for position in 0..size {
                let leaf = leaves[usize::try_from(position).unwrap()];
                let proof = inclusion((position, size), &read).unwrap();
                let verified = verify_inclusion((position, leaf), (size, root), &proof);
                assert_eq!(verified, Ok(()), "{position} of {size}");
            }
        }
    }

    #[test]
    fn every_tree_is_the_beginning_of_every_larger_one() {
        let leaves = leaves(ALL);
        let read = reader(&leaves);
        let roots: Vec<_> = (0..=leaves.len())
            .map(|size| root_of(&leaves[..size]))
            .collect();
        let root = |size| roots[usize::try_from(size).unwrap()];
        for new in 0..=ALL {
            for old in 0..=new {
                let proof = consistency((old, new), &read).unwrap();
                let verified = verify_consistency((old, root(old)), (new, root(new)), &proof);
                assert_eq!(verified, Ok(()), "{old} to {new}");
            }
        }
        let shrunk = verify_consistency((2, root(2)), (1, root(1)), &[]);
        assert_eq!(shrunk, Err(ProofError::Shrunk { old: 2, new: 1 }));
    }

    /// The proofs that RFC 6962 §2.1.3 writes out for its tree of seven leaves.
    #[test]
    fn proofs_are_those_of_the_standard() {
        let leaves = leaves(7);
        let read = reader(&leaves);
        let part = |start: usize, end: usize| root_of(&leaves[start..end]);
        let (g, h, i, j) = (part(0, 2), part(2, 4), part(4, 6), leaves[6]);
        let (k, l) = (part(0, 4), part(4, 7));
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|n: usize| leaves[n]);
        assert_eq!(inclusion((0, 7), &read).unwrap(), [b, h, l]);
        assert_eq!(inclusion((3, 7), &read).unwrap(), [c, g, l]);
        assert_eq!(inclusion((4, 7), &read).unwrap(), [f, j, k]);
        assert_eq!(inclusion((6, 7), &read).unwrap(), [i, k]);
        assert_eq!(consistency((3, 7), &read).unwrap(), [c, d, g, l]);
        assert_eq!(consistency((4, 7), &read).unwrap(), [l]);
        assert_eq!(consistency((6, 7), &read).unwrap(), [i, j, k]);
        assert!(![a, e].contains(&b));
    }

    fn flipped(hash: Hash, bit: usize) -> Hash {
        let mut bytes = *hash.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Hash::new(bytes)
    }

    /// Returns the proofs that differ from `proof` in one thing.
    fn mutations(proof: &[Hash], (index, bit): (usize, usize)) -> Vec<Vec<Hash>> {
        let mut changed = vec![[proof, &[leaf_hash(b"more")]].concat()];
        changed.push([&[leaf_hash(b"more")], proof].concat());
        if !proof.is_empty() {
            let index = index % proof.len();
            let mut one = proof.to_vec();
            one[index] = flipped(one[index], bit);
            let mut missing = proof.to_vec();
            missing.remove(index);
            changed.extend([one, missing]);
        }
        changed
    }

    proptest! {
        #[test]
        fn a_changed_inclusion_proof_is_refused(
            size in 1_u64..3000,
            position in 0_u64..3000,
            index in 0_usize..64,
            bit in 0_usize..256,
        ) {
            let position = position % size;
            let leaves = leaves(size);
            let root = root_of(&leaves);
            let leaf = leaves[usize::try_from(position).unwrap()];
            let proof = inclusion((position, size), reader(&leaves)).unwrap();
            let check = |position, leaf, size, root, proof: &[Hash]| {
                verify_inclusion((position, leaf), (size, root), proof)
            };
            prop_assert!(check(position, leaf, size, root, &proof).is_ok());
            for changed in mutations(&proof, (index, bit)) {
                prop_assert!(check(position, leaf, size, root, &changed).is_err());
            }
            prop_assert!(check(position, flipped(leaf, bit), size, root, &proof).is_err());
            prop_assert!(check(position, leaf, size, flipped(root, bit), &proof).is_err());
            prop_assert!(check(size, leaf, size, root, &proof).is_err());
            for other in [position ^ 1, position ^ (1 << (bit % 12))] {
                prop_assert!(check(other, leaf, size, root, &proof).is_err());
            }
        }

        #[test]
        fn a_changed_consistency_proof_is_refused(
            new in 2_u64..3000,
            old in 1_u64..3000,
            index in 0_usize..64,
            bit in 0_usize..256,
        ) {
            let old = 1 + old % (new - 1);
            let leaves = leaves(new);
            let old_root = root_of(&leaves[..usize::try_from(old).unwrap()]);
            let new_root = root_of(&leaves);
            let proof = consistency((old, new), reader(&leaves)).unwrap();
            let check = |old_root, new_root, proof: &[Hash]| {
                verify_consistency((old, old_root), (new, new_root), proof)
            };
            prop_assert!(check(old_root, new_root, &proof).is_ok());
            for changed in mutations(&proof, (index, bit)) {
                prop_assert!(check(old_root, new_root, &changed).is_err());
            }
            prop_assert!(check(flipped(old_root, bit), new_root, &proof).is_err());
            prop_assert!(check(old_root, flipped(new_root, bit), &proof).is_err());
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Proofs made from tiles are those made from leaves.
        #[test]
        fn tiles_hold_all_that_proofs_need(size in 1_u64..70_000, position in 0_u64..70_000) {
            let position = position % size;
            let leaves = leaves(size);
            let mut tiles = TileSet::new(size);
            let proof = loop {
                let tile: Tile = match inclusion((position, size), |node| tiles.node(node)) {
                    Ok(proof) => break proof,
                    Err(tile) => tile,
                };
                prop_assert_eq!(Some(tile), Tile::in_tree(tile.kind, tile.number, size));
                let TileKind::Hashes(level) = tile.kind else { panic!("a proof needs no entries") };
                let first = tile.first_node();
                let hash = |n: u64| {
                    let start = usize::try_from((first.number + n) << first.height).unwrap();
                    root_of(&leaves[start..start + (1 << (8 * usize::from(level)))])
                };
                tiles.insert(tile, (0..tile.width.into()).map(hash).collect());
            };
            let leaf = leaves[usize::try_from(position).unwrap()];
            let root = root_of(&leaves);
            prop_assert!(verify_inclusion((position, leaf), (size, root), &proof).is_ok());
        }
    }
}
