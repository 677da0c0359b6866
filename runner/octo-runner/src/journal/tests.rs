#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use octo_protocol::event::{Event, InputKind};
use octo_protocol::{Message, SessionConfig};
use std::os::unix::fs::PermissionsExt;

mod damage;
mod embedded;
mod fence;
mod migration;
mod verify;

pub(super) fn new_session(id: &str) -> NewSession {
    NewSession {
        id: id.into(),
        epoch: "e1".parse().unwrap(),
        harness: "pi".into(),
        cwd: "/srv/demo".into(),
        provider: "demo".into(),
        model: "scripted".into(),
        config: SessionConfig::default(),
        provision: "{}".into(),
        readable_id: format!("readable-{id}"),
        parent: None,
        created_at: 1,
    }
}

pub(super) fn said(idx: u64, text: &str) -> Event {
    let message: Message = serde_json::from_value(serde_json::json!({
        "id": format!("m{idx}"), "idx": idx, "role": "user", "created_at": 1, "parts": [{ "type": "text", "id": "p", "text": text }]
    }))
    .unwrap();
    Event::MessageEnd { message }
}

pub(super) fn batch(key: SessionKey, first_seq: u64, events: Vec<Event>, log: &Arc<SessionLog>) -> Batch {
    let entries = events.into_iter().map(|e| Entry::new(e, None).unwrap()).collect();
    Batch { key, first_seq, entries, changes: Vec::new(), log: Arc::clone(log) }
}

pub(super) fn log_of(key: SessionKey, head: u64) -> Arc<SessionLog> {
    Arc::new(SessionLog::new("e1".parse().unwrap(), key.life, head))
}

#[tokio::test]
async fn an_event_is_announced_after_its_commit_and_a_refused_batch_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    journal.commit(batch(key, 1, vec![said(0, "one")], &log)).await.unwrap();
    assert_eq!(log.head(), 1);
    // The same number once more: nothing of the batch is written, nothing announced.
    assert!(journal.commit(batch(key, 1, vec![said(1, "two"), said(2, "three")], &log)).await.is_err());
    assert_eq!(log.head(), 1);
    assert_eq!(journal.page(key.life, 0, None).await.unwrap().rows.len(), 1);
    assert_eq!(journal.messages(key.session, None, 10, 1 << 20).await.unwrap().messages.len(), 1);
}

#[tokio::test]
async fn one_bad_batch_in_a_group_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let mut outcomes = Vec::new();
    for n in 0..20u64 {
        let key = journal.create(new_session(&format!("s{n}"))).await.unwrap();
        let log = log_of(key, 0);
        let first = if n == 7 { key.life.cast_unsigned() << 41 } else { 1 };
        outcomes.push((n, journal.submit(batch(key, if n == 7 { 1 } else { first }, vec![said(0, "x")], &log)).await.unwrap()));
        if n == 7 {
            outcomes.push((100, journal.submit(batch(key, 1, vec![said(0, "again")], &log)).await.unwrap()));
        }
    }
    for (n, outcome) in outcomes {
        assert_eq!(outcome.await.unwrap().is_ok(), n != 100, "batch {n}");
    }
}

fn delta(n: u64) -> Event {
    Event::TextDelta { message_id: "m0".into(), delta: format!("word {n} "), content_index: 0 }
}

#[tokio::test]
async fn a_commit_that_is_made_at_once_overtakes_nothing_that_waits() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    let (mut seq, mut waiting) = (0, Vec::new());
    for round in 0..200 {
        for _ in 0..round % 4 {
            seq += 1;
            waiting.push(journal.submit(batch(key, seq, vec![delta(seq)], &log)).await.unwrap());
        }
        seq += 1;
        journal.commit(batch(key, seq, vec![delta(seq)], &log)).await.unwrap();
        assert_eq!(log.head(), seq, "what waited was announced before");
    }
    for outcome in waiting {
        outcome.await.unwrap().unwrap();
    }
    let octo_actors::Read::Frames { frames, .. } = log.ring.read(0, 1000, 1 << 20) else { panic!("all of it is in the ring") };
    assert!(frames.iter().map(|frame| frame.seq).eq(1..=seq));
    journal.close().await;
    assert!(matches!(journal.commit(batch(key, seq + 1, vec![delta(0)], &log)).await, Err(JournalError::Closed)));
}

#[tokio::test]
async fn the_write_ahead_log_stays_bounded_under_commits_that_are_made_at_once() {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    let mut largest = 0;
    for seq in 1..=6000 {
        journal.commit(batch(key, seq, vec![delta(seq)], &log)).await.unwrap();
        largest = largest.max(std::fs::metadata(directory.path().join("journal.db-wal")).unwrap().len());
    }
    assert!(largest < 8 << 20, "{largest} bytes");
    assert!(std::fs::metadata(directory.path().join("journal.db")).unwrap().len() > 200_000, "the file itself has grown");
}

