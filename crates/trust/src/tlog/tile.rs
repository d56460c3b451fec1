//! Tiles (C2SP `tlog-tiles`): the tree in pieces that never change once they are full.

/// The levels of the tree that one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// The hashes, or entries, in a full tile or bundle.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
