//! What is written: one operation, what it does to the tables, and whom it tells. [`super::writer`] puts them into transactions.

use super::batch::{Batch, Change, Entry, FinishedMessage, NewSession, Sync};
use super::checksum;
use super::names::{kind_text, status_text};
use super::reader::base_of;
use super::retention::{self, Cut};
use super::rules::{self, RuleChange};
use super::schema::{MAX_SEQ, SEQ_BITS};
use super::witness::Slot;
use super::{JournalError, SessionKey, SessionLog};
use crate::clock::now_ms;
use crate::kill_point::{self, Point};
use octo_protocol::{EventKind, Role};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;
use tokio::sync::oneshot;

const PAGE_BYTES: usize = 4096;

pub(super) type Outcome<T> = Result<T, JournalError>;

/// Something to be written; whoever asked for it hears how it went.
pub(super) enum Operation {
    Commit {
        batch: Box<Batch>,
        reply: oneshot::Sender<Outcome<()>>,
    },
    Create {
        session: Box<NewSession>,
        reply: oneshot::Sender<Outcome<SessionKey>>,
    },
    Delete {
        session: i64,
        reply: oneshot::Sender<Outcome<()>>,
    },
    Cut {
        cut: Box<Cut>,
        log: Option<Arc<SessionLog>>,
        reply: oneshot::Sender<Outcome<()>>,
    },
    Rule {
        change: RuleChange,
        reply: oneshot::Sender<Outcome<()>>,
    },
    Sweep {
        session: i64,
        reply: oneshot::Sender<Outcome<bool>>,
    },
    GiveBack {
        reply: oneshot::Sender<Outcome<bool>>,
    },
    /// Write nothing until `over`, also when that is dropped. Everything that came before is written when `paused` is told.
    Pause {
        paused: oneshot::Sender<()>,
        over: oneshot::Receiver<()>,
    },
    /// Look whether the write-ahead log is to be copied into the file.
    Tidy,
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// What an operation has come to inside its transaction.
pub(super) enum Applied {
    Done,
    Created(SessionKey),
    /// Whether there is more of it to do.
    More(bool),
}

/// What an operation has done to a session, for its witness; `None`: there is no such session any more.
pub(super) type Seen = (i64, Option<Slot>);
impl Operation {
    pub(super) fn journalled(&self) -> impl Iterator<Item = &Entry> {
        let entries = if let Self::Commit { batch, .. } = self { batch.entries.as_slice() } else { &[] };
        entries.iter().filter(|entry| entry.is_journalled())
    }

    pub(super) fn sync(&self) -> Sync {
        match self {
            Self::Commit { batch, .. } => batch.sync(),
            // What comes back with the power is removed once more.
            Self::Sweep { .. } | Self::GiveBack { .. } | Self::Tidy | Self::Pause { .. } => Sync::Normal,
            _ => Sync::Full,
        }
    }

    pub(super) fn apply(&self, connection: &Connection) -> rusqlite::Result<(Applied, Option<Seen>)> {
        let applied = match self {
            Self::Commit { batch, .. } => return Ok((Applied::Done, apply_batch(connection, batch)?)),
            Self::Create { session, .. } => {
                let key = create(connection, session)?;
                let slot = Slot { life: key.life, head: 0, commits: 0 };
                return Ok((Applied::Created(key), Some((key.session, Some(slot)))));
            }
            Self::Delete { session, .. } => {
                delete(connection, *session)?;
                return Ok((Applied::Done, Some((*session, None))));
            }
            Self::Cut { cut, log, .. } => {
                // Before the commit: whoever reads what the commit leaves finds the floor raised already.
                if let Some(log) = log.as_ref().filter(|log| log.life == cut.key.life) {
                    log.raise_floor(cut.floor);
                }
                retention::cut(connection, cut)?;
                Applied::Done
            }
            Self::Rule { change, .. } => {
                rules::apply(connection, change)?;
                Applied::Done
            }
            Self::Sweep { session, .. } => Applied::More(retention::sweep(connection, *session)?),
            Self::GiveBack { .. } => Applied::More(retention::give_back(connection)?),
            Self::Tidy | Self::Pause { .. } | Self::Close { .. } => Applied::Done,
        };
        Ok((applied, None))
    }

    /// The transaction is committed: now, and not before, the events are announced.
    pub(super) fn succeed(self, applied: Applied) {
        match self {
            Self::Commit { batch, reply } => {
                batch.is_committed();
                let mut seq = batch.first_seq;
                batch.log.ring.append_all(batch.entries.iter().map(|entry| {
                    let number = if entry.is_journalled() { seq } else { 0 };
                    seq += u64::from(entry.is_journalled());
                    entry.packed.frame(number)
                }));
                kill_point::reached(Point::Announced);
                let _ = reply.send(Ok(()));
            }
            Self::Create { reply, .. } => {
                let created = if let Applied::Created(key) = applied { Ok(key) } else { Err(JournalError::Closed) };
                let _ = reply.send(created);
            }
            Self::Delete { reply, .. } | Self::Cut { reply, .. } | Self::Rule { reply, .. } => {
                let _ = reply.send(Ok(()));
            }
            Self::Sweep { reply, .. } | Self::GiveBack { reply } => {
                let _ = reply.send(Ok(matches!(applied, Applied::More(true))));
            }
            Self::Tidy | Self::Pause { .. } => {}
            Self::Close { reply } => {
                let _ = reply.send(());
            }
        }
    }

