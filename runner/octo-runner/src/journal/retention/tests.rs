#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::super::tests::{batch, log_of, new_session, said};
use super::super::{Change, Entry, SessionLog};
use super::*;
use octo_protocol::Event;
use octo_protocol::event::{InputKind, Level};
use octo_protocol::message::ImageInput;
use std::sync::Arc;

fn notice(text: &str) -> Event {
    Event::Notify { level: Level::Info, message: text.to_owned() }
}

/// Turns of one notice and one message each, from the number `first` on.
async fn turns(journal: &Journal, key: SessionKey, log: &Arc<SessionLog>, count: u64, text: &str) {
    for _ in 0..count {
        let head = log.head();
        let idx = journal.session("s").await.unwrap().unwrap().messages;
        let turn = Some(format!("t{idx}"));
        let mut batch = batch(key, head + 1, Vec::new(), log);
        batch.entries =
            [notice("working"), said(idx, text), notice("done")].into_iter().map(|e| Entry::new(e, turn.clone()).unwrap()).collect();
        journal.commit(batch).await.unwrap();
    }
}

async fn sweep_all(journal: &Journal, session: i64) {
    while journal.sweep(session).await.unwrap() {}
}

#[tokio::test]
async fn old_events_go_and_messages_stay_and_old_messages_go_in_whole_turns_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    turns(&journal, key, &log, 3, "early words").await;
    // Times have milliseconds, and what comes next has to be younger.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let between = now_ms();
    turns(&journal, key, &log, 2, "late words").await;

    let cut = journal.plan(key.session, Take::EventsBefore(between)).await.unwrap().unwrap();
    assert_eq!((cut.floor, &cut.messages), (9, &None));
    journal.cut(cut, Some(Arc::clone(&log))).await.unwrap();
    sweep_all(&journal, key.session).await;
    assert_eq!(log.floor(), 9);
    assert_eq!(journal.plan(key.session, Take::EventsBefore(between)).await.unwrap(), None, "once is enough");
    let left: Vec<u64> = journal.page(key.life, 0, None).await.unwrap().rows.iter().map(|r| r.seq).collect();
    assert_eq!(left, [2, 5, 8, 10, 11, 12, 13, 14, 15]);
    let page = journal.messages(key.session, None, 100, 1 << 20).await.unwrap();
    assert_eq!((page.messages.len(), page.removed), (5, None), "no message was removed");

    let cut = journal.plan(key.session, Take::MessagesBefore(between)).await.unwrap().unwrap();
    journal.cut(cut, Some(Arc::clone(&log))).await.unwrap();
    let before_sweep = journal.messages(key.session, None, 100, 1 << 20).await.unwrap();
    assert_eq!(before_sweep.messages.len(), 2, "what is given up is out of sight at once");
    sweep_all(&journal, key.session).await;
    let page = journal.messages(key.session, None, 100, 1 << 20).await.unwrap();
    let removed = page.removed.unwrap();
    assert_eq!((page.messages.len(), removed.messages, removed.turns, &removed.reasons[..]), (2, 3, 3, &[RemovalReason::Age][..]));
    assert!(removed.first_at <= removed.last_at && removed.last_at < between && removed.removed_at >= between);
    assert_eq!(journal.search("early", None, 10).await.unwrap().len(), 0);
    assert_eq!(journal.search("late", None, 10).await.unwrap().len(), 2);
    let row = journal.session("s").await.unwrap().unwrap();
    assert_eq!((row.messages, row.floor), (5, 9), "numbers go on");

    // The size takes more: the oldest first.
    let cut = journal.plan(key.session, Take::MessagesOf(1)).await.unwrap().unwrap();
    assert_eq!(cut.messages.as_ref().unwrap().first_idx, 4);
    journal.cut(cut, Some(Arc::clone(&log))).await.unwrap();
    let removed = journal.removed(None).await.unwrap().unwrap();
    assert_eq!((removed.messages, removed.turns), (4, 4));
    assert_eq!(removed.reasons, [RemovalReason::Age, RemovalReason::Size]);
    let chats = journal.chats(None, true, 10).await.unwrap();
    assert_eq!(chats[0].removed.as_ref(), Some(&removed));
}

#[tokio::test]
async fn nothing_of_an_open_turn_or_after_a_waiting_input_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    turns(&journal, key, &log, 1, "first").await;
    let mut open = batch(key, 4, vec![notice("begins"), said(1, "second")], &log);
    open.changes.push(Change::Turn(Some("t".into())));
    journal.commit(open).await.unwrap();
    let cut = journal.plan(key.session, Take::Events).await.unwrap().unwrap();
    assert_eq!(cut.floor, 3);
    let all = journal.plan(key.session, Take::MessagesOf(u64::MAX)).await.unwrap().unwrap().messages.unwrap();
    assert_eq!((all.messages, all.first_idx), (1, 1));
    let mut closed = batch(key, 6, vec![notice("ends")], &log);
    closed.changes.push(Change::Turn(None));
    journal.commit(closed).await.unwrap();
    assert_eq!(journal.plan(key.session, Take::Events).await.unwrap().unwrap().floor, 6);
    let accepted = Event::InputAccepted { kind: InputKind::Prompt, client_id: None, message: "x".into(), images: None };
    let mut waiting = batch(key, 7, vec![accepted, notice("more")], &log);
    waiting.changes.push(Change::InputAccepted { key: "k".into(), kind: InputKind::Prompt, hash: "h".into(), content: "{}".into() });
    journal.commit(waiting).await.unwrap();
    let floor = journal.plan(key.session, Take::Events).await.unwrap().unwrap().floor;
    assert!(floor < 8, "the input is not handed over: {floor}");
}

