//! What is kept for how long: giving up what is old or too much, removing it in small steps, and giving the space back.
//!
//! Two phases. A [`Cut`] moves marks and writes down what history loses, in one small transaction: from then on nobody is shown what was given
//! up, and a cursor before it is told. The rows follow by [`sweep`] in steps that keep no commit waiting for long; a kill in between leaves marks
//! by which the next pass goes on.
//!
//! Never given up: what the turn under way needs, an input that no agent has got, half of a turn's messages.

use super::reader::unsigned;
use super::schema::{SEQ_BITS, gives_space_back};
use super::{Journal, JournalError, SessionKey};
use crate::clock::now_ms;
use octo_protocol::history::{RemovalReason, Removed};
use rusqlite::{Connection, OptionalExtension, params};

/// Rows that one step removes at most.
const STEP_ROWS: i64 = 256;
/// Bytes that one step removes at most, unless its first row alone has more.
const STEP_BYTES: i64 = 1024 * 1024;
/// Pages that one step gives back to the file system.
const STEP_PAGES: i64 = 256;
/// Free pages that stay in the file: the next events take them.
const SLACK_PAGES: i64 = 64;
/// Messages that one cut gives up, unless its first turn alone has more.
const CUT_MESSAGES: u64 = 20_000;
/// The numbers within a life.
const SEQ_MASK: i64 = (1 << SEQ_BITS) - 1;

/// What is to be given up of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Events of before this time (Unix milliseconds), but no messages.
    EventsBefore(i64),
    /// All events of turns that have ended, but no messages.
    Events,
    /// Turns of which every message was written before this time.
    MessagesBefore(i64),
    /// The oldest turns, until so many bytes are given up.
    MessagesOf(u64),
}

/// Something that is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub key: SessionKey,
    /// Events of the present life up to this `seq`, except messages.
    pub floor: u64,
    /// Messages, if some go as well.
    pub messages: Option<CutMessages>,
}

/// The messages of a [`Cut`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutMessages {
    /// The first that stays.
    pub first_idx: u64,
    pub reason: RemovalReason,
    pub messages: u64,
    pub turns: u64,
    /// When the oldest and the newest of them were written, in Unix milliseconds by the runner's clock.
    pub first_at: i64,
    pub last_at: i64,
}

/// What a session holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub key: SessionKey,
    pub id: String,
    /// Bytes of its events and messages.
    pub bytes: u64,
    /// Rows that were given up are still there.
    pub unswept: bool,
}

/// The file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Space {
    /// Bytes in use.
    pub used: u64,
    /// Bytes in the file that nothing uses.
    pub free: u64,
    /// Whether freed space goes back to the file system. Otherwise it is only used again.
    pub gives_back: bool,
}

impl Journal {
    /// What every session holds.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn holdings(&self) -> Result<Vec<Holding>, JournalError> {
        self.readers().run("looking at what sessions hold", |c| holdings(c, None)).await
    }

    /// What one session holds.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn holding(&self, session: i64) -> Result<Option<Holding>, JournalError> {
        self.readers().run("looking at what a session holds", move |c| Ok(holdings(c, Some(session))?.pop())).await
    }

    /// What there is of that kind; `None` when there is nothing.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn plan(&self, session: i64, take: Take) -> Result<Option<Cut>, JournalError> {
        self.readers().run("planning what is removed", move |c| plan(c, session, take)).await
    }

    /// How large the file is.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn space(&self) -> Result<Space, JournalError> {
        self.readers()
            .run("measuring the journal", |c| {
                let pragma = |name: &str| c.query_row(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0)).map(unsigned);
                let (size, pages, free) = (pragma("page_size")?, pragma("page_count")?, pragma("freelist_count")?);
                Ok(Space { used: pages.saturating_sub(free) * size, free: free * size, gives_back: gives_space_back(c)? })
            })
            .await
    }

    /// What history does not hold any more, of one session or of all.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn removed(&self, session: Option<i64>) -> Result<Option<Removed>, JournalError> {
        self.readers().run("reading what was removed", move |c| removed(c, session)).await
    }
}

