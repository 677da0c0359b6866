#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::journal::NewSession;
use octo_protocol::SessionConfig;
use octo_protocol::event::{Level, Phase};
use octo_protocol::message::StopReason;

/// A kill may come between any two commits: what the journal says of the turn has to fit the events that it has, each time.
#[tokio::test]
async fn the_turn_of_the_journal_is_the_one_of_its_newest_event_after_every_commit() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
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
