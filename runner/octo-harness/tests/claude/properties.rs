//! Whatever Claude Code writes, in whatever order, however it is cut: no panic, and the promises hold.

use crate::invariants::check;
use crate::replay::load;
use octo_harness::claude::Claude;
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::InputKind;
use octo_protocol::{Command, InputAnswer};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::OnceLock;

/// Lines of a real Claude Code, small enough to be combined.
fn lines() -> &'static Vec<String> {
    static LINES: OnceLock<Vec<String>> = OnceLock::new();
    LINES.get_or_init(|| {
        let names = ["claude-queue-steer", "claude-cut", "claude-compaction", "claude-questions", "claude-subagent", "claude-error-final"];
        let all = names.iter().flat_map(|name| load(name));
        all.filter(|record| record.dir == "out" && record.line.len() < 4_000).map(|record| record.line).collect()
    })
}

#[derive(Debug, Clone)]
enum Step {
    /// It writes a recorded line.
    Line(usize),
    /// It writes something else.
    Bytes(Vec<u8>),
    /// It answers a request that it has got: which, and how.
    Answer {
        which: usize,
        success: bool,
    },
    /// It says what becomes of a user message that it has got.
    Lifecycle {
        which: usize,
        state: usize,
    },
    Input(InputKind, String),
    Command(usize),
    Probe,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just("stream_event"),
        Just("assistant"),
        Just("user"),
        Just("result"),
        Just("system"),
        Just("control_request"),
        Just("control_response"),
        Just("control_cancel_request"),
        Just("command_lifecycle"),
    ];
    let fields = prop_oneof![
        Just(json!({})),
        Just(json!({"event": {"type": "message_start", "message": {"id": "a"}}, "subtype": "init", "session_id": "x", "model": "m"})),
        Just(json!({"event": {"type": "message_stop"}, "abandoned_blocks": {}, "subtype": "api_retry", "attempt": 1})),
        Just(
            json!({"event": {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "t"}}, "subtype": "status",
            "status": "compacting"})
        ),
        Just(json!({"message": {"id": "a", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}, "request_id": "q",
            "request": {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "x"}, "tool_use_id": "t"}})),
        Just(json!({"message": {"id": "b", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]}, "is_error": true})),
        Just(json!({"message": {"id": "c", "content": "x"}, "aborted": true, "is_api_error_message": true, "isSynthetic": true,
            "subtype": "compact_boundary", "compact_metadata": {"trigger": "auto", "pre_tokens": 1e300}})),
        Just(json!({"message": 7, "event": [], "request": null, "response": "x", "subtype": 3, "errors": {}})),
        Just(json!({"request_id": "q", "request": {"subtype": "can_use_tool", "tool_name": "AskUserQuestion",
            "input": {"questions": [{"question": "1?"}, {"question": "2?"}]}}, "is_error": false, "queued_turn_count": 1})),
    ];
    prop_oneof![
        4 => (kinds, fields).prop_map(|(kind, mut fields)| {
            fields["type"] = json!(kind);
            format!("{fields}\n").into_bytes()
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..60),
        1 => "[\\[\\]{}\":,a-z0-9\\\\ \n\r\u{2028}]{0,60}".prop_map(String::into_bytes),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(InputKind::Prompt), Just(InputKind::Steer), Just(InputKind::FollowUp)];
    prop_oneof![
        6 => (0..lines().len()).prop_map(Step::Line),
        4 => bytes().prop_map(Step::Bytes),
        4 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(which, success)| Step::Answer { which, success }),
        4 => (any::<usize>(), 0..5_usize).prop_map(|(which, state)| Step::Lifecycle { which, state }),
        3 => (kind, "[a-z/]{1,8}").prop_map(|(kind, text)| Step::Input(kind, text)),
        2 => (0..11_usize).prop_map(Step::Command),
        1 => Just(Step::Probe),
    ]
}

fn command(which: usize) -> Command {
    let answer = InputAnswer { confirmed: Some(true), value: Some("v".into()), ..InputAnswer::default() };
    match which {
        0 | 1 => Command::Abort,
        2 => Command::Compact { instructions: None },
        3 => Command::SetModel { provider: String::new(), model_id: "m".into() },
        4 => Command::SetThinkingLevel { level: octo_protocol::ThinkingLevel::High },
        5 => Command::Fork { entry_id: "e".into() },
        6 => Command::InputResponse { request_id: "q".into(), answer },
        7 => Command::InputResponse { request_id: "q.1".into(), answer },
        8 => Command::SetSessionName { name: "n".into() },
        9 => Command::ListSessions,
        _ => Command::GetCommands,
    }
}

struct Life {
    outputs: Vec<Output>,
    inputs: Vec<u64>,
    commands: Vec<u64>,
}

