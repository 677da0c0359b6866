//! The storage of one user: the journal of every session's events and, in the same rows, the history of its messages.
//!
//! Owns: the one SQLite file (`journal.db`, WAL, 0600), its schema and migrations, the writer thread with its group commit, the readers, the
//! pruning of deltas, what is kept for how long, history queries and full-text search. The only module that names rusqlite.
//!
//! Promises: an event is committed before it is announced in the session's ring; sequence numbers of a (session, epoch) begin at 1 and have no gap;
//! a finished message and the pruning of the deltas that led to it are one transaction; a batch is in the journal whole or not at all;
//! a journal that a newer octo wrote, or that is damaged, is refused with a sentence and left as it is; a journal that has lost its end is
//! noticed by its witness, a row that is not as it was written by its checksum, and each says so where it is seen; of several runners that opened it
//! only the last one writes, whatever became of locks.
//!
//! Never: decides what an event means for a session, waits for a reader of the ring, or deletes a journal (a migration keeps one copy of what was before, the newest).
//!
//! An epoch. The kernel may have lost the last commits with the power, so a journal that was last written under another boot id gives every session a
//! new epoch, called its *life* here; so does one that is behind its witness. The messages of earlier lives stay: their messages are history and part of every snapshot; their other
//! events are out of reach of cursors, which get `EpochChanged` and attach again.

mod batch;
mod checksum;
mod embedded;
mod error;
mod fence;
mod hand;
mod history;
mod lives;
mod log;
mod names;
mod operation;
mod pulse;
mod reader;
mod retention;
mod rules;
mod schema;
mod verify;
mod witness;
mod writer;

pub mod probe;

pub use batch::{Batch, Change, Entry, FinishedMessage, NewSession, Prune, Sync};
pub use embedded::{Disk, log_of};
pub use error::JournalError;
pub use lives::new_epoch;
pub use log::{Packed, SessionLog};
pub use pulse::Pulse;
pub use reader::{InputRow, OpenItems, Page, Row, SessionRow, SnapshotPage, Totals};
pub use retention::{Cut, CutMessages, Holding, Space, Take};
pub use rules::RuleChange;
pub use schema::{BOOT_ID_FILE, SCHEMA_VERSION};

use crate::clock::now_ms;
use crate::figures::Figures;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a runner that writes nothing looks whether another one has opened the journal.
const LOOK_FOR_ANOTHER: Duration = Duration::from_secs(5);

/// Which session, and which of its lives, a batch belongs to. Numbers of this journal, never seen outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey {
    pub session: i64,
    pub life: i64,
}

/// A handle to the journal. Clones share the writer and the readers.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

