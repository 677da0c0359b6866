//! Of several runners that opened a journal only the last one writes.

use super::*;

#[tokio::test]
async fn only_the_runner_that_opened_it_last_writes_and_the_others_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::open(directory.path(), "boot").unwrap();
    let key = first.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    first.commit(batch(key, 1, vec![said(0, "mine")], &log)).await.unwrap();

    let second = Journal::open(directory.path(), "boot").unwrap();
    let delta = Event::TextDelta { message_id: "m".into(), delta: "d".into(), content_index: 0 };
    // With an fsync on the journal's thread, without one on this one, and everything else that writes.
    for refused in [
        first.commit(batch(key, 2, vec![said(1, "late")], &log)).await,
        first.commit(batch(key, 2, vec![delta], &log)).await,
        first.create(new_session("other")).await.map(drop),
        first.delete(key.session).await,
        first.sweep(key.session).await.map(drop),
    ] {
        assert!(matches!(refused, Err(JournalError::Replaced { own: 1, newest: 2 })), "{refused:?}");
    }
    assert_eq!(log.head(), 1, "and nothing was announced");
    assert!(matches!(first.replaced().await, JournalError::Replaced { .. }));

    let log = log_of(key, 1);
    second.commit(batch(key, 2, vec![said(1, "next")], &log)).await.unwrap();
    let texts = second.page(key.life, 0, None).await.unwrap().rows.len();
    assert_eq!(texts, 2);
    first.close().await;
    second.close().await;
    // Closing the old one took nothing from the new one.
    let third = Journal::open(directory.path(), "boot").unwrap();
    let row = third.session("s").await.unwrap().unwrap();
    assert_eq!((row.head, row.messages, row.epoch.as_str()), (2, 2, "e1"));
}

#[tokio::test]
async fn one_that_writes_nothing_hears_of_its_successor_too() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::open(directory.path(), "boot").unwrap();
    let replaced = tokio::spawn({
        let first = first.clone();
        async move { first.replaced().await }
    });
    let _second = Journal::open(directory.path(), "boot").unwrap();
    let said = tokio::time::timeout(Duration::from_secs(60), replaced).await.unwrap().unwrap().to_string();
    assert!(said.contains("another runner has taken this user's journal over"), "{said}");
}

/// A start on a full disk cannot write its generation; it goes with whatever is written first.
#[tokio::test]
async fn a_generation_that_could_not_be_written_is_taken_with_the_first_write() {
    let directory = tempfile::tempdir().unwrap();
    let before = Journal::open(directory.path(), "boot").unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let other = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
    let generation = || other.query_row("SELECT value FROM meta WHERE key = 'generation'", [], |r| r.get::<_, String>(0)).unwrap();
    assert_eq!(generation(), "2");
    other.execute("UPDATE meta SET value = '1' WHERE key = 'generation'", []).unwrap();
    journal.create(new_session("s")).await.unwrap();
    assert_eq!(generation(), "2");
    assert!(matches!(before.create(new_session("t")).await, Err(JournalError::Replaced { own: 1, newest: 2 })));
}
