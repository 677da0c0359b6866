//! Lines that no pi should write, between lines that must not suffer from them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_harness::lines::MAX_LINE_BYTES;
use octo_harness::pi::{MAX_NOTICES, Pi};
use octo_harness::{Harness, Outbox, Output, StartOptions};
use octo_protocol::event::{Event, Level};
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

fn status(key: &str) -> String {
    json!({"type": "extension_ui_request", "id": key, "method": "setStatus", "statusKey": key, "statusText": "x"}).to_string()
}

/// What comes of `bytes` between two good lines; both must come through.
fn between(bytes: &[u8]) -> Vec<Output> {
    let mut pi = Pi::new(StartOptions::default());
    let mut out = Outbox::new();
    pi.stdout(format!("{}\n", status("before")).as_bytes(), 0, &mut out);
    pi.stdout(bytes, 0, &mut out);
    pi.stdout(format!("\n{}\n", status("after")).as_bytes(), 0, &mut out);
    let outputs: Vec<Output> = out.drain().collect();
    let is = |output: &Output, wanted: &str| matches!(output, Output::Event(Event::Status { key, .. }) if key == wanted);
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
    let long = vec![b'x'; MAX_LINE_BYTES + 1];
    let said = warnings(&between(&long));
    assert_eq!(said.len(), 1);
    assert!(said[0].contains(&(MAX_LINE_BYTES + 1).to_string()), "{said:?}");
}

#[test]
fn a_line_at_the_limit_is_taken() {
    let head = r#"{"type":"extension_ui_request","id":"n","method":"notify","message":""#;
    let tail = "\"}";
    let text = "y".repeat(MAX_LINE_BYTES - head.len() - tail.len());
    let outputs = between(format!("{head}{text}{tail}").as_bytes());
    assert!(matches!(&outputs[0], Output::Event(Event::Notify { level: Level::Info, message }) if message.len() == text.len()));
}

#[test]
fn what_is_not_understood_is_said_briefly_and_skipped() {
    let deep_array = "[".repeat(10_000);
    let deep_object = format!(r#"{{"type":"message_end","message":{{"content":{}1{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let corpus: [&[u8]; 14] = [
        b"this is not json",
        b"{\"type\":",
        b"\0\0\0",
        b"{\"type\":\"message_end\",\"message\":\0}",
        b"42",
        b"null",
        b"\"text\"",
        b"[1,2]",
        b"{}",
        b"{\"type\":7}",
        b"{\"type\":\"message_end\",\"message\":{\"role\":\"user\",\"timestamp\":1e999}}",
        b"{\"type\":\"agent_end\",\"willRetry\":\"yes\"}",
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
fn what_is_strange_and_understood_is_taken() {
    let notify = |message: &str| format!(r#"{{"type":"extension_ui_request","id":"n","method":"notify","message":{message}}}"#);
    let taken = |bytes: &[u8]| {
        let outputs = between(bytes);
        let messages = outputs.iter().filter_map(|output| match output {
            Output::Event(Event::Notify { level: Level::Info, message }) => Some(message.clone()),
            _ => None,
        });
        messages.collect::<Vec<String>>()
    };
    assert_eq!(taken(notify("\"a\u{2028}b\"").as_bytes()), ["a\u{2028}b"]);
    assert_eq!(taken(notify(r#""cut \ud83d""#).as_bytes()), ["cut \u{fffd}"]);
    assert_eq!(taken(format!("{}\r", notify("\"crlf\"")).as_bytes()), ["crlf"]);
    assert_eq!(taken(format!("\u{feff}{}", notify("\"bom\"")).as_bytes()), ["bom"]);
    assert_eq!(taken(format!("{} {}{}", notify("\"1\""), notify("\"2\""), notify("\"3\"")).as_bytes()), ["1", "2", "3"]);
    assert_eq!(taken(format!("{} rubbish", notify("\"kept\"")).as_bytes()), ["kept"]);
    let mut latin = notify("\"caf_\"").into_bytes();
    let at = latin.iter().rposition(|byte| *byte == b'_').unwrap();
    latin[at] = 0xe9;
    assert_eq!(taken(&latin), ["caf\u{fffd}"]);
    assert_eq!(warnings(&between(&latin)).len(), 1, "and it is said");
    let huge =
        br#"{"type":"tool_execution_end","toolCallId":"none","durationMs":1e308,"result":{"content":[123456789012345678901234567890]}}"#;
    assert!(between(huge).is_empty());
    assert!(between(br#"{"type":"an_event_of_tomorrow","x":1}"#).is_empty());
}

#[test]
fn a_flood_of_rubbish_is_cut_off() {
    let said = warnings(&between("rubbish\n".repeat(10_000).as_bytes()));
    assert_eq!(said.len(), MAX_NOTICES as usize + 1);
}

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes allocated for one text delta whose snapshots repeat a message of `size` bytes.
fn allocated_for_a_delta(size: usize) -> usize {
    let message = json!({"role": "assistant", "content": [{"type": "text", "text": "z".repeat(size)}]});
    let event = json!({"type": "text_delta", "contentIndex": 0, "delta": "abc", "partial": message});
    let line = format!("{}\n", json!({"type": "message_update", "assistantMessageEvent": event, "message": message}));
    let mut pi = Pi::new(StartOptions::default());
    let mut out = Outbox::new();
    pi.stdout(b"{\"type\":\"message_start\",\"message\":{\"role\":\"assistant\"}}\n", 0, &mut out);
    pi.stdout(line.as_bytes(), 0, &mut out);
    out.drain();
    let before = ALLOCATED.get();
    pi.stdout(line.as_bytes(), 0, &mut out);
    let allocated = ALLOCATED.get() - before;
    assert!(matches!(out.drain().next(), Some(Output::Event(Event::TextDelta { delta, .. })) if delta == "abc"));
    allocated
}

#[test]
fn the_snapshots_of_an_old_pi_are_skipped_without_being_built() {
    let (small, large) = (allocated_for_a_delta(10), allocated_for_a_delta(1_000_000));
    assert!(small > 0);
    assert_eq!(small, large, "the cost of a delta does not grow with the message");
}
