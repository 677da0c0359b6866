//! What an octo-eavs that ends leaves to the next one: requests that are still under way, and what each of them used when it is over.
//!
//! The store is one process's at a time. The one that ends has every request under way in it as reserved, gives it up, and writes what it settles from then on into
//! a file of its own beside the store ([`Leaving`]): a line each, behind a first line that names the requests. It holds a lock on the file for as long as it lives.
//!
//! The next one reads the lines as they come ([`Left`]). A line counts while the store has its request as reserved, and is no more reserved then: so it counts once,
//! however often the file is read, and whoever dies in between. When the lock is free, requests without a line count as spent, as after a crash, and the file goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::key::KeyName;
use crate::registry::Settlement;

/// Where the files are, in the data directory.
const DIRECTORY: &str = "left";
/// Bytes of a file that are read at once. Of one key there are few requests under way, so the first line fits.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// Requests under way, by key.
pub type Open = BTreeMap<KeyName, BTreeSet<u64>>;

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    pid: u32,
    /// Where the one that ends can be told that a key was revoked.
    admin: PathBuf,
    open: Open,
}

/// What one request used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Its key.
    pub key: KeyName,
    /// Its reservation.
    pub id: u64,
    /// What is counted.
    pub used: Settlement,
}

/// The side of the one that ends.
#[derive(Debug)]
pub struct Leaving(Mutex<Pen>);

#[derive(Debug)]
struct Pen {
    file: File,
    /// What found no room on the disk yet. At most a line for each request that was under way.
    unwritten: Vec<u8>,
}

impl Pen {
    fn write(&mut self) -> io::Result<()> {
        while !self.unwritten.is_empty() {
            let written = self.file.write(&self.unwritten)?;
            self.unwritten.drain(..written);
        }
        Ok(())
    }
}

impl Leaving {
    /// Names the requests under way. To be called while the store is still this process's.
    ///
    /// # Errors
    /// What the disk says; nothing is left behind then.
    pub fn begin(data_dir: &Path, admin: &Path, open: Open) -> io::Result<Self> {
        let directory = data_dir.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let path = directory.join(format!("{}.jsonl", uuid::Uuid::now_v7().simple()));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        let begun = || -> io::Result<Self> {
            file.try_lock()?;
            let mut unwritten = serde_json::to_vec(&Head { pid: std::process::id(), admin: admin.to_owned(), open })?;
            unwritten.push(b'\n');
            let mut pen = Pen { file, unwritten };
            pen.write()?;
            pen.file.sync_all()?;
            Ok(Self(Mutex::new(pen)))
        };
        begun().inspect_err(|_| {
            let _ = std::fs::remove_file(&path);
        })
    }

    /// Writes down what a request used. One that finds no room is tried again with the next, and by [`Leaving::sync`].
    pub fn settle(&self, settled: &Settled) {
        let mut pen = self.pen();
        if let Ok(line) = serde_json::to_vec(settled) {
            pen.unwritten.extend(line);
            pen.unwritten.push(b'\n');
        }
        if let Err(error) = pen.write() {
            tracing::error!(key = %settled.key, %error, "what a request used is not written down yet");
        }
    }

    /// Writes what waits, down to the disk.
    ///
    /// # Errors
    /// What the disk says: requests whose line is missing will count as their estimate.
    pub fn sync(&self) -> io::Result<()> {
        let mut pen = self.pen();
        pen.write()?;
        pen.file.sync_all()
    }