    pub(super) fn fail(self, error: JournalError) {
        match self {
            Self::Commit { reply, .. } | Self::Delete { reply, .. } | Self::Cut { reply, .. } | Self::Rule { reply, .. } => {
                let _ = reply.send(Err(error));
            }
            Self::Sweep { reply, .. } | Self::GiveBack { reply } => {
                let _ = reply.send(Err(error));
            }
            Self::Create { reply, .. } => {
                let _ = reply.send(Err(error));
            }
            Self::Tidy | Self::Pause { .. } => {}
            Self::Close { reply } => {
                let _ = reply.send(());
            }
        }
    }

    /// Pages that it adds to the write-ahead log, about so many.
    pub(super) fn pages(&self) -> usize {
        let bytes = match self {
            Self::Commit { batch, .. } => batch.entries.iter().map(|entry| entry.packed.payload().len()).sum(),
            _ => 0,
        };
        bytes / PAGE_BYTES
    }
}

fn apply_batch(connection: &Connection, batch: &Batch) -> rusqlite::Result<Option<Seen>> {
    let base = batch.key.life << SEQ_BITS;
    let mut seq = i64::try_from(batch.first_seq).unwrap_or(i64::MAX >> (64 - SEQ_BITS));
    let mut kept_bytes = 0;
    let mut insert = connection.prepare_cached(checksum::INSERT)?;
    for entry in &batch.entries {
        if !entry.is_journalled() {
            continue;
        }
        let id = base | seq;
        checksum::insert(&mut insert, id, entry)?;
        prune(connection, base, id, entry)?;
        if let Some(message) = &entry.message {
            finish(connection, batch.key.session, id, message)?;
            kept_bytes += message.text.len();
        }
        // Deltas go when their message is finished.
        if entry.kind != EventKind::Delta {
            kept_bytes += entry.packed.payload().len();
        }
        seq += 1;
    }
    let head = seq - 1;
    // Without an event nothing has happened: bringing a session to rest or looking at it makes it no newer.
    let standing = connection
        .prepare_cached(
            "UPDATE sessions SET updated_at = CASE WHEN ?2 > head THEN ?3 ELSE updated_at END, head = max(head, ?2), kept_bytes = kept_bytes + ?5,
               commits = commits + 1
             WHERE n = ?1 AND life = ?4 RETURNING head, commits",
        )?
        .query_row(
            params![batch.key.session, head, now_ms(), batch.key.life, i64::try_from(kept_bytes).unwrap_or(i64::MAX)],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?)),
        )
        .optional()?;
    for change in &batch.changes {
        apply_change(connection, batch, head, change)?;
    }
    Ok(standing.map(|(head, commits)| {
        let slot = Slot { life: batch.key.life, head: head.unsigned_abs(), commits: commits.unsigned_abs() };
        (batch.key.session, Some(slot))
    }))
}

fn prune(connection: &Connection, base: i64, id: i64, entry: &Entry) -> rusqlite::Result<()> {
    let Some(prune) = &entry.prune else { return Ok(()) };
    let from = base | i64::try_from(prune.from).unwrap_or_default();
    connection
        .prepare_cached("DELETE FROM events WHERE id >= ?1 AND id < ?2 AND kind = 0 AND item = ?3")?
        .execute(params![from, id, prune.item])?;
    Ok(())
}

fn finish(connection: &Connection, session: i64, event: i64, message: &FinishedMessage) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO messages(event, session, idx, id, role, client_id, created_at, text, turn) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            event,
            session,
            signed(message.idx),
            message.id,
            message.role.as_str(),
            message.client_id,
            message.created_at,
            message.text,
            message.turn
        ])?;
    let usage = &message.usage;
    let of = |role| i64::from(message.role == role);
    connection
        .prepare_cached(
            "UPDATE sessions SET messages = max(messages, ?2 + 1), user_messages = user_messages + ?3, assistant_messages = assistant_messages + ?4,
             tool_results = tool_results + ?5, tool_calls = tool_calls + ?6, tokens_in = tokens_in + ?7, tokens_out = tokens_out + ?8,
             cache_read = cache_read + ?9, cache_write = cache_write + ?10, cost = cost + ?11 WHERE n = ?1",
        )?
        .execute(params![
            session,
            signed(message.idx),
            of(Role::User),
            of(Role::Assistant),
            of(Role::Tool),
            signed(message.tool_calls),
            signed(usage.input_tokens),
            signed(usage.output_tokens),
            signed(usage.cache_read_tokens.unwrap_or_default()),
            signed(usage.cache_write_tokens.unwrap_or_default()),
            usage.cost_usd.unwrap_or_default()
        ])?;
    Ok(())
}

