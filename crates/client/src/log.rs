//! Reading a transparency log, and checking all of it.
//!
//! A log is read from its server, or from a folder that holds the same paths as files. Checking it
//! trusts nothing but the log's key: every entry is hashed, every tile compared with what the
//! entries make of it, and the root with the signed checkpoint. What somebody saw of the log
//! before must be its beginning.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::stream;
use trust::tlog::tile::{MAX_BUNDLE_BYTES, TILE_HEIGHT};
use trust::tlog::{
    Checkpoint, Frontier, Hash, NoteError, SignedNote, Tile, TileError, TileKind, VerifierKey,
    leaf_hash,
};

use crate::control::{ControlClient, ControlError};

/// How many tiles are asked for at the same time.
const MAX_OPEN_REQUESTS: usize = 8;

/// Where a log is read from.
#[derive(Clone)]
pub enum LogSource {
    /// A Countersign server.
    Server(ControlClient),
    /// A folder that was exported.
    Folder(PathBuf),
}

/// Says why a log cannot be read, or what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The server cannot be reached, or refuses.
    #[error(transparent)]
    Server(#[from] ControlError),
    /// A file of an exported log cannot be read.
    #[error("`{path}` cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The checkpoint or the key is not one.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The log is not what it says, or not what it was.
    #[error(transparent)]
    Broken(#[from] BrokenLog),
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenLog {
    /// A tile has another length than it should.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// A tile holds other hashes than the entries make.
    #[error("tile `{0}` does not hold the hashes of the entries below it")]
    Hashes(Tile),
    /// The entries make another root than the one that was signed.
    #[error("the {0} entries do not make the root that the log signed for them")]
    Root(u64),
    /// The log is shorter than it was.
    #[error("the log had {before} entries, and has {now} now: entries were taken out")]
    Shrunk {
        /// How many there were.
        before: u64,
        /// How many there are.
        now: u64,
    },
    /// What was seen before is not its beginning.
    #[error(
        "the first {0} entries are not those that were seen before: the log was rewritten, or shows \
         different histories to different people"
    )]
    Rewritten(u64),
}

impl BrokenLog {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tile(_) | Self::Hashes(_) | Self::Root(_) => "log-inconsistent",
            Self::Shrunk { .. } => "log-shrunk",
            Self::Rewritten(_) => "log-rewritten",
        }
    }
}

impl LogSource {
    /// Returns the newest checkpoint, a note that nobody verified yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn checkpoint(&self) -> Result<SignedNote, LogError> {
        Ok(SignedNote::parse(&self.read("checkpoint").await?)?)
    }

    /// Returns the key that the log gives out as its own. Whoever has it from elsewhere knows more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn key(&self) -> Result<VerifierKey, LogError> {
        let bytes = self.read("key").await?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().parse()?)
    }

    /// Returns the bytes of a tile or bundle.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn tile(&self, tile: Tile) -> Result<Vec<u8>, LogError> {
        self.read(&tile.to_string()).await
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, LogError> {
        match self {
            Self::Server(control) => Ok(control.get_bytes(&format!("log/{path}")).await?),
            Self::Folder(folder) => read_file(&folder.join(path)),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, LogError> {
    use std::io::Read as _;
    let read = || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_BUNDLE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| LogError::File {
        path: path.to_owned(),
        source,
    })
}

/// Checks every entry and every tile of the log under `checkpoint`, and that each checkpoint of
/// `before` is its beginning. `entry` is given each entry.
///
/// # Errors
/// When the log cannot be read, or something is wrong with it.
pub async fn audit(
    source: &LogSource,
    checkpoint: &Checkpoint,
    (before, mut entry): (&[Checkpoint], impl FnMut(u64, &[u8]) + Send),
) -> Result<(), LogError> {
    let size = checkpoint.size;
    if let Some(longer) = before.iter().find(|known| known.size > size) {
        let before = longer.size;
        return Err(BrokenLog::Shrunk { before, now: size }.into());
    }
    let mut audit = Audit::new(before);
    audit.compare_with_before()?;
    let numbers = 0..size.div_ceil(1 << TILE_HEIGHT);
    let pairs = numbers.map(|number| bundle_and_hashes(source, number, size));
    let mut pairs = stream::iter(pairs).buffered(MAX_OPEN_REQUESTS);
    while let Some(pair) = pairs.next().await {
        let (bundle, bytes, hashes) = pair?;
        let entries = bundle.entries(&bytes).map_err(BrokenLog::from)?;
        for (bytes, expected) in entries.into_iter().zip(hashes) {
            entry(audit.tree.size(), bytes);
            audit.add(bytes, expected, bundle)?;
        }
    }
    drop(pairs);
    if audit.tree.root() != checkpoint.root {
        return Err(BrokenLog::Root(size).into());
    }
    audit.compare_upper_tiles(source, size).await
}

type Pair = (Tile, Vec<u8>, Vec<Hash>);

async fn bundle_and_hashes(source: &LogSource, number: u64, size: u64) -> Result<Pair, LogError> {
    let missing = || BrokenLog::Root(size);
    let bundle = Tile::in_tree(TileKind::Entries, number, size).ok_or_else(missing)?;
    let hashes = Tile::in_tree(TileKind::Hashes(0), number, size).ok_or_else(missing)?;
    let (bundle_bytes, hash_bytes) =
        futures_util::future::try_join(source.tile(bundle), source.tile(hashes)).await?;
    let hashes = hashes.hashes(&hash_bytes).map_err(BrokenLog::from)?;
    Ok((bundle, bundle_bytes, hashes))
}

struct Audit<'a> {
    tree: Frontier,
    before: &'a [Checkpoint],
    /// The hashes that the tiles above the lowest must hold, by level.
    upper: HashMap<u8, Vec<Hash>>,
}

