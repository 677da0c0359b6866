//! Reading: a few connections of their own, on blocking threads, never in the way of the writer.

use super::checksum::{self, EVENT_COLUMNS};
use super::names::{kind_of_input, status_of};
use super::schema::{MAX_SEQ, SEQ_BITS};
use super::{Journal, JournalError, Packed, SessionKey};
use octo_protocol::event::InputKind;
use octo_protocol::history::Removed;
use octo_protocol::{Message, Part, PermissionMode, Role, SessionConfig, SessionStatus};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row as SqlRow, params};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Connections that read at once; further reads wait for one.
const READERS: usize = 4;
/// Events in one page of a replay.
const PAGE_EVENTS: i64 = 256;
/// Payload bytes in one page of a replay, unless its first event alone is larger.
const PAGE_BYTES: usize = 512 * 1024;

pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    /// Reads on the caller's thread, not on a blocking one.
    at_once: bool,
}

impl Readers {
    /// One connection, used on the thread of whoever reads.
    pub fn at_once(path: &Path, connection: Connection) -> Self {
        Self { path: path.to_owned(), idle: Arc::new(Mutex::new(vec![connection])), permits: Arc::new(Semaphore::new(1)), at_once: true }
    }

    /// Lends a connection that nobody reads with; `None` when there is none.
    pub fn lend<T>(&self, work: impl FnOnce(&Connection) -> T) -> Option<T> {
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let result = work(&connection);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Some(result)
    }

    pub fn new(path: &Path) -> Result<Self, JournalError> {
        let mut idle = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            idle.push(open(path).map_err(|e| JournalError::sqlite("opening a reader", path, &e))?);
        }
        Ok(Self { path: path.to_owned(), idle: Arc::new(Mutex::new(idle)), permits: Arc::new(Semaphore::new(READERS)), at_once: false })
    }

    /// Lets go of the file; what is read from here on is refused.
    pub fn sever(&self) {
        for connection in self.idle.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }

    /// Runs `work` with a connection of the pool.
    pub async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| JournalError::Closed)?;
        let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
        let read = move || {
            let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = connection.ok_or(JournalError::Closed)?;
            let result = work(&connection).map_err(|e| JournalError::sqlite(action, &path, &e));
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            result
        };
        if self.at_once {
            return read();
        }
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(JournalError::Closed))
    }
}

/// A connection that reads.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA query_only=ON; PRAGMA temp_store=MEMORY;")?;
    Ok(connection)
}

/// A session as it stands in the journal.
#[derive(Debug, Clone)]
pub struct SessionRow {
    pub key: SessionKey,
    pub id: String,
    pub epoch: String,
    pub head: u64,
    pub harness: String,
    pub cwd: String,
    pub provider: String,
    pub model: String,
    pub thinking: Option<String>,
    pub config: SessionConfig,
    /// JSON of the provision, with its secret.
    pub provision: String,
    pub resume: Option<String>,
    pub title: Option<String>,
    /// A person gave the title.
    pub title_given: bool,
    pub readable_id: String,
    pub status: SessionStatus,
    /// The turn that was under way.
    pub turn: Option<String>,
    pub messages: u64,
    pub totals: Totals,
    pub created_at: i64,
    pub updated_at: i64,
    pub parent: Option<String>,
    /// Events of this life up to here are not kept any more, except messages.
    pub floor: u64,
    /// The session's own word for tool calls, where it was given after its creation.
    pub permissions: Option<PermissionMode>,
}

/// Sums over a session's messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    pub user_messages: u64,
    pub assistant_messages: u64,
    pub tool_calls: u64,
    pub tool_results: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub cost: f64,
}

/// One journalled event.
#[derive(Debug, Clone)]
pub struct Row {
    pub seq: u64,
    pub packed: Packed,
}

/// A piece of a replay.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub rows: Vec<Row>,
}

/// The newest finished messages, oldest first, each its own JSON.
#[derive(Debug, Clone, Default)]
pub struct SnapshotPage {
    pub messages: Vec<Box<RawValue>>,
    pub has_more: bool,
    /// What the conversation does not hold any more.
    pub removed: Option<Removed>,
}

