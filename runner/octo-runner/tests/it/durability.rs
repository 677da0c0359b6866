//! What must survive the power is on the disk before anybody is told of it. The calls by which SQLite brings data to the disk are taken over in
//! this process, so that they can be counted, held up and made to fail.

use crate::support::PATIENCE;
use nix::libc::{self, c_int, c_long};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::{Message, SessionConfig};
use octo_runner::journal::{Batch, Change, Entry, Journal, NewSession, SessionKey, SessionLog};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Calls for a write-ahead log.
static SYNCS: AtomicUsize = AtomicUsize::new(0);
/// They wait.
static HELD: AtomicBool = AtomicBool::new(false);
/// They fail as a dying disk does.
static FAILING: AtomicBool = AtomicBool::new(false);

fn sync(fd: c_int, call: c_long) -> c_int {
    let is_log = std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| path.to_string_lossy().ends_with("journal.db-wal"));
    if is_log {
        SYNCS.fetch_add(1, SeqCst);
        while HELD.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if FAILING.load(SeqCst) {
            // SAFETY: the address of this thread's errno is valid for as long as the thread is.
            unsafe { *libc::__errno_location() = libc::EIO };
            return -1;
        }
    }
    // SAFETY: the call takes a descriptor and nothing else; a wrong one is an error and not a fault.
    let result = unsafe { libc::syscall(call, fd) };
    c_int::try_from(result).unwrap_or(-1)
}

/// In place of libc's.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

/// In place of libc's.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

/// Each test has a process of its own under nextest; under `cargo test` they take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn session(directory: &Path) -> (Journal, SessionKey, Arc<SessionLog>) {
    let journal = Journal::open(directory, "boot").unwrap();
    let session = NewSession {
        id: "s".into(),
        epoch: "e1".parse().unwrap(),
        harness: "pi".into(),
        cwd: "/".into(),
        provider: "demo".into(),
        model: "scripted".into(),
        config: SessionConfig::default(),
        provision: "{}".into(),
        readable_id: "r".into(),
        parent: None,
        created_at: 1,
    };
    let key = journal.create(session).await.unwrap();
    let log = Arc::new(SessionLog::new("e1".parse().unwrap(), key.life, 0));
    (journal, key, log)
}

fn batch(key: SessionKey, first_seq: u64, event: Event, log: &Arc<SessionLog>) -> Batch {
    Batch { key, first_seq, entries: vec![Entry::new(event, None).unwrap()], changes: Vec::new(), log: Arc::clone(log) }
}

fn said(idx: u64) -> Event {
    let message: Message = serde_json::from_value(json!({
        "id": format!("m{idx}"), "idx": idx, "role": "assistant", "created_at": 1, "parts": [{"type": "text", "id": "p", "text": format!("finished {idx}")}],
    }))
    .unwrap();
    Event::MessageEnd { message }
}

fn delta(text: &str) -> Event {
    Event::TextDelta { message_id: "m".into(), delta: text.into(), content_index: 0 }
}

async fn until(what: &str, ready: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !ready() {
        assert!(began.elapsed() < PATIENCE, "{what} in vain");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_finished_message_and_an_accepted_input_are_on_the_disk_before_anybody_is_told_of_them() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let (journal, key, log) = session(directory.path()).await;
    let mut accepted = batch(key, 2, delta("with an input"), &log);
    accepted.changes.push(Change::InputAccepted { key: "c".into(), kind: InputKind::Prompt, hash: "h".into(), content: "{}".into() });
    for (seq, heavy) in [(1, batch(key, 1, said(0), &log)), (2, accepted)] {
        let payload = heavy.entries[0].packed.payload().to_vec();
        let before = SYNCS.load(SeqCst);
        HELD.store(true, SeqCst);
        let mut outcome = journal.submit(heavy).await.unwrap();
        until("waited for the log to be synced", || SYNCS.load(SeqCst) > before).await;
        // It is written, the disk is asked to keep it, and nobody knows of it.
        let wal = std::fs::read(directory.path().join("journal.db-wal")).unwrap();
        assert!(wal.windows(payload.len()).any(|w| w == payload), "the sync comes after the write");
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(log.head(), seq - 1, "announced before the disk had it");
        assert!(outcome.try_recv().is_err(), "acknowledged before the disk had it");
        HELD.store(false, SeqCst);
        outcome.await.unwrap().unwrap();
        assert_eq!(log.head(), seq);
    }
    journal.close().await;
}

#[tokio::test]
async fn deltas_do_not_wait_for_the_disk_and_the_next_message_brings_them_there() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let (journal, key, log) = session(directory.path()).await;
    let before = SYNCS.load(SeqCst);
    for n in 1..=20 {
        journal.commit(batch(key, n, delta("light"), &log)).await.unwrap();
    }
    assert_eq!(SYNCS.load(SeqCst), before, "a sync for each delta would be the end of streaming");
    journal.commit(batch(key, 21, said(0), &log)).await.unwrap();
    assert_eq!(SYNCS.load(SeqCst), before + 1);
    journal.close().await;
}

#[tokio::test]
async fn what_the_disk_did_not_keep_is_refused_shown_to_nobody_and_may_be_tried_again() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let (journal, key, log) = session(directory.path()).await;
    journal.commit(batch(key, 1, delta("before the disk failed"), &log)).await.unwrap();
    FAILING.store(true, SeqCst);
    let refused = journal.commit(batch(key, 2, said(1), &log)).await.unwrap_err();
    assert!(refused.is_temporary(), "{refused}");
    assert_eq!(log.head(), 1);
    assert_eq!(journal.page(key.life, 0, None).await.unwrap().rows.len(), 1);
    let in_the_file = || {
        let file = std::fs::read(directory.path().join("journal.db")).unwrap();
        file.windows(22).any(|w| w == b"before the disk failed")
    };
    assert!(!in_the_file(), "it is in the log, which the disk may have let go of");
    FAILING.store(false, SeqCst);
    journal.commit(batch(key, 2, said(1), &log)).await.unwrap();
    assert_eq!(log.head(), 2);
    assert_eq!(journal.page(key.life, 0, None).await.unwrap().rows.len(), 2);
    assert!(in_the_file(), "what was written before the failure was written once more, elsewhere");
    journal.close().await;
    drop(journal);
    let again = Journal::open(directory.path(), "boot").unwrap();
    assert_eq!(again.session("s").await.unwrap().unwrap().head, 2);
    again.close().await;
}