#[tokio::test]
async fn what_is_removed_gives_its_space_back_to_the_disk_and_no_step_is_long() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    let large = "word ".repeat(20_000);
    turns(&journal, key, &log, 200, &large).await;
    let before = journal.space().await.unwrap();
    assert!(before.gives_back && before.used > 20_000_000, "{before:?}");
    let cut = journal.plan(key.session, Take::MessagesOf(u64::MAX)).await.unwrap().unwrap();
    assert_eq!(cut.messages.as_ref().unwrap().messages, 200);
    journal.cut(cut, Some(log)).await.unwrap();
    let mut steps = 0;
    while journal.sweep(key.session).await.unwrap() {
        steps += 1;
    }
    assert!(steps >= 20, "{steps} steps for 20 MB");
    let swept = journal.space().await.unwrap();
    // Pages of the index that hold little now are merged by later writes.
    assert!(swept.used < before.used / 10 && swept.free > before.used / 2, "{swept:?} of {before:?}");
    while journal.give_back().await.unwrap() {}
    let after = journal.space().await.unwrap();
    assert!(after.used + after.free < before.used / 8, "{after:?} of {before:?}");
    journal.close().await;
    let file = std::fs::metadata(directory.path().join("journal.db")).unwrap().len();
    assert!(file < before.used / 8, "the file has {file} bytes");
}

#[tokio::test]
async fn a_kill_between_giving_up_and_removing_leaves_what_the_next_pass_removes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    turns(&journal, key, &log, 4, "gone").await;
    let cut = journal.plan(key.session, Take::MessagesOf(1)).await.unwrap().unwrap();
    journal.cut(cut.clone(), Some(log)).await.unwrap();
    journal.close().await;
    let journal = Journal::open(directory.path(), "boot").unwrap();
    assert!(journal.holdings().await.unwrap()[0].unswept);
    assert_eq!(journal.session("s").await.unwrap().unwrap().floor, 2);
    assert_eq!(journal.search("gone", None, 10).await.unwrap().len(), 3);
    // The same once more counts nothing twice.
    journal.cut(cut, None).await.unwrap();
    assert_eq!(journal.removed(None).await.unwrap().unwrap().messages, 1);
    sweep_all(&journal, key.session).await;
    assert!(!journal.holdings().await.unwrap()[0].unswept);
}

#[tokio::test]
async fn another_epoch_leaves_nothing_of_the_one_before_but_its_messages() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot-1").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    turns(&journal, key, &log_of(key, 0), 2, "before").await;
    journal.close().await;
    let journal = Journal::open(directory.path(), "boot-2").unwrap();
    assert!(journal.holdings().await.unwrap()[0].unswept);
    sweep_all(&journal, key.session).await;
    assert_eq!(journal.page(key.life, 0, None).await.unwrap().rows.len(), 2);
    let page = journal.messages(key.session, None, 10, 1 << 20).await.unwrap();
    assert_eq!((page.messages.len(), page.removed), (2, None));
    let row = journal.session("s").await.unwrap().unwrap();
    assert_eq!(row.floor, 0, "the new epoch is whole");
    let cut = journal.plan(row.key.session, Take::MessagesOf(1)).await.unwrap().unwrap();
    assert_eq!((cut.floor, cut.messages.as_ref().unwrap().messages), (0, 1));
    journal.cut(cut, None).await.unwrap();
    sweep_all(&journal, key.session).await;
    assert_eq!(journal.messages(key.session, None, 10, 1 << 20).await.unwrap().messages.len(), 1);
}