/// An input with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRow {
    pub key: String,
    pub kind: InputKind,
    pub hash: String,
    /// `accepted`, `handed`, `delivered` or `parked`.
    pub state: String,
    /// Kept while it is accepted or handed over.
    pub content: Option<String>,
}

/// What was open when the last incarnation ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenItems {
    /// Messages with deltas and no end: id and first `seq` in this life (0: it began in an earlier one).
    pub messages: Vec<(String, u64)>,
    /// Tools that were running: call id and name.
    pub tools: Vec<(String, String)>,
    /// Questions without an answer.
    pub questions: Vec<String>,
}

pub(super) const SESSION_COLUMNS: &str =
    "n, life, id, epoch, head, harness, cwd, provider, model, thinking, config, provision, resume, title, readable_id,
  status, turn, messages, user_messages, assistant_messages, tool_calls, tool_results, tokens_in, tokens_out, cache_read, cache_write, cost,
  created_at, updated_at, parent, title_given, (SELECT floor FROM lives WHERE lives.n = sessions.life), permissions";

pub(super) fn session_row(row: &SqlRow<'_>) -> rusqlite::Result<SessionRow> {
    let count = |at: usize| row.get::<_, i64>(at).map(unsigned);
    Ok(SessionRow {
        key: SessionKey { session: row.get(0)?, life: row.get(1)? },
        id: row.get(2)?,
        epoch: row.get(3)?,
        head: count(4)?,
        harness: row.get(5)?,
        cwd: row.get(6)?,
        provider: row.get(7)?,
        model: row.get(8)?,
        thinking: row.get(9)?,
        config: serde_json::from_str(&row.get::<_, String>(10)?).unwrap_or_default(),
        provision: row.get(11)?,
        resume: row.get(12)?,
        title: row.get(13)?,
        readable_id: row.get(14)?,
        status: status_of(&row.get::<_, String>(15)?),
        turn: row.get(16)?,
        messages: count(17)?,
        totals: Totals {
            user_messages: count(18)?,
            assistant_messages: count(19)?,
            tool_calls: count(20)?,
            tool_results: count(21)?,
            tokens_in: count(22)?,
            tokens_out: count(23)?,
            cache_read: count(24)?,
            cache_write: count(25)?,
            cost: row.get(26)?,
        },
        created_at: row.get(27)?,
        updated_at: row.get(28)?,
        parent: row.get(29)?,
        title_given: row.get(30)?,
        floor: count(31)?,
        // A word that cannot be read any more asks.
        permissions: row.get::<_, Option<String>>(32)?.map(|mode| mode.parse().unwrap_or(PermissionMode::Ask)),
    })
}

