//! When a session's numbers begin anew: what the journal may have lost decides it when the journal is opened.
//!
//! A number that was shown is never given to another event. So a session gets a new life, with a new epoch, when the end of its journal may be
//! missing: under another boot id, when it is behind its witness, when its entry contradicts its events. Where something is known to be lost,
//! the first event of the new life says so.

use super::checksum::{self, place};
use super::schema::{MAX_SEQ, SEQ_BITS};
use super::witness::{Slot, Testimony, covers};
use octo_protocol::event::Level;
use rusqlite::{OptionalExtension, Transaction, params};
use std::path::Path;

/// How a journal stands when it has been compared with its witness.
#[derive(Default)]
pub(super) struct Standing {
    /// By the session's number.
    pub sessions: Vec<(i64, Slot)>,
    /// Sessions that the witness knows and the journal does not.
    pub gone: usize,
}

/// A session's entry, and the newest of its events.
struct Found {
    number: i64,
    slot: Slot,
    newest: Option<u64>,
    /// Events of this life up to here were given up: they may be gone.
    floor: u64,
}

/// Why a session's numbers begin anew.
enum Why {
    /// The power may have gone: nothing is known to be lost.
    Boot,
    /// Its witness had seen more: so many events, if that can be said.
    Behind { events: Option<u64>, power: bool },
    /// Its witness has nothing of it.
    NoWitness,
    /// Its entry says another newest event than there is.
    Contradiction { head: u64, newest: u64 },
}

impl Why {
    fn sentence(&self, path: &Path) -> Option<String> {
        let journal = path.display();
        Some(match self {
            Self::Boot => return None,
            Self::Behind { events, power: true } => {
                format!("the power went before {} of this session had come to the disk; what is shown is what is left", last(*events))
            }
            Self::Behind { events, power: false } => format!(
                "{} of this session are gone from {journal}: its end was lost, or an older copy was put in its place. What is shown is what is \
                 left; a backup may have more",
                last(*events)
            ),
            Self::NoWitness => format!(
                "whether this session is whole could not be checked: {}, which octo keeps beside {journal}, has nothing of it. Check that the end \
                 of the conversation is what it was",
                super::witness::path_of(path).display()
            ),
            Self::Contradiction { head, newest } => format!(
                "{journal} is damaged: it says that this session ended at event {head}, and holds events up to {newest}. Check that the end of the \
                 conversation is what it was; a backup may have more"
            ),
        })
    }
}

fn last(events: Option<u64>) -> String {
    match events {
        Some(1) => "the last event".to_owned(),
        Some(events) => format!("the last {events} events"),
        None => "the last changes".to_owned(),
    }
}

/// Gives every session a new life that needs one, and says how all of them stand then.
pub(super) fn settle(transaction: &Transaction<'_>, path: &Path, boot_id: &str, told: &Testimony, now: i64) -> rusqlite::Result<Standing> {
    let last_boot: Option<String> = transaction.query_row("SELECT value FROM meta WHERE key = 'boot_id'", [], |r| r.get(0)).optional()?;
    let same_boot = last_boot.as_deref().is_none_or(|last| last == boot_id);
    let mut standing = Standing::default();
    for mut found in all(transaction)? {
        if let Some(why) = reason(&found, same_boot, told) {
            let before = told.slots.get(&found.number).map_or(0, |slot| slot.commits);
            let sentence = why.sentence(path);
            if let Some(sentence) = &sentence {
                tracing::error!(session = found.number, sentence, "a session's journal is not whole");
            }
            found.slot = begin(transaction, found.number, found.slot.commits.max(before) + 1, sentence, now)?;
        }
        standing.sessions.push((found.number, found.slot));
    }
    let there: std::collections::BTreeSet<i64> = standing.sessions.iter().map(|(number, _)| *number).collect();
    standing.gone = told.slots.keys().filter(|number| !there.contains(number)).count();
    if standing.gone > 0 {
        // Deleted in the very moment of a kill, or lost: which of the two, only the person knows.
        tracing::error!(
            sessions = standing.gone, path = %path.display(),
            "conversations that were written are not in the journal any more: they were deleted in the moment of a kill, or the file lost them; a backup may have them"
        );
    }
    transaction
        .execute("INSERT INTO meta(key, value) VALUES ('boot_id', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value", [boot_id])?;
    Ok(standing)
}

