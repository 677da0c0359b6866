//! A check of the whole journal names what is not as it was written, and nothing else.

use super::*;
use octo_protocol::admin::Damaged;

async fn written(directory: &Path) -> Journal {
    let journal = Journal::open(directory, "boot").unwrap();
    for session in ["a", "b"] {
        let key = journal.create(new_session(session)).await.unwrap();
        let log = log_of(key, 0);
        for n in 0..5 {
            journal.commit(batch(key, n + 1, vec![said(n, "words")], &log)).await.unwrap();
        }
    }
    journal
}

#[tokio::test]
async fn a_journal_that_is_whole_is_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let report = written(directory.path()).await.verify().await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.sessions, report.events, report.unsummed), (2, 10, 0));
    assert!(report.bytes > 0 && report.path.ends_with("journal.db"));
}

#[tokio::test]
async fn a_changed_row_is_named_by_its_session_and_number() {
    let directory = tempfile::tempdir().unwrap();
    let journal = written(directory.path()).await;
    let other = rusqlite::Connection::open(journal.path()).unwrap();
    let row = (2_i64 << schema::SEQ_BITS) | 3;
    assert_eq!(other.execute("UPDATE events SET payload = replace(payload, 'words', 'lords') WHERE id = ?1", [row]).unwrap(), 1);
    assert_eq!(other.execute("UPDATE events SET sum = NULL WHERE id = ?1", [row + 1]).unwrap(), 1);
    assert_eq!(other.execute("UPDATE sessions SET head = 4 WHERE id = 'a'", []).unwrap(), 1);
    let report = journal.verify().await.unwrap();
    assert!(!report.is_whole());
    assert_eq!(report.rows, [Damaged { session: Some("b".to_owned()), seq: 3 }]);
    assert_eq!((report.damaged, report.unsummed, report.beyond_head), (1, 1, vec!["a".to_owned()]));
}
