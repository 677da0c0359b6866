//! Writing: the transactions that operations go into. [`super::hand`] says on which thread.

use super::JournalError;
use super::batch::Sync;
use super::embedded::Disk;
use super::fence::Fence;
use super::operation::{Applied, Operation, Outcome};
use super::pulse::Pulse;
use super::witness::Witness;
use crate::figures::Figures;
use crate::kill_point::{self, Point};
use octo_protocol::metrics::Limit;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pages in the write-ahead log (about so many) from which on they are copied into the file.
const CHECKPOINT_PAGES: usize = 1000;
/// Pages of the log until the next try, when readers were in the way of a checkpoint.
const CHECKPOINT_AGAIN: usize = 100;
/// Pages that a transaction touches beside those that its payloads fill.
const PAGES_OF_ANY: usize = 4;
/// A disk that refused nothing for so long takes writes again. On one that is almost full small ones still pass now and then.
const CALM: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    connection: Connection,
    witness: Witness,
    fence: Arc<Fence>,
    path: PathBuf,
    sync: Sync,
    refusing: Option<Refusing>,
    /// A sync has failed since the file was last brought to the disk.
    doubtful: bool,
    /// Pages in the write-ahead log, about so many.
    log_pages: usize,
    /// The disk of an embedded journal, which may be told to fail.
    disk: Option<Disk>,
    pulse: Arc<Pulse>,
    figures: Arc<Figures>,
}

/// A disk that takes no writes.
struct Refusing {
    /// Since when: then the log heard of it.
    since: Instant,
    /// When it last refused one.
    last: Instant,
    /// When the log of the database was last emptied into its file, as far as that went.
    tidied: Option<Instant>,
}

impl Writer {
    pub fn new(connection: Connection, witness: Witness, fence: Arc<Fence>) -> Self {
        let path = connection.path().map(PathBuf::from).unwrap_or_default();
        Self {
            connection,
            witness,
            fence,
            path,
            sync: Sync::Full,
            refusing: None,
            doubtful: false,
            log_pages: 0,
            disk: None,
            pulse: Arc::default(),
            figures: Arc::default(),
        }
    }

    /// How it goes.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// The same on a disk that may be told to fail.
    pub fn on(self, disk: Disk) -> Self {
        Self { disk: Some(disk), ..self }
    }

    /// What it counts.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// The disk did as it was told so far: a commit is quick, and what it says is true.
    pub fn is_calm(&self) -> bool {
        !self.doubtful && self.refusing.is_none()
    }

    /// The write-ahead log is long enough for [`Writer::tidy`].
    pub fn is_untidy(&self) -> bool {
        self.log_pages >= CHECKPOINT_PAGES
    }

    /// Copies what it can of the write-ahead log into the file, whatever its length, so that whoever opens it next has little to read.
    pub fn settle(&mut self) {
        self.log_pages = self.log_pages.max(CHECKPOINT_PAGES);
        self.tidy();
    }

