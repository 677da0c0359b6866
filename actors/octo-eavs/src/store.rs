//! The sled store of octo-eavs: virtual keys and what they used. Nothing else names sled.
//!
//! Layout: `store/` in the data directory; trees `meta` (schema version), `keys` (name → JSON [`KeyRecord`]), `usage`
//! (name → JSON [`Usage`]). A lock file with the owner's pid stands beside it, so that a second instance is told who is
//! there, and a `schema` file, so that an emptied store is not taken for a new one.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;

use crate::record::{KeyRecord, Usage};
use octo_actors::room::{Room, has_room};

/// Version of the layout above.
pub const SCHEMA: u32 = 1;
/// How long the disk may take for a flush.
const FLUSH_PATIENCE: Duration = Duration::from_secs(20);

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or opened.
    #[error("could not open the data directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another instance works on it.
    #[error(
        "the store {path} is in use by another octo-eavs (pid {pid}): stop that one first (SIGTERM lets its streams finish, a second SIGTERM ends it at once), or give this one its own --data-dir"
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// Its owner, `?` if unknown.
        pid: String,
    },
    /// Written by a newer octo-eavs.
    #[error(
        "the store {path} has schema version {found}, this octo-eavs knows {SCHEMA}: run the newer octo-eavs again, or give this one its own --data-dir"
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// Cannot be read.
    #[error(
        "the store {path} is damaged ({detail}): stop octo-eavs, move its data directory away and start again; octo registers the keys of its sessions anew, only counted usage is lost"
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is damaged.
        detail: String,
    },
    /// The disk has no room for a write.
    #[error("nothing can be written to {}: its disk is full; make room there, then try again", .0.display())]
    Full(PathBuf),
    /// What is left to the next octo-eavs was not written down.
    #[error("what the last requests used is not all written down ({0}): it will count as estimated")]
    Left(String),
    /// A write failed.
    #[error("could not write to the store {path}: {detail}; check free space and permissions")]
    Write {
        /// The store.
        path: PathBuf,
        /// What sled said.
        detail: String,
    },
}

/// The open store. Dropping it releases the lock.
pub struct Store {
    path: PathBuf,
    room: Room,
    db: sled::Db,
    keys: sled::Tree,
    usage: sled::Tree,
    _lock: Flock<File>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish()
    }
}