#[tokio::test]
async fn another_boot_begins_a_new_epoch_and_keeps_the_history() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot-1").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    journal.commit(batch(key, 1, vec![said(0, "before the power went")], &log_of(key, 0))).await.unwrap();
    journal.close().await;
    let same = Journal::open(directory.path(), "boot-1").unwrap();
    let row = same.session("s").await.unwrap().unwrap();
    assert_eq!((row.epoch.as_str(), row.head, row.key), ("e1", 1, key));
    same.close().await;
    let other = Journal::open(directory.path(), "boot-2").unwrap();
    let row = other.session("s").await.unwrap().unwrap();
    assert_ne!(row.epoch, "e1");
    assert_eq!((row.head, row.messages), (0, 1));
    let log = log_of(row.key, 0);
    other.commit(batch(row.key, 1, vec![said(1, "and after")], &log)).await.unwrap();
    let page = other.snapshot(row.key, 1, 200, 1 << 20).await.unwrap();
    assert_eq!(page.messages.len(), 2, "a snapshot covers earlier lives");
    assert_eq!(other.snapshot(row.key, 0, 200, 1 << 20).await.unwrap().messages.len(), 1);
    assert_eq!(other.page(row.key.life, 0, None).await.unwrap().rows.len(), 1, "a replay does not");
}

#[tokio::test]
async fn a_newer_a_damaged_and_a_foreign_journal_are_refused_and_left_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let journal = Journal::open(directory.path(), "boot").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    journal.create(new_session("s")).await.unwrap();
    journal.close().await;
    drop(journal);
    let whole = std::fs::read(&path).unwrap();

    rusqlite::Connection::open(&path).unwrap().execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'", []).unwrap();
    let refused = Journal::open(directory.path(), "boot").err().unwrap();
    assert!(matches!(refused, JournalError::Newer { found: 999, .. }), "{refused}");

    for damaged in [b"not a database at all, but long enough to look at".to_vec(), {
        let mut torn = whole.clone();
        torn[100..3000].fill(0xa5);
        torn
    }] {
        for companion in ["journal.db-wal", "journal.db-shm"] {
            let _ = std::fs::remove_file(directory.path().join(companion));
        }
        std::fs::write(&path, &damaged).unwrap();
        let refused = Journal::open(directory.path(), "boot").err().unwrap();
        assert!(matches!(refused, JournalError::Corrupt { .. }), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
}

#[tokio::test]
async fn search_finds_words_and_never_reads_them_as_a_query() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    journal.commit(batch(key, 1, vec![said(0, "the quick brown fox"), said(1, "a lazy döG \"quoted\"")], &log)).await.unwrap();
    let hits = async |q: &str| journal.search(q, None, 10).await.unwrap().len();
    assert_eq!(hits("quick fox").await, 1);
    assert_eq!(hits("DOG").await, 1);
    assert_eq!(hits("qui").await, 1, "the last word is a prefix");
    for odd in ["\"", "quick OR", "a AND NOT (", "*", "text:fox", "NEAR(a b)", "a\0b", "\0", "\u{1}"] {
        journal.search(odd, None, 10).await.unwrap();
    }
    assert_eq!(hits("qui\0fox").await, 0);
    assert_eq!(hits("quick\0fox").await, 1);
    assert_eq!(hits("fox lazy").await, 0);
    journal.delete(key.session).await.unwrap();
    assert_eq!(hits("fox").await, 0);
    assert!(journal.session("s").await.unwrap().is_none());
    assert!(journal.page(key.life, 0, None).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn an_input_keeps_its_content_until_it_is_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    let mut accepted =
        batch(key, 1, vec![Event::InputAccepted { kind: InputKind::Prompt, client_id: None, message: "x".into(), images: None }], &log);
    accepted.changes.push(Change::InputAccepted { key: "c".into(), kind: InputKind::Prompt, hash: "h".into(), content: "{}".into() });
    assert_eq!(accepted.sync(), Sync::Full);
    journal.commit(accepted).await.unwrap();
    assert_eq!(journal.undelivered_inputs(key.session).await.unwrap()[0].state, "accepted");
    assert_eq!(journal.unfinished_sessions().await.unwrap(), ["s"]);
    let mut delivered = batch(key, 2, Vec::new(), &log);
    delivered.changes.push(Change::InputDelivered { key: "c".into() });
    journal.commit(delivered).await.unwrap();
    assert!(journal.undelivered_inputs(key.session).await.unwrap().is_empty());
    let known = journal.input(key.session, "c").await.unwrap().unwrap();
    assert_eq!((known.hash.as_str(), known.content), ("h", None), "the hash is kept for ever, the content is not");
}

#[tokio::test]
async fn a_life_that_cannot_be_is_said_and_never_overflows() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    for life in [-1, (1 << 23) - 1, i64::MAX, i64::MIN] {
        assert!(journal.page(life, 0, None).await.is_err(), "{life}");
        assert!(journal.page(life, u64::MAX, Some(u64::MAX)).await.is_err(), "{life}");
        assert!(journal.open_items(life).await.is_err(), "{life}");
    }
    assert!(journal.page((1 << 23) - 2, u64::MAX, None).await.unwrap().rows.is_empty());
}
