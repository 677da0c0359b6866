//! Room on the disk for a sled store, of whichever process has one.
//!
//! Once a write of sled has failed, sled fails until it is opened again; and what it is given it writes up to half a second later. So it is not let near
//! the end of the disk, and what it writes next has its blocks already.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Room that the disk must have for a write to be begun, in bytes: some of sled's segments of 512 KiB.
const MIN_FREE_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes behind the end of the store's file whose blocks are taken beforehand.
const AHEAD_BYTES: u64 = 2 * 1024 * 1024;

/// Watches over the disk of one store.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    /// How far the file has its blocks.
    reserved: AtomicU64,
}

impl Room {
    /// Of the store in `dir`.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), reserved: AtomicU64::new(0) }
    }

    /// Whether a write may begin; if so the blocks for it are there when this returns, as far as the file system can do that.
    #[must_use]
    pub fn is_there(&self) -> bool {
        if !has_room(&self.dir) {
            return false;
        }
        self.reserve();
        true
    }

    fn reserve(&self) {
        let file = self.dir.join("db");
        let length = std::fs::metadata(&file).map_or(0, |m| m.len());
        let reserved = self.reserved.load(Relaxed);
        // Shorter than before: it was cut, and with its end went what was reserved behind it.
        let enough = length + AHEAD_BYTES / 2 <= reserved && reserved <= length + AHEAD_BYTES;
        if length > 0 && !enough && allocate(&file, length + AHEAD_BYTES) {
            self.reserved.store(length + AHEAD_BYTES, Relaxed);
        }
    }
}

/// Whether the disk of `dir` is not close to its end.
#[must_use]
pub fn has_room(dir: &Path) -> bool {
    free_bytes(dir).is_some_and(|free| free >= MIN_FREE_BYTES)
}

/// Free room on the disk of `dir` in bytes; `None` when the system does not tell.
#[must_use]
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(dir).ok()?;
    Some(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// Gives the file its blocks up to `to`; its length stays what it is.
#[cfg(target_os = "linux")]
fn allocate(file: &Path, to: u64) -> bool {
    use nix::fcntl::{FallocateFlags, fallocate};
    let Ok(to) = i64::try_from(to) else { return false };
    let opened = std::fs::File::options().write(true).open(file);
    opened.is_ok_and(|file| fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, to).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &Path, _: u64) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_written_next_has_its_blocks_and_the_file_keeps_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        std::fs::write(&db, b"a store").unwrap();
        let room = Room::of(dir.path());
        assert!(room.is_there());
        let meta = std::fs::metadata(&db).unwrap();
        assert_eq!(meta.len(), 7);
        if cfg!(target_os = "linux") {
            assert!(meta.blocks() * 512 >= AHEAD_BYTES, "{} blocks", meta.blocks());
        }
    }
}