fn holdings(connection: &Connection, session: Option<i64>) -> rusqlite::Result<Vec<Holding>> {
    connection
        .prepare_cached(
            "SELECT n, life, id, kept_bytes,
               EXISTS (SELECT 1 FROM lives l WHERE l.session = s.n AND l.swept < l.floor)
               OR EXISTS (SELECT 1 FROM messages m WHERE m.session = s.n AND m.idx < s.first_idx)
             FROM sessions s WHERE ?1 IS NULL OR n = ?1 ORDER BY n",
        )?
        .query_map([session], |r| {
            Ok(Holding {
                key: SessionKey { session: r.get(0)?, life: r.get(1)? },
                id: r.get(2)?,
                bytes: unsigned(r.get(3)?),
                unswept: r.get(4)?,
            })
        })?
        .collect()
}

/// A session as a plan needs it.
struct Standing {
    key: SessionKey,
    floor: u64,
    first_idx: i64,
    /// The newest event that may go.
    limit: u64,
}

fn standing(connection: &Connection, session: i64) -> rusqlite::Result<Option<Standing>> {
    connection
        .prepare_cached(
            "SELECT s.life, s.head, s.turn IS NOT NULL, s.turn_from, s.first_idx, l.floor,
               (SELECT min(number) FROM inputs i WHERE i.session = s.n AND i.state IN ('accepted', 'handed'))
             FROM sessions s JOIN lives l ON l.n = s.life WHERE s.n = ?1",
        )?
        .query_row([session], |r| {
            let (head, turn, from): (i64, bool, Option<i64>) = (r.get(1)?, r.get(2)?, r.get(3)?);
            let waiting: Option<i64> = r.get(6)?;
            // A turn of which nobody knows where it began keeps everything.
            let of_turn = if turn { from.unwrap_or(1) - 1 } else { head };
            let limit = head.min(of_turn).min(waiting.map_or(head, |number| number - 1));
            Ok(Standing {
                key: SessionKey { session, life: r.get(0)? },
                floor: unsigned(r.get(5)?),
                first_idx: r.get(4)?,
                limit: unsigned(limit),
            })
        })
        .optional()
}

fn plan(connection: &Connection, session: i64, take: Take) -> rusqlite::Result<Option<Cut>> {
    let Some(at) = standing(connection, session)? else { return Ok(None) };
    match take {
        Take::EventsBefore(time) => {
            let base = at.key.life << SEQ_BITS;
            // The first that is young enough: everything before it is old, whatever the clock did in between.
            let young: Option<i64> = connection
                .prepare_cached("SELECT id FROM events WHERE id > ?1 AND id <= ?2 AND ts >= ?3 ORDER BY id LIMIT 1")?
                .query_row(params![base | signed(at.floor), base | signed(at.limit), time], |r| r.get(0))
                .optional()?;
            let floor = young.map_or(at.limit, |id| unsigned(id - base - 1));
            Ok((floor > at.floor).then_some(Cut { key: at.key, floor, messages: None }))
        }
        Take::Events => Ok((at.limit > at.floor).then_some(Cut { key: at.key, floor: at.limit, messages: None })),
        Take::MessagesBefore(time) => oldest_turns(connection, &at, RemovalReason::Age, |_, ts| ts >= time),
        Take::MessagesOf(bytes) => oldest_turns(connection, &at, RemovalReason::Size, |taken, _| taken >= bytes),
    }
}

