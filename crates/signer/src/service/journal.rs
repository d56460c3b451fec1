//! The journal: the only writer. It orders all changes, writes each into the log, and commits them
//! in groups.
//!
//! Nobody is answered before what they asked for is durable, and a durable commit costs
//! milliseconds. Changes that arrive while one commit runs share the next one, and one checkpoint,
//! so the rate does not depend on it. A change and its log entry are one transaction: neither
//! exists without the other.

use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot, watch};
use trust::tlog::{Checkpoint, Frontier, MAX_SIZE, SignedNote};

use super::{Clock, SignerError, StartError};
use crate::job::{IssuedLeaf, RevokedLeaf, SigningJob};
use crate::log::{Entry, LogKey, read};
use crate::profile::SigningProfile;
use crate::records::{Batch, KeptRevocation, LogEntry, Records, RecordsError, TreeNode};

/// The most changes in one commit.
const MAX_GROUP: usize = 512;

/// One change: what the log says of it, and the rows that are written with that.
#[derive(Debug)]
pub(super) struct Change {
    /// What the log says.
    pub(super) entry: Entry,
    /// The rows.
    pub(super) rows: Rows,
}

/// The rows of one change.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// A job that is new: the journal gives it its position.
    pub(super) new_job: Option<SigningJob>,
    /// A job of a time before the log; its entry has the time at which it was signed.
    pub(super) is_imported: bool,
    /// Profiles that are new or changed.
    pub(super) profiles: Vec<SigningProfile>,
    /// Jobs that are revoked.
    pub(super) jobs: Vec<SigningJob>,
    /// Leaves that are revoked.
    pub(super) leaves: Vec<RevokedLeaf>,
    /// Revocations, as they are pushed.
    pub(super) revocations: Vec<KeptRevocation>,
    /// Leaves that several jobs share, issued now.
    pub(super) issued: Vec<IssuedLeaf>,
}

/// Where and when a change was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The position of its entry in the log.
    pub position: u64,
    /// The time that the log says.
    pub at: OffsetDateTime,
}

/// The log as it is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of entries.
    pub size: u64,
    /// When the last was written.
    pub at: OffsetDateTime,
    /// The signed checkpoint over them.
    pub checkpoint: Arc<str>,
}

type Answer = Result<Recorded, Arc<RecordsError>>;
type Waiting = (Change, oneshot::Sender<Answer>);

/// What the journal works with.
pub(super) struct JournalParts {
    pub(super) records: Arc<dyn Records>,
    pub(super) key: Arc<LogKey>,
    pub(super) clock: Clock,
}

pub(super) struct Journal {
    changes: mpsc::Sender<Waiting>,
    head: watch::Receiver<Head>,
}

impl Journal {
    /// Reads where the log ends, checks that its checkpoint says the same, and starts writing.
    pub(super) async fn start(parts: JournalParts) -> Result<Self, StartError> {
        let tree = parts.tree().await?;
        tree.agrees_with_checkpoint(&parts).await?;
        let mut writer = Writer { parts, tree };
        writer.import().await?;
        let (publish, head) = watch::channel(writer.first_head().await?);
        let (changes, receiver) = mpsc::channel(MAX_GROUP);
        tokio::spawn(writer.write_groups(receiver, publish));
        Ok(Self { changes, head })
    }

    /// Returns when `change` is durable.
    pub(super) async fn commit(&self, change: Change) -> Result<Recorded, SignerError> {
        let (sender, receiver) = oneshot::channel();
        let ended = || SignerError::Internal("the journal ended".to_owned());
        let sent = self.changes.send((change, sender)).await;
        sent.map_err(|_| ended())?;
        let answer = receiver.await.map_err(|_| ended())?;
        answer.map_err(SignerError::Records)
    }

    /// Returns the log as it is on the disk.
    pub(super) fn head(&self) -> Head {
        self.head.borrow().clone()
    }
}

/// The tree as it was committed last.
#[derive(Clone)]
struct Tree {
    frontier: Frontier,
    at: OffsetDateTime,
}

impl JournalParts {
    async fn tree(&self) -> Result<Tree, RecordsError> {
        let head = self.records.log_head().await?;
        let frontier = read::frontier(&*self.records, head.size).await?;
        let at = head.at;
        Ok(Tree { frontier, at })
    }

    fn checkpoint(&self, frontier: &Frontier) -> SignedNote {
        self.key.sign_checkpoint(&Checkpoint {
            origin: self.key.origin().to_owned(),
            size: frontier.size(),
            root: frontier.root(),
            extensions: Vec::new(),
        })
    }
}

impl Tree {
    /// Records that were edited, or put together from two backups, must not be signed for.
    async fn agrees_with_checkpoint(&self, parts: &JournalParts) -> Result<(), StartError> {
        let head = parts.records.log_head().await?;
        let Some(note) = head.checkpoint else {
            return match head.size {
                0 => Ok(()),
                size => Err(StartError::Log(format!("{size} entries and no checkpoint"))),
            };
        };
        let note = SignedNote::parse(note.as_bytes());
        let checkpoint = note
            .map_err(Into::into)
            .and_then(|note| Checkpoint::verify(&note, parts.key.verifier()));
        let checkpoint = checkpoint.map_err(|error| StartError::Log(error.to_string()))?;
        let (size, root) = (self.frontier.size(), self.frontier.root());
        if (checkpoint.size, checkpoint.root) == (size, root) {
            return Ok(());
        }
        let signed = checkpoint.size;
        Err(StartError::Log(format!(
            "the last checkpoint is over {signed} entries, and the {size} that are there are others"
        )))
    }
}