impl Journal {
    /// Every session.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, JournalError> {
        self.readers()
            .run("listing sessions", |c| {
                c.prepare_cached(&format!("SELECT {SESSION_COLUMNS} FROM sessions ORDER BY n"))?.query_map([], session_row)?.collect()
            })
            .await
    }

    /// Ids of sessions that were at work, or have accepted an input that no agent has got.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn unfinished_sessions(&self) -> Result<Vec<String>, JournalError> {
        self.readers()
            .run("looking for unfinished sessions", |c| {
                c.prepare_cached(
                    "SELECT id FROM sessions s WHERE turn IS NOT NULL OR status IN ('starting', 'working', 'needs_input')
                     OR EXISTS (SELECT 1 FROM inputs i WHERE i.session = s.n AND i.state IN ('accepted', 'handed')) ORDER BY n",
                )?
                .query_map([], |r| r.get(0))?
                .collect()
            })
            .await
    }

    /// The session `id`, if there is one.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn session(&self, id: &str) -> Result<Option<SessionRow>, JournalError> {
        let id = id.to_owned();
        self.readers()
            .run("reading a session", move |c| {
                c.prepare_cached(&format!("SELECT {SESSION_COLUMNS} FROM sessions WHERE id = ?1"))?.query_row([id], session_row).optional()
            })
            .await
    }

    /// Events of a life after `after` up to `until`, in order; empty when there are none.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn page(&self, life: i64, after: u64, until: Option<u64>) -> Result<Page, JournalError> {
        let path = self.path().to_owned();
        self.readers().run("replaying events", move |c| page(c, &path, life, after, until)).await
    }

    /// The newest messages of a session up to `as_of` of its life, at most `limit` and `max_bytes` but at least one.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn snapshot(&self, key: SessionKey, as_of: u64, limit: u32, max_bytes: usize) -> Result<SnapshotPage, JournalError> {
        let upto = (key.life << SEQ_BITS) | signed(as_of);
        let path = self.path().to_owned();
        self.readers()
            .run("reading messages", move |c| {
                let mut page = newest(c, &path, "m.event <= ?2", params![key.session, upto, i64::from(limit) + 1], limit, max_bytes)?;
                page.removed = super::retention::removed(c, Some(key.session))?;
                Ok(page)
            })
            .await
    }

    /// The newest `limit` messages before `before_idx`, oldest first.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn messages(
        &self,
        session: i64,
        before_idx: Option<u64>,
        limit: u32,
        max_bytes: usize,
    ) -> Result<SnapshotPage, JournalError> {
        let before = before_idx.map_or(i64::MAX, signed);
        let path = self.path().to_owned();
        self.readers()
            .run("reading messages", move |c| {
                let mut page = newest(c, &path, "m.idx < ?2", params![session, before, i64::from(limit) + 1], limit, max_bytes)?;
                page.removed = super::retention::removed(c, Some(session))?;
                Ok(page)
            })
            .await
    }

    /// What became of the input `key`.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn input(&self, session: i64, key: &str) -> Result<Option<InputRow>, JournalError> {
        let key = key.to_owned();
        self.readers()
            .run("looking an input up", move |c| {
                c.prepare_cached("SELECT key, kind, hash, state, content FROM inputs WHERE session = ?1 AND key = ?2")?
                    .query_row(params![session, key], input_row)
                    .optional()
            })
            .await
    }

    /// Inputs that were accepted or handed over and never delivered, oldest first; not those that the person got back.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn undelivered_inputs(&self, session: i64) -> Result<Vec<InputRow>, JournalError> {
        self.readers()
            .run("reading inputs", move |c| {
                c.prepare_cached(
                    "SELECT key, kind, hash, state, content FROM inputs WHERE session = ?1 AND state NOT IN ('delivered', 'parked') ORDER BY number",
                )?
                .query_map([session], input_row)?
                .collect()
            })
            .await
    }

    /// What the last incarnation left open in this life.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn open_items(&self, life: i64) -> Result<OpenItems, JournalError> {
        self.readers().run("looking for open items", move |c| open_items(c, life)).await
    }
}

pub(super) fn page(connection: &Connection, path: &Path, life: i64, after: u64, until: Option<u64>) -> rusqlite::Result<Page> {
    let base = base_of(life)?;
    let last = until.map_or(base + MAX_SEQ, |u| base | signed(u));
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![base | signed(after), last, PAGE_EVENTS])?;
    let mut page = Page::default();
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        let event = checksum::event_row(row, base, path)?;
        bytes += event.packed.payload().len();
        if bytes > PAGE_BYTES && !page.rows.is_empty() {
            break;
        }
        page.rows.push(event);
    }
    Ok(page)
}

#[derive(Deserialize)]
struct EndPayload {
    message: Box<RawValue>,
}

/// The newest messages of the session `?1` for which `condition` holds, at most `?3` rows.
pub(super) fn newest(
    connection: &Connection,
    path: &Path,
    condition: &str,
    values: &[&dyn rusqlite::ToSql],
    limit: u32,
    max_bytes: usize,
) -> rusqlite::Result<SnapshotPage> {
    let events = EVENT_COLUMNS.split(", ").map(|column| format!("e.{column}")).collect::<Vec<_>>().join(", ");
    // A message whose event is gone is one that says so, not one that is missing.
    let sql = format!(
        "SELECT {events}, m.idx, m.id, m.role, m.created_at, m.text FROM messages m LEFT JOIN events e ON e.id = m.event
         JOIN sessions s ON s.n = m.session WHERE m.session = ?1 AND m.idx >= s.first_idx AND {condition} ORDER BY m.idx DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(values)?;
    let mut page = SnapshotPage::default();
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        let message = match checksum::intact(row, 0)?.map(serde_json::from_slice::<EndPayload>) {
            Some(Ok(end)) => end.message,
            _ => damaged(row, path)?,
        };
        bytes += message.get().len();
        if page.messages.len() >= limit as usize || (bytes > max_bytes && !page.messages.is_empty()) {
            page.has_more = true;
            break;
        }
        page.messages.push(message);
    }
    page.messages.reverse();
    Ok(page)
}

