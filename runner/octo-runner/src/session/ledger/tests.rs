#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::journal::{Disk, NewSession};
use octo_protocol::event::{Level, Phase};
use octo_protocol::message::StopReason;
use octo_protocol::{Message, Role, SessionConfig};

fn new_session() -> NewSession {
    NewSession {
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
    }
}

/// A kill may come between any two commits: what the journal says of the turn has to fit the events that it has, each time.
#[tokio::test]
async fn the_turn_of_the_journal_is_the_one_of_its_newest_event_after_every_commit() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = journal.create(new_session()).await.unwrap();
    let log = Arc::new(SessionLog::new("e1".parse().unwrap(), key.life, 0));
    let mut ledger = Ledger::new(journal.clone(), key, log, 0, 0, None);
    let kept = async || journal.session("s").await.unwrap().unwrap().turn;
    let note = || Event::Notify { level: Level::Info, message: "n".to_owned() };

    // An input is accepted: its event bears the turn that begins with it.
    ledger.turn = Some("t1".to_owned());
    ledger.write_now(vec![note()], Vec::new()).await.unwrap().unwrap();
    assert_eq!(kept().await.as_deref(), Some("t1"));

    // The turn ends, and the next one begins before anything was written.
    ledger.push(Event::Done { reason: StopReason::Stop }).unwrap();
    ledger.push(Event::AgentIdle { message_version: None }).unwrap();
    ledger.turn = None;
    ledger.turn = Some("t2".to_owned());
    ledger.write_now(vec![note()], Vec::new()).await.unwrap().unwrap();
    assert_eq!(kept().await.as_deref(), Some("t2"));

    ledger.push(Event::AgentWorking { phase: Phase::Generating, detail: None }).unwrap();
    ledger.push(Event::AgentIdle { message_version: None }).unwrap();
    ledger.turn = None;
    assert!(ledger.flush().await.unwrap());
    assert_eq!(kept().await, None);
}

/// Whatever sessions are told while the disk takes no writes, only inputs heap up, and those have a limit of their own.
#[test]
fn a_change_replaces_what_it_supersedes_and_inputs_are_all_kept() {
    let parked = |key: &str| Change::InputParked { key: key.to_owned() };
    let title = |title: &str| Change::Title { title: title.to_owned(), given: true };
    assert!(title("b").supersedes(&title("a")));
    assert!(Change::Thinking("low".into()).supersedes(&Change::Thinking("high".into())));
    assert!(!title("b").supersedes(&Change::Thinking("high".into())));
    assert!(!parked("a").supersedes(&parked("a")) && !parked("b").supersedes(&parked("a")));
}

/// Who attaches while the disk is full gets the end later, and needs the beginning for it.
#[tokio::test]
async fn what_ends_in_a_batch_that_the_disk_does_not_take_is_still_open_to_who_attaches() {
    let message: Message =
        serde_json::from_value(serde_json::json!({ "id": "m", "idx": 0, "role": "assistant", "created_at": 1, "parts": [] })).unwrap();
    let note = || Event::Notify { level: Level::Info, message: "n".to_owned() };
    let tool = |name: &str| Event::ToolStart { tool_call_id: name.to_owned(), name: "bash".to_owned(), input: None };
    let tool_end = |name: &str| Event::ToolEnd {
        tool_call_id: name.to_owned(),
        name: "bash".to_owned(),
        output: serde_json::json!({}),
        is_error: false,
        duration_ms: 0,
    };
    let cases = [
        (Event::MessageStart { message_id: "m".into(), role: Role::Assistant }, Event::MessageEnd { message }),
        (tool("t"), tool_end("t")),
    ];
    for (start, end) in cases {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let journal = Journal::embedded(directory.path(), "boot", disk.clone()).unwrap();
        let key = journal.create(new_session()).await.unwrap();
        let log = Arc::new(SessionLog::new("e1".parse().unwrap(), key.life, 0));
        let mut ledger = Ledger::new(journal, key, log, 0, 0, None);
        for event in [note(), start, note()] {
            ledger.push(event).unwrap();
            assert!(ledger.flush().await.unwrap());
        }
        assert_eq!((ledger.head(), ledger.as_of()), (3, 1), "it is open");
        disk.set_full(true);
        ledger.push(end).unwrap();
        assert!(!ledger.flush().await.unwrap());
        assert_eq!((ledger.head(), ledger.as_of()), (3, 1), "its end is not in the journal");
        disk.set_full(false);
        assert!(ledger.flush().await.unwrap());
        assert_eq!((ledger.head(), ledger.as_of()), (4, 4));
    }
}
