//! Whatever pi writes, in whatever order, however it is cut: no panic, and the promises hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::invariants::check;
use octo_harness::pi::Pi;
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::{Command, InputAnswer};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::OnceLock;

/// Lines of real pis, small enough to be combined.
fn lines() -> &'static Vec<String> {
    static LINES: OnceLock<Vec<String>> = OnceLock::new();
    LINES.get_or_init(|| {
        let names =
            ["pi-0.73-steer", "pi-0.73-compaction", "pi-0.73-tools", "pi-1.5-permission", "pi-1.5-error-midstream", "pi-1.5-thinking"];
        let all = names.iter().flat_map(|name| common::load(name));
        all.filter(|record| record.dir == "out" && record.line.len() < 4_000).map(|record| record.line).collect()
    })
}

#[derive(Debug, Clone)]
enum Step {
    /// pi writes a recorded line.
    Line(usize),
    /// pi writes something else.
    Bytes(Vec<u8>),
    /// pi answers a command that it has got: which, and how.
    Answer {
        which: usize,
        success: bool,
        data: u8,
    },
    Input(InputKind, String),
    Command(usize),
    Probe,
    Wait(i64),
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let events = prop_oneof![
        Just("agent_start"),
        Just("agent_end"),
        Just("agent_settled"),
        Just("message_start"),
        Just("message_update"),
        Just("message_end"),
        Just("tool_execution_start"),
        Just("tool_execution_end"),
        Just("queue_update"),
        Just("compaction_start"),
        Just("compaction_end"),
        Just("auto_retry_start"),
        Just("auto_retry_end"),
        Just("extension_ui_request"),
        Just("response"),
    ];
    let fields = prop_oneof![
        Just(json!({})),
        Just(json!({"message": {"role": "assistant", "stopReason": "error"}, "toolCallId": "t", "toolName": "n"})),
        Just(json!({"message": {"role": "user", "content": "p"}, "willRetry": true, "steering": ["p"], "followUp": []})),
        Just(json!({"message": 7, "toolCallId": null, "steering": "x", "assistantMessageEvent": []})),
        Just(json!({"assistantMessageEvent": {"type": "toolcall_end", "contentIndex": 3, "toolCall": {"id": "c", "name": "n"}}})),
        Just(json!({"id": "q", "method": "select", "title": "octo:permission:{}", "options": ["a"], "timeout": 5})),
        Just(json!({"id": "octo-1", "success": true, "willRetry": false, "attempt": 1, "delayMs": 1e300, "reason": "overflow"})),
    ];
    prop_oneof![
        3 => (events, fields).prop_map(|(kind, mut fields)| {
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
        3 => bytes().prop_map(Step::Bytes),
        4 => (any::<usize>(), prop::bool::weighted(0.8), any::<u8>()).prop_map(|(which, success, data)| Step::Answer { which, success, data }),
        2 => (kind, prop_oneof![Just("p".to_owned()), Just("/ask".to_owned()), "[a-z]{1,8}"]).prop_map(|(kind, text)| Step::Input(kind, text)),
        2 => (0..12_usize).prop_map(Step::Command),
        1 => Just(Step::Probe),
        1 => (0..40_000_i64).prop_map(Step::Wait),
    ]
}

fn command(which: usize) -> Command {
    match which {
        0 => Command::Abort,
        1 => Command::Compact { instructions: None },
        2 => Command::GetModels { workdir: None },
        3 => Command::SetThinkingLevel { level: octo_protocol::ThinkingLevel::High },
        4 => Command::CycleModel,
        5 => Command::Fork { entry_id: "e".into() },
        6 => Command::InputResponse { request_id: "q".into(), answer: InputAnswer { confirmed: Some(true), ..InputAnswer::default() } },
        7 => Command::GetStats,
        8 => Command::AbortRetry,
        9 => Command::SetAutoCompaction { enabled: true },
        10 => Command::ListSessions,
        _ => Command::GetCommands,
    }
}

fn data(which: u8) -> Value {
    match which % 6 {
        0 => json!({"isStreaming": false, "messageCount": 2, "sessionFile": "/f", "sessionId": "s"}),
        1 => json!({"isStreaming": true, "pendingMessageCount": 1}),
        2 => json!({"disposition": "handled"}),
        3 => json!({"disposition": "queued", "steering": ["p"], "followUp": ["p", "p"], "cancelled": true}),
        4 => Value::Null,
        _ => json!([1, "two"]),
    }
}

struct Life {
    outputs: Vec<Output>,
    inputs: Vec<u64>,
    commands: Vec<u64>,
}

/// Plays the steps; what pi writes arrives in pieces of `cut` bytes.
fn play(steps: &[Step], cut: usize) -> Life {
    play_with(steps, cut, |_| ())
}

/// Another translator goes on, with what crosses an upgrade of the runner: text.
fn another(pi: &mut Pi) {
    let saved = pi.save().unwrap().to_string();
    *pi = Pi::new(StartOptions { provider: "another".into(), ..StartOptions::default() });
    pi.restore(serde_json::from_str(&saved).unwrap()).unwrap();
    assert_eq!(pi.save().unwrap().to_string(), saved);
}

/// The same; `between` is called after every piece and every step.
fn play_with(steps: &[Step], cut: usize, between: impl Fn(&mut Pi)) -> Life {
    let mut pi = Pi::new(StartOptions::default());
    let mut life = Life { outputs: Vec::new(), inputs: Vec::new(), commands: Vec::new() };
    let mut unanswered: Vec<Value> = Vec::new();
    let (mut now, mut token) = (0, 0);
    let mut out = Outbox::new();
    pi.start(now, &mut out);
    for step in steps {
        match step {
            Step::Line(at) => feed(&mut pi, format!("{}\n", lines()[*at]).as_bytes(), cut, now, &mut out, &between),
            Step::Bytes(bytes) => feed(&mut pi, bytes, cut, now, &mut out, &between),
            Step::Answer { which, success, data: of } => {
                if !unanswered.is_empty() {
                    let line: Value = unanswered.remove(which % unanswered.len());
                    let answer =
                        json!({"id": line["id"], "type": "response", "command": line["type"], "success": success, "data": data(*of)});
                    feed(&mut pi, format!("\n{answer}\n").as_bytes(), cut, now, &mut out, &between);
                }
            }
            Step::Input(kind, message) => {
                token += 1;
                life.inputs.push(token);
                pi.input(Input { token, kind: *kind, message: message.clone(), images: Vec::new() }, now, &mut out);
            }
            Step::Command(which) => {
                token += 1;
                life.commands.push(token);
                pi.command(token, &command(*which), now, &mut out);
            }
            Step::Probe => {
                token += 1;
                life.commands.push(token);
                pi.probe(token, now, &mut out);
            }
            Step::Wait(ms) => now += ms,
        }
        between(&mut pi);
        for output in out.drain() {
            if let Output::Write(bytes) = &output {
                let line: Value = serde_json::from_slice(bytes).unwrap();
                if line["type"] != "extension_ui_response" {
                    unanswered.push(line);
                }
            }
            life.outputs.push(output);
        }
    }
    pi.exited(&ExitReport { code: Some(1), ..ExitReport::default() }, now, &mut out);
    assert!(!pi.is_working());
    life.outputs.extend(out.drain());
    life
}

fn feed(pi: &mut Pi, bytes: &[u8], cut: usize, now: i64, out: &mut Outbox, between: &impl Fn(&mut Pi)) {
    for piece in bytes.chunks(cut) {
        pi.stdout(piece, now, out);
        between(pi);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_pi_writes_the_promises_hold(steps in proptest::collection::vec(step(), 0..60)) {
        let life = play(&steps, usize::MAX);
        check("random life", &life.outputs, &life.inputs, &life.commands);
    }

    #[test]
    fn whatever_pi_writes_the_cuts_do_not_matter(steps in proptest::collection::vec(step(), 0..40), cut in 1_usize..200) {
        prop_assert_eq!(play(&steps, usize::MAX).outputs, play(&steps, cut).outputs);
    }

    #[test]
    fn whatever_pi_writes_another_translator_goes_on_after_any_byte(steps in proptest::collection::vec(step(), 0..20), cut in 50_usize..400) {
        prop_assert_eq!(play(&steps, usize::MAX).outputs, play_with(&steps, cut, another).outputs);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), cut in 1_usize..64) {
        let mut pi = Pi::new(StartOptions::default());
        let mut out = Outbox::new();
        feed(&mut pi, &bytes, cut, 0, &mut out, &|_| ());
        pi.exited(&ExitReport::default(), 0, &mut out);
    }
}

#[test]
fn small_recordings_are_the_same_cut_in_two_at_every_byte() {
    for name in ["pi-1.5-lifecycle-eof-stream", "pi-0.73-abort-retry"] {
        let text: String = common::load(name).iter().filter(|r| r.dir == "out").map(|r| format!("{}\n", r.line)).collect();
        let bytes = text.as_bytes();
        let decode = |cut: usize| {
            let mut pi = Pi::new(StartOptions::default());
            let mut out = Outbox::new();
            pi.start(0, &mut out);
            pi.stdout(&bytes[..cut], 0, &mut out);
            pi.stdout(&bytes[cut..], 0, &mut out);
            out.drain().collect::<Vec<Output>>()
        };
        let whole = decode(0);
        assert!(whole.iter().any(|output| matches!(output, Output::Event(Event::MessageStart { .. }))), "{name}");
        for cut in 1..bytes.len() {
            assert!(decode(cut) == whole, "{name} cut at byte {cut}");
        }
    }
}

#[test]
fn what_was_saved_of_something_else_changes_nothing() {
    let mut pi = Pi::new(StartOptions::default());
    pi.start(5, &mut Outbox::new());
    let before = pi.save().unwrap();
    for other in [Value::Null, json!({}), json!({"lines": {"buffer": "%"}}), json!([1])] {
        assert!(pi.restore(other).is_err());
        assert_eq!(pi.save().unwrap(), before);
    }
}

#[test]
fn a_line_that_is_cut_at_the_upgrade_is_whole_after_it() {
    let steps = [Step::Bytes("{\"type\":\"agent_start\"}\n{\"type\":\"session_info_changed\",\"name\":\"grün\"}\n".into())];
    for cut in 1..80 {
        assert_eq!(play_with(&steps, cut, another).outputs, play(&steps, usize::MAX).outputs, "cut every {cut} bytes");
    }
}

#[test]
fn the_late_answer_of_an_input_that_was_echoed_begins_no_run() {
    let line = |value: Value| Step::Bytes(format!("{value}\n").into_bytes());
    let prompt = |text: &str| Step::Input(InputKind::Prompt, text.to_owned());
    let steps = [
        prompt("/ask"),
        line(json!({"type": "agent_start"})),
        line(json!({"type": "message_end", "message": {"role": "user", "content": "what /ask became"}})),
        line(json!({"type": "agent_end"})),
        prompt("p"),
        line(json!({"type": "agent_settled"})),
        // To the first of the two prompts, while the second waits for its own; then pi dies.
        Step::Answer { which: 1, success: true, data: 3 },
    ];
    let life = play(&steps, usize::MAX);
    check("late answer", &life.outputs, &life.inputs, &life.commands);
    let settled = life.outputs.iter().filter(|output| matches!(output, Output::Settled { .. })).count();
    assert_eq!(settled, 1, "{:#?}", life.outputs);
}