/// Whole turns from the oldest on, until `enough` says so of the bytes taken so far and the next message's time.
fn oldest_turns(
    connection: &Connection,
    at: &Standing,
    reason: RemovalReason,
    enough: impl Fn(u64, i64) -> bool,
) -> rusqlite::Result<Option<Cut>> {
    let mut statement = connection.prepare_cached(
        "SELECT m.idx, m.event, e.ts, coalesce(m.turn, json_extract(e.payload, '$.turn_id')), octet_length(e.payload) + octet_length(m.text)
         FROM messages m JOIN events e ON e.id = m.event WHERE m.session = ?1 AND m.idx >= ?2 AND m.event <= ?3 ORDER BY m.idx",
    )?;
    let last = (at.key.life << SEQ_BITS) | signed(at.limit);
    let mut rows = statement.query(params![at.key.session, at.first_idx, last])?;
    let mut taken = CutMessages { first_idx: 0, reason, messages: 0, turns: 0, first_at: i64::MAX, last_at: i64::MIN };
    let (mut whole, mut bytes, mut whole_bytes, mut floor, mut whole_floor) = (taken.clone(), 0, 0, at.floor, at.floor);
    let mut turn: Option<String> = None;
    let mut complete = true;
    while let Some(row) = rows.next()? {
        let (idx, event, ts): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let of: Option<String> = row.get(3)?;
        let begins = taken.messages == 0 || of.is_none() || of != turn;
        if begins {
            (whole, whole_bytes, whole_floor) = (taken.clone(), bytes, floor);
            if whole.messages >= CUT_MESSAGES {
                complete = false;
                break;
            }
        }
        // Bytes are looked at between turns, times at every message: one that is young keeps its whole turn.
        if (begins || reason == RemovalReason::Age) && enough(whole_bytes, ts) {
            complete = false;
            break;
        }
        taken.turns += u64::from(begins && of.is_some());
        taken.messages += 1;
        taken.first_idx = unsigned(idx) + 1;
        (taken.first_at, taken.last_at) = (taken.first_at.min(ts), taken.last_at.max(ts));
        bytes += unsigned(row.get(4)?);
        if event >> SEQ_BITS == at.key.life {
            floor = floor.max(unsigned(event & SEQ_MASK));
        }
        turn = of;
    }
    if complete {
        (whole, whole_floor) = (taken, floor);
    }
    Ok((whole.messages > 0).then_some(Cut { key: at.key, floor: whole_floor, messages: Some(whole) }))
}

/// Moves the marks, and writes down what history loses.
pub(super) fn cut(connection: &Connection, cut: &Cut) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE lives SET floor = max(floor, ?2) WHERE n = ?1")?.execute(params![cut.key.life, signed(cut.floor)])?;
    let Some(messages) = &cut.messages else { return Ok(()) };
    let moved = connection
        .prepare_cached("UPDATE sessions SET first_idx = ?2 WHERE n = ?1 AND first_idx < ?2")?
        .execute(params![cut.key.session, signed(messages.first_idx)])?;
    if moved == 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO removals(session, reason, messages, turns, first_at, last_at, removed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT(session, reason) DO UPDATE SET messages = messages + excluded.messages, turns = turns + excluded.turns,
               first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at), removed_at = excluded.removed_at",
        )?
        .execute(params![
            cut.key.session,
            reason_text(messages.reason),
            signed(messages.messages),
            signed(messages.turns),
            messages.first_at,
            messages.last_at,
            now_ms()
        ])?;
    Ok(())
}

/// Removes some rows that were given up. True when there may be more.
pub(super) fn sweep(connection: &Connection, session: i64) -> rusqlite::Result<bool> {
    let freed = match sweep_messages(connection, session)? {
        Some(freed) => freed,
        None => match sweep_events(connection, session)? {
            Some(freed) => freed,
            None => return Ok(false),
        },
    };
    connection.prepare_cached("UPDATE sessions SET kept_bytes = max(0, kept_bytes - ?2) WHERE n = ?1")?.execute(params![session, freed])?;
    Ok(true)
}

