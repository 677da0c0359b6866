//! The file: opening it, its tables, its versions, and whether it is whole.

use super::JournalError;
use super::fence::Fence;
use super::lives;
use super::witness::{self, Testimony, Witness};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version that this build writes.
pub const SCHEMA_VERSION: i64 = 4;
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

// `sum` is the row's checksum, absent in rows of before. `commits` counts the transactions that wrote to the session.
const SUMS: &str = "
ALTER TABLE events ADD COLUMN sum INTEGER;
ALTER TABLE sessions ADD COLUMN commits INTEGER NOT NULL DEFAULT 0;
";

// What people have octo remember of tool calls, and a session's own word for them.
const RULES: &str = "
CREATE TABLE rules(
  id TEXT PRIMARY KEY,
  mode TEXT NOT NULL,
  tool TEXT,
  workspace TEXT,
  subject TEXT,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  session TEXT,
  expires_at INTEGER,
  uses INTEGER NOT NULL DEFAULT 0,
  last_used_at INTEGER
) WITHOUT ROWID;
ALTER TABLE sessions ADD COLUMN permissions TEXT;
";

/// What leads from version N to N+1, at index N; an empty file is version 0.
pub(super) const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [FIRST, RETENTION, SUMS, RULES];

/// Tables whose indexes are checked too: in one of them a row that is out of its index is a session or an input that nobody finds.
const INDEXED: [&str; 4] = ["sessions", "lives", "messages", "inputs"];

/// The journal opened for its writer.
pub(super) struct Opened {
    pub connection: Connection,
    pub witness: Witness,
    pub fence: Fence,
    /// Sessions that were written and are not there any more.
    pub gone: usize,
}

/// Opens or makes the journal.
pub(super) fn open(path: &Path, boot_id: &str, now: i64) -> Result<Opened, JournalError> {
    let open_error = |reason: String| JournalError::Open { path: path.to_owned(), reason };
    let told = witness::read(path);
    refuse_what_sqlite_would_empty(path, &told)?;
    // Made here and not by SQLite, so that nobody else can read it for a moment; its companions inherit the mode.
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(|e| open_error(e.to_string()))?;
    let unusable = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => corrupt(path, error.to_string()),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            open_error("another process is in the middle of writing to it, and does not go on; end that one".to_owned())
        }
        _ => open_error(error.to_string()),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(unusable)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(unusable)?;
    // What is refused is left as it is, its write-ahead log too.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(unusable)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(unusable)?;
    if tables == 0 && !told.slots.is_empty() && size(path) > 0 {
        return Err(emptied(path));
    }
    let found = if tables == 0 { 0 } else { version(&connection).map_err(unusable)?.ok_or_else(|| not_ours(path))? };
    if found > SCHEMA_VERSION {
        return Err(JournalError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION });
    }
    if found > 0 {
        check(&connection, path).map_err(unusable)??;
    } else {
        // Has to come before the first table, and before WAL.
        connection.execute_batch(GIVES_SPACE_BACK).map_err(unusable)?;
    }
    if found == SCHEMA_VERSION && kept_sum(&connection).map_err(unusable)? != Some(sum_of_tables(&connection).map_err(unusable)?) {
        return Err(corrupt(path, "its tables are not as octo made them".to_owned()));
    }
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY;")
        .map_err(unusable)?;
    // The writer does it, between two commits.
    connection.execute_batch("PRAGMA wal_autocheckpoint=0;").map_err(unusable)?;
    if found < SCHEMA_VERSION {
        if found > 0 {
            backup(&connection, path, found)?;
        }
        migrate(&mut connection, found).map_err(unusable)?;
        // From here on the file itself holds the tables, whatever becomes of its write-ahead log.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(unusable)?;
        sync_directory(path);
    }
    if !gives_space_back(&connection).map_err(unusable)?
        // A journal of before: it is written anew once. Without room for that it goes on as it is, and only reuses what is freed.
        && let Err(error) = connection.execute_batch(&format!("{GIVES_SPACE_BACK} VACUUM;"))
    {
        tracing::warn!(%error, "the journal cannot give space back to the disk yet; it tries again at the next start");
    }
    let (witness, gone) = settle(&mut connection, path, boot_id, &told, now).map_err(unusable)?;
    let fence = Fence::take(&mut connection, path).map_err(unusable)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(unusable)?;
    Ok(Opened { connection, witness, fence, gone })
}

