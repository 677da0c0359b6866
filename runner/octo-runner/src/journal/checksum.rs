//! The checksum of an event's row: what the disk gives back is what was written, or it is said that it is not.

use super::log::kind_of;
use super::reader::unsigned;
use super::schema::SEQ_BITS;
use super::{Entry, Packed, Row};
use octo_protocol::event::{Event, Level};
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::path::Path;

/// Columns that [`event_row`] reads, in its order.
pub(super) const EVENT_COLUMNS: &str = "id, ts, kind, name, item, payload, sum";

/// CRC-32 over everything that a row holds, each text with its length.
pub(super) fn sum(id: i64, ts: i64, kind: u8, name: &[u8], item: Option<&[u8]>, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&id.to_le_bytes());
    crc.update(&ts.to_le_bytes());
    crc.update(&[kind, u8::from(item.is_some())]);
    for text in [name, item.unwrap_or_default(), payload] {
        crc.update(&(text.len() as u64).to_le_bytes());
        crc.update(text);
    }
    crc.finalize()
}

/// The checksum of an entry that gets the row `id`.
pub(super) fn sum_of(id: i64, entry: &Entry) -> u32 {
    let code = super::log::code_of(entry.kind);
    sum(id, entry.packed.ts(), code, entry.name.as_bytes(), entry.item.as_deref().map(str::as_bytes), entry.packed.payload())
}

/// A row of `events` whose columns begin at `at`, and its payload as it may be shown. `None`: it is not as it was written.
pub(super) fn intact<'r>(row: &'r rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<&'r [u8]>> {
    let number = |column: usize| row.get_ref(at + column).map(|v| v.as_i64().ok());
    let text = |column: usize| row.get_ref(at + column).map(bytes_of);
    let (Some(id), Some(ts), Some(kind), Some(name), Some(payload)) = (number(0)?, number(1)?, number(2)?, text(3)?, text(5)?) else {
        return Ok(None);
    };
    let item = match row.get_ref(at + 4)? {
        ValueRef::Null => None,
        value => match bytes_of(value) {
            Some(item) => Some(item),
            None => return Ok(None),
        },
    };
    let fits = match row.get_ref(at + 6)? {
        // Written before there were checksums.
        ValueRef::Null => true,
        ValueRef::Integer(kept) => u8::try_from(kind).is_ok_and(|kind| i64::from(sum(id, ts, kind, name, item, payload)) == kept),
        _ => false,
    };
    Ok(fits.then_some(payload))
}

fn bytes_of(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        _ => None,
    }
}

/// A row of `events` with the columns [`EVENT_COLUMNS`]. One that is damaged keeps its number and says what it is.
pub(super) fn event_row(row: &rusqlite::Row<'_>, base: i64, path: &Path) -> rusqlite::Result<Row> {
    let seq = unsigned(row.get::<_, i64>(0)? - base);
    if let Some(payload) = intact(row, 0)? {
        return Ok(Row { seq, packed: Packed::new(row.get(1)?, kind_of(row.get(2)?), payload) });
    }
    let message = format!("event {seq} of this session is damaged: {}", sentence(path));
    tracing::error!(seq, path = %path.display(), "an event in the journal is damaged");
    let notice = notice(Level::Error, message)?;
    let ts = row.get_ref(1)?.as_i64().unwrap_or_default();
    Ok(Row { seq, packed: Packed::new(ts, octo_protocol::EventKind::Normal, notice.packed.payload()) })
}

/// What happened to a row that does not fit its checksum, and what to do.
pub(super) fn sentence(path: &Path) -> String {
    format!(
        "its checksum in {} does not fit, so the disk gave back something else than was written; a backup of that file has it",
        path.display()
    )
}

/// An event of octo's own to a session.
pub(super) fn notice(level: Level, message: String) -> rusqlite::Result<Entry> {
    Entry::new(Event::Notify { level, message }, None).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

/// Writes a row of `events`; see [`insert`].
pub(super) const INSERT: &str = "INSERT INTO events(id, ts, kind, name, item, payload, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Writes a journalled entry as the row `id`, by the statement [`INSERT`].
pub(super) fn insert(statement: &mut rusqlite::Statement<'_>, id: i64, entry: &Entry) -> rusqlite::Result<()> {
    // The payload came out of serde_json, so it is UTF-8.
    let payload = ToSqlOutput::Borrowed(ValueRef::Text(entry.packed.payload()));
    let (ts, code) = (entry.packed.ts(), super::log::code_of(entry.kind));
    statement.execute(rusqlite::params![id, ts, code, entry.name, entry.item, payload, sum_of(id, entry)])?;
    Ok(())
}

/// The life and the number in it of a row of `events`.
pub(super) fn place(id: i64) -> (i64, u64) {
    (id >> SEQ_BITS, unsigned(id & ((1 << SEQ_BITS) - 1)))
}

/// Whether the row `id` is as it was written.
pub(super) fn is_intact(connection: &rusqlite::Connection, id: i64) -> rusqlite::Result<bool> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id], |row| intact(row, 0).map(|payload| payload.is_some()))
}

/// Gives the row `id` the checksum of what it holds now, after octo itself has changed it.
pub(super) fn renew(connection: &rusqlite::Connection, id: i64) -> rusqlite::Result<()> {
    let (kind, ts, name, item, payload): (u8, i64, String, Option<String>, String) = connection
        .prepare_cached("SELECT kind, ts, name, item, payload FROM events WHERE id = ?1")?
        .query_row([id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))?;
    let sum = sum(id, ts, kind, name.as_bytes(), item.as_deref().map(str::as_bytes), payload.as_bytes());
    connection.prepare_cached("UPDATE events SET sum = ?2 WHERE id = ?1")?.execute([id, i64::from(sum)])?;
    Ok(())
}
