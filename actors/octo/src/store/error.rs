//! Why the store cannot be used. Each says what to do.

use std::path::PathBuf;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("the store {} is in use by another octo: stop it first (`octo doctor` shows it), or give this one a HOME of its own", .0.display())]
    InUse(PathBuf),
    /// A newer octo wrote it.
    #[error("the store {} has schema version {found} and this octo knows up to {known}: start the newer octo again, or restore a backup made before it", .path.display())]
    Newer {
        /// Its directory.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It cannot be read.
    #[error("the store {} is damaged ({reason}): move it away and restore a backup, or start with an empty one and log in with the new initial-admin", .path.display())]
    Corrupt {
        /// Its directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk has no room for a write.
    #[error("nothing can be written to {}: its disk is full; make room there, then try again", .0.display())]
    Full(PathBuf),
    /// A value of it cannot be read.
    #[error("a record of the store is damaged: {0}")]
    Record(String),
    /// The disk.
    #[error("the store cannot be written: {0}; look at its disk, then start octo again")]
    Io(String),
    /// The account exists already.
    #[error("there is an account {0} already")]
    Taken(String),
    /// Someone else changed it at the same moment.
    #[error("the account was changed at the same moment; try again")]
    Conflict,
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        Self::Io(error.to_string())
    }
}
