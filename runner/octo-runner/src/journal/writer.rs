//! Writing: operations, and the transactions that they go into. [`super::hand`] says on which thread.

use super::batch::{Batch, Change, Entry, FinishedMessage, NewSession, Sync};
use super::checksum;
use super::embedded::Disk;
use super::fence::Fence;
use super::names::{kind_text, status_text};
use super::pulse::Pulse;
use super::reader::base_of;
use super::retention::{self, Cut};
use super::schema::{MAX_SEQ, SEQ_BITS};
use super::witness::{Slot, Witness};
use super::{JournalError, SessionKey, SessionLog};
use crate::clock::now_ms;
use crate::figures::Figures;
use crate::kill_point::{self, Point};
use octo_protocol::metrics::Limit;
use octo_protocol::{EventKind, Role};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Pages in the write-ahead log (about so many) from which on they are copied into the file.
const CHECKPOINT_PAGES: usize = 1000;
/// Pages of the log until the next try, when readers were in the way of a checkpoint.
const CHECKPOINT_AGAIN: usize = 100;
const PAGE_BYTES: usize = 4096;
/// Pages that a transaction touches beside those that its payloads fill.
const PAGES_OF_ANY: usize = 4;
/// A disk that refused nothing for so long takes writes again. On one that is almost full small ones still pass now and then.
const CALM: Duration = Duration::from_secs(1);

pub(super) type Outcome<T> = Result<T, JournalError>;

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

pub(super) struct Writer {
    connection: Connection,
    witness: Witness,
    fence: Arc<Fence>,
    path: PathBuf,
    sync: Sync,
    refusing: Option<Refusing>,
    /// A sync has failed since the file was last brought to the disk.
    doubtful: bool,
    /// Pages in the write-ahead log, about so many.
    log_pages: usize,
    /// The disk of an embedded journal, which may be told to fail.
    disk: Option<Disk>,
    pulse: Arc<Pulse>,
    figures: Arc<Figures>,
}

/// A disk that takes no writes.
struct Refusing {
    /// Since when: then the log heard of it.
    since: Instant,
    /// When it last refused one.
    last: Instant,
    /// When the log of the database was last emptied into its file, as far as that went.
    tidied: Option<Instant>,
}

impl Writer {
    pub fn new(connection: Connection, witness: Witness, fence: Arc<Fence>) -> Self {
        let path = connection.path().map(PathBuf::from).unwrap_or_default();
        Self {
            connection,
            witness,
            fence,
            path,
            sync: Sync::Full,
            refusing: None,
            doubtful: false,
            log_pages: 0,
            disk: None,
            pulse: Arc::default(),
            figures: Arc::default(),
        }
    }

    /// How it goes.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// The same on a disk that may be told to fail.
    pub fn on(self, disk: Disk) -> Self {
        Self { disk: Some(disk), ..self }
    }

    /// What it counts.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// The disk did as it was told so far: a commit is quick, and what it says is true.
    pub fn is_calm(&self) -> bool {
        !self.doubtful && self.refusing.is_none()
    }

    /// The write-ahead log is long enough for [`Writer::tidy`].
    pub fn is_untidy(&self) -> bool {
        self.log_pages >= CHECKPOINT_PAGES
    }

    /// Copies what it can of the write-ahead log into the file, whatever its length, so that whoever opens it next has little to read.
    pub fn settle(&mut self) {
        self.log_pages = self.log_pages.max(CHECKPOINT_PAGES);
        self.tidy();
    }