/// Bytes that went; `None` when there is nothing to remove.
fn sweep_messages(connection: &Connection, session: i64) -> rusqlite::Result<Option<i64>> {
    let given_up: Vec<(i64, i64)> = connection
        .prepare_cached(
            "SELECT m.event, coalesce(octet_length(e.payload), 0) + octet_length(m.text) FROM messages m LEFT JOIN events e ON e.id = m.event
             WHERE m.session = ?1 AND m.idx < (SELECT first_idx FROM sessions WHERE n = ?1) ORDER BY m.idx LIMIT ?2",
        )?
        .query_map(params![session, STEP_ROWS], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut freed = 0;
    for (event, bytes) in &given_up {
        if freed > 0 && freed + bytes > STEP_BYTES {
            break;
        }
        freed += bytes;
        connection.prepare_cached("DELETE FROM messages WHERE event = ?1")?.execute([event])?;
        connection.prepare_cached("DELETE FROM events WHERE id = ?1")?.execute([event])?;
    }
    Ok((!given_up.is_empty()).then_some(freed))
}

fn sweep_events(connection: &Connection, session: i64) -> rusqlite::Result<Option<i64>> {
    let next: Option<(i64, i64, i64)> = connection
        .prepare_cached("SELECT n, floor, swept FROM lives WHERE session = ?1 AND swept < floor ORDER BY n LIMIT 1")?
        .query_row([session], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    let Some((life, floor, swept)) = next else { return Ok(None) };
    let base = life << SEQ_BITS;
    let rows: Vec<(i64, i64, i64, bool)> = connection
        .prepare_cached(
            "SELECT id, kind, octet_length(payload), EXISTS (SELECT 1 FROM messages m WHERE m.event = e.id)
             FROM events e WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?
        .query_map(params![base | swept, base | floor, STEP_ROWS], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?
        .collect::<Result<_, _>>()?;
    let (mut removed, mut freed, mut reached, mut cut_short) = (0, 0, swept, false);
    for (id, kind, bytes, is_message) in &rows {
        if !is_message {
            if removed > 0 && removed + bytes > STEP_BYTES {
                cut_short = true;
                break;
            }
            removed += bytes;
            // Deltas were never counted.
            freed += if *kind == 0 { 0 } else { *bytes };
            connection.prepare_cached("DELETE FROM events WHERE id = ?1")?.execute([id])?;
        }
        reached = id - base;
    }
    let all = !cut_short && i64::try_from(rows.len()).is_ok_and(|rows| rows < STEP_ROWS);
    let swept = if all { floor } else { reached };
    connection.prepare_cached("UPDATE lives SET swept = ?2 WHERE n = ?1")?.execute(params![life, swept])?;
    Ok(Some(freed))
}

/// Gives some free pages back. True when there are more.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |r| r.get(0))?;
    if free <= SLACK_PAGES || !gives_space_back(connection)? {
        return Ok(false);
    }
    let pages = (free - SLACK_PAGES).min(STEP_PAGES);
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut steps = statement.query([])?;
    while steps.next()?.is_some() {}
    Ok(free - pages > SLACK_PAGES)
}

/// The images of an input that has become a message: that holds them too.
pub(super) fn strip_images(connection: &Connection, key: SessionKey, input: &str) -> rusqlite::Result<()> {
    let accepted: Option<(i64, i64)> = connection
        .prepare_cached(
            "SELECT e.id, octet_length(e.payload) FROM inputs i JOIN events e ON e.id = (?2 << 40 | i.number)
             WHERE i.session = ?1 AND i.key = ?3 AND e.name = 'input.accepted' AND json_type(e.payload, '$.images') IS NOT NULL",
        )?
        .query_row(params![key.session, key.life, input], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    let Some((id, before)) = accepted else { return Ok(()) };
    connection.prepare_cached("UPDATE events SET payload = json_remove(payload, '$.images') WHERE id = ?1")?.execute([id])?;
    connection
        .prepare_cached("UPDATE sessions SET kept_bytes = max(0, kept_bytes - ?2 + (SELECT octet_length(payload) FROM events WHERE id = ?3)) WHERE n = ?1")?
        .execute(params![key.session, before, id])?;
    Ok(())
}

pub(super) fn removed(connection: &Connection, session: Option<i64>) -> rusqlite::Result<Option<Removed>> {
    let parts: Vec<Removed> = connection
        .prepare_cached("SELECT reason, messages, turns, first_at, last_at, removed_at FROM removals WHERE ?1 IS NULL OR session = ?1 ORDER BY session, reason")?
        .query_map([session], |r| {
            Ok(Removed {
                reasons: vec![reason_of(&r.get::<_, String>(0)?)],
                messages: unsigned(r.get(1)?),
                turns: unsigned(r.get(2)?),
                first_at: r.get(3)?,
                last_at: r.get(4)?,
                removed_at: r.get(5)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(parts.into_iter().reduce(|all, part| all.and(&part)))
}

fn reason_text(reason: RemovalReason) -> &'static str {
    match reason {
        RemovalReason::Age => "age",
        RemovalReason::Size => "size",
    }
}

fn reason_of(text: &str) -> RemovalReason {
    if text == "age" { RemovalReason::Age } else { RemovalReason::Size }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(SEQ_MASK).min(SEQ_MASK)
}

#[cfg(test)]
mod tests;