fn apply_change(connection: &Connection, batch: &Batch, head: i64, change: &Change) -> rusqlite::Result<()> {
    let session = batch.key.session;
    let set = |sql: &str, value: &dyn rusqlite::ToSql| connection.prepare_cached(sql)?.execute(params![session, value]).map(|_| ());
    match change {
        Change::Status(status) => set("UPDATE sessions SET status = ?2 WHERE n = ?1", &status_text(*status)),
        Change::Turn(turn) => {
            // Its first event is in this batch, or still to come.
            let from = turn.as_ref().map(|_| signed(batch.first_seq));
            connection
                .prepare_cached("UPDATE sessions SET turn = ?2, turn_from = ?3 WHERE n = ?1")?
                .execute(params![session, turn, from])?;
            Ok(())
        }
        Change::Resume(handle) => set("UPDATE sessions SET resume = ?2 WHERE n = ?1", handle),
        Change::Permissions(mode) => {
            connection.prepare_cached("UPDATE sessions SET permissions = ?2 WHERE n = ?1")?.execute(params![session, mode.as_str()])?;
            Ok(())
        }
        Change::Rule(change) => rules::apply(connection, change),
        Change::Thinking(level) => set("UPDATE sessions SET thinking = ?2 WHERE n = ?1", level),
        Change::Provision(json) => set("UPDATE sessions SET provision = ?2 WHERE n = ?1", json),
        Change::Title { title, given } => {
            connection
                .prepare_cached("UPDATE sessions SET title = ?2, title_given = ?3 WHERE n = ?1")?
                .execute(params![session, title, given])?;
            Ok(())
        }
        Change::Model { provider, model } => {
            connection
                .prepare_cached("UPDATE sessions SET provider = ?2, model = ?3 WHERE n = ?1")?
                .execute(params![session, provider, model])?;
            Ok(())
        }
        Change::InputAccepted { key, kind, hash, content } => {
            connection
                .prepare_cached(
                    "INSERT INTO inputs(session, key, number, kind, hash, state, content) VALUES (?1, ?2, ?3, ?4, ?5, 'accepted', ?6)",
                )?
                .execute(params![session, key, head, kind_text(*kind), hash, content])?;
            Ok(())
        }
        Change::InputHanded { key } => {
            set("UPDATE inputs SET state = 'handed' WHERE session = ?1 AND key = ?2", key)?;
            let entered = batch.entries.iter().any(|entry| entry.message.is_some());
            if entered { retention::strip_images(connection, batch.key, key) } else { Ok(()) }
        }
        Change::InputDelivered { key } => set("UPDATE inputs SET state = 'delivered', content = NULL WHERE session = ?1 AND key = ?2", key),
        Change::InputReturned { key } => set("UPDATE inputs SET state = 'accepted' WHERE session = ?1 AND key = ?2", key),
        // The person has it, and `input.accepted` stays in the journal.
        Change::InputParked { key } => set("UPDATE inputs SET state = 'parked', content = NULL WHERE session = ?1 AND key = ?2", key),
    }
}

fn create(connection: &Connection, session: &NewSession) -> rusqlite::Result<SessionKey> {
    let config = serde_json::to_string(&session.config).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    connection
        .prepare_cached(
            "INSERT INTO sessions(id, life, epoch, harness, cwd, provider, model, config, provision, readable_id, parent, created_at, updated_at)
             VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)",
        )?
        .execute(params![
            session.id,
            session.epoch.as_str(),
            session.harness,
            session.cwd,
            session.provider,
            session.model,
            config,
            session.provision,
            session.readable_id,
            session.parent,
            session.created_at
        ])?;
    let n = connection.last_insert_rowid();
    connection.execute("INSERT INTO lives(session, epoch) VALUES (?1, ?2)", params![n, session.epoch.as_str()])?;
    let life = connection.last_insert_rowid();
    connection.execute("UPDATE sessions SET life = ?2 WHERE n = ?1", params![n, life])?;
    Ok(SessionKey { session: n, life })
}

fn delete(connection: &Connection, session: i64) -> rusqlite::Result<()> {
    let lives: Vec<i64> = connection
        .prepare_cached("SELECT n FROM lives WHERE session = ?1")?
        .query_map([session], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    for life in lives {
        let base = base_of(life)?;
        connection.prepare_cached("DELETE FROM events WHERE id >= ?1 AND id <= ?2")?.execute(params![base, base + MAX_SEQ])?;
    }
    // Not by cascade: only a delete by name fires the trigger that keeps the search index.
    connection.execute("DELETE FROM messages WHERE session = ?1", [session])?;
    connection.execute("DELETE FROM inputs WHERE session = ?1", [session])?;
    connection.execute("DELETE FROM removals WHERE session = ?1", [session])?;
    connection.execute("DELETE FROM lives WHERE session = ?1", [session])?;
    connection.execute("DELETE FROM sessions WHERE n = ?1", [session])?;
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
