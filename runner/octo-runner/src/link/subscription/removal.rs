//! Watchers while the journal is being cut down under them: complete, or told.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::tests::{message, session};
use super::*;
use crate::journal::{Cut, Take};
use crate::session::ledger::Ledger;
use octo_actors::LogLimits;
use octo_protocol::Role;
use octo_protocol::event::{Event as Happened, Level};
use octo_protocol::message::StopReason;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    Turn,
    Delta(String),
    End,
    Notice,
    EndTurn,
    Flush,
    /// Give up every event of turns that ended.
    CutEvents,
    /// Give up the oldest turns, this share of what there is.
    CutMessages(u8),
    Sweep,
    /// Watches from this share of the journal on.
    Watch(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Turn),
        8 => "[a-z]{1,40}".prop_map(Step::Delta),
        4 => Just(Step::End),
        2 => Just(Step::Notice),
        3 => Just(Step::EndTurn),
        4 => Just(Step::Flush),
        2 => Just(Step::CutEvents),
        2 => any::<u8>().prop_map(Step::CutMessages),
        3 => Just(Step::Sweep),
        3 => any::<u8>().prop_map(Step::Watch),
    ]
}

/// What one watcher got: stretches that it was told begin there, each with what came.
type Stretches = Vec<(u64, Vec<(u64, String)>)>;

/// Watches as the control plane does: where the stream begins later than asked, or ends for it, it knows that something is missing, and goes on.
async fn watch(journal: Journal, log: Arc<SessionLog>, after: u64, mut last: tokio::sync::watch::Receiver<Option<u64>>) -> Stretches {
    let mut stretches: Stretches = vec![(after, Vec::new())];
    let mut cursor = after;
    loop {
        let (out, mut frames) = mpsc::channel(2);
        let subscription = Subscription {
            sub: 1,
            after: Some(cursor),
            until: None,
            credit: Arc::new(Credit::new(u32::MAX)),
            journal: journal.clone(),
            log: Arc::clone(&log),
            out,
            counted: None,
        };
        let task = tokio::spawn(subscription.run());
        loop {
            let enough = async { last.wait_for(|end| end.is_some_and(|end| cursor >= end)).await.map(|_| ()).unwrap_or(()) };
            let frame = tokio::select! {
                frame = frames.recv() => frame.expect("a subscription that lives"),
                () = enough => {
                    task.abort();
                    return stretches;
                }
            };
            match frame {
                Frame::Subscribed(begun) if begun.after > cursor => {
                    cursor = begun.after;
                    stretches.push((cursor, Vec::new()));
                }
                Frame::Event(event) if event.seq > 0 => {
                    assert!(event.seq > cursor, "{} after {cursor}", event.seq);
                    cursor = event.seq;
                    let (_, seen) = stretches.last_mut().unwrap();
                    seen.push((event.seq, String::from_utf8(event.payload).unwrap()));
                }
                Frame::Ended(ended) => {
                    assert_eq!(ended.reason, EndReason::EpochChanged, "told that something is missing");
                    break;
                }
                _ => {}
            }
        }
    }
}

#[derive(Default)]
struct Truth {
    events: BTreeMap<u64, String>,
    recorded: u64,
    messages: u64,
    turns: u64,
    words: Vec<String>,
}

async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = session(&journal, "s").await;
    let ring = LogLimits { max_frames: 3, max_bytes: 1000 };
    let log = Arc::new(SessionLog::with_ring("e1".parse().unwrap(), key.life, 0, ring));
    let mut ledger = Ledger::new(journal.clone(), key, Arc::clone(&log), 0, 0, None);
    let (end, ended) = tokio::sync::watch::channel(None);
    let mut watchers = Vec::new();
    let mut truth = Truth::default();
    let mut open: Option<(String, String)> = None;
    let steps: Vec<Step> = steps.into_iter().chain([Step::End, Step::EndTurn, Step::Turn, Step::Notice, Step::Flush]).collect();
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Turn if ledger.turn.is_none() => {
                ledger.turn = Some(format!("t{n}"));
                ledger.push(Happened::Notify { level: Level::Info, message: format!("turn {n}") }).unwrap();
                truth.turns += 1;
            }
            Step::Delta(text) if ledger.turn.is_some() => {
                let (id, so_far) = match &mut open {
                    Some(open) => open,
                    None => {
                        ledger.push(Happened::MessageStart { message_id: format!("m{n}"), role: Role::Assistant }).unwrap();
                        open.insert((format!("m{n}"), format!("word{n}x ")))
                    }
                };
                so_far.push_str(&text);
                ledger.push(Happened::TextDelta { message_id: id.clone(), delta: text, content_index: 0 }).unwrap();
            }
            Step::End => {
                if let Some((id, text)) = open.take() {
                    ledger.push(Happened::MessageEnd { message: message(&id, &text) }).unwrap();
                    truth.messages += 1;
                    truth.words.push(text.split(' ').next().unwrap().to_owned());
                }
            }
            Step::Notice => ledger.push(Happened::Notify { level: Level::Info, message: format!("{n}") }).unwrap(),
            Step::EndTurn if ledger.turn.is_some() && open.is_none() => {
                ledger.push(Happened::Done { reason: StopReason::Stop }).unwrap();
                ledger.push(Happened::AgentIdle { message_version: None }).unwrap();
                ledger.turn = None;
            }
            Step::Flush => {
                assert!(ledger.flush().await.unwrap());
                record(&journal, key.life, &mut truth, ledger.head()).await;
            }
            Step::CutEvents => give_up(&journal, &log, key.session, Take::Events).await,
            Step::CutMessages(share) => {
                let held = journal.holding(key.session).await.unwrap().unwrap().bytes;
                give_up(&journal, &log, key.session, Take::MessagesOf((held * u64::from(share) / 255).max(1))).await;
            }
            Step::Sweep => drop(journal.sweep(key.session).await.unwrap()),
            Step::Watch(share) => {
                let after = ledger.head() * u64::from(share) / 255;
                watchers.push(tokio::spawn(watch(journal.clone(), Arc::clone(&log), after, ended.clone())));
            }
            _ => {}
        }
    }
    end.send_replace(Some(ledger.head()));
    for watcher in watchers {
        let stretches = tokio::time::timeout(Duration::from_secs(30), watcher).await.expect("a watcher comes to the end").unwrap();
        complete_or_told(&stretches, &truth, ledger.head());
    }
    history_adds_up(&journal, key, &truth, &ledger).await;
    journal.close().await;
}