/// Compares the journal with its witness, begins new lives where they are due, and brings the witness up to date.
fn settle(connection: &mut Connection, path: &Path, boot_id: &str, told: &Testimony, now: i64) -> rusqlite::Result<(Witness, usize)> {
    let transaction = connection.transaction()?;
    let name: String = transaction.query_row("SELECT value FROM meta WHERE key = 'witness'", [], |r| r.get(0))?;
    let id = u128::from_str_radix(&name, 16).unwrap_or_default();
    let nothing = Testimony::default();
    // One that is of another journal says nothing of this one.
    let told = if told.of == Some(id) { told } else { &nothing };
    let lives::Standing { sessions, gone } = lives::settle(&transaction, path, boot_id, told, now)?;
    transaction.commit()?;
    Ok((Witness::go_on(path, id, sessions, told), gone))
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

/// SQLite takes an empty file for a new one, and removes the write-ahead log that lies beside it.
fn refuse_what_sqlite_would_empty(path: &Path, told: &Testimony) -> Result<(), JournalError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    match std::fs::metadata(path) {
        Ok(file) if file.len() > 0 => Ok(()),
        Ok(_) if size(&log) > 0 || !told.slots.is_empty() => Err(emptied(path)),
        Ok(_) => Ok(()),
        Err(_) if size(&log) > 0 => {
            let reason = format!("it is not there, but its companion {} is, which holds the newest part of it", log.display());
            Err(corrupt(path, reason))
        }
        Err(_) => {
            if !told.slots.is_empty() {
                tracing::warn!(path = %path.display(), sessions = told.slots.len(), "there is no journal though there was one: history begins anew");
            }
            Ok(())
        }
    }
}

fn emptied(path: &Path) -> JournalError {
    corrupt(path, "it is empty, though sessions were written to it".to_owned())
}

fn corrupt(path: &Path, reason: String) -> JournalError {
    JournalError::Corrupt { path: path.to_owned(), reason }
}

/// The name of a new file is on the disk when its directory is.
fn sync_directory(path: &Path) {
    let synced = path.parent().map(|directory| std::fs::File::open(directory).and_then(|d| d.sync_all()));
    if let Some(Err(error)) = synced {
        tracing::warn!(path = %path.display(), %error, "the journal's directory could not be brought to the disk");
    }
}

/// Freed pages go back to the file system, in steps.
const GIVES_SPACE_BACK: &str = "PRAGMA auto_vacuum=INCREMENTAL;";

/// Whether freed pages can go back to the file system.
pub(super) fn gives_space_back(connection: &Connection) -> rusqlite::Result<bool> {
    const INCREMENTAL: i64 = 2;
    connection.query_row("PRAGMA auto_vacuum", [], |r| r.get::<_, i64>(0)).map(|mode| mode == INCREMENTAL)
}

fn not_ours(path: &Path) -> JournalError {
    corrupt(path, "it holds no schema version".to_owned())
}

fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let known: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", [], |r| r.get(0))?;
    if known == 0 {
        return Ok(None);
    }
    let text: Option<String> = connection.query_row("SELECT value FROM meta WHERE key = 'schema_version'", [], |r| r.get(0)).optional()?;
    Ok(text.and_then(|t| t.parse().ok()))
}

/// The checksum of the tables' definitions: a name that changes there would hide what is in them.
fn sum_of_tables(connection: &Connection) -> rusqlite::Result<String> {
    let mut crc = crc32fast::Hasher::new();
    let mut statement = connection.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name, type")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        for column in 0usize..4 {
            crc.update(row.get_ref(column)?.as_bytes_or_null().ok().flatten().unwrap_or_default());
            crc.update(&[0]);
        }
    }
    Ok(format!("{:08x}", crc.finalize()))
}

fn kept_sum(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = 'tables'", [], |r| r.get(0)).optional()
}

fn check(connection: &Connection, path: &Path) -> rusqlite::Result<Result<(), JournalError>> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > CHECK_UP_TO_BYTES) {
        return Ok(Ok(()));
    }
    let checks =
        std::iter::once("PRAGMA quick_check(1)".to_owned()).chain(INDEXED.map(|table| format!("PRAGMA integrity_check('{table}')")));
    for check in checks {
        let verdict: String = connection.query_row(&check, [], |r| r.get(0))?;
        if verdict != "ok" {
            return Ok(Err(corrupt(path, verdict)));
        }
    }
    Ok(Ok(()))
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
    // The name by which a witness knows its journal.
    let witness = format!("{:032x}", rand::random::<u128>());
    transaction.execute("INSERT INTO meta(key, value) VALUES ('witness', ?1) ON CONFLICT(key) DO NOTHING", [witness])?;
    let tables = sum_of_tables(&transaction)?;
    let put = "INSERT INTO meta(key, value) VALUES ('tables', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value";
    transaction.execute(put, [tables])?;
    transaction.execute(
        "INSERT INTO meta(key, value) VALUES ('schema_version', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        [SCHEMA_VERSION.to_string()],
    )?;
    transaction.commit()
}