fn all(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Found>> {
    let mut newest = transaction.prepare("SELECT max(id) FROM events WHERE id >= ?1 AND id < ?2")?;
    let sessions: Vec<(i64, i64, i64, i64, Option<i64>)> = transaction
        .prepare("SELECT n, life, head, commits, (SELECT floor FROM lives l WHERE l.n = s.life) FROM sessions s ORDER BY n")?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))?
        .collect::<Result<_, _>>()?;
    let mut found = Vec::with_capacity(sessions.len());
    for (number, life, head, commits, floor) in sessions {
        // A life that no row id can hold is damage, which the comparison with its events shows.
        let base = life.checked_mul(1 << SEQ_BITS).unwrap_or_default();
        let last: Option<i64> = newest.query_row(params![base, base.saturating_add(1 << SEQ_BITS)], |r| r.get(0))?;
        let slot = Slot { life, head: u64::try_from(head).unwrap_or_default(), commits: u64::try_from(commits).unwrap_or_default() };
        let floor = floor.and_then(|floor| u64::try_from(floor).ok()).unwrap_or_default();
        found.push(Found { number, slot, newest: last.map(|id| place(id).1), floor });
    }
    Ok(found)
}

fn reason(found: &Found, same_boot: bool, told: &Testimony) -> Option<Why> {
    let Found { number, slot, newest, floor } = found;
    match told.slots.get(number) {
        Some(seen) if seen.commits > slot.commits => {
            let events = (seen.life == slot.life).then(|| seen.head.saturating_sub(slot.head)).filter(|events| *events > 0);
            return Some(Why::Behind { events, power: !same_boot });
        }
        // A new life is a commit too: after as many of them the session is in the same one.
        Some(seen) if seen.commits == slot.commits && seen.life != slot.life => {
            return Some(Why::Behind { events: None, power: !same_boot });
        }
        None if slot.commits > 0 && covers(*number) => return Some(Why::NoWitness),
        _ => {}
    }
    // What was given up may be the newest of all.
    let newest = newest.unwrap_or_default();
    if newest != slot.head && (newest > slot.head || *floor < slot.head) {
        return Some(Why::Contradiction { head: slot.head, newest });
    }
    (!same_boot && slot.head > 0).then_some(Why::Boot)
}

/// The session's new life, which begins with `sentence` if there is one.
fn begin(transaction: &Transaction<'_>, session: i64, commits: u64, sentence: Option<String>, now: i64) -> rusqlite::Result<Slot> {
    let epoch = new_epoch(now);
    transaction.execute("INSERT INTO lives(session, epoch) VALUES (?1, ?2)", params![session, epoch])?;
    let life = transaction.last_insert_rowid();
    let mut head = 0i64;
    if let Some(sentence) = sentence {
        head = 1;
        checksum::insert(
            &mut transaction.prepare(checksum::INSERT)?,
            (life << SEQ_BITS) | 1,
            &checksum::notice(Level::Warning, sentence)?,
        )?;
    }
    // No cursor reaches the events of earlier lives; their messages stay.
    transaction.execute("UPDATE lives SET floor = ?3 WHERE session = ?1 AND n <> ?2", params![session, life, MAX_SEQ])?;
    let signed = i64::try_from(commits).unwrap_or(i64::MAX);
    transaction.execute(
        "UPDATE sessions SET life = ?2, epoch = ?3, head = ?4, commits = ?5 WHERE n = ?1",
        params![session, life, epoch, head, signed],
    )?;
    Ok(Slot { life, head: head.unsigned_abs(), commits })
}

/// A short id that was never given before.
#[must_use]
pub fn new_epoch(now: i64) -> String {
    format!("e{now:x}{:06x}", rand::random::<u32>() & 0x00ff_ffff)
}
