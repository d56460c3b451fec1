//! Tiles (C2SP `tlog-tiles`): the tree in pieces that never change once they are full.
//!
//! A tile holds up to 256 hashes that stand side by side: at level 0 those of entries, at level
//! `n` those of full tiles of level `n - 1`. A bundle holds the entries of a tile of level 0. Where
//! a tree ends, tiles are partial, and their width is part of their path.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::hash::Hash;
use super::tree::{Node, root_of};
use super::{MAX_ENTRY_BYTES, MAX_SIZE};

/// The levels of the tree that one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// The hashes, or entries, in a full tile or bundle.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// The highest level that a tree of [`MAX_SIZE`] entries has tiles of.
pub const MAX_LEVEL: u8 = 7;
/// The longest bundle, in bytes: 256 entries, each with its length.
pub const MAX_BUNDLE_BYTES: usize = 256 * (2 + MAX_ENTRY_BYTES);

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes, of this level.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// A tile of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// What it holds.
    pub kind: TileKind,
    /// Its number within its level, from the left.
    pub number: u64,
    /// How many hashes or entries it holds: 1 to 256.
    pub width: u16,
}

/// Says that bytes or a path are not a tile's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// The text is not the path of a tile.
    #[error("`{0}` is not the path of a tile")]
    Path(String),
    /// The bytes are not as many hashes as the tile is wide.
    #[error("tile `{tile}` has {bytes} bytes")]
    Length {
        /// The tile.
        tile: Tile,
        /// The length that was found.
        bytes: usize,
    },
    /// The bytes are not as many entries as the bundle is wide.
    #[error("bundle `{0}` does not hold as many entries as it should, each of a known length")]
    Bundle(Tile),
}

impl Tile {
    /// Returns the tile of that kind and number in a tree of `size` entries; `None` when the tree
    /// has none.
    pub fn in_tree(kind: TileKind, number: u64, size: u64) -> Option<Self> {
        let height = kind.level().checked_mul(TILE_HEIGHT)?;
        let hashes = size.checked_shr(height.into())?;
        let before = number.checked_mul(TILE_WIDTH)?;
        let width = u16::try_from(hashes.checked_sub(before)?.min(TILE_WIDTH)).ok()?;
        let tile = Self {
            kind,
            number,
            width,
        };
        (width > 0).then_some(tile)
    }

    /// Returns all tiles and bundles of a tree of `size` entries.
    pub fn all_of(size: u64) -> impl Iterator<Item = Self> {
        let kinds = (0..=MAX_LEVEL).map(TileKind::Hashes);
        let kinds = kinds.chain(std::iter::once(TileKind::Entries));
        kinds.flat_map(move |kind| (0..).map_while(move |number| Self::in_tree(kind, number, size)))
    }

    /// Returns whether it is as wide as a tile can be, and so never changes again.
    pub fn is_full(self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// Returns the place of the first hash in the tree; of the first leaf for entries.
    pub fn first_node(self) -> Node {
        Node {
            height: self.kind.level() * TILE_HEIGHT,
            number: self.number * TILE_WIDTH,
        }
    }

    /// Returns the hashes that the bytes of this tile are.
    ///
    /// # Errors
    /// When they are not as many as the tile is wide.
    pub fn hashes(self, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
        if bytes.len() != usize::from(self.width) * Hash::BYTES {
            let bytes = bytes.len();
            return Err(TileError::Length { tile: self, bytes });
        }
        let hashes = bytes.chunks_exact(Hash::BYTES).filter_map(Hash::from_slice);
        Ok(hashes.collect())
    }

    /// Returns the entries that the bytes of this bundle hold.
    ///
    /// # Errors
    /// When they are not as many as the bundle is wide, or one of them is longer than
    /// [`MAX_ENTRY_BYTES`].
    pub fn entries(self, bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
        let mut entries = Vec::with_capacity(self.width.into());
        let mut rest = bytes;
        while !rest.is_empty() {
            let split = rest.split_first_chunk().and_then(|(length, rest)| {
                rest.split_at_checked(u16::from_be_bytes(*length).into())
            });
            let (entry, after) = split.ok_or(TileError::Bundle(self))?;
            if entry.len() > MAX_ENTRY_BYTES || entries.len() == usize::from(self.width) {
                return Err(TileError::Bundle(self));
            }
            entries.push(entry);
            rest = after;
        }
        match entries.len() == usize::from(self.width) {
            true => Ok(entries),
            false => Err(TileError::Bundle(self)),
        }
    }
}

impl TileKind {
    fn level(self) -> u8 {
        match self {
            Self::Hashes(level) => level,
            Self::Entries => 0,
        }
    }
}

/// Returns the bytes of a bundle that holds `entries`, each with its length before it.
///
/// # Errors
/// The index of an entry that is longer than the format can say.
pub fn bundle(entries: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| index)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The path below the log's prefix.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let digits = self.number.to_string();
        let groups = digits.len().div_ceil(3);
        let padded = format!("{digits:0>width$}", width = groups * 3);
        for group in 0..groups {
            let lead = if group + 1 < groups { "x" } else { "" };
            let slash = if group + 1 < groups { "/" } else { "" };
            write!(f, "{lead}{}{slash}", &padded[group * 3..group * 3 + 3])?;
        }
        match self.is_full() {
            true => Ok(()),
            false => write!(f, ".p/{}", self.width),
        }
    }
}

