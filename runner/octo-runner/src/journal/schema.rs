//! The file: opening it, its tables, its versions, its boot id.

use super::JournalError;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// The version that this build writes.
pub const SCHEMA_VERSION: i64 = 2;
/// Where Linux tells which boot this is.
pub const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";
/// Files up to this size are checked whole when they are opened.
const CHECK_UP_TO_BYTES: u64 = 32 * 1024 * 1024;
/// How many bits of an event's row id are its `seq`; those above are the life.
pub(super) const SEQ_BITS: u32 = 40;
/// The largest `seq` of a life.
pub(super) const MAX_SEQ: i64 = (1 << SEQ_BITS) - 1;

// An event's row id is `life << 40 | seq`, so that a session's events lie side by side in order and a replay is one range.
pub(super) const FIRST: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions(
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  life INTEGER NOT NULL,
  epoch TEXT NOT NULL,
  head INTEGER NOT NULL DEFAULT 0,
  harness TEXT NOT NULL,
  cwd TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  thinking TEXT,
  config TEXT NOT NULL,
  provision TEXT NOT NULL,
  resume TEXT,
  title TEXT,
  title_given INTEGER NOT NULL DEFAULT 0,
  readable_id TEXT NOT NULL,
  parent TEXT,
  status TEXT NOT NULL DEFAULT 'idle',
  turn TEXT,
  messages INTEGER NOT NULL DEFAULT 0,
  user_messages INTEGER NOT NULL DEFAULT 0,
  assistant_messages INTEGER NOT NULL DEFAULT 0,
  tool_calls INTEGER NOT NULL DEFAULT 0,
  tool_results INTEGER NOT NULL DEFAULT 0,
  tokens_in INTEGER NOT NULL DEFAULT 0,
  tokens_out INTEGER NOT NULL DEFAULT 0,
  cache_read INTEGER NOT NULL DEFAULT 0,
  cache_write INTEGER NOT NULL DEFAULT 0,
  cost REAL NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);
CREATE INDEX sessions_updated ON sessions(updated_at DESC);
CREATE TABLE lives(n INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL REFERENCES sessions(n) ON DELETE CASCADE, epoch TEXT NOT NULL);
CREATE INDEX lives_session ON lives(session);
CREATE TABLE events(
  id INTEGER PRIMARY KEY,
  ts INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  name TEXT NOT NULL,
  item TEXT,
  payload TEXT NOT NULL
);
CREATE TABLE messages(
  event INTEGER PRIMARY KEY,
  session INTEGER NOT NULL REFERENCES sessions(n) ON DELETE CASCADE,
  idx INTEGER NOT NULL,
  id TEXT NOT NULL,
  role TEXT NOT NULL,
  client_id TEXT,
  created_at INTEGER NOT NULL,
  text TEXT NOT NULL,
  UNIQUE(session, idx)
);
CREATE VIRTUAL TABLE search USING fts5(text, content='messages', content_rowid='event', tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
  INSERT INTO search(rowid, text) VALUES (new.event, new.text);
END;
CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
  INSERT INTO search(search, rowid, text) VALUES ('delete', old.event, old.text);
END;
CREATE TABLE inputs(
  session INTEGER NOT NULL REFERENCES sessions(n) ON DELETE CASCADE,
  key TEXT NOT NULL,
  number INTEGER NOT NULL,
  kind TEXT NOT NULL,
  hash TEXT NOT NULL,
  state TEXT NOT NULL,
  content TEXT,
  PRIMARY KEY(session, key)
) WITHOUT ROWID;
CREATE INDEX inputs_waiting ON inputs(session, number) WHERE state <> 'delivered';
";

// What is not kept for ever. Of a life, events up to `floor` are given up, those up to `swept` are gone; of a session, messages before `first_idx`
// are given up. The marks come first and in one piece, the rows follow in small steps, also after a kill in between.
const RETENTION: &str = "
ALTER TABLE lives ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lives ADD COLUMN swept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN turn_from INTEGER;
ALTER TABLE sessions ADD COLUMN first_idx INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN turn TEXT;
CREATE TABLE removals(
  session INTEGER NOT NULL REFERENCES sessions(n) ON DELETE CASCADE,
  reason TEXT NOT NULL,
  messages INTEGER NOT NULL,
  turns INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  removed_at INTEGER NOT NULL,
  PRIMARY KEY(session, reason)
) WITHOUT ROWID;
UPDATE sessions SET kept_bytes =
  (SELECT coalesce(sum(octet_length(e.payload)), 0) FROM lives l JOIN events e ON e.id >= l.n << 40 AND e.id < (l.n + 1) << 40
   WHERE l.session = sessions.n AND e.kind <> 0)
  + (SELECT coalesce(sum(octet_length(m.text)), 0) FROM messages m WHERE m.session = sessions.n);
UPDATE lives SET floor = (1 << 40) - 1 WHERE n NOT IN (SELECT life FROM sessions);
UPDATE inputs SET content = NULL WHERE state = 'parked';
DROP INDEX inputs_waiting;
CREATE INDEX inputs_waiting ON inputs(session, number) WHERE state IN ('accepted', 'handed');
INSERT INTO search(search, rank) VALUES ('secure-delete', 1);
";

/// What leads from version N to N+1, at index N; an empty file is version 0.
pub(super) const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [FIRST, RETENTION];

/// Opens or makes the journal for its writer.
pub(super) fn open(path: &Path, boot_id: &str, now: i64) -> Result<Connection, JournalError> {
    let open_error = |reason: String| JournalError::Open { path: path.to_owned(), reason };
    // Made here and not by SQLite, so that nobody else can read it for a moment; its companions inherit the mode.
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(|e| open_error(e.to_string()))?;
    let corrupt = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            JournalError::Corrupt { path: path.to_owned(), reason: error.to_string() }
        }
        _ => open_error(error.to_string()),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(corrupt)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(corrupt)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(corrupt)?;
    let found = if tables == 0 { 0 } else { version(&connection).map_err(corrupt)?.ok_or_else(|| not_ours(path))? };
    if found > SCHEMA_VERSION {
        return Err(JournalError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION });
    }
    check(&connection, path).map_err(corrupt)??;
    if found == 0 {
        // Has to come before the first table, and before WAL.
        connection.execute_batch(GIVES_SPACE_BACK).map_err(corrupt)?;
    }
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY;")
        .map_err(corrupt)?;
    if found < SCHEMA_VERSION {
        if found > 0 {
            backup(&connection, path, found)?;
        }
        migrate(&mut connection, found).map_err(corrupt)?;
    }
    if !gives_space_back(&connection).map_err(corrupt)?
        // A journal of before: it is written anew once. Without room for that it goes on as it is, and only reuses what is freed.
        && let Err(error) = connection.execute_batch(&format!("{GIVES_SPACE_BACK} VACUUM;"))
    {
        tracing::warn!(%error, "the journal cannot give space back to the disk yet; it tries again at the next start");
    }
    renew_epochs(&mut connection, boot_id, now).map_err(corrupt)?;
    Ok(connection)
}

