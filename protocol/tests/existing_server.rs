//! The frames of an existing server and client, recorded on the wire, are frames of this protocol.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_protocol::mux::{ClientFrame, ServerFrame};
use serde_json::Value;

fn frames(direction: &str) -> Vec<Value> {
    include_str!("recordings/mux-existing-server.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["dir"] == direction)
        .map(|record| record["frame"].clone())
        .collect()
}

#[test]
fn every_frame_of_an_existing_server_parses_and_keeps_its_meaning() {
    let recorded = frames("recv");
    assert!(recorded.len() > 150, "the recording is there");
    for frame in recorded {
        let parsed: ServerFrame = serde_json::from_value(frame.clone()).unwrap_or_else(|error| panic!("{error}\n{frame}"));
        let written = serde_json::to_value(&parsed).unwrap();
        // Whatever we write stands in the recording with the same value: nothing is renamed or made up.
        assert_subset(&written, &frame, "");
    }
}

#[test]
fn every_frame_of_an_existing_client_parses_except_the_unknown_command() {
    let recorded = frames("send");
    assert!(recorded.len() > 20, "the recording is there");
    for frame in recorded {
        let parsed = ClientFrame::parse(&frame.to_string());
        if frame["cmd"] == "nope" {
            let error = parsed.unwrap_err();
            assert_eq!(error.id.as_deref(), frame["id"].as_str());
            assert_eq!(error.command.unwrap().cmd, "nope");
        } else {
            assert_subset(&serde_json::to_value(parsed.unwrap()).unwrap(), &frame, "");
        }
    }
}

/// Members that we add with their default do not count.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_default),
        Value::Number(number) => number.as_f64() == Some(0.0) || number.as_u64() == Some(6),
        Value::String(text) => text.is_empty(),
    }
}

fn assert_subset(written: &Value, recorded: &Value, path: &str) {
    match (written, recorded) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in ours {
                match theirs.get(name) {
                    Some(other) => assert_subset(value, other, &format!("{path}.{name}")),
                    None => assert!(is_default(value), "{path}.{name} = {value} does not stand in the recording {recorded}"),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{path}");
            for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
                assert_subset(a, b, &format!("{path}[{i}]"));
            }
        }
        (a, b) => assert!(a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64()), "{path}: {a} is not {b}"),
    }
}