impl Store {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that it is in.
    pub fn data_dir(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Opens or makes the store in `data_dir` (0700).
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let directory = |source| StoreError::Directory { path: data_dir.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(directory)?;
        let lock = lock(data_dir)?;
        let path = data_dir.join("store");
        let damaged = |detail: String| StoreError::Damaged { path: path.clone(), detail };
        // Recovery writes; where it cannot, it leaves a store that it calls damaged the next time.
        if path.exists() && !has_room(data_dir) {
            return Err(StoreError::Full(path));
        }
        // sled 0.34 panics on some damaged files instead of returning an error.
        let opened = std::panic::catch_unwind(|| {
            let db = sled::Config::new().path(&path).cache_capacity(16 * 1024 * 1024).open()?;
            let (meta, keys, usage) = (db.open_tree("meta")?, db.open_tree("keys")?, db.open_tree("usage")?);
            Ok::<_, sled::Error>((db, meta, keys, usage))
        });
        let (db, meta, keys, usage) = match opened {
            Ok(Ok(trees)) => trees,
            // A store is not damaged because its disk is full: whoever moved it away then would lose it.
            Ok(Err(sled::Error::Io(e))) if e.kind() == std::io::ErrorKind::StorageFull => return Err(StoreError::Full(path)),
            Ok(Err(_)) | Err(_) if !has_room(data_dir) => return Err(StoreError::Full(path)),
            Ok(Err(e)) => return Err(damaged(e.to_string())),
            Err(_) => return Err(damaged("its log cannot be read back".into())),
        };
        // sled takes a log it cannot read for an empty one. A note beside it tells an emptied store from a new one.
        let note = data_dir.join("schema");
        let existed = note.exists();
        match meta.get("schema").map_err(|e| damaged(e.to_string()))? {
            None if existed => return Err(damaged("its content is gone".into())),
            None if !has_room(data_dir) => return Err(StoreError::Full(path)),
            None => {
                let done = meta.insert("schema", SCHEMA.to_string().as_bytes()).and_then(|_| db.flush());
                done.map_err(|e| damaged(e.to_string()))?;
                std::fs::write(&note, format!("{SCHEMA}\n")).map_err(directory)?;
            }
            Some(found) => {
                let text = String::from_utf8_lossy(&found).into_owned();
                match text.parse::<u32>() {
                    Ok(SCHEMA) => {}
                    Ok(n) if n > SCHEMA => return Err(StoreError::Newer { path, found: text }),
                    _ => return Err(damaged(format!("schema version {text:?}"))),
                }
            }
        }
        Ok(Self { room: Room::of(&path), path, db, keys, usage, _lock: lock })
    }

    /// Everything in it, for the registry.
    pub fn load(&self) -> Result<Vec<(KeyRecord, Usage)>, StoreError> {
        let mut all = Vec::new();
        for row in &self.keys {
            let (name, bytes) = row.map_err(|e| self.damaged(e.to_string()))?;
            let record: KeyRecord = self.read(&name, &bytes)?;
            let usage = match self.usage.get(&name).map_err(|e| self.damaged(e.to_string()))? {
                Some(bytes) => self.read(&name, &bytes)?,
                None => Usage::default(),
            };
            all.push((record, usage));
        }
        Ok(all)
    }

    /// Writes a key; it is on the disk when this returns.
    pub async fn put_key(&self, record: &KeyRecord) -> Result<(), StoreError> {
        self.room()?;
        let bytes = serde_json::to_vec(record).map_err(|e| self.failed(e.to_string()))?;
        self.keys.insert(record.name.as_str(), bytes).map_err(|e| self.failed(e.to_string()))?;
        self.flush().await
    }

    /// Removes a key and its usage; they are off the disk when this returns.
    pub async fn remove_key(&self, name: &str) -> Result<(), StoreError> {
        self.room()?;
        self.keys.remove(name).map_err(|e| self.failed(e.to_string()))?;
        self.usage.remove(name).map_err(|e| self.failed(e.to_string()))?;
        self.flush().await
    }

    /// Writes counters. Buffered: sled flushes twice a second, [`Store::flush`] at once.
    pub fn put_usage(&self, name: &str, usage: &Usage) -> Result<(), StoreError> {
        self.room()?;
        let bytes = serde_json::to_vec(usage).map_err(|e| self.failed(e.to_string()))?;
        self.usage.insert(name, bytes).map_err(|e| self.failed(e.to_string()))?;
        Ok(())
    }

    /// Waits until all that was written is on the disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match tokio::time::timeout(FLUSH_PATIENCE, self.db.flush_async()).await {
            Ok(flushed) => flushed.map(drop).map_err(|e| self.failed(e.to_string())),
            Err(_) => Err(self.failed(format!("the disk did not answer within {FLUSH_PATIENCE:?}"))),
        }
    }

    /// Whether a write may be tried now.
    pub fn has_room(&self) -> bool {
        self.room.is_there()
    }

    fn room(&self) -> Result<(), StoreError> {
        if self.has_room() { Ok(()) } else { Err(StoreError::Full(self.path.clone())) }
    }

    fn read<T: DeserializeOwned>(&self, name: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(bytes).map_err(|e| self.damaged(format!("the entry of key {:?}: {e}", String::from_utf8_lossy(name))))
    }

    fn damaged(&self, detail: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), detail }
    }

    pub(crate) fn failed(&self, detail: String) -> StoreError {
        StoreError::Write { path: self.path.clone(), detail }
    }
}

fn lock(data_dir: &Path) -> Result<Flock<File>, StoreError> {
    let path = data_dir.join("lock");
    let directory = |source| StoreError::Directory { path: path.clone(), source };
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(directory)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0).map_err(directory)?;
            lock.rewind().map_err(directory)?;
            write!(lock, "{}", std::process::id()).map_err(directory)?;
            Ok(lock)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let read = file.read_to_string(&mut pid).is_ok_and(|n| n > 0);
            Err(StoreError::InUse { path: data_dir.to_owned(), pid: if read { pid } else { "?".to_owned() } })
        }
        Err((_, errno)) => Err(directory(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_instance_is_refused_with_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Store::open(dir.path()).unwrap();
        let said = Store::open(dir.path()).unwrap_err().to_string();
        assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.db.open_tree("meta").unwrap().insert("schema", "2").unwrap();
        store.db.flush().unwrap();
        drop(store);
        let said = Store::open(dir.path()).unwrap_err().to_string();
        assert!(said.contains("schema version 2") && said.contains("newer"), "{said}");
        let again = Store::open(dir.path()).unwrap_err().to_string();
        assert!(again.contains("schema version 2"), "{again}");
    }

    #[test]
    fn a_damaged_store_is_said_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let log = dir.path().join("store/db");
        let len = std::fs::metadata(&log).unwrap().len() as usize;
        std::fs::write(&log, vec![0xff; len]).unwrap();
        let said = Store::open(dir.path()).unwrap_err().to_string();
        assert!(said.contains("damaged") && said.contains("move its data directory away"), "{said}");

        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.keys.insert("k", "not json").unwrap();
        let said = store.load().unwrap_err().to_string();
        assert!(said.contains("damaged") && said.contains("\"k\""), "{said}");
    }
}