async fn give_up(journal: &Journal, log: &Arc<SessionLog>, session: i64, take: Take) {
    if let Some(cut) = journal.plan(session, take).await.unwrap() {
        let Cut { floor, .. } = cut;
        journal.cut(cut, Some(Arc::clone(log))).await.unwrap();
        assert!(log.floor() >= floor);
    }
}

async fn record(journal: &Journal, life: i64, truth: &mut Truth, head: u64) {
    while truth.recorded < head {
        let page = journal.page(life, truth.recorded, Some(head)).await.unwrap();
        for row in &page.rows {
            truth.events.insert(row.seq, String::from_utf8(row.packed.payload().to_vec()).unwrap());
        }
        truth.recorded = page.rows.last().map_or(head, |row| row.seq);
    }
}

/// Within a stretch nothing is missing but what finished messages stand for.
fn complete_or_told(stretches: &Stretches, truth: &Truth, head: u64) {
    let is_delta = |payload: &str| payload.contains("\"stream.text_delta\"") || payload.contains("\"stream.message_start\"");
    for (n, (after, seen)) in stretches.iter().enumerate() {
        let last_stretch = n + 1 == stretches.len();
        let until = if last_stretch { head } else { seen.last().map_or(*after, |(seq, _)| *seq) };
        let needed: Vec<_> = truth.events.range(after + 1..).filter(|(seq, payload)| **seq <= until && !is_delta(payload)).collect();
        let got: Vec<_> = seen.iter().filter(|(_, payload)| !is_delta(payload)).map(|(seq, payload)| (seq, payload)).collect();
        assert_eq!(got, needed, "a silent gap after {after} in {stretches:?}");
    }
}

async fn history_adds_up(journal: &Journal, key: crate::journal::SessionKey, truth: &Truth, ledger: &Ledger) {
    while journal.sweep(key.session).await.unwrap() {}
    let removed = journal.removed(Some(key.session)).await.unwrap();
    let (gone, gone_turns) = removed.as_ref().map_or((0, 0), |r| (r.messages, r.turns));
    let page = journal.messages(key.session, None, 10_000, usize::MAX).await.unwrap();
    assert_eq!(page.messages.len() as u64 + gone, truth.messages, "every message is there or is counted as removed");
    assert!(gone_turns <= truth.turns && (gone == 0) == (gone_turns == 0));
    assert_eq!(page.removed, removed);
    let first = page.messages.first().map(|m| serde_json::from_str::<octo_protocol::Message>(m.get()).unwrap().idx);
    assert!(first.is_none_or(|idx| idx == gone), "what is kept is the end of the conversation, from {first:?}");
    for (n, word) in truth.words.iter().enumerate() {
        let hits = journal.search(word, None, 5).await.unwrap().len();
        let kept = n as u64 >= gone;
        assert_eq!(hits > 0, kept, "search finds what is kept and nothing else: {word}");
    }
    // What the turn under way needs is all there.
    let began = truth.events.iter().rev().find(|(_, payload)| payload.contains("\"message\":\"turn ")).map(|(seq, _)| *seq).unwrap();
    let rows = journal.page(key.life, began - 1, None).await.unwrap().rows;
    assert_eq!(rows.len() as u64, ledger.head() + 1 - began);
    let held = journal.holding(key.session).await.unwrap().unwrap();
    assert!(!held.unswept);
    let real: u64 = {
        let texts: u64 = page
            .messages
            .iter()
            .map(|m| {
                let message: octo_protocol::Message = serde_json::from_str(m.get()).unwrap();
                let octo_protocol::Part::Known(octo_protocol::part::KnownPart::Text { text, .. }) = &message.parts[0] else {
                    panic!("a text")
                };
                text.len() as u64
            })
            .sum();
        let mut cursor = 0;
        let mut bytes = 0;
        loop {
            let page = journal.page(key.life, cursor, None).await.unwrap();
            let Some(last) = page.rows.last() else { break };
            cursor = last.seq;
            bytes += page.rows.iter().filter(|r| r.packed.kind() != EventKind::Delta).map(|r| r.packed.payload().len() as u64).sum::<u64>();
        }
        bytes + texts
    };
    assert_eq!(held.bytes, real, "what a session holds is counted to the byte");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn however_the_journal_is_cut_a_watcher_is_complete_or_told(steps in proptest::collection::vec(step(), 1..150)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