#[tokio::test]
async fn an_image_is_stored_once_when_its_message_is_there_and_parked_content_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session("s")).await.unwrap();
    let log = log_of(key, 0);
    let data = "QUJD".repeat(50_000);
    let images = Some(vec![ImageInput { data: data.clone(), media_type: "image/png".into() }]);
    let accepted = Event::InputAccepted { kind: InputKind::Prompt, client_id: None, message: "look".into(), images };
    let change = |key: &str| Change::InputAccepted { key: key.into(), kind: InputKind::Prompt, hash: "h".into(), content: data.clone() };
    for (n, input) in ["a", "b"].into_iter().enumerate() {
        let mut batch = batch(key, n as u64 + 1, vec![accepted.clone()], &log);
        batch.changes.push(change(input));
        journal.commit(batch).await.unwrap();
    }
    let mut handed = batch(key, 3, vec![said(0, "look")], &log);
    handed.changes.push(Change::InputHanded { key: "a".into() });
    journal.commit(handed).await.unwrap();
    let rows = journal.page(key.life, 0, None).await.unwrap().rows;
    let sizes: Vec<usize> = rows.iter().map(|r| r.packed.payload().len()).collect();
    assert!(sizes[0] < 200 && sizes[1] > data.len(), "{sizes:?}");
    let event: Event = serde_json::from_slice(rows[0].packed.payload()).unwrap();
    assert!(matches!(event, Event::InputAccepted { images: None, message, .. } if message == "look"));
    let held = journal.holding(key.session).await.unwrap().unwrap().bytes;
    assert_eq!(held, sizes.iter().sum::<usize>() as u64 + 4);

    let mut parked = batch(key, 4, Vec::new(), &log);
    parked.changes.push(Change::InputParked { key: "b".into() });
    journal.commit(parked).await.unwrap();
    assert_eq!(journal.input(key.session, "b").await.unwrap().unwrap().content, None);
    assert_eq!(journal.undelivered_inputs(key.session).await.unwrap().len(), 1);
}

/// What a journal of the first schema holds is there after its migration, and it can give space back from then on.
#[tokio::test]
async fn a_journal_of_the_first_schema_is_migrated_whole_and_gives_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch("PRAGMA journal_mode=WAL;").unwrap();
    old.execute_batch(super::super::schema::FIRST).unwrap();
    old.execute_batch(
        "INSERT INTO meta VALUES ('schema_version', '1'), ('boot_id', 'boot');
         INSERT INTO sessions(n, id, life, epoch, head, harness, cwd, provider, model, config, provision, readable_id, messages, created_at, updated_at)
           VALUES (1, 's', 2, 'e2', 3, 'pi', '/', 'demo', 'scripted', '{}', '{}', 'r', 2, 1, 1);
         INSERT INTO lives(n, session, epoch) VALUES (1, 1, 'e1'), (2, 1, 'e2');
         INSERT INTO events(id, ts, kind, name, item, payload) VALUES
           (1 << 40 | 1, 5, 2, 'stream.message_end', 'm0', '{\"event\":\"stream.message_end\",\"turn_id\":\"t0\",\"message\":{\"id\":\"m0\"}}'),
           (1 << 40 | 2, 5, 1, 'notify', NULL, '{\"event\":\"notify\"}'),
           (2 << 40 | 1, 6, 1, 'notify', NULL, '{\"event\":\"notify\"}'),
           (2 << 40 | 2, 7, 2, 'stream.message_end', 'm1', '{\"event\":\"stream.message_end\",\"turn_id\":\"t1\",\"message\":{\"id\":\"m1\"}}'),
           (2 << 40 | 3, 8, 0, 'stream.text_delta', 'm2', '{\"event\":\"stream.text_delta\"}');
         INSERT INTO messages(event, session, idx, id, role, created_at, text) VALUES (1 << 40 | 1, 1, 0, 'm0', 'user', 5, 'hello'), (2 << 40 | 2, 1, 1, 'm1', 'user', 7, 'again');
         INSERT INTO inputs VALUES (1, 'k', 1, 'prompt', 'h', 'parked', 'something'), (1, 'l', 2, 'prompt', 'h', 'accepted', 'else');",
    )
    .unwrap();
    drop(old);
    let journal = Journal::open(directory.path(), "boot").unwrap();
    assert!(path.with_extension("db.schema-1").exists(), "a copy was made before");
    assert!(journal.space().await.unwrap().gives_back);
    assert_eq!(journal.messages(1, None, 10, 1 << 20).await.unwrap().messages.len(), 2);
    assert_eq!(journal.search("hello", None, 10).await.unwrap().len(), 1);
    assert_eq!(journal.input(1, "k").await.unwrap().unwrap().content, None);
    assert_eq!(journal.undelivered_inputs(1).await.unwrap().len(), 1);
    let held = journal.holding(1).await.unwrap().unwrap();
    let notices = 2 * r#"{"event":"notify"}"#.len();
    let ends = 2 * r#"{"event":"stream.message_end","turn_id":"t0","message":{"id":"m0"}}"#.len();
    assert_eq!((held.bytes, held.unswept), ((notices + ends + "hello".len() + "again".len()) as u64, true));
    // The turns of messages that were written before are found in their events.
    let cut = journal.plan(1, Take::MessagesBefore(7)).await.unwrap().unwrap();
    assert_eq!(cut.messages.as_ref().map(|m| (m.messages, m.turns, m.first_idx)), Some((1, 1, 1)));
    sweep_all(&journal, 1).await;
    assert_eq!(journal.page(1, 0, None).await.unwrap().rows.len(), 1);
    assert_eq!(journal.page(2, 0, None).await.unwrap().rows.len(), 3);
}