/// Freed pages go back to the file system, in steps.
const GIVES_SPACE_BACK: &str = "PRAGMA auto_vacuum=INCREMENTAL;";

/// Whether freed pages can go back to the file system.
pub(super) fn gives_space_back(connection: &Connection) -> rusqlite::Result<bool> {
    const INCREMENTAL: i64 = 2;
    connection.query_row("PRAGMA auto_vacuum", [], |r| r.get::<_, i64>(0)).map(|mode| mode == INCREMENTAL)
}

fn not_ours(path: &Path) -> JournalError {
    JournalError::Corrupt { path: path.to_owned(), reason: "it holds no schema version".to_owned() }
}

fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let known: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", [], |r| r.get(0))?;
    if known == 0 {
        return Ok(None);
    }
    let text: Option<String> = connection.query_row("SELECT value FROM meta WHERE key = 'schema_version'", [], |r| r.get(0)).optional()?;
    Ok(text.and_then(|t| t.parse().ok()))
}

fn check(connection: &Connection, path: &Path) -> rusqlite::Result<Result<(), JournalError>> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > CHECK_UP_TO_BYTES) {
        return Ok(Ok(()));
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
    Ok(if verdict == "ok" { Ok(()) } else { Err(JournalError::Corrupt { path: path.to_owned(), reason: verdict }) })
}

/// A copy beside the file, named after the version that it still has.
fn backup(connection: &Connection, path: &Path, found: i64) -> Result<(), JournalError> {
    let copy = path.with_extension(format!("db.schema-{found}"));
    let failed = |source: std::io::Error| JournalError::Backup { path: path.to_owned(), source };
    if copy.exists() {
        std::fs::remove_file(&copy).map_err(failed)?;
    }
    let name = copy.to_str().ok_or_else(|| failed(std::io::Error::other("its path is not UTF-8")))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|e| failed(std::io::Error::other(e)))?;
    std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(failed)
}

fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default()) {
        transaction.execute_batch(step)?;
    }
    transaction.execute(
        "INSERT INTO meta(key, value) VALUES ('schema_version', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        [SCHEMA_VERSION.to_string()],
    )?;
    transaction.commit()
}

/// Under another boot id than the last, commits may be missing at the end: no number may be given twice.
fn renew_epochs(connection: &mut Connection, boot_id: &str, now: i64) -> rusqlite::Result<()> {
    let last: Option<String> = connection.query_row("SELECT value FROM meta WHERE key = 'boot_id'", [], |r| r.get(0)).optional()?;
    if last.as_deref() == Some(boot_id) {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    if last.is_some() {
        let sessions: Vec<i64> =
            transaction.prepare("SELECT n FROM sessions WHERE head > 0")?.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
        for session in sessions {
            let epoch = new_epoch(now);
            transaction.execute("INSERT INTO lives(session, epoch) VALUES (?1, ?2)", params![session, epoch])?;
            let life = transaction.last_insert_rowid();
            // No cursor reaches the events of earlier lives; their messages stay.
            transaction.execute("UPDATE lives SET floor = (1 << 40) - 1 WHERE session = ?1 AND n <> ?2", params![session, life])?;
            transaction.execute("UPDATE sessions SET life = ?2, epoch = ?3, head = 0 WHERE n = ?1", params![session, life, epoch])?;
        }
    }
    transaction
        .execute("INSERT INTO meta(key, value) VALUES ('boot_id', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value", [boot_id])?;
    transaction.commit()
}

/// A short id that was never given before.
#[must_use]
pub fn new_epoch(now: i64) -> String {
    format!("e{now:x}{:06x}", rand::random::<u32>() & 0x00ff_ffff)
}