    /// The last thing: one file is left.
    pub fn finish(self) {
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    /// As a kill does: the write-ahead log stays as it is.
    pub fn abandon(self) {
        let _ = self.connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    /// Writes all of it, in one transaction if that is possible, and tells everybody how it went.
    pub fn write(&mut self, group: &mut Vec<Operation>) {
        let pulse = Arc::clone(&self.pulse);
        let _beat = pulse.begin();
        let whole = if group.len() > 1 { self.transaction(group).ok() } else { None };
        match whole {
            Some(applied) => {
                for (operation, applied) in group.drain(..).zip(applied) {
                    operation.succeed(applied);
                }
            }
            // One of them fails, or it is the only one: each for itself, so that it alone hears of it.
            None => {
                for operation in group.drain(..) {
                    match self.transaction(std::slice::from_ref(&operation)) {
                        Ok(mut applied) => operation.succeed(applied.pop().unwrap_or(Applied::Done)),
                        Err(error) => {
                            self.refused(&error);
                            operation.fail(error);
                        }
                    }
                }
            }
        }
    }

    fn wrote(&mut self) {
        if let Some(refusing) = self.refusing.take_if(|refusing| refusing.last.elapsed() >= CALM) {
            self.pulse.refuses(None);
            tracing::info!(after = ?refusing.since.elapsed(), "the journal takes writes again");
        }
    }

    fn refused(&mut self, error: &JournalError) {
        self.figures.journal.refused.one();
        if !error.is_temporary() {
            tracing::error!(%error, "the journal did not take a write");
            return;
        }
        self.figures.limits.hit(Limit::JournalRoom);
        let now = Instant::now();
        let refusing = self.refusing.get_or_insert_with(|| {
            tracing::error!(%error, "the journal takes no writes; agents are held back until it does");
            self.pulse.refuses(Some(error.to_string()));
            Refusing { since: now, last: now, tidied: None }
        });
        refusing.last = now;
        if refusing.tidied.is_none_or(|at| now.duration_since(at) >= CALM) {
            refusing.tidied = Some(now);
            if let Some(disk) = &self.disk {
                disk.copied();
            }
            // What is in the log of the database already may free room there for what comes: the file has pages for it.
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
    }

    /// Copies the write-ahead log into the file when it is long: here and not inside a commit, which others wait for, and where a sync that fails
    /// is noticed.
    pub fn tidy(&mut self) {
        if !self.is_untidy() || self.refusing.is_some() {
            return;
        }
        let numbers = |r: &rusqlite::Row<'_>| Ok((r.get::<_, i64>(1)?, r.get::<_, i64>(2)?));
        self.copies();
        match self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], numbers) {
            Ok((log, copied)) => self.log_pages = if copied < log { CHECKPOINT_PAGES - CHECKPOINT_AGAIN } else { 0 },
            Err(error) => {
                tracing::warn!(%error, "the journal's write-ahead log could not be copied into its file");
                self.doubtful = true;
                self.log_pages = CHECKPOINT_PAGES - CHECKPOINT_AGAIN;
            }
        }
    }

    /// The write-ahead log is about to be synced and copied into the file.
    fn copies(&self) {
        if let Some(disk) = &self.disk {
            disk.copied();
        }
    }

    /// After a sync that failed the kernel may have let go of what it was to write, and the next sync says nothing of it. So everything in the
    /// write-ahead log is written again, into the file itself, before anything else is promised.
    fn write_once_more(&mut self) -> Outcome<()> {
        self.copies();
        let failed = |error: rusqlite::Error| JournalError::sqlite("writing", &self.path, &error);
        let (busy, log, written): (i64, i64, i64) =
            self.connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).map_err(failed)?;
        self.log_pages = 0;
        if busy != 0 || log != written {
            return Err(JournalError::full("the disk failed, and what was written before is not all on it yet"));
        }
        Ok(())
    }

    fn transaction(&mut self, group: &[Operation]) -> Outcome<Vec<Applied>> {
        let is_nothing = |o: &Operation| match o {
            Operation::Commit { batch, .. } => batch.is_only_announced(),
            Operation::Tidy => true,
            _ => false,
        };
        if group.iter().all(is_nothing) {
            return Ok(group.iter().map(|_| Applied::Done).collect());
        }
        let began = Instant::now();
        if let Some(reason) = self.disk.as_ref().and_then(Disk::refuses) {
            return Err(JournalError::full(reason));
        }
        if self.doubtful {
            self.write_once_more()?;
            self.doubtful = false;
        }
        let path = &self.path;
        let failed = |error: rusqlite::Error| JournalError::sqlite("writing", path, &error);
        let sync = group.iter().map(Operation::sync).max().unwrap_or(Sync::Full);
        if sync != self.sync {
            let level = if sync == Sync::Full { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" };
            self.connection.execute_batch(level).map_err(failed)?;
            self.sync = sync;
        }
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
        self.fence.claim(&transaction, path)?;
        let mut done = Vec::with_capacity(group.len());
        let mut seen = BTreeMap::new();
        for operation in group {
            let (applied, session) = operation.apply(&transaction).map_err(failed)?;
            seen.extend(session);
            done.push(applied);
        }
        kill_point::reached(Point::Written);
        if let Err(error) = transaction.commit() {
            self.doubtful |=
                matches!(&error, rusqlite::Error::SqliteFailure(why, _) if why.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC);
            return Err(failed(error));
        }
        kill_point::reached(Point::Committed);
        if let Some(disk) = self.disk.as_ref().filter(|_| sync == Sync::Full) {
            disk.synced(&self.path);
        }
        self.log_pages += PAGES_OF_ANY + group.iter().map(Operation::pages).sum::<usize>();
        // Before anybody hears of it: a journal that loses this again shall be found out.
        for (session, slot) in seen {
            match slot {
                Some(slot) => self.witness.note(session, slot),
                None => self.witness.clear(session),
            }
        }
        kill_point::reached(Point::Witnessed);
        let payloads = group.iter().flat_map(Operation::journalled).map(|entry| entry.packed.payload().len());
        self.figures.journal.committed(sync == Sync::Full, began.elapsed(), payloads);
        self.wrote();
        Ok(done)
    }
}

impl Operation {
    fn journalled(&self) -> impl Iterator<Item = &Entry> {
        let entries = if let Self::Commit { batch, .. } = self { batch.entries.as_slice() } else { &[] };
        entries.iter().filter(|entry| entry.is_journalled())
    }

    fn sync(&self) -> Sync {
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
            Self::Sweep { session, .. } => Applied::More(retention::sweep(connection, *session)?),
            Self::GiveBack { .. } => Applied::More(retention::give_back(connection)?),
            Self::Tidy | Self::Pause { .. } | Self::Close { .. } => Applied::Done,
        };
        Ok((applied, None))
    }

    /// The transaction is committed: now, and not before, the events are announced.
    fn succeed(self, applied: Applied) {
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
            Self::Delete { reply, .. } | Self::Cut { reply, .. } => {
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

    fn fail(self, error: JournalError) {
        match self {
            Self::Commit { reply, .. } | Self::Delete { reply, .. } | Self::Cut { reply, .. } => {
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
    fn pages(&self) -> usize {
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
