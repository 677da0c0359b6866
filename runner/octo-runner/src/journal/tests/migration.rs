//! A journal of an older octo goes on under this one.

use super::*;
use rusqlite::Connection;

/// What schema 1 looked like, with what a person and the demo model said.
const SCHEMA_1: &str = include_str!("../fixtures/schema-1.sql");

fn rows(connection: &Connection) -> Vec<(i64, i64, i64, String, Option<String>, String)> {
    let mut statement = connection.prepare("SELECT id, ts, kind, name, item, payload FROM events ORDER BY id").unwrap();
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn made_by_schema_1(directory: &Path) -> PathBuf {
    let path = directory.join("journal.db");
    let before = Connection::open(&path).unwrap();
    before.execute_batch("PRAGMA journal_mode=WAL").unwrap();
    before.execute_batch(&format!("BEGIN; {SCHEMA_1} COMMIT;")).unwrap();
    path
}

#[tokio::test]
async fn a_journal_of_schema_1_keeps_every_event_message_and_input_and_leaves_a_copy() {
    let directory = tempfile::tempdir().unwrap();
    let path = made_by_schema_1(directory.path());
    let before = rows(&Connection::open(&path).unwrap());
    assert!(before.len() > 40);

    let journal = Journal::open(directory.path(), "boot").unwrap();
    let sessions = journal.sessions().await.unwrap();
    assert_eq!(sessions.iter().map(|s| (s.head, s.messages)).collect::<Vec<_>>(), [(23, 2), (311, 2), (55, 6)]);
    assert!(sessions.iter().all(|s| s.epoch.len() > 10 && s.key.life == s.key.session), "no cursor of before is given up: {sessions:?}");
    let mut replayed = Vec::new();
    for session in &sessions {
        for row in journal.page(session.key.life, 0, None).await.unwrap().rows {
            let id = (session.key.life << schema::SEQ_BITS) | i64::try_from(row.seq).unwrap();
            replayed.push((id, row.packed.ts(), String::from_utf8(row.packed.payload().to_vec()).unwrap()));
        }
    }
    assert_eq!(replayed, before.iter().map(|r| (r.0, r.1, r.5.clone())).collect::<Vec<_>>());
    assert_eq!(journal.messages(sessions[2].key.session, None, 200, 1 << 20).await.unwrap().messages.len(), 6);
    assert_eq!(journal.search("tide tables", None, 10).await.unwrap().len(), 1);
    assert_eq!(journal.unfinished_sessions().await.unwrap(), [sessions[1].id.as_str()]);
    let waiting = journal.undelivered_inputs(sessions[1].key.session).await.unwrap();
    assert_eq!((waiting[0].key.as_str(), waiting[0].state.as_str()), ("waits", "accepted"));

    // It goes on under the next number, and is of this schema from now on.
    let key = sessions[0].key;
    journal.commit(batch(key, 24, vec![said(2, "and on")], &log_of(key, 23))).await.unwrap();
    journal.close().await;
    drop(journal);
    let again = Journal::open(directory.path(), "boot").unwrap();
    assert_eq!(again.session(&sessions[0].id).await.unwrap().unwrap().head, 24);
    again.close().await;

    let copy = path.with_extension("db.schema-1");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600, "it holds what the journal holds");
    assert_eq!(rows(&Connection::open(&copy).unwrap()), before, "the copy is of before");
}

#[tokio::test]
async fn a_migration_that_cannot_keep_a_copy_does_not_begin() {
    let directory = tempfile::tempdir().unwrap();
    let path = made_by_schema_1(directory.path());
    // A folder stands where the copy would.
    std::fs::create_dir(path.with_extension("db.schema-1")).unwrap();
    let refused = Journal::open(directory.path(), "boot").err().unwrap();
    assert!(matches!(refused, JournalError::Backup { .. }), "{refused}");
    let version: String =
        Connection::open(&path).unwrap().query_row("SELECT value FROM meta WHERE key = 'schema_version'", [], |r| r.get(0)).unwrap();
    assert_eq!(version, "1");
}

#[tokio::test]
async fn a_journal_of_a_newer_octo_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    Journal::open(directory.path(), "boot").unwrap().close().await;
    let path = directory.path().join("journal.db");
    let newer = (SCHEMA_VERSION + 1).to_string();
    Connection::open(&path).unwrap().execute("UPDATE meta SET value = ?1 WHERE key = 'schema_version'", [newer]).unwrap();
    let sentence = Journal::open(directory.path(), "boot").err().unwrap().to_string();
    assert_eq!(
        sentence,
        format!(
            "{} was written by a newer octo (schema 5, this one knows 4); start that octo again, or restore the copy from before its upgrade",
            path.display()
        )
    );
}
