//! Lines that no Claude Code should write, between lines that must not suffer from them.

use octo_harness::claude::{Claude, MAX_NOTICES};
use octo_harness::lines::MAX_LINE_BYTES;
use octo_harness::{Harness, Outbox, Output, StartOptions};
use octo_protocol::event::{Event, Level};
use serde_json::json;

fn task(id: &str) -> String {
    json!({"type": "system", "subtype": "task_started", "task_id": id, "description": "x"}).to_string()
}

/// What comes of `bytes` between two good lines; both must come through.
fn between(bytes: &[u8]) -> Vec<Output> {
    let mut claude = Claude::new(StartOptions::default());
    let mut out = Outbox::new();
    claude.stdout(format!("{}\n", task("before")).as_bytes(), 0, &mut out);
    claude.stdout(bytes, 0, &mut out);
    claude.stdout(format!("\n{}\n", task("after")).as_bytes(), 0, &mut out);
    let outputs: Vec<Output> = out.drain().collect();
    let is = |output: &Output, wanted: &str| matches!(output, Output::Event(Event::Status { key, .. }) if key.ends_with(wanted));
    assert!(is(outputs.first().unwrap(), "before"));
    assert!(is(outputs.last().unwrap(), "after"), "{outputs:?}");
    outputs[1..outputs.len() - 1].to_vec()
}

fn warnings(outputs: &[Output]) -> Vec<String> {
    let messages = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::Notify { level: Level::Warning, message }) => Some(message.clone()),
        _ => None,
    });
    messages.collect()
}

#[test]
fn a_line_beyond_the_limit_is_said_with_its_length_and_skipped() {
    let said = warnings(&between(&vec![b'x'; MAX_LINE_BYTES + 1]));
    assert_eq!(said.len(), 1);
    assert!(said[0].contains(&(MAX_LINE_BYTES + 1).to_string()), "{said:?}");
}

#[test]
fn what_is_not_understood_is_said_briefly_and_skipped() {
    let deep_array = "[".repeat(10_000);
    let deep_object = format!(r#"{{"type":"assistant","message":{{"content":{}1{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let corpus: [&[u8]; 13] = [
        b"this is not json",
        b"{\"type\":",
        b"\0\0\0",
        b"42",
        b"null",
        b"\"text\"",
        b"[1,2]",
        b"{}",
        b"{\"type\":7}",
        b"{\"type\":\"result\",\"total_cost_usd\":1,\"queued_turn_count\":1e999}",
        b"{\"type\":\"stream_event\",\"event\":7}",
        deep_array.as_bytes(),
        deep_object.as_bytes(),
    ];
    for line in corpus {
        let outputs = between(line);
        let said = warnings(&outputs);
        assert_eq!((outputs.len(), said.len()), (1, 1), "{:?}: {outputs:?}", String::from_utf8_lossy(&line[..line.len().min(80)]));
        assert!(said[0].chars().count() < 500);
    }
}

#[test]
fn a_request_that_is_not_understood_is_refused_and_not_left_waiting() {
    let outputs = between(br#"{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":[1]}}"#);
    assert!(matches!(&outputs[0], Output::Write(line) if String::from_utf8_lossy(line).contains("\"error\"")), "{outputs:?}");
    assert_eq!(warnings(&outputs).len(), 1);
    let outputs = between(br#"{"type":"control_request","request_id":"r","request":{"subtype":"of_tomorrow"}}"#);
    assert!(matches!(&outputs[..], [Output::Write(_)]), "{outputs:?}");
}

#[test]
fn what_is_strange_and_understood_is_taken() {
    let denied = |message: &str| format!(r#"{{"subtype":"permission_denied","tool_name":"T","message":{message},"type":"system"}}"#);
    let taken = |bytes: &[u8]| {
        let said = warnings(&between(bytes));
        said.iter().filter_map(|message| message.strip_prefix("T was not allowed: ").map(str::to_owned)).collect::<Vec<String>>()
    };
    assert_eq!(taken(denied("\"a\u{2028}b\"").as_bytes()), ["a\u{2028}b"]);
    assert_eq!(taken(denied(r#""cut \ud83d""#).as_bytes()), ["cut \u{fffd}"]);
    assert_eq!(taken(format!("{}\r", denied("\"crlf\"")).as_bytes()), ["crlf"]);
    assert_eq!(taken(format!("\u{feff}{}", denied("\"bom\"")).as_bytes()), ["bom"]);
    assert_eq!(taken(format!("{} {}", denied("\"1\""), denied("\"2\"")).as_bytes()), ["1", "2"]);
    assert_eq!(taken(format!("{} rubbish", denied("\"kept\"")).as_bytes()), ["kept"]);
    assert!(between(br#"{"type":"an_event_of_tomorrow","x":1}"#).is_empty());
    assert!(between(br#"{"type":"system","subtype":"of_tomorrow"}"#).is_empty());
}

#[test]
fn a_flood_of_rubbish_is_cut_off() {
    assert_eq!(warnings(&between("rubbish\n".repeat(10_000).as_bytes())).len(), MAX_NOTICES as usize + 1);
}

#[test]
fn a_flood_of_questions_is_refused_beyond_a_limit() {
    let ask = |n: usize| {
        let request = json!({"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "ls"}});
        format!("{}\n", json!({"type": "control_request", "request_id": format!("q{n}"), "request": request}))
    };
    let outputs = between((0..200).map(ask).collect::<String>().as_bytes());
    let asked = outputs.iter().filter(|output| matches!(output, Output::Event(Event::AgentInputNeeded { .. }))).count();
    let refused = outputs.iter().filter(|output| matches!(output, Output::Write(_))).count();
    assert_eq!((asked, refused), (64, 136));
}