/// The journal is not written as long as this is held.
#[derive(Debug)]
pub struct Pause(#[allow(dead_code)] oneshot::Sender<()>);

struct Inner {
    path: PathBuf,
    gone: usize,
    fence: Arc<fence::Fence>,
    hand: hand::Hand,
    readers: reader::Readers,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Journal {
    /// Opens `directory/journal.db`, creating or migrating it, under the kernel's boot id `boot_id`.
    ///
    /// # Errors
    /// [`JournalError`] when another runner holds it, a newer octo wrote it, or it cannot be read; nothing is changed then.
    pub fn open(directory: &Path, boot_id: &str) -> Result<Self, JournalError> {
        let path = directory.join("journal.db");
        let schema::Opened { connection, witness, fence, gone } = schema::open(&path, boot_id, now_ms())?;
        let readers = reader::Readers::new(&path)?;
        let fence = Arc::new(fence);
        let (hand, thread) = hand::Hand::new(connection, witness, Arc::clone(&fence)).map_err(|source| JournalError::Thread { source })?;
        Ok(Self { inner: Arc::new(Inner { path, gone, fence, hand, readers, thread: std::sync::Mutex::new(Some(thread)) }) })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Sessions that were written and were not there any more when it was opened.
    #[must_use]
    pub fn gone(&self) -> usize {
        self.inner.gone
    }

    /// Waits until another runner has opened the journal, and says so. This one writes nothing from then on.
    pub async fn replaced(&self) -> JournalError {
        let mut looks = tokio::time::interval(LOOK_FOR_ANOTHER);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                replaced = self.inner.fence.replaced() => return replaced,
                _ = looks.tick() => {
                    // Who has nothing to write has to know it too. What cannot be read now is looked at again.
                    let (fence, path) = (Arc::clone(&self.inner.fence), self.inner.path.clone());
                    let _ = self.inner.readers.run("looking for a newer runner", move |connection| Ok(fence.check(connection, &path))).await;
                }
            }
        }
    }

    /// What its writer counts, and whatever else is counted with it.
    #[must_use]
    pub fn figures(&self) -> &Arc<Figures> {
        self.inner.hand.figures()
    }

    /// Operations that wait for the writer right now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.inner.hand.queued()
    }

    /// How the writing goes, also while it hangs.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        self.inner.hand.pulse()
    }

    /// Commits a batch and announces its events: at once, on this thread, when it is small, needs no fsync and nothing waits; else everything that
    /// waits meanwhile shares its transaction.
    ///
    /// # Errors
    /// [`JournalError`]; then nothing of the batch is in the journal and nothing was announced.
    pub async fn commit(&self, batch: Batch) -> Result<(), JournalError> {
        match self.inner.hand.at_once(Box::new(batch)) {
            Ok(outcome) => outcome,
            Err(batch) => self.queue(batch).await?.await.unwrap_or(Err(JournalError::Closed)),
        }
    }

    /// As [`Journal::commit`], but in a transaction with others, and the outcome comes later. Dropping the receiver does not take the batch back.
    ///
    /// # Errors
    /// [`JournalError::Closed`] when the writer has ended.
    pub async fn submit(&self, batch: Batch) -> Result<oneshot::Receiver<Result<(), JournalError>>, JournalError> {
        self.queue(Box::new(batch)).await
    }

    async fn queue(&self, batch: Box<Batch>) -> Result<oneshot::Receiver<Result<(), JournalError>>, JournalError> {
        let (reply, outcome) = oneshot::channel();
        self.send(operation::Operation::Commit { batch, reply }).await?;
        Ok(outcome)
    }

    /// Writes a new session.
    ///
    /// # Errors
    /// [`JournalError`]; the session does not exist then.
    pub async fn create(&self, session: NewSession) -> Result<SessionKey, JournalError> {
        let (reply, outcome) = oneshot::channel();
        self.send(operation::Operation::Create { session: Box::new(session), reply }).await?;
        outcome.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Removes a session with everything that is known of it.
    ///
    /// # Errors
    /// [`JournalError`]; the session is whole then.
    pub async fn delete(&self, session: i64) -> Result<(), JournalError> {
        let (reply, outcome) = oneshot::channel();
        self.send(operation::Operation::Delete { session, reply }).await?;
        outcome.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Gives up what `cut` names, in one small transaction; the rows go with [`Journal::sweep`]. From then on cursors before it are told.
    ///
    /// # Errors
    /// [`JournalError`]; all of it is still there then.
    pub async fn cut(&self, cut: Cut, log: Option<Arc<SessionLog>>) -> Result<(), JournalError> {
        let (reply, outcome) = oneshot::channel();
        self.send(operation::Operation::Cut { cut: Box::new(cut), log, reply }).await?;
        outcome.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Removes some of the rows of a session that were given up. True when there are more.
    ///
    /// # Errors
    /// [`JournalError`]; what was given up is out of sight in any case.
    pub async fn sweep(&self, session: i64) -> Result<bool, JournalError> {
        let (reply, outcome) = oneshot::channel();
        self.send(operation::Operation::Sweep { session, reply }).await?;
        outcome.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Gives some free pages back to the file system. True when there are more.
    ///
    /// # Errors
    /// [`JournalError`]; nothing is lost then but time.
    pub async fn give_back(&self) -> Result<bool, JournalError> {
        let (reply, outcome) = oneshot::channel();
        self.send(operation::Operation::GiveBack { reply }).await?;
        outcome.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Writes what is queued, and then nothing until the pause is dropped; what is asked for meanwhile waits.
    ///
    /// # Errors
    /// [`JournalError::Closed`] when the writer has ended.
    pub async fn pause(&self) -> Result<Pause, JournalError> {
        let (paused, is_paused) = oneshot::channel();
        let (pause, over) = oneshot::channel();
        self.send(operation::Operation::Pause { paused, over }).await?;
        is_paused.await.map_err(|_| JournalError::Closed)?;
        Ok(Pause(pause))
    }

    /// Writes what is queued, then ends the writer; later commits get [`JournalError::Closed`].
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.send(operation::Operation::Close { reply }).await.is_ok() {
            let _ = done.await;
        }
        let thread = self.inner.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn send(&self, operation: operation::Operation) -> Result<(), JournalError> {
        self.inner.hand.send(operation).await
    }

    fn readers(&self) -> &reader::Readers {
        &self.inner.readers
    }
}

#[cfg(test)]
mod tests;