impl<'a> Audit<'a> {
    fn new(before: &'a [Checkpoint]) -> Self {
        Self {
            tree: Frontier::empty(),
            before,
            upper: HashMap::new(),
        }
    }

    fn add(&mut self, entry: &[u8], expected: Hash, bundle: Tile) -> Result<(), LogError> {
        let leaf = leaf_hash(entry);
        if leaf != expected {
            let kind = TileKind::Hashes(0);
            return Err(BrokenLog::Hashes(Tile { kind, ..bundle }).into());
        }
        let upper = &mut self.upper;
        self.tree.push_hash(leaf, |node, hash| {
            upper
                .entry(node.height / TILE_HEIGHT)
                .or_default()
                .push(hash);
        });
        self.compare_with_before()
    }

    fn compare_with_before(&self) -> Result<(), LogError> {
        let size = self.tree.size();
        let mut known = self.before.iter().filter(|known| known.size == size);
        match known.all(|known| known.root == self.tree.root()) {
            true => Ok(()),
            false => Err(BrokenLog::Rewritten(size).into()),
        }
    }

    async fn compare_upper_tiles(&self, source: &LogSource, size: u64) -> Result<(), LogError> {
        for tile in Tile::all_of(size) {
            let TileKind::Hashes(level @ 1..) = tile.kind else {
                continue;
            };
            let bytes = source.tile(tile).await?;
            let found = tile.hashes(&bytes).map_err(BrokenLog::from)?;
            let start = usize::try_from(tile.number << TILE_HEIGHT).unwrap_or(usize::MAX);
            let expected = self
                .upper
                .get(&level)
                .and_then(|hashes| hashes.get(start..));
            let expected = expected.unwrap_or_default();
            if !expected.starts_with(&found) {
                return Err(BrokenLog::Hashes(tile).into());
            }
        }
        Ok(())
    }
}

/// Writes every tile and bundle of the log under `checkpoint` into `folder`, under their paths,
/// and the checkpoint and key beside them.
///
/// # Errors
/// When the log cannot be read or the folder cannot be written to.
pub async fn export(
    source: &LogSource,
    (note, size, key): (&SignedNote, u64, &VerifierKey),
    folder: &Path,
) -> Result<u64, LogError> {
    let tiles = stream::iter(Tile::all_of(size)).map(async |tile| {
        let bytes = source.tile(tile).await?;
        Ok::<_, LogError>((tile, bytes))
    });
    let mut tiles = Box::pin(tiles.buffered(MAX_OPEN_REQUESTS));
    let mut count = 0;
    while let Some(tile) = tiles.next().await {
        let (tile, bytes) = tile?;
        write(&folder.join(tile.to_string()), &bytes)?;
        count += 1;
    }
    write(&folder.join("key"), format!("{key}\n").as_bytes())?;
    // Last: a folder with a checkpoint is whole.
    write(&folder.join("checkpoint"), note.to_string().as_bytes())?;
    Ok(count)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    written
        .and_then(|()| std::fs::write(path, bytes))
        .map_err(|source| LogError::File {
            path: path.to_owned(),
            source,
        })
}
