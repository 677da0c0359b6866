//! A small history that has everything: finished messages, one under way, tools, questions, inputs in every state, two sessions.

use octo_protocol::event::{Event, InputKind};
use octo_protocol::message::Usage;
use octo_protocol::{InputRequest, Message, Part, Role, SessionConfig};
use octo_runner::journal::{Batch, Change, Entry, NewSession, Prune, SessionKey, SessionLog};
use std::sync::Arc;

/// Finished messages of the first session.
pub const MESSAGES: u64 = 5;
/// Its numbers that are left after pruning, in order.
pub const SEQS: [u64; 13] = [1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// Its newest number.
pub const HEAD: u64 = 15;

/// The first session, or a child of it.
#[must_use]
pub fn session(id: &str, parent: Option<&str>) -> NewSession {
    NewSession {
        id: id.into(),
        epoch: "e1".parse().expect("an epoch"),
        harness: "pi".into(),
        cwd: "/srv/demo".into(),
        provider: "demo".into(),
        model: "scripted".into(),
        config: SessionConfig { harness: Some("pi".into()), ..SessionConfig::default() },
        provision: "{}".into(),
        readable_id: format!("cold-lamp-{id}"),
        parent: parent.map(str::to_owned),
        created_at: 1,
    }
}

fn message(idx: u64, role: Role, text: &str) -> Message {
    Message {
        id: format!("m{idx}"),
        idx,
        role,
        client_id: None,
        sender: None,
        parts: vec![Part::text("p", text)],
        created_at: 1_795_365_176_228,
        model: None,
        provider: None,
        stop_reason: None,
        usage: (role == Role::Assistant).then(|| Usage { input_tokens: 3, output_tokens: 5, ..Usage::default() }),
        tool_call_id: None,
        tool_name: None,
        is_error: None,
        metadata: None,
    }
}

fn delta(message_id: &str, delta: &str) -> Event {
    Event::TextDelta { message_id: message_id.into(), delta: delta.into(), content_index: 0 }
}

fn entry(event: Event) -> Entry {
    Entry::new(event, Some("turn-1".into())).expect("an event is JSON")
}

/// Everything that happened in the first session.
#[must_use]
pub fn batch(key: SessionKey) -> Batch {
    let ask = |id: &str| {
        entry(Event::AgentInputNeeded {
            request: InputRequest::Confirm { request_id: id.into(), title: "Really?".into(), message: "It is late.".into(), timeout: None },
        })
    };
    let tool = |id: &str| entry(Event::ToolStart { tool_call_id: id.into(), name: "bash".into(), input: None });
    let said = |idx, role, text| entry(Event::MessageEnd { message: message(idx, role, text) });
    let mut entries = vec![
        said(0, Role::User, "the quick brown fox \"quoted\""),
        entry(delta("m1", "jumps")),
        entry(delta("m1", " over")),
        said(1, Role::Assistant, "jumps over the lazy döG"),
        tool("call-1"),
        entry(Event::ToolEnd {
            tool_call_id: "call-1".into(),
            name: "bash".into(),
            output: serde_json::Value::Null,
            is_error: false,
            duration_ms: 3,
        }),
        said(2, Role::Tool, "exit 0"),
        ask("q1"),
        entry(Event::AgentInputResolved { request_id: "q1".into(), by: None }),
        said(3, Role::Assistant, "一二三 \u{1f600} e\u{301}"),
        said(4, Role::User, "and now?"),
        entry(delta("m5", "well")),
        entry(delta("m5", "…")),
        tool("call-2"),
        ask("q2"),
    ];
    entries[3].prune = Some(Prune { item: "m1".into(), from: 1 });
    let accepted = |key: &str, kind| Change::InputAccepted { key: key.into(), kind, hash: "h".into(), content: "{}".into() };
    let changes = vec![
        accepted("c1", InputKind::Prompt),
        Change::InputHanded { key: "c1".into() },
        Change::InputDelivered { key: "c1".into() },
        accepted("c2", InputKind::Steer),
        Change::InputHanded { key: "c2".into() },
        accepted("c3", InputKind::FollowUp),
        Change::InputParked { key: "c3".into() },
        Change::Turn(Some("turn-1".into())),
        Change::Title { title: "Foxes".into(), given: true },
        Change::Resume("/home/alice/.pi/s.jsonl".into()),
    ];
    let log = Arc::new(SessionLog::new("e1".parse().expect("an epoch"), key.life, 0));
    Batch { key, first_seq: 1, entries, changes, log }
}