impl FromStr for Tile {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let refused = || TileError::Path(path.chars().take(80).collect());
        let parsed = parse_path(path).ok_or_else(refused)?;
        // One path for one tile: whatever is written differently is another path.
        match parsed.to_string() == path {
            true => Ok(parsed),
            false => Err(refused()),
        }
    }
}

fn parse_path(path: &str) -> Option<Tile> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(level.parse().ok().filter(|level| *level <= MAX_LEVEL)?),
    };
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|w| (1..256).contains(w))?),
        None => (rest, 256),
    };
    let digits: String = number
        .split('/')
        .map(|part| part.strip_prefix('x').unwrap_or(part))
        .collect();
    let number = digits
        .parse()
        .ok()
        .filter(|number| *number <= MAX_SIZE / TILE_WIDTH)?;
    Some(Tile {
        kind,
        number,
        width,
    })
}

/// The tiles of one tree that are at hand, to read nodes from.
#[derive(Clone, Debug)]
pub struct TileSet {
    size: u64,
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl TileSet {
    /// Returns the set, empty, of a tree of `size` entries.
    pub fn new(size: u64) -> Self {
        Self {
            size,
            tiles: HashMap::new(),
        }
    }

    /// Adds the hashes of a tile.
    pub fn insert(&mut self, tile: Tile, hashes: Vec<Hash>) {
        self.tiles.insert((tile.kind.level(), tile.number), hashes);
    }

    /// Returns the hash of a perfect subtree.
    ///
    /// # Errors
    /// The tile that is missing for it. It may not be one of the tree, if the node is not.
    pub fn node(&self, node: Node) -> Result<Hash, Tile> {
        let level = node.height / TILE_HEIGHT;
        let above = node.height % TILE_HEIGHT;
        let first = node.number << above;
        let number = first / TILE_WIDTH;
        let start = usize::try_from(first % TILE_WIDTH).unwrap_or_default();
        let hashes = self.tiles.get(&(level, number));
        let range = hashes.and_then(|hashes| hashes.get(start..start + (1 << above)));
        let kind = TileKind::Hashes(level);
        let missing = || {
            Tile::in_tree(kind, number, self.size).unwrap_or(Tile {
                kind,
                number,
                width: 1,
            })
        };
        range.map(root_of).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |kind, number, width| Tile {
            kind,
            number,
            width,
        };
        for (tile, path) in [
            (tile(TileKind::Hashes(0), 0, 256), "tile/0/000"),
            (tile(TileKind::Hashes(0), 999, 1), "tile/0/999.p/1"),
            (tile(TileKind::Hashes(1), 1000, 256), "tile/1/x001/000"),
            (
                tile(TileKind::Hashes(7), 1_234_067, 256),
                "tile/7/x001/x234/067",
            ),
            (
                tile(TileKind::Entries, 1_234_067, 255),
                "tile/entries/x001/x234/067.p/255",
            ),
        ] {
            assert_eq!(tile.to_string(), path);
            assert_eq!(path.parse(), Ok(tile));
        }
        for bad in [
            "",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/8/000",
            "tile/-1/000",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p",
            "tile/0/../000",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "checkpoint",
        ] {
            assert!(bad.parse::<Tile>().is_err(), "{bad}");
        }
    }

    /// The example of the specification: a tree of 70,000 entries, and one of 256.
    #[test]
    fn a_tree_has_the_tiles_of_the_specification() {
        let count = |size, kind, full: bool| {
            let tiles = Tile::all_of(size).filter(|tile| tile.kind == kind);
            let widths: Vec<_> = tiles
                .filter(|t| t.is_full() == full)
                .map(|t| t.width)
                .collect();
            widths
        };
        let hashes = TileKind::Hashes;
        assert_eq!(count(70_000, hashes(0), true).len(), 273);
        assert_eq!(count(70_000, hashes(0), false), [112]);
        assert_eq!(count(70_000, hashes(1), true).len(), 1);
        assert_eq!(count(70_000, hashes(1), false), [17]);
        assert_eq!(count(70_000, hashes(2), false), [1]);
        assert_eq!(count(70_000, TileKind::Entries, false), [112]);
        let small: Vec<_> = Tile::all_of(256).map(|tile| tile.to_string()).collect();
        assert_eq!(small, ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
        assert_eq!(Tile::all_of(0).count(), 0);
    }

    #[test]
    fn bundles_and_tiles_of_another_length_are_refused() {
        let tile = Tile::in_tree(TileKind::Entries, 0, 3).unwrap();
        let bytes = bundle(&[&b"a"[..], b"", b"ccc"]).unwrap();
        assert_eq!(tile.entries(&bytes).unwrap(), [&b"a"[..], b"", b"ccc"]);
        for length in 0..bytes.len() {
            assert!(tile.entries(&bytes[..length]).is_err(), "{length}");
        }
        let longer = [&bytes[..], &[0, 0]].concat();
        assert!(tile.entries(&longer).is_err());
        let huge = bundle(&[&vec![0; MAX_ENTRY_BYTES + 1][..], b"", b""]).unwrap();
        assert!(tile.entries(&huge).is_err());
        assert_eq!(bundle(&[vec![0; 65_536]]), Err(0));
        let hashes = Tile::in_tree(TileKind::Hashes(0), 0, 3).unwrap();
        assert_eq!(hashes.hashes(&[7; 96]).unwrap().len(), 3);
        assert!(hashes.hashes(&[7; 95]).is_err());
        assert!(hashes.hashes(&[7; 128]).is_err());
    }
}
