//! A journal within another program, and in a simulation: every operation runs on the thread of whoever asks, and its disk can be told to fail.
//!
//! Promises: its futures are ready at once, so that paused time stands still while it works; [`Journal::sever`] leaves the file as a kill of the runner
//! does.

use super::{Inner, Journal, JournalError, hand, reader, schema, writer};
use crate::clock::now_ms;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// The disk of an embedded journal. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<State>);

#[derive(Debug, Default)]
struct State {
    full: AtomicBool,
    synced: AtomicU64,
}

impl Disk {
    /// Takes no writes from now on, or takes them again.
    pub fn set_full(&self, full: bool) {
        self.0.full.store(full, Relaxed);
    }

    /// How many bytes of the write-ahead log are on the disk whatever becomes of the power; all of them when that is not known.
    #[must_use]
    pub fn synced_bytes(&self) -> u64 {
        self.0.synced.load(Relaxed)
    }

    pub(super) fn refuses(&self) -> Option<String> {
        self.0.full.load(Relaxed).then(|| "database or disk is full".to_owned())
    }

    /// Everything up to here was synced.
    pub(super) fn synced(&self, journal: &Path) {
        let length = std::fs::metadata(log_of(journal)).map_or(u64::MAX, |log| log.len());
        self.0.synced.fetch_max(length, Relaxed);
    }

    /// The log is synced and copied into the file, and may begin anew: its length says nothing any more. Without its end the file would be newer than it.
    pub(super) fn copied(&self) {
        self.0.synced.store(u64::MAX, Relaxed);
    }
}

/// The write-ahead log of the journal at `path`.
#[must_use]
pub fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

impl Journal {
    /// Opens `directory/journal.db` as [`Journal::open`] does, without threads, on `disk`.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn embedded(directory: &Path, boot_id: &str, disk: Disk) -> Result<Self, JournalError> {
        let path = directory.join("journal.db");
        let schema::Opened { connection, witness, fence, gone } = schema::open(&path, boot_id, now_ms())?;
        let reader = reader::open(&path).map_err(|error| JournalError::sqlite("opening a reader", &path, &error))?;
        let readers = reader::Readers::at_once(&path, reader);
        // Opening ends with a commit that is synced, and all that lies before it in the log with it.
        disk.synced(&path);
        let fence = Arc::new(fence);
        let hand = hand::Hand::threadless(writer::Writer::new(connection, witness, Arc::clone(&fence)).on(disk));
        Ok(Self { inner: Arc::new(Inner { path, gone, fence, hand, readers, thread: Mutex::new(None) }) })
    }

    /// Ends it as a kill does: nothing is written or read from here on, and nothing is tidied up. Of an embedded journal; one with threads goes on.
    pub fn sever(&self) {
        self.inner.readers.sever();
        self.inner.hand.sever();
    }
}
