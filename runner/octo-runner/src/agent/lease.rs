//! A session's lease: the right to have an agent, held by the agent's tree itself.
//!
//! It is a lock on a file of the session, and the sandbox holds the descriptor until everything in it is gone. So the kernel gives it back, at that
//! very moment, whatever became of the runner: killed, frozen, replaced by another one. Two agents of one session would write one conversation.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// How long what a killed runner has left may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Bytes of what is written into the file.
const MAX_NOTE: u64 = 256;

/// Why a session may have no agent now.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(
        "the session's agent of before has not ended: {holder} holds {}, and two at once would mix up one conversation. End it and try again",
        path.display()
    )]
    Held { path: PathBuf, holder: String },
    #[error("the session's lease {} cannot be taken: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Held, and about to be given to a sandbox.
#[derive(Debug)]
pub struct Lease {
    file: File,
    path: PathBuf,
}

impl Lease {
    /// Takes the lease of `session`, waiting a while for what is on its way out.
    ///
    /// # Errors
    /// [`LeaseError`], which names who holds it.
    pub async fn take(data_dir: &Path, session: &str) -> Result<Self, LeaseError> {
        let path = path_of(data_dir, session);
        let until = Instant::now() + PATIENCE;
        loop {
            match try_take(&path).map_err(|source| LeaseError::Io { path: path.clone(), source })? {
                Some(mut file) => {
                    note(&mut file, &format!("octo-runner {}", std::process::id()));
                    return Ok(Self { file, path });
                }
                None if Instant::now() >= until => return Err(LeaseError::Held { holder: holder(&path), path }),
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// The descriptor for the sandbox; this process keeps none.
    pub fn into_descriptor(self) -> (OwnedFd, Note) {
        (self.file.into(), Note(self.path))
    }
}

/// Where it is written who holds it.
#[derive(Debug)]
pub struct Note(PathBuf);

impl Note {
    /// The agent runs. Only a help for whoever looks for it: nothing follows from a note that could not be written.
    pub fn agent(&self, pid: u32) {
        if let Ok(mut file) = OpenOptions::new().write(true).open(&self.0) {
            note(&mut file, &format!("process {pid} of octo-runner {}", std::process::id()));
        }
    }
}

/// There is no such session any more.
pub fn forget(data_dir: &Path, session: &str) {
    let _ = std::fs::remove_file(path_of(data_dir, session));
}

fn path_of(data_dir: &Path, session: &str) -> PathBuf {
    data_dir.join("leases").join(session)
}

fn try_take(path: &Path) -> io::Result<Option<File>> {
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The session was deleted in between, and its lease with it: then this is the lock of nothing.
    let (locked, there) = (file.metadata()?, std::fs::symlink_metadata(path));
    let same = there.is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino()));
    Ok(same.then_some(file))
}

fn note(file: &mut File, text: &str) {
    let _ = file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(text.as_bytes()));
}

/// Who holds the lease at `path`, as far as it was written down.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_NOTE).read_to_string(&mut text));
    if read.is_err() || text.is_empty() {
        return "a process that did not say which".to_owned();
    }
    let runner = text.rsplit(' ').next().and_then(|pid| pid.parse().ok());
    match runner.filter(|pid| *pid != std::process::id()).and_then(state) {
        Some('T' | 't') => format!("{text}, which is stopped (SIGSTOP),"),
        _ => text,
    }
}

fn state(pid: u32) -> Option<char> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_whoever_asks_and_the_one_who_waits_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let (held, note) = Lease::take(directory.path(), "s1").await.unwrap().into_descriptor();
        note.agent(4711);
        let refused = Lease::take(directory.path(), "s1").await.unwrap_err().to_string();
        let holder = format!("process 4711 of octo-runner {} holds", std::process::id());
        assert!(refused.contains(&holder) && refused.contains("leases/s1"), "{refused}");
        Lease::take(directory.path(), "s2").await.unwrap();
        // A copy of the descriptor is the lease too.
        let copy = held.try_clone().unwrap();
        drop(held);
        assert!(Lease::take(directory.path(), "s1").await.is_err());
        drop(copy);
        Lease::take(directory.path(), "s1").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_of_a_deleted_session_is_not_taken_for_that_of_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let (held, _) = Lease::take(directory.path(), "s1").await.unwrap().into_descriptor();
        forget(directory.path(), "s1");
        let again = Lease::take(directory.path(), "s1").await.unwrap();
        assert!(Lease::take(directory.path(), "s1").await.is_err());
        drop((held, again));
    }
}