/// Plays the steps; what Claude Code writes arrives in pieces of `cut` bytes; `between` is called after every piece and every step.
fn play_with(steps: &[Step], cut: usize, between: impl Fn(&mut Claude)) -> Life {
    let mut claude = Claude::new(StartOptions::default());
    let mut life = Life { outputs: Vec::new(), inputs: Vec::new(), commands: Vec::new() };
    let (mut requests, mut messages): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    let mut token = 0;
    let mut out = Outbox::new();
    claude.start(0, &mut out);
    for step in steps {
        let feed = |text: &[u8], claude: &mut Claude, out: &mut Outbox| {
            for piece in text.chunks(cut) {
                claude.stdout(piece, 0, out);
                between(claude);
            }
        };
        match step {
            Step::Line(at) => feed(format!("{}\n", lines()[*at]).as_bytes(), &mut claude, &mut out),
            Step::Bytes(bytes) => feed(bytes, &mut claude, &mut out),
            Step::Answer { which, success } if !requests.is_empty() => {
                let id: Value = requests.remove(which % requests.len());
                let subtype = if *success { "success" } else { "error" };
                let answer = json!({"type": "control_response", "response": {"subtype": subtype, "request_id": id, "response": {}}});
                feed(format!("\n{answer}\n").as_bytes(), &mut claude, &mut out);
            }
            Step::Lifecycle { which, state } if !messages.is_empty() => {
                let state = ["queued", "started", "completed", "cancelled", "lost"][*state];
                let line = json!({"type": "command_lifecycle", "command_uuid": messages[which % messages.len()], "state": state});
                feed(format!("\n{line}\n").as_bytes(), &mut claude, &mut out);
            }
            Step::Answer { .. } | Step::Lifecycle { .. } => {}
            Step::Input(kind, message) => {
                token += 1;
                life.inputs.push(token);
                claude.input(Input { token, kind: *kind, message: message.clone(), images: Vec::new() }, 0, &mut out);
            }
            Step::Command(which) => {
                token += 1;
                life.commands.push(token);
                claude.command(token, &command(*which), 0, &mut out);
            }
            Step::Probe => {
                token += 1;
                life.commands.push(token);
                claude.probe(token, 0, &mut out);
            }
        }
        between(&mut claude);
        for output in out.drain() {
            if let Output::Write(bytes) = &output {
                let line: Value = serde_json::from_slice(bytes).unwrap();
                match line["type"].as_str().unwrap() {
                    "control_request" => requests.push(line["request_id"].clone()),
                    "user" => {
                        // What ends a real one: a user message without a role or content.
                        assert!(line["message"]["role"] == "user" && !line["message"]["content"].is_null());
                        messages.push(line["uuid"].clone());
                    }
                    _ => {}
                }
            }
            life.outputs.push(output);
        }
    }
    claude.exited(&ExitReport { code: Some(1), ..ExitReport::default() }, 0, &mut out);
    assert!(!claude.is_working());
    life.outputs.extend(out.drain());
    life
}

fn play(steps: &[Step], cut: usize) -> Life {
    play_with(steps, cut, |_| ())
}

/// Another translator goes on, with what crosses an upgrade of the runner: text.
fn another(claude: &mut Claude) {
    let saved = claude.save().unwrap().to_string();
    *claude = Claude::new(StartOptions { provider: "another".into(), ..StartOptions::default() });
    claude.restore(serde_json::from_str(&saved).unwrap()).unwrap();
    assert_eq!(claude.save().unwrap().to_string(), saved);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_it_writes_the_promises_hold(steps in proptest::collection::vec(step(), 0..60)) {
        let life = play(&steps, usize::MAX);
        check("random life", &life.outputs, &life.inputs, &life.commands);
    }

    #[test]
    fn whatever_it_writes_the_cuts_do_not_matter(steps in proptest::collection::vec(step(), 0..40), cut in 1_usize..200) {
        prop_assert_eq!(play(&steps, usize::MAX).outputs, play(&steps, cut).outputs);
    }

    #[test]
    fn whatever_it_writes_another_translator_goes_on_after_any_byte(steps in proptest::collection::vec(step(), 0..20), cut in 50_usize..400) {
        prop_assert_eq!(play(&steps, usize::MAX).outputs, play_with(&steps, cut, another).outputs);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), cut in 1_usize..64) {
        let mut claude = Claude::new(StartOptions::default());
        let mut out = Outbox::new();
        for piece in bytes.chunks(cut) {
            claude.stdout(piece, 0, &mut out);
        }
        claude.exited(&ExitReport::default(), 0, &mut out);
    }
}

#[test]
fn what_was_saved_of_something_else_changes_nothing() {
    let mut claude = Claude::new(StartOptions::default());
    claude.start(5, &mut Outbox::new());
    let before = claude.save().unwrap();
    for other in [Value::Null, json!({}), json!({"lines": {"buffer": "%"}}), json!([1])] {
        assert!(claude.restore(other).is_err());
        assert_eq!(claude.save().unwrap(), before);
    }
}