    fn pen(&self) -> MutexGuard<'_, Pen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of the next one: one file.
#[derive(Debug)]
pub struct Left {
    path: PathBuf,
    file: File,
    read: u64,
    admin: PathBuf,
    open: Open,
}

impl Left {
    /// All that is left in a data directory whose store is this process's. What cannot be read is named in the log and stays.
    pub fn all(data_dir: &Path) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(data_dir.join(DIRECTORY)) else { return Vec::new() };
        let files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
        files
            .filter_map(|path| match Self::open(&path) {
                Ok(left) => left,
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "what an earlier octo-eavs left cannot be read; its requests count as their estimates");
                    None
                }
            })
            .collect()
    }

    /// `None` when its writer died before it gave the store up: then nothing was left, and the file goes.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut left = Self { path: path.to_owned(), file: File::open(path)?, read: 0, admin: PathBuf::new(), open: Open::new() };
        let over = left.is_over();
        match left.lines()?.first() {
            Some(line) => {
                let head: Head = serde_json::from_slice(line)?;
                tracing::info!(pid = head.pid, keys = head.open.len(), over, "an earlier octo-eavs has left requests under way");
                left.read = line.len() as u64 + 1;
                (left.admin, left.open) = (head.admin, head.open);
                Ok(Some(left))
            }
            None if over => {
                left.remove();
                Ok(None)
            }
            None => Err(io::Error::other("its first line is not whole")),
        }
    }

    /// Whether its writer has ended: what is read from then on is all there will be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.file.try_lock().is_ok()
    }

    /// What was settled since the last call.
    ///
    /// # Errors
    /// What the disk says.
    pub fn news(&mut self) -> io::Result<Vec<Settled>> {
        let mut all = Vec::new();
        for line in self.lines()? {
            self.read += line.len() as u64 + 1;
            match serde_json::from_slice::<Settled>(&line) {
                Ok(settled) => {
                    if let Some(ids) = self.open.get_mut(&settled.key) {
                        ids.remove(&settled.id);
                    }
                    all.push(settled);
                }
                Err(error) => tracing::error!(path = %self.path.display(), %error, "a line that an earlier octo-eavs left cannot be read"),
            }
        }
        Ok(all)
    }

    /// Whole lines from where it was read to.
    fn lines(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.read))?;
        Read::by_ref(&mut self.file).take(READ_BYTES).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(whole);
        Ok(bytes.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec()).collect())
    }

    /// Requests without a line so far.
    #[must_use]
    pub fn open_requests(&self) -> &Open {
        &self.open
    }

    /// Where its writer can be told that `key` was revoked, if a request of it may be under way there.
    #[must_use]
    pub fn admin_for(&self, key: &KeyName) -> Option<PathBuf> {
        let concerned = self.open.get(key).is_some_and(|ids| !ids.is_empty());
        concerned.then(|| self.admin.clone())
    }

    /// Everything of it is in the store, and on the disk.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
        // One that was killed has left its socket too.
        if !self.admin.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.admin);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::usage::Tokens;

    fn settled(key: &str, id: u64) -> Settled {
        let used = Settlement { tokens: Tokens { output: id, ..Tokens::default() }, nano: 7, ..Settlement::default() };
        Settled { key: KeyName::parse(key).unwrap(), id, used }
    }

    fn open(key: &str, ids: &[u64]) -> Open {
        [(KeyName::parse(key).unwrap(), ids.iter().copied().collect())].into()
    }

    #[test]
    fn what_is_written_is_read_as_it_comes_and_the_end_of_the_writer_shows() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Left::all(dir.path()).is_empty());
        let admin = dir.path().join("admin.sock");
        let leaving = Leaving::begin(dir.path(), &admin, open("session/a", &[1, u64::MAX])).unwrap();
        leaving.settle(&settled("session/a", 1));
        let mut left = Left::all(dir.path()).pop().unwrap();
        assert_eq!(left.news().unwrap(), [settled("session/a", 1)]);
        assert_eq!(left.news().unwrap(), []);
        let key = KeyName::parse("session/a").unwrap();
        assert_eq!((left.is_over(), left.admin_for(&key)), (false, Some(admin)));
        leaving.settle(&settled("session/a", u64::MAX));
        leaving.sync().unwrap();
        drop(leaving);
        assert!(left.is_over());
        assert_eq!(left.news().unwrap(), [settled("session/a", u64::MAX)]);
        assert_eq!(left.admin_for(&key), None);
        left.remove();
        assert!(Left::all(dir.path()).is_empty());
    }

    #[test]
    fn a_file_that_was_only_begun_goes_and_a_line_that_is_none_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let leaving = Leaving::begin(dir.path(), Path::new(""), open("k", &[1, 2])).unwrap();
        {
            let mut pen = leaving.pen();
            pen.unwritten.extend(b"not a line\n");
        }
        leaving.settle(&settled("k", 2));
        // In the middle of a line.
        leaving.pen().file.write_all(b"{\"key\":\"k\",").unwrap();
        let mut left = Left::all(dir.path()).pop().unwrap();
        assert_eq!(left.news().unwrap(), [settled("k", 2)]);
        assert_eq!(left.open_requests(), &open("k", &[1]));
        left.remove();
        std::fs::write(dir.path().join(DIRECTORY).join("x.jsonl"), "{\"pid\":1").unwrap();
        assert!(Left::all(dir.path()).is_empty());
        assert_eq!(std::fs::read_dir(dir.path().join(DIRECTORY)).unwrap().count(), 0);
    }
}
