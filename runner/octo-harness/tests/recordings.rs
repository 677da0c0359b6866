//! Recordings of real pi processes (0.73.1 and 1.5.2), decoded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{names, replay};
use octo_harness::Output;
use octo_protocol::event::Event;
use std::fmt::Write as _;

fn shorten(text: &str) -> String {
    let text = text.replace('\n', "\\n");
    match text.char_indices().nth(160) {
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
        let size: usize = common::load(&name).iter().map(|record| record.line.len()).sum();
        let cuts: &[usize] = if size < 60_000 { &[1, 7, 1024] } else { &[1013, 65_536] };
        for cut in cuts {
            assert!(replay(&name, *cut).outputs == whole, "{name} cut every {cut} bytes");
        }
    }
}

#[test]
fn every_event_of_the_recordings_is_known() {
    for name in names() {
        let notices = replay(&name, usize::MAX)
            .outputs
            .into_iter()
            .filter(|output| matches!(output, Output::Event(Event::Notify { message, .. }) if message.contains("does not understand")));
        assert_eq!(notices.count(), 0, "{name}");
    }
}

#[test]
fn starts_and_ends_pair_up_and_every_command_and_input_has_one_end() {
    for name in names() {
        let replayed = replay(&name, usize::MAX);
        common::invariants::check(&name, &replayed.outputs, &replayed.inputs, &replayed.commands);
        common::invariants::check_deltas(&name, &replayed.outputs);
        assert!(!octo_harness::Harness::is_working(&replayed.pi), "{name}");
    }
}

/// How many runs each recording holds, counted by hand from its prompts.
#[test]
fn every_run_settles_once_and_not_before_retries_compactions_and_queued_messages() {
    let expected = [
        ("pi-1.5-simple", 1),
        ("pi-1.5-error-retry", 1),
        ("pi-1.5-error-final", 3),
        ("pi-1.5-error-midstream", 2),
        ("pi-1.5-abort-retry", 1),
        ("pi-0.73-error-retry", 1),
        ("pi-0.73-abort-retry", 1),
        // Its second prompt was sent 8 ms after `agent_end`, before the first run had settled: one run.
        ("pi-0.73-compaction", 3),
        ("pi-0.73-steer", 3),
        ("pi-0.73-lifecycle-eof-tool", 1),
        ("pi-1.5-lifecycle-sigkill-tool", 1),
        ("pi-1.5-lifecycle-eof-idle", 0),
    ];
    for (name, runs) in expected {
        let replayed = replay(name, usize::MAX);
        let settled = replayed.outputs.iter().filter(|output| matches!(output, Output::Settled { .. })).count();
        assert_eq!(settled, runs, "{name}");
    }
}
