//! The witness: a small file beside the journal that holds, for each session, how far the journal had come when somebody was told of it.
//!
//! SQLite opens whatever is whole. When the end of its write-ahead log is cut off, or a bit in it flips, or an older copy of the file is put
//! back, what was committed last is silently gone, and its numbers would be given a second time. The witness is written after each commit and
//! before anybody hears of it, so a journal that is behind its witness has lost something that was seen.
//!
//! It survives a kill (the kernel has it) and need not survive the power: another boot begins new epochs anyway. A witness that is behind the
//! journal proves nothing and is no fault: the runner was killed between the two writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"octowit1";
/// Bytes of one slot; the first one holds the name of the journal, and the one at `n` belongs to the session with the number `n`.
const SLOT: usize = 32;
/// Sessions with a larger number have no witness.
const MAX_SLOTS: i64 = 1 << 20;

/// How far a session's journal had come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub life: i64,
    pub head: u64,
    /// Transactions that wrote to the session, over all its lives.
    pub commits: u64,
}

impl Slot {
    fn bytes(self, number: i64) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&self.life.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.head.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.commits.to_le_bytes());
        seal(&mut bytes, number);
        bytes
    }

    fn of(bytes: &[u8; SLOT], number: i64) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        let slot = Self { life: i64::try_from(word(0)).ok()?, head: word(8), commits: word(16) };
        (slot.life != 0 && slot.bytes(number) == *bytes).then_some(slot)
    }
}

/// The last eight bytes check those before them and where they stand.
fn seal(bytes: &mut [u8; SLOT], number: i64) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(&bytes[..SLOT - 8]);
    bytes[SLOT - 8..SLOT - 4].copy_from_slice(&crc.finalize().to_le_bytes());
}

fn header(id: u128) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..24].copy_from_slice(&id.to_le_bytes());
    seal(&mut bytes, 0);
    bytes
}

/// Where the witness of the journal at `path` is.
pub(super) fn path_of(path: &Path) -> PathBuf {
    path.with_extension("heads")
}

/// What a witness file says.
#[derive(Debug, Default)]
pub(super) struct Testimony {
    /// The journal that it is of; `None` when there is no such file, or none that can be read.
    pub of: Option<u128>,
    /// By the session's number.
    pub slots: std::collections::BTreeMap<i64, Slot>,
}

/// Reads the witness beside `path`. What is damaged in it is not in the answer.
pub(super) fn read(path: &Path) -> Testimony {
    let limit = (MAX_SLOTS.unsigned_abs() + 1) * SLOT as u64;
    let mut bytes = Vec::new();
    let read = File::open(path_of(path)).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    if let Err(error) = read {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(path = %path_of(path).display(), %error, "the witness of the journal cannot be read");
        }
        return Testimony::default();
    }
    let mut slots = bytes.chunks_exact(SLOT).zip(0i64..).filter_map(|(slot, number)| Some((<&[u8; SLOT]>::try_from(slot).ok()?, number)));
    let id = slots.next().and_then(|(first, _)| {
        let id = first.get(8..24).and_then(|b| b.try_into().ok()).map(u128::from_le_bytes)?;
        (header(id) == *first).then_some(id)
    });
    Testimony { of: id, slots: slots.filter_map(|(bytes, number)| Some((number, Slot::of(bytes, number)?))).collect() }
}

/// The witness as its journal's writer has it.
#[derive(Debug)]
pub(super) struct Witness {
    /// `None`: it could not be made. The journal works without it; only its shortening would not be noticed.
    file: Option<File>,
    path: PathBuf,
    complained: bool,
}

impl Witness {
    /// Makes the witness of the journal at `path`, whose name is `id`, in place of any other.
    fn make(path: &Path, id: u128, slots: impl IntoIterator<Item = (i64, Slot)>) -> Self {
        let path = path_of(path);
        let mut bytes = header(id).to_vec();
        for (number, slot) in slots {
            let Some(at) = place(number) else { continue };
            let end = usize::try_from(at).unwrap_or_default() + SLOT;
            bytes.resize(bytes.len().max(end), 0);
            bytes[end - SLOT..end].copy_from_slice(&slot.bytes(number));
        }
        let fresh = path.with_extension("heads.new");
        let made = (|| {
            let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            Ok(file)
        })();
        let mut witness = Self { file: None, path, complained: false };
        match made {
            Ok(file) => witness.file = Some(file),
            Err(error) => {
                let _ = std::fs::remove_file(&fresh);
                witness.complain(&error);
            }
        }
        witness
    }

    /// Goes on with the file that is there, when it is of the journal `id`: on a disk without room this one still works.
    pub fn go_on(path: &Path, id: u128, slots: impl IntoIterator<Item = (i64, Slot)>, before: &Testimony) -> Self {
        if before.of != Some(id) {
            return Self::make(path, id, slots);
        }
        let path = path_of(path);
        let mut witness = Self { file: None, path, complained: false };
        match OpenOptions::new().read(true).write(true).open(&witness.path) {
            Ok(file) => witness.file = Some(file),
            Err(error) => witness.complain(&error),
        }
        let mut gone = before.slots.clone();
        for (number, slot) in slots {
            if gone.remove(&number) != Some(slot) {
                witness.note(number, slot);
            }
        }
        for number in gone.into_keys() {
            witness.clear(number);
        }
        witness
    }

    /// A session has come so far.
    pub fn note(&mut self, number: i64, slot: Slot) {
        self.put(number, slot.bytes(number));
    }

    /// There is no such session any more.
    pub fn clear(&mut self, number: i64) {
        self.put(number, [0; SLOT]);
    }

    fn put(&mut self, number: i64, bytes: [u8; SLOT]) {
        if let (Some(at), Some(file)) = (place(number), &self.file)
            && let Err(error) = file.write_all_at(&bytes, at)
        {
            self.complain(&error);
        }
    }

    /// What was committed is committed: a witness that cannot be written only proves less.
    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the witness of the journal cannot be written; a journal that loses its end meanwhile would not be noticed");
        }
    }
}

fn place(number: i64) -> Option<u64> {
    (1..MAX_SLOTS).contains(&number).then(|| number.unsigned_abs() * SLOT as u64)
}

/// Whether the session with this number has a place in a witness.
pub(super) fn covers(number: i64) -> bool {
    place(number).is_some()
}
