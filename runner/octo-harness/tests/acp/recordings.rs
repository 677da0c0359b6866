//! Recordings of real processes, decoded.

use crate::invariants;
use crate::replay::{load, names, replay, replay_with};
use octo_harness::acp::Acp;
use octo_harness::{Harness, Output, StartOptions};
use octo_protocol::event::Event;
use std::fmt::Write as _;

fn shorten(text: &str) -> String {
    let text = text.replace('\n', "\\n");
    match text.char_indices().nth(200) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

fn short(outputs: &[Output]) -> String {
    let mut text = String::new();
    for output in outputs {
        let line = match output {
            Output::Event(event) => {
                let mut value = serde_json::to_value(event).unwrap();
                let name = value.as_object_mut().unwrap().remove("event").unwrap();
                format!("{} {}", name.as_str().unwrap(), value)
            }
            Output::Write(bytes) => format!("> {}", String::from_utf8_lossy(bytes).trim()),
            Output::Reply { token, result: Ok(value) } => format!("Reply {token} ok {value}"),
            Output::Reply { token, result: Err(error) } => format!("Reply {token} {}: {error}", error.code.as_str()),
            Output::Rejected { token, error } => format!("Rejected {token} {}: {error}", error.code.as_str()),
            other => format!("{other:?}"),
        };
        writeln!(text, "{}", shorten(&line)).unwrap();
    }
    text
}

#[test]
fn recordings_decode_into_reviewed_events() {
    for name in names() {
        let replayed = replay(&name, usize::MAX);
        insta::assert_snapshot!(name, short(&replayed.outputs));
    }
}

#[test]
fn recordings_decode_the_same_however_they_are_cut() {
    for name in names() {
        let whole = replay(&name, usize::MAX).outputs;
        let size: usize = load(&name).iter().map(|record| record.line.len()).sum();
        let cuts: &[usize] = if size < 30_000 { &[1, 7, 1024] } else { &[1013, 65_536] };
        for cut in cuts {
            assert!(replay(&name, *cut).outputs == whole, "{name} cut every {cut} bytes");
        }
    }
}

/// Another translator goes on, with what crosses an upgrade of the runner: text.
fn another(acp: &mut Acp) {
    let saved = acp.save().unwrap().to_string();
    *acp = Acp::new(StartOptions { provider: "another".into(), ..StartOptions::default() });
    acp.restore(serde_json::from_str(&saved).unwrap()).unwrap();
}

#[test]
fn another_translator_goes_on_with_every_recording() {
    for name in names() {
        let whole = replay(&name, usize::MAX).outputs;
        assert!(replay_with(&name, 997, another).outputs == whole, "{name}");
    }
}

#[test]
fn every_line_of_the_recordings_is_understood() {
    for name in names() {
        for output in replay(&name, usize::MAX).outputs {
            if let Output::Event(Event::Notify { message, .. }) = output {
                assert!(!message.contains("does not understand") && !message.contains("refused"), "{name}: {message}");
            }
        }
    }
}

#[test]
fn starts_and_ends_pair_up_and_every_command_and_input_has_one_end() {
    for name in names() {
        let replayed = replay(&name, usize::MAX);
        invariants::check(&name, &replayed.outputs, &replayed.inputs, &replayed.commands);
        invariants::check_deltas(&name, &replayed.outputs);
        assert!(!replayed.acp.is_working(), "{name}");
    }
}
