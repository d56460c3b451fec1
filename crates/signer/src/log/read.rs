//! Reading the tree back from the records.

use trust::tlog::tile::{TILE_HEIGHT, TILE_WIDTH};
use trust::tlog::{Frontier, Hash, Node, leaf_hash, tree};

use crate::records::{LogRecords, RecordsError};

/// Returns the hashes of `count` nodes that stand side by side, at most a tile of them. `first`
/// stands at a height whose hashes are kept, or is a leaf.
pub(crate) async fn row(
    records: &(impl LogRecords + ?Sized),
    first: Node,
    count: u64,
) -> Result<Vec<Hash>, RecordsError> {
    let count = count.min(TILE_WIDTH);
    let hashes = if first.height == 0 {
        let entries = records.log_entries(first.number, count).await?;
        entries.iter().map(|entry| leaf_hash(entry)).collect()
    } else {
        records.log_nodes(first, count).await?
    };
    match hashes.len() as u64 == count {
        true => Ok(hashes),
        false => Err(incomplete(first)),
    }
}

/// Returns the right edge of the tree of `size` entries.
pub(crate) async fn frontier(
    records: &(impl LogRecords + ?Sized),
    size: u64,
) -> Result<Frontier, RecordsError> {
    let mut roots = Vec::new();
    for node in tree::perfect_subtrees(0, size) {
        roots.push(subtree(records, node).await?);
    }
    let mut roots = roots.into_iter();
    Frontier::read(size, |node| roots.next().ok_or_else(|| incomplete(node)))
}

/// Returns the root of a perfect subtree, from the kept hashes that lie below it.
async fn subtree(records: &(impl LogRecords + ?Sized), node: Node) -> Result<Hash, RecordsError> {
    let above = node.height % TILE_HEIGHT;
    let first = Node {
        height: node.height - above,
        number: node.number << above,
    };
    let hashes = row(records, first, 1 << above).await?;
    Ok(tree::root_of(&hashes))
}

fn incomplete(node: Node) -> RecordsError {
    let Node { height, number } = node;
    let reason = format!("hashes of the log are missing (height {height}, from number {number})");
    RecordsError::new("read", reason)
}
