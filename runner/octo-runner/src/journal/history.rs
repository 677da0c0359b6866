//! History: lists of conversations and full-text search, over the same rows as the journal.

use super::reader::{SESSION_COLUMNS, SessionRow, session_row};
use super::retention::removed;
use super::{Journal, JournalError};
use octo_protocol::history::{ChatSession, ChatStats, SearchHit};
use rusqlite::{Connection, OptionalExtension, params};

/// Most rows that one query returns.
const MAX_ROWS: u32 = 1000;
/// Most words of one search.
const MAX_WORDS: usize = 16;
/// Words around a hit.
const SNIPPET_WORDS: i64 = 24;

impl Journal {
    /// Conversations, newest first.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn chats(&self, workspace: Option<String>, include_children: bool, limit: u32) -> Result<Vec<ChatSession>, JournalError> {
        self.readers()
            .run("listing conversations", move |c| {
                c.prepare_cached(&format!(
                    "SELECT {SESSION_COLUMNS} FROM sessions WHERE (?1 IS NULL OR cwd = ?1) AND (?2 OR parent IS NULL) ORDER BY updated_at DESC LIMIT ?3"
                ))?
                .query_map(params![workspace, include_children, limit.min(MAX_ROWS)], session_row)?
                .map(|row| with_removed(c, &row?))
                .collect()
            })
            .await
    }

    /// A conversation as history shows it.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn shown(&self, row: SessionRow) -> Result<ChatSession, JournalError> {
        self.readers().run("reading a conversation", move |c| with_removed(c, &row)).await
    }

    /// The conversation with this id or readable id.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn chat(&self, id: &str) -> Result<Option<SessionRow>, JournalError> {
        let id = id.to_owned();
        self.readers()
            .run("reading a conversation", move |c| {
                c.prepare_cached(&format!(
                    "SELECT {SESSION_COLUMNS} FROM sessions WHERE id = ?1 OR readable_id = ?1 ORDER BY id = ?1 DESC LIMIT 1"
                ))?
                .query_row([id], session_row)
                .optional()
            })
            .await
    }

    /// Messages that hold every word of `words`, best first. The words are words: they hold no query language.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn search(&self, words: &str, session: Option<String>, limit: u32) -> Result<Vec<SearchHit>, JournalError> {
        let Some(query) = quoted(words) else { return Ok(Vec::new()) };
        self.readers()
            .run("searching", move |c| {
                c.prepare_cached(
                    "SELECT s.harness, s.id, s.cwd, m.id, m.idx, snippet(search, 0, '', '', '…', ?4), bm25(search), m.created_at, m.role, s.title
                     FROM search JOIN messages m ON m.event = search.rowid JOIN sessions s ON s.n = m.session
                     WHERE search MATCH ?1 AND m.idx >= s.first_idx AND (?2 IS NULL OR s.id = ?2) ORDER BY bm25(search) LIMIT ?3",
                )?
                .query_map(params![query, session, limit.min(MAX_ROWS), SNIPPET_WORDS], |r| {
                    let id: String = r.get(1)?;
                    Ok(SearchHit {
                        agent: r.get(0)?,
                        source_path: format!("octo://sessions/{id}"),
                        session_id: Some(id),
                        workspace: r.get(2)?,
                        message_id: r.get(3)?,
                        line_number: Some(super::reader::unsigned(r.get::<_, i64>(4)?)),
                        snippet: r.get(5)?,
                        // bm25 is smaller for better hits; a score is larger.
                        score: r.get::<_, Option<f64>>(6)?.map(|s| -s),
                        timestamp: r.get(7)?,
                        role: r.get(8)?,
                        title: r.get(9)?,
                    })
                })?
                .collect()
            })
            .await
    }
}

/// Each word in quotes, the last one as a prefix, so that a search finds while one types. Control characters are no part of a word; SQLite would
/// read no further than the first NUL.
fn quoted(words: &str) -> Option<String> {
    let words = words.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(MAX_WORDS).map(|w| format!("\"{}\"", w.replace('"', "\"\""))).collect();
    if words.is_empty() { None } else { Some(format!("{}*", words.join(" "))) }
}

fn with_removed(connection: &Connection, row: &SessionRow) -> rusqlite::Result<ChatSession> {
    Ok(ChatSession { removed: removed(connection, Some(row.key.session))?, ..chat(row) })
}

fn chat(row: &SessionRow) -> ChatSession {
    let totals = &row.totals;
    ChatSession {
        id: row.id.clone(),
        readable_id: row.readable_id.clone(),
        title: row.title.clone(),
        parent_id: row.parent.clone(),
        workspace_path: row.cwd.clone(),
        project_name: row.cwd.rsplit('/').find(|s| !s.is_empty()).unwrap_or("/").to_owned(),
        created_at: row.created_at,
        updated_at: row.updated_at,
        is_child: row.parent.is_some(),
        source_path: row.resume.clone(),
        stats: Some(ChatStats {
            tokens_in: totals.tokens_in,
            tokens_out: totals.tokens_out,
            cache_read: totals.cache_read,
            cache_write: totals.cache_write,
            cost_usd: totals.cost,
        }),
        model: Some(row.model.clone()),
        provider: Some(row.provider.clone()),
        removed: None,
    }
}
