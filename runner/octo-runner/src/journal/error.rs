//! What can go wrong with the journal.

use octo_protocol::{ErrorCode, ProtocolError};
use std::io;
use std::path::{Path, PathBuf};

/// Why the journal could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk is full or fails, or another program holds the file; what was to be written is not in the journal.
    #[error("the journal cannot be written: {reason}, it goes on by itself")]
    Full {
        /// SQLite's words, and what to do.
        reason: String,
    },
    /// A newer octo wrote it.
    #[error(
        "{} was written by a newer octo (schema {found}, this one knows {known}); start that octo again, or restore the copy from before its upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It is damaged, or not a journal.
    #[error(
        "{} is damaged or not a journal of octo ({reason}); nothing was changed: restore it from a backup, or move it away to start with an empty history",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
    },
    /// The copy before a migration failed; nothing was migrated.
    #[error("{} could not be copied before its migration: {source}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be made or opened.
    #[error("{} cannot be opened: {reason}; make room if its disk is full, and see that octo's user may write there", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It turned out to be damaged while it was used.
    #[error(
        "{action} found {} damaged ({reason}): stop the runner, keep a copy of the file and its companions, and restore it from a backup",
        path.display()
    )]
    Damaged {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
    },
    /// Another statement failed.
    #[error("{action} in the journal failed: {reason}")]
    Statement {
        /// What was being done.
        action: &'static str,
        /// SQLite's words.
        reason: String,
    },
    /// The writer's thread could not be started.
    #[error("the journal's writer cannot be started: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// Another runner has opened it since: this one was frozen, or its lock was removed. It writes nothing any more.
    #[error("another runner has taken this user's journal over (it is opener {newest}, this one {own}); this one writes no more and ends")]
    Replaced {
        /// This runner's generation.
        own: i64,
        /// The newest one.
        newest: i64,
    },
    /// The runner is ending.
    #[error("the journal is closed: the runner is ending")]
    Closed,
}

impl JournalError {
    /// The disk takes no writes.
    pub(super) fn full(words: impl std::fmt::Display) -> Self {
        Self::Full { reason: format!("{words}; make room on the disk of octo's data directory") }
    }

    pub(super) fn sqlite(action: &'static str, path: &Path, error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull | rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::ReadOnly) => Self::full(error),
            // Who waits long enough for a lock of SQLite's does not wait for a thread of this runner.
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                let path = path.display();
                Self::Full { reason: format!("another program holds {path} ({error}); end that one (`fuser {path}` names it)") }
            }
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Damaged { action, path: path.to_owned(), reason: error.to_string() }
            }
            _ => Self::Statement { action, reason: error.to_string() },
        }
    }

    /// It may succeed later by itself.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

impl From<JournalError> for ProtocolError {
    fn from(error: JournalError) -> Self {
        let code = match error {
            JournalError::Full { .. } => ErrorCode::LimitExceeded,
            JournalError::Closed | JournalError::Replaced { .. } => ErrorCode::NotReady,
            _ => ErrorCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}
