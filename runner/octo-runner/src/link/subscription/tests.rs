#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::journal::{NewSession, SessionKey};
use crate::session::ledger::Ledger;
use octo_actors::LogLimits;
use octo_protocol::event::{Event as Happened, InputKind, Level};
use octo_protocol::{Message, Part, Role, SessionConfig};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What the agent does next, or who begins to watch.
#[derive(Debug, Clone)]
enum Step {
    Start,
    Delta(String),
    End,
    Discard,
    Notice,
    Input,
    Ephemeral,
    Flush,
    /// Watches from this share of the journal on.
    Watch(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Start),
        8 => "[a-z]{0,40}".prop_map(Step::Delta),
        2 => Just(Step::End),
        1 => Just(Step::Discard),
        1 => Just(Step::Notice),
        1 => Just(Step::Input),
        1 => Just(Step::Ephemeral),
        3 => Just(Step::Flush),
        1 => any::<u8>().prop_map(Step::Watch),
    ]
}

pub(super) fn message(id: &str, text: &str) -> Message {
    serde_json::from_value(serde_json::json!({
        "id": id, "idx": 0, "role": "assistant", "created_at": 1, "parts": [{ "type": "text", "id": "p", "text": text }]
    }))
    .unwrap()
}

pub(crate) async fn session(journal: &Journal, id: &str) -> SessionKey {
    let session = NewSession {
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
    };
    journal.create(session).await.unwrap()
}

/// A message under way: its id and its text so far.
type Open = Option<(String, String)>;

fn act(step: &Step, n: usize, open: &mut Open, ledger: &mut Ledger) {
    let event = match (step, open.as_mut()) {
        (Step::Start, None) => {
            *open = Some((format!("m{n}"), String::new()));
            Happened::MessageStart { message_id: format!("m{n}"), role: Role::Assistant }
        }
        (Step::Delta(text), Some((id, so_far))) => {
            so_far.push_str(text);
            Happened::TextDelta { message_id: id.clone(), delta: text.clone(), content_index: 0 }
        }
        (Step::End, Some((id, text))) => {
            let event = Happened::MessageEnd { message: message(id, text) };
            *open = None;
            event
        }
        (Step::Discard, Some((id, _))) => {
            let event = Happened::MessageDiscarded { message_id: id.clone(), reason: "because".into() };
            *open = None;
            event
        }
        (Step::Notice, _) => Happened::Notify { level: Level::Info, message: format!("{n}") },
        (Step::Input, _) => Happened::InputAccepted { kind: InputKind::Prompt, client_id: None, message: format!("{n}"), images: None },
        (Step::Ephemeral, _) => Happened::Persisted { message_count: n as u64 },
        _ => return,
    };
    ledger.push(event).unwrap();
}

/// What a watcher rebuilds out of what it gets: finished texts, and those under way.
fn project(events: impl IntoIterator<Item = serde_json::Value>) -> (Vec<(String, String)>, BTreeMap<String, String>) {
    let (mut finished, mut open) = (Vec::new(), BTreeMap::<String, String>::new());
    for event in events {
        let id = event["message_id"].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str().unwrap() {
            "stream.message_start" => drop(open.insert(id, String::new())),
            "stream.text_delta" => open.get_mut(&id).expect("a delta of an open message").push_str(event["delta"].as_str().unwrap()),
            "stream.message_discarded" => drop(open.remove(&id)),
            "stream.message_end" => {
                let message: Message = serde_json::from_value(event["message"].clone()).unwrap();
                open.remove(&message.id);
                let Part::Known(octo_protocol::part::KnownPart::Text { text, .. }) = &message.parts[0] else { panic!("a text") };
                finished.push((message.id.clone(), text.clone()));
            }
            _ => {}
        }
    }
    (finished, open)
}

struct Watcher {
    after: u64,
    frames: mpsc::Receiver<Frame>,
}

async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "boot").unwrap();
    let key = session(&journal, "s").await;
    // A ring so small that watchers fall off it all the time.
    let ring = LogLimits { max_frames: 4, max_bytes: 2000 };
    let log = Arc::new(SessionLog::with_ring("e1".parse().unwrap(), key.life, 0, ring));
    let mut ledger = Ledger::new(journal.clone(), key, Arc::clone(&log), 0, 0, None);
    let mut watchers = Vec::new();
    let watch = |after: u64, sub: u32| {
        let (out, frames) = mpsc::channel(3);
        let credit = Arc::new(Credit::new(u32::MAX));
        let subscription = Subscription {
            sub,
            after: Some(after),
            until: None,
            credit,
            journal: journal.clone(),
            log: Arc::clone(&log),
            out,
            counted: None,
        };
        tokio::spawn(subscription.run());
        Watcher { after, frames }
    };
    watchers.push(watch(0, 0));
    let mut open = None;
    let mut everything: BTreeMap<u64, serde_json::Value> = BTreeMap::new();
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Flush => assert!(ledger.flush().await.unwrap()),
            Step::Watch(share) => {
                let after = ledger.head() * u64::from(*share) / 255;
                watchers.push(watch(after, u32::try_from(n).unwrap() + 1));
            }
            other => act(other, n, &mut open, &mut ledger),
        }
    }
    // The last event is one that everybody waits for.
    act(&Step::Notice, steps.len(), &mut open, &mut ledger);
    assert!(ledger.flush().await.unwrap());
    let head = ledger.head();

    let mut kept = BTreeSet::new();
    let mut cursor = 0;
    loop {
        let page = journal.page(key.life, cursor, None).await.unwrap();
        let Some(last) = page.rows.last() else { break };
        cursor = last.seq;
        for row in page.rows {
            kept.insert(row.seq);
            everything.insert(row.seq, serde_json::from_slice(row.packed.payload()).unwrap());
        }
    }
    assert_eq!(cursor, head);
    let truth = project(everything.values().cloned());
    for delta in everything.values().filter(|e| e["event"] == "stream.text_delta") {
        assert!(truth.1.contains_key(delta["message_id"].as_str().unwrap()), "the deltas of a finished message are pruned");
    }

    for mut watcher in watchers {
        let mut seen: BTreeMap<u64, serde_json::Value> = BTreeMap::new();
        let mut last = watcher.after;
        while last < head {
            let frame = tokio::time::timeout(std::time::Duration::from_secs(20), watcher.frames.recv())
                .await
                .expect("an event")
                .expect("a live subscription");
            let Frame::Event(event) = frame else { continue };
            if event.seq == 0 {
                continue;
            }
            assert!(event.seq > last, "{} after {last}", event.seq);
            last = event.seq;
            seen.insert(event.seq, serde_json::from_slice(&event.payload).unwrap());
        }
        for seq in kept.range(watcher.after + 1..) {
            assert_eq!(seen.get(seq), everything.get(seq), "event {seq} of a watcher after {}", watcher.after);
        }
        if watcher.after == 0 {
            assert_eq!(project(seen.into_values()), truth);
        }
    }
    journal.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn from_any_cursor_a_watcher_sees_what_the_journal_keeps_once_and_in_order(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
