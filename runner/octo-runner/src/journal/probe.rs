//! A journal in memory whose rows may hold anything: how the fuzz targets see what reading does with a damaged file.
//!
//! Owns one SQLite connection with the journal's tables, without their constraints, for damage does not ask for them. What reads is the
//! [`Journal`] itself, on the caller's thread. Nothing in the daemon uses it.

use super::fence::Fence;
use super::hand::Hand;
use super::operation::{Applied, Operation};
use super::schema::MIGRATIONS;
use super::{Batch, Inner, Journal, JournalError, NewSession, SessionKey, reader};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Statements that are kept: one for each column that can be damaged, and those that read.
const STATEMENTS: usize = 256;

/// Columns that can be damaged: the statement that sets row `?2` to `?1`.
const DAMAGES: [(&str, &str); 8] = [
    (
        "sessions",
        "id life epoch head harness cwd provider model thinking config provision resume title title_given readable_id parent status turn messages \
         user_messages assistant_messages tool_calls tool_results tokens_in tokens_out cache_read cache_write cost created_at updated_at commits",
    ),
    ("events", "id ts kind name item payload sum"),
    ("messages", "event session idx id role client_id created_at text"),
    ("search_data", "block"),
    ("search_docsize", "sz"),
    ("sessions", "first_idx kept_bytes"),
    ("messages", "turn"),
    ("lives", "session epoch floor swept"),
];

/// A value of any type that SQLite has; texts need not be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl rusqlite::ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(n) => ValueRef::Integer(*n),
            Self::Real(n) => ValueRef::Real(*n),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}

/// The journal in memory.
pub struct Probe {
    journal: Journal,
    updates: Vec<String>,
}

impl Probe {
    /// An empty one.
    ///
    /// # Errors
    /// [`JournalError`] when SQLite does not work at all.
    pub fn new() -> Result<Self, JournalError> {
        let path = PathBuf::from(":memory:");
        let connection = open().map_err(|error| JournalError::Open { path: path.clone(), reason: error.to_string() })?;
        let readers = reader::Readers::at_once(&path, connection);
        let columns = DAMAGES.iter().flat_map(|(table, columns)| columns.split(' ').map(move |column| (table, column)));
        let mut updates: Vec<String> =
            columns.map(|(table, column)| format!("UPDATE OR IGNORE {table} SET {column} = ?1 WHERE rowid = ?2")).collect();
        let inputs = ["session", "key", "number", "kind", "hash", "state", "content"];
        updates.extend(inputs.map(|column| format!("UPDATE OR IGNORE inputs SET {column} = ?1 WHERE number = ?2")));
        Ok(Self {
            journal: Journal {
                inner: Arc::new(Inner {
                    path,
                    gone: 0,
                    fence: Arc::new(Fence::none()),
                    hand: Hand::closed(),
                    readers,
                    thread: Mutex::new(None),
                }),
            },
            updates,
        })
    }

    /// What reads it; its futures are ready at once. Writing through it fails.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Writes a new session as the journal's writer does.
    ///
    /// # Errors
    /// [`JournalError`] when SQLite does not take it.
    pub fn create(&self, session: NewSession) -> Result<SessionKey, JournalError> {
        match self.apply(&Operation::Create { session: Box::new(session), reply: oneshot::channel().0 })? {
            Applied::Created(key) => Ok(key),
            _ => Err(JournalError::Closed),
        }
    }

    /// Writes a batch as the journal's writer does; announces nothing.
    ///
    /// # Errors
    /// [`JournalError`] when SQLite does not take it.
    pub fn commit(&self, batch: Batch) -> Result<(), JournalError> {
        self.apply(&Operation::Commit { batch: Box::new(batch), reply: oneshot::channel().0 }).map(|_| ())
    }

    fn apply(&self, operation: &Operation) -> Result<Applied, JournalError> {
        let applied = self.journal.readers().lend(|connection| operation.apply(connection));
        let (applied, _) =
            applied.ok_or(JournalError::Closed)?.map_err(|error| JournalError::sqlite("writing", self.journal.path(), &error))?;
        Ok(applied)
    }

    /// From here on until [`Probe::reset`] everything is only tried.
    pub fn begin(&self) {
        self.journal.readers().lend(|connection| connection.execute_batch("BEGIN"));
    }

    /// Takes back everything since [`Probe::begin`].
    pub fn reset(&self) {
        self.journal.readers().lend(|connection| connection.execute_batch("ROLLBACK"));
    }

    /// How many columns [`Probe::damage`] knows.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.updates.len()
    }

    /// Puts `cell` into a column (by number, beyond the last from the first on) of the row with this number. Whether there was one, and it took it.
    pub fn damage(&self, column: usize, row: i64, cell: Cell<'_>) -> bool {
        let update = &self.updates[column % self.updates.len()];
        let done = self.journal.readers().lend(|connection| connection.prepare_cached(update)?.execute(params![cell, row]));
        matches!(done, Some(Ok(1..)))
    }

    /// Puts an event with this row number into the journal, instead of the one that stands there.
    pub fn event(&self, row: i64, kind: Cell<'_>, name: Cell<'_>, item: Cell<'_>, payload: Cell<'_>) -> bool {
        let sql = "INSERT OR REPLACE INTO events(id, ts, kind, name, item, payload) VALUES (?1, 1, ?2, ?3, ?4, ?5)";
        let done =
            self.journal.readers().lend(|connection| connection.prepare_cached(sql)?.execute(params![row, kind, name, item, payload]));
        matches!(done, Some(Ok(1..)))
    }
}

fn open() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA foreign_keys=OFF; PRAGMA temp_store=MEMORY;")?;
    for step in MIGRATIONS {
        connection.execute_batch(&step.replace(" NOT NULL", ""))?;
    }
    Ok(connection)
}
