//! Reading the whole journal: every row against its checksum, every session against its newest event, the file against SQLite's own rules.
//!
//! In pages, so that no read transaction keeps the write-ahead log from being copied for long; only SQLite's check of the file is one piece.
//! Nothing is changed.

use super::checksum::{EVENT_COLUMNS, intact, place};
use super::schema::{SCHEMA_VERSION, SEQ_BITS};
use super::{Journal, JournalError};
use octo_protocol::admin::{Damaged, JournalReport, MAX_DAMAGED};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Instant;

/// Rows that are read in one piece.
const PAGE_ROWS: i64 = 4096;
/// Findings of SQLite that are reported.
const MAX_FINDINGS: u32 = 20;
/// The column of a row's checksum.
const SUM_COLUMN: usize = 6;

/// What one piece came to.
#[derive(Default)]
struct Piece {
    /// Id of the last row read; `None` when there was none.
    last: Option<i64>,
    rows: u64,
    unsummed: u64,
    damaged: Vec<i64>,
}

impl Journal {
    /// Reads everything and says what is not as it was written. What is written meanwhile may or may not be read.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read at all.
    pub async fn verify(&self) -> Result<JournalReport, JournalError> {
        let began = Instant::now();
        let path = self.path();
        let mut report = JournalReport {
            path: path.display().to_string(),
            bytes: std::fs::metadata(path).map_or(0, |meta| meta.len()),
            schema: SCHEMA_VERSION,
            ..JournalReport::default()
        };
        report.structure = match self.readers().run("checking the file", structure).await {
            Ok(findings) => findings,
            Err(JournalError::Damaged { reason, .. }) => vec![reason],
            Err(error) => return Err(error),
        };
        let mut after = i64::MIN;
        loop {
            let piece = match self.readers().run("checking events", move |c| read(c, after)).await {
                Ok(piece) => piece,
                // What follows cannot be reached; what was found so far is worth telling.
                Err(JournalError::Damaged { reason, .. }) => {
                    report.structure.push(format!("the events behind row {after} cannot be read: {reason}"));
                    break;
                }
                Err(error) => return Err(error),
            };
            report.events += piece.rows;
            report.unsummed += piece.unsummed;
            report.damaged += piece.damaged.len() as u64;
            let named = piece.damaged.into_iter().take(MAX_DAMAGED - report.rows.len()).collect::<Vec<_>>();
            if !named.is_empty() {
                report.rows.extend(self.readers().run("naming damaged events", move |c| name(c, &named)).await?);
            }
            let Some(last) = piece.last else { break };
            after = last;
        }
        (report.sessions, report.beyond_head) = match self.readers().run("checking sessions", heads).await {
            Ok(found) => found,
            Err(JournalError::Damaged { reason, .. }) => {
                report.structure.push(format!("the sessions cannot be read: {reason}"));
                (0, Vec::new())
            }
            Err(error) => return Err(error),
        };
        report.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }
}

fn structure(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({MAX_FINDINGS})"))?;
    let findings: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(findings.into_iter().filter(|finding| finding != "ok").collect())
}

fn read(connection: &Connection, after: i64) -> rusqlite::Result<Piece> {
    let mut piece = Piece::default();
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![after, PAGE_ROWS])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        piece.last = Some(id);
        piece.rows += 1;
        if matches!(row.get_ref(SUM_COLUMN)?, ValueRef::Null) {
            piece.unsummed += 1;
        }
        if intact(row, 0)?.is_none() {
            piece.damaged.push(id);
        }
    }
    Ok(piece)
}

fn name(connection: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<Damaged>> {
    let mut statement = connection.prepare_cached("SELECT s.id FROM lives l JOIN sessions s ON s.n = l.session WHERE l.n = ?1")?;
    ids.iter()
        .map(|id| {
            let (life, seq) = place(*id);
            Ok(Damaged { session: statement.query_row([life], |row| row.get(0)).optional()?, seq })
        })
        .collect()
}

/// How many sessions there are, and those with an event beyond their newest number.
fn heads(connection: &Connection) -> rusqlite::Result<(u64, Vec<String>)> {
    let sessions = connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0))?;
    let sql = format!(
        "SELECT s.id FROM sessions s
         WHERE (SELECT max(e.id) FROM events e WHERE e.id >= s.life << {SEQ_BITS} AND e.id < (s.life + 1) << {SEQ_BITS}) > ((s.life << {SEQ_BITS}) | s.head)
         ORDER BY s.n LIMIT {MAX_DAMAGED}"
    );
    let beyond = connection.prepare_cached(&sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok((sessions.unsigned_abs(), beyond))
}