/// What stands in the place of a message that the disk does not give back.
fn damaged(row: &SqlRow<'_>, path: &Path) -> rusqlite::Result<Box<RawValue>> {
    tracing::error!(path = %path.display(), "a finished message in the journal is damaged");
    let text = |at: usize| row.get_ref(at).map(|v| v.as_bytes().map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default());
    let kept = text(7 + 4)?;
    let mut sentence = format!("octo: this message is damaged: {}.", checksum::sentence(path));
    if !kept.is_empty() {
        sentence.push_str(" The search index still has this text of it:\n\n");
        sentence.push_str(&kept);
    }
    let role = text(7 + 2)?;
    let message = Message {
        id: text(7 + 1)?,
        idx: row.get_ref(7)?.as_i64().map(unsigned).unwrap_or_default(),
        role: [Role::User, Role::Assistant, Role::System, Role::Tool].into_iter().find(|r| r.as_str() == role).unwrap_or(Role::System),
        client_id: None,
        sender: None,
        parts: vec![Part::text("damaged", sentence)],
        created_at: row.get_ref(7 + 3)?.as_i64().unwrap_or_default(),
        model: None,
        provider: None,
        stop_reason: None,
        usage: None,
        tool_call_id: None,
        tool_name: None,
        is_error: Some(true),
        metadata: None,
    };
    serde_json::value::to_raw_value(&message).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn input_row(row: &SqlRow<'_>) -> rusqlite::Result<InputRow> {
    Ok(InputRow {
        key: row.get(0)?,
        kind: kind_of_input(&row.get::<_, String>(1)?),
        hash: row.get(2)?,
        state: row.get(3)?,
        content: row.get(4)?,
    })
}

fn open_items(connection: &Connection, life: i64) -> rusqlite::Result<OpenItems> {
    let base = base_of(life)?;
    let next = base + MAX_SEQ + 1;
    // Deltas are pruned with the end of their message: those that are left belong to one that has none.
    let messages = connection
        .prepare("SELECT item, min(id) FROM events WHERE id >= ?1 AND id < ?2 AND kind = 0 AND item IS NOT NULL GROUP BY item ORDER BY 2")?
        .query_map([base, next], |r| Ok((r.get(0)?, unsigned(r.get::<_, i64>(1)? - base))))?
        .collect::<Result<_, _>>()?;
    let unmatched = |start: &str, end: &str| -> rusqlite::Result<Vec<(String, String)>> {
        connection
            .prepare(
                "SELECT item, payload FROM events s WHERE id >= ?1 AND id < ?2 AND name = ?3
                 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id > s.id AND e.id < ?2 AND e.name = ?4 AND e.item = s.item) ORDER BY id",
            )?
            .query_map(params![base, next, start, end], |r| Ok((r.get(0)?, r.get(1)?)))?
            .collect()
    };
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        name: String,
    }
    let plain = |item: &str| item.get(2..).unwrap_or_default().to_owned();
    let tools = unmatched("tool.start", "tool.end")?
        .into_iter()
        .map(|(item, payload)| (plain(&item), serde_json::from_str::<Named>(&payload).map(|n| n.name).unwrap_or_default()))
        .collect();
    let questions = unmatched("agent.input_needed", "agent.input_resolved")?.into_iter().map(|(item, _)| plain(&item)).collect();
    Ok(OpenItems { messages, tools, questions })
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX).min(MAX_SEQ)
}

/// The row id that lies before every event of a life. A damaged journal may name lives that cannot be.
pub(super) fn base_of(life: i64) -> rusqlite::Result<i64> {
    // The one above the last has no row ids of its own: its end would not be a number.
    let lives = 0..i64::MAX >> SEQ_BITS;
    if lives.contains(&life) { Ok(life << SEQ_BITS) } else { Err(rusqlite::Error::IntegralValueOutOfRange(1, life)) }
}