    /// The last thing: one file is left.
    pub fn finish(self) {
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    /// As a kill does: the write-ahead log stays as it is.
    pub fn abandon(self) {
        let _ = self.connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    /// Writes all of it, in one transaction if that is possible, and tells everybody how it went.
    pub fn write(&mut self, group: &mut Vec<Operation>) {
        let pulse = Arc::clone(&self.pulse);
        let _beat = pulse.begin();
        let whole = if group.len() > 1 { self.transaction(group).ok() } else { None };
        match whole {
            Some(applied) => {
                for (operation, applied) in group.drain(..).zip(applied) {
                    operation.succeed(applied);
                }
            }
            // One of them fails, or it is the only one: each for itself, so that it alone hears of it.
            None => {
                for operation in group.drain(..) {
                    match self.transaction(std::slice::from_ref(&operation)) {
                        Ok(mut applied) => operation.succeed(applied.pop().unwrap_or(Applied::Done)),
                        Err(error) => {
                            self.refused(&error);
                            operation.fail(error);
                        }
                    }
                }
            }
        }
    }

    fn wrote(&mut self) {
        if let Some(refusing) = self.refusing.take_if(|refusing| refusing.last.elapsed() >= CALM) {
            self.pulse.refuses(None);
            tracing::info!(after = ?refusing.since.elapsed(), "the journal takes writes again");
        }
    }

    fn refused(&mut self, error: &JournalError) {
        self.figures.journal.refused.one();
        if !error.is_temporary() {
            tracing::error!(%error, "the journal did not take a write");
            return;
        }
        self.figures.limits.hit(Limit::JournalRoom);
        let now = Instant::now();
        let refusing = self.refusing.get_or_insert_with(|| {
            tracing::error!(%error, "the journal takes no writes; agents are held back until it does");
            self.pulse.refuses(Some(error.to_string()));
            Refusing { since: now, last: now, tidied: None }
        });
        refusing.last = now;
        if refusing.tidied.is_none_or(|at| now.duration_since(at) >= CALM) {
            refusing.tidied = Some(now);
            if let Some(disk) = &self.disk {
                disk.copied();
            }
            // What is in the log of the database already may free room there for what comes: the file has pages for it.
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
    }

    /// Copies the write-ahead log into the file when it is long: here and not inside a commit, which others wait for, and where a sync that fails
    /// is noticed.
    pub fn tidy(&mut self) {
        if !self.is_untidy() || self.refusing.is_some() {
            return;
        }
        let numbers = |r: &rusqlite::Row<'_>| Ok((r.get::<_, i64>(1)?, r.get::<_, i64>(2)?));
        self.copies();
        match self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], numbers) {
            Ok((log, copied)) => self.log_pages = if copied < log { CHECKPOINT_PAGES - CHECKPOINT_AGAIN } else { 0 },
            Err(error) => {
                tracing::warn!(%error, "the journal's write-ahead log could not be copied into its file");
                self.doubtful = true;
                self.log_pages = CHECKPOINT_PAGES - CHECKPOINT_AGAIN;
            }
        }
    }

    /// The write-ahead log is about to be synced and copied into the file.
    fn copies(&self) {
        if let Some(disk) = &self.disk {
            disk.copied();
        }
    }

    /// After a sync that failed the kernel may have let go of what it was to write, and the next sync says nothing of it. So everything in the
    /// write-ahead log is written again, into the file itself, before anything else is promised.
    fn write_once_more(&mut self) -> Outcome<()> {
        self.copies();
        let failed = |error: rusqlite::Error| JournalError::sqlite("writing", &self.path, &error);
        let (busy, log, written): (i64, i64, i64) =
            self.connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).map_err(failed)?;
        self.log_pages = 0;
        if busy != 0 || log != written {
            return Err(JournalError::full("the disk failed, and what was written before is not all on it yet"));
        }
        Ok(())
    }

    fn transaction(&mut self, group: &[Operation]) -> Outcome<Vec<Applied>> {
        let is_nothing = |o: &Operation| match o {
            Operation::Commit { batch, .. } => batch.is_only_announced(),
            Operation::Tidy => true,
            _ => false,
        };
        if group.iter().all(is_nothing) {
            return Ok(group.iter().map(|_| Applied::Done).collect());
        }
        let began = Instant::now();
        if let Some(reason) = self.disk.as_ref().and_then(Disk::refuses) {
            return Err(JournalError::full(reason));
        }
        if self.doubtful {
            self.write_once_more()?;
            self.doubtful = false;
        }
        let path = &self.path;
        let failed = |error: rusqlite::Error| JournalError::sqlite("writing", path, &error);
        let sync = group.iter().map(Operation::sync).max().unwrap_or(Sync::Full);
        if sync != self.sync {
            let level = if sync == Sync::Full { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" };
            self.connection.execute_batch(level).map_err(failed)?;
            self.sync = sync;
        }
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
        self.fence.claim(&transaction, path)?;
        let mut done = Vec::with_capacity(group.len());
        let mut seen = BTreeMap::new();
        for operation in group {
            let (applied, session) = operation.apply(&transaction).map_err(failed)?;
            seen.extend(session);
            done.push(applied);
        }
        kill_point::reached(Point::Written);
        if let Err(error) = transaction.commit() {
            self.doubtful |=
                matches!(&error, rusqlite::Error::SqliteFailure(why, _) if why.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC);
            return Err(failed(error));
        }
        kill_point::reached(Point::Committed);
        if let Some(disk) = self.disk.as_ref().filter(|_| sync == Sync::Full) {
            disk.synced(&self.path);
        }
        self.log_pages += PAGES_OF_ANY + group.iter().map(Operation::pages).sum::<usize>();
        // Before anybody hears of it: a journal that loses this again shall be found out.
        for (session, slot) in seen {
            match slot {
                Some(slot) => self.witness.note(session, slot),
                None => self.witness.clear(session),
            }
        }
        kill_point::reached(Point::Witnessed);
        let payloads = group.iter().flat_map(Operation::journalled).map(|entry| entry.packed.payload().len());
        self.figures.journal.committed(sync == Sync::Full, began.elapsed(), payloads);
        self.wrote();
        Ok(done)
    }
}