struct Writer {
    parts: JournalParts,
    tree: Tree,
}

/// A group that is ready to be committed.
struct Staged {
    batch: Batch,
    tree: Tree,
    recorded: Vec<Recorded>,
}

impl Writer {
    /// Brings jobs of a time before the log into it, once.
    async fn import(&mut self) -> Result<(), RecordsError> {
        loop {
            let jobs = self.parts.records.unlogged_jobs(MAX_GROUP).await?;
            if jobs.is_empty() {
                return Ok(());
            }
            let changes = jobs.into_iter().map(imported).collect::<Result<_, _>>()?;
            let staged = self.stage(changes);
            self.parts.records.commit(&staged.batch).await?;
            self.tree = staged.tree;
        }
    }

    /// Returns the log as it is, with a checkpoint even when there is no entry.
    async fn first_head(&self) -> Result<Head, RecordsError> {
        let note = self.parts.checkpoint(&self.tree.frontier).to_string();
        let batch = Batch {
            checkpoint: Some(note.clone()),
            ..Batch::default()
        };
        self.parts.records.commit(&batch).await?;
        Ok(self.tree.head(note))
    }

    async fn write_groups(
        mut self,
        mut changes: mpsc::Receiver<Waiting>,
        publish: watch::Sender<Head>,
    ) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while changes.recv_many(&mut group, MAX_GROUP).await > 0 {
            let (changes, senders): (Vec<_>, Vec<_>) = group.drain(..).unzip();
            let answer = self.write(changes, &publish).await;
            match answer {
                Ok(recorded) => tell(senders, recorded.into_iter().map(Ok)),
                Err(error) => tell(senders, std::iter::repeat_with(|| Err(error.clone()))),
            }
        }
    }

    async fn write(
        &mut self,
        changes: Vec<Change>,
        publish: &watch::Sender<Head>,
    ) -> Result<Vec<Recorded>, Arc<RecordsError>> {
        let staged = self.stage(changes);
        if let Err(error) = self.parts.records.commit(&staged.batch).await {
            self.recover().await;
            return Err(Arc::new(error));
        }
        self.tree = staged.tree;
        let note = staged.batch.checkpoint.unwrap_or_default();
        publish.send_replace(self.tree.head(note));
        Ok(staged.recorded)
    }

    /// A commit that failed may have reached the disk all the same. The records are believed, so
    /// that no second entry is ever signed for a position that has one.
    async fn recover(&mut self) {
        match self.parts.tree().await {
            Ok(tree) => self.tree = tree,
            // A stale tree signs nothing: its positions are taken, and the commit is refused.
            Err(error) => tracing::error!(%error, "the log cannot be read after a failed commit"),
        }
    }

    fn stage(&self, changes: Vec<Change>) -> Staged {
        let mut staged = Staged {
            batch: Batch::default(),
            tree: self.tree.clone(),
            recorded: Vec::with_capacity(changes.len()),
        };
        let now = whole_micros((self.parts.clock)());
        for change in changes {
            staged.add(change, now);
        }
        let checkpoint = self.parts.checkpoint(&staged.tree.frontier);
        staged.batch.checkpoint = Some(checkpoint.to_string());
        staged
    }
}

impl Tree {
    fn head(&self, checkpoint: String) -> Head {
        Head {
            size: self.frontier.size(),
            at: self.at,
            checkpoint: checkpoint.into(),
        }
    }
}

impl Staged {
    fn add(&mut self, change: Change, now: OffsetDateTime) {
        let Change { entry, rows } = change;
        let signed_at = rows.new_job.as_ref().map(|job| job.signed_at);
        let at = signed_at.filter(|_| rows.is_imported).unwrap_or(now);
        // Times in the log never go back, whatever the clock does.
        let at = at.max(self.tree.at);
        let position = self.tree.frontier.size();
        assert!(position < MAX_SIZE, "a log that has 2^62 entries");
        let bytes = entry.bytes(at);
        let nodes = &mut self.batch.nodes;
        self.tree
            .frontier
            .push(&bytes, |node, hash| nodes.push(TreeNode { node, hash }));
        self.tree.at = at;
        self.batch.entries.push(LogEntry {
            position,
            at,
            bytes,
        });
        self.recorded.push(Recorded { position, at });
        if let Some(mut job) = rows.new_job {
            job.position = position;
            self.batch
                .imported
                .extend(rows.is_imported.then_some(job.id));
            self.batch.jobs.push(job);
        }
        self.batch.profiles.extend(rows.profiles);
        self.batch.jobs.extend(rows.jobs);
        self.batch.leaves.extend(rows.leaves);
        self.batch.revocations.extend(rows.revocations);
        self.batch.issued.extend(rows.issued);
    }
}

fn imported(job: SigningJob) -> Result<Change, RecordsError> {
    let entry = Entry::of_job(&job).map_err(|error| RecordsError::new("read", error))?;
    let rows = Rows {
        new_job: Some(job),
        is_imported: true,
        ..Rows::default()
    };
    Ok(Change { entry, rows })
}

/// Returns the time as the records keep it.
fn whole_micros(time: OffsetDateTime) -> OffsetDateTime {
    time - time::Duration::nanoseconds(i64::from(time.nanosecond() % 1000))
}

fn tell(senders: Vec<oneshot::Sender<Answer>>, answers: impl Iterator<Item = Answer>) {
    for (sender, answer) in senders.into_iter().zip(answers) {
        // A caller that went away keeps its record: the signature was made.
        let _ = sender.send(answer);
    }
}
