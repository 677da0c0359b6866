//! What is wrong with the runner itself, beside what its actors show: the journal that everybody writes to, and its descriptors. Asked, it asks nobody: it
//! answers while the disk hangs.

use crate::journal::Journal;
use nix::sys::resource::{Resource, getrlimit};
use octo_protocol::admin::Trouble;
use std::time::Duration;

/// A write that takes so long waits for something.
const SLOW_WRITE: Duration = Duration::from_secs(1);
/// Free bytes on the disk of the journal that are worth a word.
const LITTLE_ROOM: u64 = 64 * 1024 * 1024;
/// Descriptors in use, of those that there may be, that are worth a word.
const MANY_PERCENT: u64 = 90;

/// All of it, each with what to do.
#[must_use]
pub fn trouble(journal: &Journal) -> Vec<Trouble> {
    let named = |what: &str, sentence: Option<String>| sentence.map(|sentence| Trouble { what: what.to_owned(), sentence });
    named("journal", of_journal(journal)).into_iter().chain(named("descriptors", of_descriptors())).collect()
}

fn of_journal(journal: &Journal) -> Option<String> {
    let path = journal.path().display();
    let pulse = journal.pulse();
    if let Some((refusing, why)) = pulse.refusing() {
        return Some(format!("{path} has taken no writes for {} s, and agents are held back: {why}", refusing.as_secs()));
    }
    if let Some(writing) = pulse.writing_for().filter(|writing| *writing >= SLOW_WRITE) {
        let (seconds, more) = (writing.as_secs(), journal.queued());
        return Some(format!(
            "a write to {path} has been under way for {seconds} s, and {more} more wait: its disk hangs, or another program holds the file (`fuser {path}` names it)"
        ));
    }
    let free = journal.path().parent().and_then(octo_actors::room::free_bytes)?;
    (free < LITTLE_ROOM).then(|| format!("{} MiB are left on the disk of {path}: make room before it is full", free >> 20))
}

fn of_descriptors() -> Option<String> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let used = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    (used.saturating_mul(100) >= limit.saturating_mul(MANY_PERCENT))
        .then(|| format!("{used} of {limit} descriptors are in use, and agents need some: raise the limit of open files (LimitNOFILE)"))
}
